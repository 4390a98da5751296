"""Answers that can't be masked with certainty, and eyes on the screen while one is being masked: no secret gets out."""

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from addons.config import Limits
from tests.agent import Answer
from tests.fail_closed.conftest import SECRET, Background, Screen, Stand, read_all, secret_body, standing, until, wild
from tests.harness import POLICY, REAL_KEY

HEADER_SECRET = "version-that-nobody-may-see"
RULES = "version: 1\nrules:\n- {service: s3, operation: GetObject, path: VersionId, mask: mask, reason: a header}\n"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n"
READ_TIMEOUT = 2  # seconds


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "rules.yaml").write_text(RULES)
    policy = POLICY.replace(
        "    - s3:GetObject\n", "    - s3:GetObject\n    - autoscaling:DescribeLaunchConfigurations\n"
    )
    upstream = f"{{endpoint: ENDPOINT, read_timeout: {READ_TIMEOUT}s}}"
    with standing(directory, policy, upstream=upstream, redaction="[secrets, ./rules.yaml]") as made:
        yield made


def object_(stand: Stand) -> Answer:
    """s3:GetObject, whose version is to be masked in its header."""
    raw = stand.raw(host="b.s3.us-east-1.amazonaws.com", service="s3")
    return raw.send("GET", "/k", raw.signed("GET", "/k", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, b""))


def configurations(stand: Stand) -> Answer:
    """autoscaling:DescribeLaunchConfigurations, whose answer is XML."""
    raw = stand.raw(host="autoscaling.us-east-1.amazonaws.com", service="autoscaling")
    body = b"Action=DescribeLaunchConfigurations&Version=2011-01-01"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return raw.send("POST", "/", raw.signed("POST", "/", headers, body), body)


def framed(body: bytes, head: bytes = GOOD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def xml(body: str) -> bytes:
    return framed(body.encode(), b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n")


FOUND = (
    '<DescribeLaunchConfigurationsResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">'
    "<DescribeLaunchConfigurationsResult><LaunchConfigurations><member><LaunchConfigurationName>u"
    f"</LaunchConfigurationName><UserData>{SECRET}</UserData></member></LaunchConfigurations>"
    "</DescribeLaunchConfigurationsResult></DescribeLaunchConfigurationsResponse>"
)


def sends(data: bytes, then: Callable[[socket.socket], object] = lambda connection: None) -> Callable[..., None]:
    def behave(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(data)
            then(connection)

    return behave


def hangs(connection: socket.socket) -> None:
    connection.settimeout(30)
    connection.recv(1)  # until the other side has had enough


def test_answers_that_can_be_masked_arrive_masked(stand: Stand) -> None:
    """The positive controls of everything below."""
    with wild(stand.upstream, sends(framed(secret_body()))):
        found = stand.secret()
    assert found.status == 200
    assert json.loads(found.body)["Name"] == "n"
    assert SECRET.encode() not in found.body
    with wild(stand.upstream, sends(xml(FOUND))):
        found = configurations(stand)
    assert found.status == 200
    assert b"<LaunchConfigurationName>u</LaunchConfigurationName>" in found.body
    assert SECRET.encode() not in found.body
    head = f"HTTP/1.1 200 OK\r\nETag: e\r\nx-amz-version-id: {HEADER_SECRET}\r\n".encode()
    with wild(stand.upstream, sends(framed(b"content", head))):
        found = object_(stand)
    assert (found.status, found.body, found.headers["etag"]) == (200, b"content", "e")
    assert HEADER_SECRET not in str(found)


BAD = {
    "hangs before its head": (b"", hangs, "unknown"),
    "hangs in its head": (GOOD + b"X-Secret: " + SECRET.encode(), hangs, "unknown"),
    "hangs in its body": (GOOD + b"Content-Length: 999\r\n\r\n" + secret_body(), hangs, "answered"),
    "ends before its head": (b"", None, "unknown"),
    "ends in its body": (GOOD + b"Content-Length: 999\r\n\r\n" + secret_body(), None, "answered"),
    "speaks no HTTP": (b"\x00\x16 " + SECRET.encode() + b"\r\n\r\n", None, "unknown"),
    "has two framings": (
        GOOD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\nX-S: " + SECRET.encode() + b"\r\n\r\n",
        None,
        "unknown",
    ),
    "is gzip garbage": (framed(secret_body(), GOOD + b"Content-Encoding: gzip\r\n"), None, "answered"),
    "is cut gzip": (framed(gzip.compress(secret_body())[:-9], GOOD + b"Content-Encoding: gzip\r\n"), None, "answered"),
    "is encoded in a way that nobody knows": (
        framed(secret_body(), GOOD + b"Content-Encoding: zip\r\n"),
        None,
        "answered",
    ),
    "has a key twice": (
        framed(b'{"SecretString": "%s", "SecretString": "b"}' % SECRET.encode()),
        None,
        "answered",
    ),
    "is no JSON": (framed(secret_body() + b"}"), None, "answered"),
    "announces too much": (
        GOOD + b"X-S: " + SECRET.encode() + b"\r\nContent-Length: %d\r\n\r\n" % (Limits().answer + 1) + secret_body(),
        hangs,
        "answered",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_an_answer_that_is_in_doubt_is_withheld_and_recorded_as_sent(stand: Stand, bad: str) -> None:
    data, then, outcome = BAD[bad]
    seen, started = len(stand.upstream.seen), time.monotonic()
    with wild(stand.upstream, sends(data, then or (lambda connection: None))):
        found = stand.secret()
    withheld(stand, found)
    assert time.monotonic() - started < READ_TIMEOUT + 8
    assert len(stand.upstream.seen) == seen + 1
    record = stand.last_call()
    assert record["eventName"] == "GetSecretValue"
    assert record["additionalEventData"]["sluicegate"]["outcome"] == outcome


def withheld(stand: Stand, found: Answer) -> None:
    assert found.status in (0, 403, 502)
    assert SECRET not in str(found)
    if found.status == 502:
        assert "ServiceUnavailable" in found.body.decode()  # in the call's protocol, not mitmproxy's page
        assert "html" not in found.headers["content-type"]
    screen = Screen(stand.gateway)
    assert SECRET.encode() not in screen.request("GET", "flows").body
    newest = screen.flows()[-1]["id"]
    for path in ("response/content.data", "response/content/auto", "response/content/raw"):
        assert SECRET.encode() not in screen.request("GET", f"flows/{newest}/{path}").body
    for file in (stand.gateway.directory / "sessions").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


@pytest.mark.parametrize(
    "document",
    [
        f'<!DOCTYPE a [<!ENTITY s "{SECRET}">]>' + FOUND.replace(SECRET, "&s;"),
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">' + FOUND,
        FOUND.replace("</member>", "", 1),
        FOUND + FOUND,
    ],
    ids=["entity", "doctype", "open", "two"],
)
def test_xml_that_is_in_doubt_is_withheld(stand: Stand, document: str) -> None:
    with wild(stand.upstream, sends(xml(document))):
        found = configurations(stand)
    withheld(stand, found)
    assert stand.last_call()["additionalEventData"]["sluicegate"]["outcome"] == "answered"


@pytest.mark.long
def test_an_answer_without_an_end_is_cut_off(stand: Stand) -> None:
    def endless(connection: socket.socket) -> None:
        chunk = b"100000\r\n" + SECRET.encode().ljust(1 << 20) + b"\r\n"
        while True:
            connection.sendall(chunk)

    with wild(stand.upstream, sends(GOOD + b"Transfer-Encoding: chunked\r\n\r\n", endless)):
        withheld(stand, stand.secret())


class Watcher:
    """A person with a login who looks at everything that the screen serves, as fast as it serves it."""

    def __init__(self, stand: Stand) -> None:
        self.screen, self.seen, self.stop = Screen(stand.gateway), bytearray(), threading.Event()
        self.looks = 0
        self.socket = self.listen()
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.look, self.hear)]

    def listen(self) -> socket.socket:
        """The page's websocket, with filters on what the real credentials look like (RFC 6455)."""
        web = urlsplit(self.screen.url)
        assert web.hostname
        assert web.port
        made = socket.create_connection((web.hostname, web.port), timeout=10)
        page = self.screen.browser()
        made.sendall(
            f"GET /updates?key={page['X-Sluicegate-Key']} HTTP/1.1\r\nHost: {web.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Cookie: {page['Cookie']}\r\n\r\n".encode()
        )
        assert made.recv(4096).startswith(b"HTTP/1.1 101")
        for name, expression in (("q", f"~hq {REAL_KEY}"), ("s", f"~bs {SECRET}"), ("h", f"~hs {HEADER_SECRET}")):
            message = {"type": "flows/updateFilter", "payload": {"name": name, "expr": expression}}
            data = json.dumps(message).encode()
            made.sendall(b"\x81" + bytes([0xFE, len(data) >> 8, len(data) & 255]) + bytes(4) + data)
        return made

    def look(self) -> None:
        while not self.stop.is_set():
            flows = self.screen.request("GET", "flows").body
            self.seen += flows
            for flow in json.loads(flows)[-2:]:
                for part in ("content.data", "content/auto", "content/raw"):
                    for side in ("request", "response"):
                        self.seen += self.screen.request("GET", f"flows/{flow['id']}/{side}/{part}").body
            self.looks += 1

    def hear(self) -> None:
        with self.socket:
            self.seen += read_all(self.socket)

    def __enter__(self) -> "Watcher":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)


def test_the_screen_never_shows_a_secret_while_it_is_being_masked(stand: Stand) -> None:
    body, head = secret_body(), f"X-Amz-Version-Id: {HEADER_SECRET}\r\nContent-Length: 7\r\n\r\n".encode()

    def drip(connection: socket.socket) -> None:
        slow, first = (body, GOOD + b"Content-Length: %d\r\n\r\n" % len(body))
        if stand.upstream.seen[-1].method == "GET":
            slow, first = b"content", b"HTTP/1.1 200 OK\r\n" + head
        for piece in (first, *(slow[i : i + 1 + len(slow) // 4] for i in range(0, len(slow), 1 + len(slow) // 4))):
            connection.sendall(piece)
            time.sleep(0.15)

    with wild(stand.upstream, sends(b"", drip)), Watcher(stand) as watcher:
        for call in (stand.secret, lambda: object_(stand)):
            assert call().status == 200
        looks = watcher.looks
        until(lambda: watcher.looks > looks + 1, "a last look")
    shown = bytes(watcher.seen)
    assert watcher.looks > 2
    assert b"GetSecretValue" in shown  # it did look
    assert b'"type": "flows/update"' in shown
    assert SECRET.encode() not in shown
    assert HEADER_SECRET.encode() not in shown
    assert REAL_KEY.encode() not in shown.replace(b"~hq " + REAL_KEY.encode(), b"")
    assert b'"q": true' not in shown
    assert b'"s": true' not in shown
    assert b'"h": true' not in shown


def test_what_is_on_disk_holds_neither_a_secret_nor_a_real_key(stand: Stand) -> None:
    """Everything that the gateway wrote, but for its own state directory."""
    files = [f for f in stand.gateway.directory.rglob("*") if f.is_file() and "state" not in f.parts]
    assert any(f.suffix == ".jsonl" for f in files)
    for file in files:
        content = file.read_bytes()
        assert SECRET.encode() not in content, file
        assert HEADER_SECRET.encode() not in content, file
        assert REAL_KEY.encode() not in content, file


def test_an_upstream_that_is_not_there_is_a_failure_of_its_own(stand: Stand, tmp_path: Path) -> None:
    """The last of this file: the upstream does not come back."""
    stand.upstream.close()
    found = Background(stand.secret).done()
    assert found.status == 502
    assert json.loads(found.body)["__type"] == "ServiceUnavailable"
    assert stand.last_call()["additionalEventData"]["sluicegate"]["outcome"] == "failed"
