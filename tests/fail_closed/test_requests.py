"""Requests that nobody sends in good faith: none reaches AWS, each is refused or cut off, and each is written down."""

import dataclasses
import gzip
import json
import socket
import ssl
import time
from typing import Any

import pytest

from addons.config import Limits
from addons.identity.local import LocalIssuer
from addons.identity.sealed import KeyRing
from addons.identity.session import Session
from tests.agent import JSON, Answer
from tests.fail_closed.conftest import DYNAMODB, Stand, resident
from tests.harness import REAL_KEY, ROLE

BODY = b'{"TableName":"t","Key":{"k":{"S":"v"}}}'
TARGET = {"x-amz-target": "DynamoDB_20120810.GetItem"}


def denied(found: Answer, *codes: str) -> None:
    """An answer that DynamoDB's SDKs raise as one of these exceptions."""
    assert found.status == 403
    assert found.headers["content-type"].startswith("application/x-amz-json-1.")
    assert json.loads(found.body)["__type"] in (codes or ("AccessDeniedException",))
    assert "sluicegate: " in json.loads(found.body)["message"]


def sent(stand: Stand, headers: dict[str, str] | None = None, body: bytes = BODY, **raw: Any) -> Answer:
    """A signed GetItem with these headers more."""
    made = stand.raw(**raw)
    return made.send("POST", "/", made.signed("POST", "/", JSON | TARGET | (headers or {}), body), body)


def with_headers(stand: Stand, *more: tuple[str, str], path: str = "/", without: str = "", **raw: Any) -> Answer:
    """A signed GetItem whose head was changed after it was signed."""
    made = stand.raw(**raw)
    headers = [h for h in made.signed("POST", "/", JSON | TARGET, BODY) if h[0] != without]
    return made.send("POST", path, [*headers, *more], BODY)


def test_a_proper_request_passes(stand: Stand) -> None:
    seen = len(stand.upstream.seen)
    assert stand.call().status == 200
    assert len(stand.upstream.seen) == seen + 1
    assert REAL_KEY in stand.upstream.seen[-1].headers["authorization"]
    assert stand.last_call()["additionalEventData"]["sluicegate"]["outcome"] == "answered"


# Bodies


@pytest.mark.parametrize(
    "body", [b"not gzip at all", gzip.compress(BODY)[:-6], b"\x1f\x8b" + bytes(40)], ids=["none", "cut", "zeros"]
)
def test_gzip_garbage_is_refused(stand: Stand, body: bytes) -> None:
    with stand.nothing_passes():
        denied(sent(stand, {"Content-Encoding": "gzip"}, body))


def test_a_denied_operation_behind_two_megabytes_of_padding_is_refused(stand: Stand) -> None:
    made, body = stand.raw(), b'{"TableName":' + b" " * (2 << 20) + b'"t"}'
    headers = JSON | {"x-amz-target": "DynamoDB_20120810.UpdateTable"}
    with stand.nothing_passes():
        denied(made.send("POST", "/", made.signed("POST", "/", headers, body), body))


def test_an_allowed_operation_behind_two_megabytes_of_padding_passes_whole(stand: Stand) -> None:
    body = BODY[:-1] + b" " * (2 << 20) + b"}"
    assert sent(stand, body=body).status == 200
    assert stand.upstream.seen[-1].body == body


def test_a_body_over_the_bound_is_refused_when_it_is_announced(stand: Stand) -> None:
    head = f"POST / HTTP/1.1\r\nHost: {DYNAMODB}\r\nContent-Length: {Limits().body + 1}\r\n\r\n"
    with stand.nothing_passes():
        assert b"HTTP/1.1 413 " in stand.exchange(head.encode(), tls=True)
    assert stand.last_call()["errorCode"] == "RequestEntityTooLarge"


@pytest.mark.parametrize("announced", [[], [("x-amz-decoded-content-length", "10")]], ids=["silent", "lying"])
def test_an_endless_chunked_body_is_cut_off_and_takes_no_memory_without_bound(
    stand: Stand, announced: list[tuple[str, str]]
) -> None:
    before, pushed = resident(stand.gateway.process.pid), 0
    lines = "".join(f"{name}: {value}\r\n" for name, value in [("Transfer-Encoding", "chunked"), *announced])
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    with stand.nothing_passes(), stand.raw().tunnel() as connection:
        connection.settimeout(10)
        try:
            connection.sendall(f"PUT /b HTTP/1.1\r\nHost: {DYNAMODB}\r\n{lines}\r\n".encode())
            while pushed < 256:
                connection.sendall(chunk)
                pushed += 1
        except OSError:
            pass
    assert pushed < 256, "nobody stopped it"
    assert resident(stand.gateway.process.pid) - before < 200 << 20


# Heads


@pytest.mark.parametrize("tls", [False, True])
def test_a_head_that_does_not_end_is_cut_off(stand: Stand, tls: bool) -> None:
    with stand.nothing_passes():
        found = stand.exchange(b"GET / HTTP/1.1\r\n" + b"X-A: aaaaaaaa\r\n" * (Limits().head // 10), tls)
    assert found == b"" or b" 431 " in found.splitlines()[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", DYNAMODB),
        ("Host", "sts.us-east-1.amazonaws.com"),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request"),
        ("Content-Type", "application/x-amz-json-1.0"),
        ("X-Amz-Target", "DynamoDB_20120810.DeleteTable"),
        ("X-Amz-Date", "20260101T000000Z"),
    ],
)
def test_a_header_that_stands_twice_is_refused(stand: Stand, name: str, value: str) -> None:
    with stand.nothing_passes():
        denied(with_headers(stand, (name, value)), "AccessDeniedException", "IncompleteSignature")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Length", str(len(BODY) - 1)),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Transfer-Encoding", "identity"),
        ("Transfer-Encoding", "\x0bchunked"),
        ("Content-Length ", "3"),
    ],
)
def test_a_request_with_two_framings_is_refused(stand: Stand, name: str, value: str) -> None:
    with stand.nothing_passes():
        found = with_headers(stand, (name, value))
    assert found.status in (0, 400, 403)


@pytest.mark.parametrize("line", ["POST / HTTP/1.0", "PRI * HTTP/2.0", "POST / HTTP/0.9", "POST /", "POST / HTTP/3"])
def test_another_version_of_http_is_refused(stand: Stand, line: str) -> None:
    made = stand.raw()
    headers = "".join(f"{n}: {v}\r\n" for n, v in made.signed("POST", "/", JSON | TARGET, BODY))
    with stand.nothing_passes():
        found = stand.exchange(f"{line}\r\n{headers}\r\n".encode() + BODY, tls=True)
    assert not found or found.split(b" ")[1] in (b"400", b"403")


def test_the_preface_of_http_2_is_refused(stand: Stand) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # RFC 9113, 3.4
    for tls in (False, True):
        with stand.nothing_passes():
            assert not stand.exchange(preface, tls).startswith(b"HTTP/1.1 200")


def test_http_2_is_not_offered(stand: Stand) -> None:
    plain = socket.create_connection(stand.gateway.proxy_address, timeout=10)
    plain.sendall(f"CONNECT {DYNAMODB}:443 HTTP/1.1\r\n\r\n".encode())
    assert plain.recv(4096).startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=stand.gateway.ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(plain, server_hostname=DYNAMODB) as tls:
        assert tls.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    "more",
    [
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "a"),
        ],
        [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")],
    ],
    ids=["websocket", "h2c"],
)
def test_an_upgrade_is_never_forwarded_and_a_101_never_opens_a_pipe(stand: Stand, more: list[tuple[str, str]]) -> None:
    usual = stand.upstream.answer
    stand.upstream.answer = lambda seen: (101, dict(more[:2]), b"")
    try:
        with_headers(stand, *more)
        found = with_headers(stand, *more)
    finally:
        stand.upstream.answer = usual
    assert found.status != 101
    last = stand.upstream.seen[-1].headers
    assert "upgrade" not in last
    assert "http2-settings" not in last


# Names


@pytest.mark.parametrize(
    "names",
    [
        {"connect": "sts.us-east-1.amazonaws.com:443", "sni": "sts.us-east-1.amazonaws.com"},
        {"sni": "sts.us-east-1.amazonaws.com"},
        {"connect": "sts.us-east-1.amazonaws.com:443"},
        {"connect": f"{DYNAMODB}:8443"},
        {"connect": f"{DYNAMODB}.:443"},
        {"connect": "example.com:443"},
    ],
    ids=lambda names: ",".join(f"{key}={value}" for key, value in names.items()),
)
def test_names_that_differ_are_refused(stand: Stand, names: dict[str, str]) -> None:
    with stand.nothing_passes():
        found = stand.call(**names)
    assert found.status in (0, 403)


@pytest.mark.parametrize("host", [f"{DYNAMODB}.", f"{DYNAMODB}:8443", "evil.example", f"{DYNAMODB}@evil.example", ""])
def test_another_host_header_is_refused(stand: Stand, host: str) -> None:
    with stand.nothing_passes():
        found = with_headers(stand, ("Host", host), without="Host")
    assert found.status in (0, 400, 403)


@pytest.mark.parametrize("connect", [f"{DYNAMODB.upper()}:443", f"{DYNAMODB}:443"])
def test_case_makes_no_other_name(stand: Stand, connect: str) -> None:
    assert stand.call(connect=connect).status == 200


@pytest.mark.parametrize("target", ["http://evil.example/", "https://evil.example/", f"http://{DYNAMODB}:81/", "*"])
def test_an_absolute_target_is_refused(stand: Stand, target: str) -> None:
    with stand.nothing_passes():
        found = with_headers(stand, path=target)
    assert found.status in (0, 400, 403)


def test_a_connect_inside_a_connect_is_refused(stand: Stand) -> None:
    for inner in (f"{DYNAMODB}:443", "169.254.169.254:80", stand.upstream.url.removeprefix("http://")):
        with stand.nothing_passes():
            found = stand.exchange(f"CONNECT {inner} HTTP/1.1\r\nHost: {inner}\r\n\r\n".encode(), tls=True)
        assert not found.startswith(b"HTTP/1.1 200")


# Signatures


def test_unsigned_foreign_and_altered_requests_are_refused(stand: Stand) -> None:
    made = stand.raw()
    key, secret, token = stand.keys
    cases = {
        "unsigned": lambda: stand.call(keys=None),
        "a real key": lambda: stand.call(
            keys=("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "t")
        ),
        "another's secret": lambda: stand.call(keys=(key, "x" * len(secret), token)),
        "an altered token": lambda: stand.call(keys=(key, secret, token[:-4] + "AAAA")),
        "no token": lambda: stand.call(keys=(key, secret, None)),
        "another region": lambda: stand.call(region="eu-west-1"),
        "another service": lambda: stand.call(service="s3"),
        "an altered body": lambda: made.send(
            "POST", "/", made.signed("POST", "/", JSON | TARGET, BODY), BODY.replace(b'"t"', b'"u"')
        ),
        "an altered target": lambda: made.send(
            "POST",
            "/",
            [
                (n, "DynamoDB_20120810.ListTables" if n.lower() == "x-amz-target" else v)
                for n, v in made.signed("POST", "/", JSON | TARGET, BODY)
            ],
            BODY,
        ),
        "an altered path": lambda: with_headers(stand, path="/?a=b"),
        "an unsigned x-amz header": lambda: with_headers(stand, ("x-amz-security-context", "a")),
    }
    for name, case in cases.items():
        with stand.nothing_passes():
            found = case()
        assert found.status == 403, name
        assert "sluicegate: " in json.loads(found.body)["message"], name


def test_expired_credentials_are_refused(stand: Stand) -> None:
    state, now = stand.gateway.directory / "state", int(time.time())
    ring, issuer = KeyRing.open(state / "keyring.json"), LocalIssuer.open(state).name
    claims = {"groups": ["developers"]}
    good = Session("5" * 32, issuer, "agent/ada", (), ROLE, "l", "j", now - 7200, now + 60, claims=claims)
    assert stand.call(keys=ring.seal(good)).status == 200
    with stand.nothing_passes():
        denied(stand.call(keys=ring.seal(dataclasses.replace(good, expires=now - 1))), "ExpiredToken")
