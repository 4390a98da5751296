"""Keys of an issuer: rotation, refetching, outages, poisoned sets, and servers that misbehave. All through sockets."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from addons.authenticate import SIGNING_IN
from addons.identity import fetch, jwks
from addons.identity.oidc import Issuer, Verifier
from addons.identity.refusal import Refused
from tests.identity.conftest import Clock
from tests.identity.idp import NOW, RSA, Idp, b64, certificate, drip, jwk, send, token

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
NEW = rsa.generate_private_key(65537, 2048)
DISCOVERY = "/.well-known/openid-configuration"


def code(verifier: Verifier, text: str) -> str:
    """What happens to a token: "good" or the refusal's code."""
    try:
        verifier.verify(text, now=NOW)
    except Refused as error:
        return error.code
    return "good"


def test_keys_are_fetched_once_and_kept_for_their_time(idp: Idp, verifier: Verifier, clock: Clock) -> None:
    for _ in range(5):
        assert code(verifier, token(idp.claims())) == "good"
    assert idp.requests == [DISCOVERY, "/keys"]
    clock.time += jwks.TTL
    assert code(verifier, token(idp.claims())) == "good"
    assert idp.requests == [DISCOVERY, "/keys", "/keys"]


def test_a_rotated_key_is_found_by_one_fetch(idp: Idp, verifier: Verifier, clock: Clock) -> None:
    assert code(verifier, token(idp.claims())) == "good"
    idp.keys = [jwk(NEW, "k2"), jwk(RSA)]
    clock.time += jwks.FLOOR
    for _ in range(3):
        assert code(verifier, token(idp.claims(), NEW, header={"kid": "k2"})) == "good"
    assert idp.requests.count("/keys") == 2


def test_a_withdrawn_key_is_accepted_until_the_keys_are_fetched_again(
    idp: Idp, verifier: Verifier, clock: Clock
) -> None:
    assert code(verifier, token(idp.claims())) == "good"
    idp.keys = [jwk(NEW, "k2")]
    clock.time += jwks.TTL - 1
    assert code(verifier, token(idp.claims())) == "good"
    clock.time += 1
    assert code(verifier, token(idp.claims())) == "InvalidIdentityToken"


def test_unknown_key_ids_make_at_most_one_fetch_in_ten_seconds(idp: Idp, verifier: Verifier, clock: Clock) -> None:
    assert code(verifier, token(idp.claims())) == "good"
    for n in range(200):
        assert code(verifier, token(idp.claims(), header={"kid": f"random-{n}"})) == "InvalidIdentityToken"
    assert idp.requests.count("/keys") == 1
    clock.time += jwks.FLOOR
    for n in range(200):
        assert code(verifier, token(idp.claims(), header={"kid": f"random-{n}"})) == "InvalidIdentityToken"
    assert idp.requests.count("/keys") == 2


def test_threads_that_need_the_keys_at_once_share_one_fetch(idp: Idp, verifier: Verifier) -> None:
    text = token(idp.claims())
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: code(verifier, text), range(64))) == {"good"}
    assert idp.requests == [DISCOVERY, "/keys"]


def test_the_last_keys_bridge_an_outage_for_an_hour(idp: Idp, verifier: Verifier, clock: Clock) -> None:
    assert code(verifier, token(idp.claims())) == "good"
    idp.special["/keys"] = lambda handler: send(handler, "down", 503)
    clock.time += jwks.TTL
    assert code(verifier, token(idp.claims())) == "good"
    assert code(verifier, token(idp.claims(), NEW, header={"kid": "k2"})) == "IDPCommunicationError"
    clock.time += jwks.STALE - jwks.TTL - 1
    assert code(verifier, token(idp.claims())) == "good"
    clock.time += 1
    assert code(verifier, token(idp.claims())) == "IDPCommunicationError"
    idp.special.clear()
    clock.time += jwks.FLOOR
    assert code(verifier, token(idp.claims())) == "good"


def test_an_issuer_that_is_down_is_asked_once_in_ten_seconds(idp: Idp, verifier: Verifier, clock: Clock) -> None:
    idp.special[DISCOVERY] = lambda handler: send(handler, "down", 503)
    for _ in range(20):
        assert code(verifier, token(idp.claims())) == "IDPCommunicationError"
    assert idp.requests == [DISCOVERY]
    idp.special.clear()
    clock.time += jwks.FLOOR
    assert code(verifier, token(idp.claims())) == "good"


def test_nobody_waits_for_a_slow_issuer_while_the_kept_keys_will_do(idp: Idp, verifier: Verifier, clock: Clock) -> None:
    text = token(idp.claims())
    assert code(verifier, text) == "good"
    entered, leave = threading.Event(), threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        entered.set()
        leave.wait(5)
        send(handler, json.dumps({"keys": idp.keys}))

    idp.special["/keys"] = slow
    clock.time += jwks.TTL
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(code, verifier, text)
        assert entered.wait(5)
        started = time.monotonic()
        assert code(verifier, text) == "good"
        assert time.monotonic() - started < 1
        leave.set()
        assert first.result() == "good"


def test_tokens_of_unknown_keys_leave_a_slow_issuers_known_ones_a_thread(
    idp: Idp, verifier: Verifier, clock: Clock
) -> None:
    text, unknown = token(idp.claims()), token(idp.claims(), NEW, header={"kid": "k2"})
    assert code(verifier, text) == "good"
    entered, leave = threading.Event(), threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        entered.set()
        leave.wait(5)
        send(handler, json.dumps({"keys": [jwk(NEW, "k2"), jwk(RSA)]}))

    idp.special["/keys"] = slow
    clock.time += jwks.FLOOR
    with ThreadPoolExecutor(SIGNING_IN) as pool:
        first = pool.submit(code, verifier, unknown)
        assert entered.wait(5)
        others = [pool.submit(code, verifier, unknown) for _ in range(10)]
        assert pool.submit(code, verifier, text).result(2) == "good"
        leave.set()
        assert first.result() == "good"
        outcomes = [other.result() for other in others]
    assert outcomes.count("good") == jwks.WAITERS
    assert outcomes.count("IDPCommunicationError") == 10 - jwks.WAITERS
    assert idp.requests.count("/keys") == 2


def test_the_key_sets_place_is_asked_again_after_it_failed(idp: Idp, verifier: Verifier, clock: Clock) -> None:
    assert code(verifier, token(idp.claims())) == "good"
    idp.special["/keys"] = lambda handler: send(handler, "", 404)
    idp.special["/moved"] = lambda handler: send(handler, json.dumps({"keys": [jwk(NEW)]}))
    idp.metadata = {"jwks_uri": f"{idp.issuer}/moved"}
    clock.time += jwks.TTL
    assert code(verifier, token(idp.claims(), NEW)) == "InvalidIdentityToken"  # the old keys, the issuer is "down"
    clock.time += jwks.FLOOR
    assert code(verifier, token(idp.claims(), NEW)) == "good"


# ---- sets that hold what is no public signature key


def hmac_token(idp: Idp, secret: bytes, kid: str = "k1") -> str:
    return token(idp.claims(), secret, header={"alg": "HS256", "kid": kid})


SECRET = b"a secret of thirty-two bytes ....."
BAD_ENTRIES: list[tuple[str, Any]] = [
    ("a shared secret", {"kty": "oct", "k": b64(SECRET), "kid": "k1", "alg": "HS256"}),
    ("an encryption key", jwk(RSA, use="enc")),
    ("a key for wrapping", jwk(RSA, key_ops=["wrapKey"])),
    ("operations that are no list", jwk(RSA, key_ops="verify")),
    ("a short RSA key", jwk(rsa.generate_private_key(65537, 1024), "k1")),
    ("a key id that is a number", jwk(RSA, 7)),  # type: ignore[arg-type]
    ("no key type", {"kid": "k1", "n": "AQAB", "e": "AQAB"}),
    ("an unknown key type", {"kty": "AKP", "kid": "k1", "pub": "AA"}),
    ("an RSA key without numbers", {"kty": "RSA", "kid": "k1"}),
    ("a point off the curve", {"kty": "EC", "crv": "P-256", "kid": "k1", "x": b64(b"\1" * 32), "y": b64(b"\1" * 32)}),
    ("no object", "k1"),
    ("null", None),
]


@pytest.mark.parametrize("entry", [case[1] for case in BAD_ENTRIES], ids=[case[0] for case in BAD_ENTRIES])
def test_an_unusable_key_is_left_out_and_the_others_work(idp: Idp, verifier: Verifier, entry: Any) -> None:
    idp.keys = [entry, jwk(NEW, "good")]
    assert code(verifier, token(idp.claims(), NEW, header={"kid": "good"})) == "good"
    assert code(verifier, token(idp.claims())) == "InvalidIdentityToken"
    assert code(verifier, hmac_token(idp, SECRET)) == "InvalidIdentityToken"


@pytest.mark.parametrize("entry", [case[1] for case in BAD_ENTRIES], ids=[case[0] for case in BAD_ENTRIES])
def test_a_set_of_unusable_keys_alone_is_an_issuer_without_keys(idp: Idp, verifier: Verifier, entry: Any) -> None:
    idp.keys = [entry]
    assert code(verifier, token(idp.claims())) == "IDPCommunicationError"
    assert code(verifier, hmac_token(idp, SECRET)) == "InvalidIdentityToken"


def test_a_key_is_used_only_with_its_own_algorithm(idp: Idp, verifier: Verifier) -> None:
    idp.keys = [jwk(RSA, alg="PS256"), jwk(ec.generate_private_key(ec.SECP256R1()), "ec")]
    assert code(verifier, token(idp.claims(), header={"alg": "PS256"})) == "good"
    assert code(verifier, token(idp.claims(), header={"alg": "RS256"})) == "InvalidIdentityToken"
    assert code(verifier, token(idp.claims(), header={"alg": "RS256", "kid": "ec"})) == "InvalidIdentityToken"


def test_a_token_without_key_id_needs_a_single_key_that_fits(idp: Idp, verifier: Verifier, clock: Clock) -> None:
    idp.keys = [jwk(RSA, None), jwk(ec.generate_private_key(ec.SECP256R1()), None)]
    assert code(verifier, token(idp.claims(), header={"kid": None})) == "good"
    idp.keys.append(jwk(NEW, None))
    clock.time += jwks.TTL
    assert code(verifier, token(idp.claims(), header={"kid": None})) == "InvalidIdentityToken"


# ---- servers that misbehave


def raw(data: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return answer


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
GOOD = json.dumps({"keys": [jwk(RSA)]}).encode()
BAD_ANSWERS: list[tuple[str, Callable[[BaseHTTPRequestHandler], None]]] = [
    ("a redirect", lambda h: send(h, "", 302, location="/elsewhere")),
    ("a redirect that holds the document", lambda h: send(h, GOOD, 307, location="/elsewhere")),
    ("an error that holds the document", lambda h: send(h, GOOD, 500)),
    ("a partial answer", lambda h: send(h, GOOD, 206)),
    ("an announced huge answer", lambda h: send(h, b'{"keys": [' + b" " * 1_000_001)),
    ("an endless answer", raw(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 3_000_000 + GOOD)),
    ("a huge answer, compressed", lambda h: send(h, b"\x1f\x8b\x08", **{"content-encoding": "gzip"})),
    ("an answer that ends early", raw(HEAD % (len(GOOD) + 1) + GOOD)),
    ("no HTTP", raw(b"SSH-2.0-OpenSSH_9.6\r\n")),
    ("nothing", raw(b"")),
    ("no JSON", lambda h: send(h, "<html>")),
    ("a list", lambda h: send(h, "[]")),
    ("nesting", lambda h: send(h, "[" * 100_000)),
    ("no keys", lambda h: send(h, '{"keys": []}')),
    ("keys that are an object", lambda h: send(h, '{"keys": {}}')),
    ("too many keys", lambda h: send(h, json.dumps({"keys": [jwk(RSA)] * 101}))),
]


@pytest.mark.parametrize("answer", [case[1] for case in BAD_ANSWERS], ids=[case[0] for case in BAD_ANSWERS])
@pytest.mark.parametrize("path", ["/keys", DISCOVERY])
def test_a_bad_answer_gives_no_keys(
    idp: Idp, verifier: Verifier, path: str, answer: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    idp.special[path] = answer
    idp.special["/elsewhere"] = lambda handler: send(handler, GOOD)
    assert code(verifier, token(idp.claims())) == "IDPCommunicationError"
    assert "/elsewhere" not in idp.requests


SLOW: list[tuple[str, Callable[[BaseHTTPRequestHandler], None]]] = [
    ("silence", lambda handler: time.sleep(2)),
    ("a body that drips", drip(HEAD % 1000, b" " * 100)),
    ("headers that drip", drip(b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 100)),
    ("headers without end", drip(b"HTTP/1.1 200 OK\r\n", b"a:\r\n" * 30)),
]


@pytest.mark.parametrize("answer", [case[1] for case in SLOW], ids=[case[0] for case in SLOW])
def test_a_slow_answer_is_cut(
    idp: Idp, verifier: Verifier, monkeypatch: pytest.MonkeyPatch, answer: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    monkeypatch.setattr(fetch, "TOTAL_SECONDS", 0.4)
    idp.special["/keys"] = answer
    started = time.monotonic()
    with pytest.raises(Refused, match="it took too long"):
        verifier.verify(token(idp.claims()), now=NOW)
    assert time.monotonic() - started < 1.9


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://attacker.example"},
        {"issuer": None},
        {"issuer": ["x"]},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "https://attacker.example/keys"},
        {"jwks_uri": "http://169.254.169.254/latest/meta-data"},
        {"jwks_uri": "http://127.0.0.1:1/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "/keys"},
    ],
)
def test_poisoned_discovery_gives_no_keys(idp: Idp, verifier: Verifier, metadata: dict[str, Any]) -> None:
    idp.metadata = metadata
    assert code(verifier, token(idp.claims())) == "IDPCommunicationError"
    assert "/keys" not in idp.requests


def test_keys_on_another_origin_are_not_fetched(idp: Idp, verifier: Verifier) -> None:
    other = Idp()
    try:
        idp.metadata = {"jwks_uri": other.jwks_uri}
        assert code(verifier, token(idp.claims())) == "IDPCommunicationError"
        assert code(Verifier([Issuer(other.issuer, "sluicegate")]), token(other.claims())) == "good"
        assert other.requests == [DISCOVERY, "/keys"]
    finally:
        other.close()


def test_an_issuer_that_differs_by_a_slash_is_another(idp: Idp) -> None:
    idp.metadata = {"issuer": idp.issuer + "/"}
    assert code(Verifier([Issuer(idp.issuer + "/", "sluicegate")]), token(idp.claims(iss=idp.issuer + "/"))) == "good"
    assert code(Verifier([Issuer(idp.issuer, "sluicegate")]), token(idp.claims())) == "IDPCommunicationError"


def test_a_proxy_in_the_environment_is_not_used(idp: Idp, verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert code(verifier, token(idp.claims())) == "good"


def test_nothing_listens_at_the_issuer(idp: Idp, verifier: Verifier) -> None:
    idp.close()
    with pytest.raises(Refused, match="it refuses connections"):
        verifier.verify(token(idp.claims()), now=NOW)


# ---- TLS


def tls(idp: Idp, file: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    idp.server.socket = context.wrap_socket(idp.server.socket, server_side=True)
    idp.issuer = f"https://127.0.0.1:{idp.port}"
    idp.jwks_uri = f"{idp.issuer}/keys"


def test_an_https_issuer_is_trusted_by_the_configured_authority_alone(idp: Idp, tmp_path: Path) -> None:
    file = certificate(tmp_path / "idp.pem")
    tls(idp, file)
    text = token(idp.claims())
    trusting = Verifier([Issuer(idp.issuer, "sluicegate")], ca_bundle=file)
    assert code(trusting, text) == "good"
    stranger = Verifier([Issuer(idp.issuer, "sluicegate")])
    with pytest.raises(Refused, match="TLS certificate or handshake was refused"):
        stranger.verify(text, now=NOW)


def test_https_keys_on_plain_http_are_not_fetched(idp: Idp, tmp_path: Path) -> None:
    file = certificate(tmp_path / "idp.pem")
    tls(idp, file)
    idp.jwks_uri = idp.jwks_uri.replace("https", "http")
    assert code(Verifier([Issuer(idp.issuer, "sluicegate")], ca_bundle=file), token(idp.claims())) == (
        "IDPCommunicationError"
    )


def test_a_silent_tls_server_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    idp = Idp()
    idp.server.verify_request = lambda *_: bool(time.sleep(0.8))  # type: ignore[func-returns-value, method-assign]
    monkeypatch.setattr(fetch, "TOTAL_SECONDS", 0.4)
    started = time.monotonic()
    try:
        with pytest.raises(fetch.FetchFailed, match="too long"):
            fetch.get(f"https://127.0.0.1:{idp.port}/")
        assert time.monotonic() - started < 1.9
    finally:
        idp.close()


class Proxy(threading.Thread):
    """A proxy that knows CONNECT, and leads every name to one port on loopback."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.asked = port, [""]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        while True:
            client, _ = self.listener.accept()
            self.asked.append(client.recv(4096).split(b"\r\n")[0].decode())
            server = socket.create_connection(("127.0.0.1", self.port))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=[one, other], daemon=True).start()

    def copy(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


def test_the_configured_proxy_leads_to_the_issuer(idp: Idp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = certificate(tmp_path / "idp.pem")
    tls(idp, file)
    idp.issuer = "https://idp.example.com/tenant"
    idp.jwks_uri = "https://idp.example.com/keys?tenant=1"
    idp.special["/keys?tenant=1"] = lambda handler: send(handler, GOOD)
    metadata = json.dumps({"issuer": idp.issuer, "jwks_uri": idp.jwks_uri})
    idp.special["/tenant" + DISCOVERY] = lambda handler: send(handler, metadata)
    proxy = Proxy(idp.port)
    verifier = Verifier([Issuer(idp.issuer, "sluicegate")], ca_bundle=file, proxy=proxy.url)
    assert code(verifier, token(idp.claims())) == "good"
    assert proxy.asked[1:] == ["CONNECT idp.example.com:443 HTTP/1.1"] * 2
    monkeypatch.setattr(fetch, "TOTAL_SECONDS", 0.4)
    idp.special["/keys?tenant=1"] = drip(HEAD % 1000, b" " * 100)
    with pytest.raises(Refused, match="it took too long"):
        Verifier([Issuer(idp.issuer, "sluicegate")], ca_bundle=file, proxy=proxy.url).verify(
            token(idp.claims()), now=NOW
        )
