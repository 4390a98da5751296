"""The kill switch and the revocation, at a real gateway: what they refuse, what they end, and how soon."""

import contextlib
import json
import os
import pwd
import signal
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from addons.identity.local import LocalIssuer
from addons.state import private_file
from addons.state.sqlite import FILE, SqliteStore
from addons.state.store import Stop
from tests import agent, harness
from tests.agent import Answer
from tests.fail_closed.conftest import Background, Screen, Stand, standing, until, wild

pytestmark = pytest.mark.long  # many gateways

ME = pwd.getpwuid(os.getuid()).pw_name
SECOND = 1.0  # within which a stop must count


@pytest.fixture(autouse=True)
def thawed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test leaves the gateway as it was."""
    yield
    if "stand" in request.fixturenames:
        stand: Stand = request.getfixturevalue("stand")
        with contextlib.closing(sqlite3.connect(stand.gateway.directory / "state" / FILE)) as db, db:
            db.execute("DELETE FROM stops")  # revocations are for good: no command takes one back
            db.execute("UPDATE versions SET value = value + 1")
        until(lambda: stand.call().status == 200, "calls after the test", seconds=5)


def store(stand: Stand) -> SqliteStore:
    return SqliteStore(stand.gateway.directory / "state" / FILE)


def put(stand: Stand, stop: Stop) -> float:
    """Write a stop as the command does; when."""
    with contextlib.closing(store(stand)) as kept:
        kept.stop(stop)
    return time.monotonic()


def session_of(stand: Stand) -> str:
    """The id of the session that the stand's keys are of."""
    stand.call()
    return str(stand.last_call()["additionalEventData"]["sluicegate"]["sessionId"])


def refusal(found: Answer) -> str:
    """The text of a refusal, which must be one."""
    assert found.status == 403, found
    return str(json.loads(found.body)["message"])


def until_refused(stand: Stand, since: float, **settings: Any) -> tuple[str, float]:
    """Call until it is refused: the refusal, and how many seconds after `since` it first came."""
    while (found := stand.call(**settings)).status == 200:
        assert time.monotonic() - since < 10, "calls go on"
    return refusal(found), time.monotonic() - since


@pytest.mark.parametrize("scope", ["all", "subject", "session"])
def test_a_frozen_session_is_refused_within_a_second(stand: Stand, scope: str) -> None:
    target = {"all": "", "subject": "agent/ada", "session": session_of(stand)}[scope]
    text, seconds = until_refused(stand, put(stand, Stop("freeze", scope, target, time.time(), "ops", "incident 7")))  # type: ignore[arg-type]
    assert seconds < SECOND
    assert "frozen by ops" in text
    assert "incident 7" in text
    assert "Ask ops" in text
    with stand.nothing_passes():
        assert stand.call().status == 403
    assert stand.last_call()["errorCode"] == "AccessDenied"


def test_others_go_on(stand: Stand) -> None:
    session = session_of(stand)
    put(stand, Stop("freeze", "subject", "agent/bob", time.time(), "ops"))
    put(stand, Stop("revoke", "session", "f" * 32, time.time(), "ops"))
    put(stand, Stop("revoke", "subject", session, time.time(), "ops"))
    time.sleep(SECOND)
    assert stand.call().status == 200


def test_the_commands_freeze_and_thaw_and_are_written_down_with_who_it_was(stand: Stand) -> None:
    gateway = stand.gateway
    assert "Frozen: subject agent/ada" in gateway.cli("freeze", "--subject", "agent/ada", "--reason", "a test").stdout
    text, _ = until_refused(stand, time.monotonic())
    assert f"frozen by {ME}" in text
    assert "a test" in text
    (frozen,) = json.loads(gateway.cli("freeze", "--list", "--json").stdout)
    assert (frozen["scope"], frozen["target"], frozen["by"]) == ("subject", "agent/ada", ME)
    (shown,) = json.loads(gateway.cli("session", "list", "--json").stdout)
    assert shown["state"] == "frozen"
    nothing = gateway.cli("thaw", "--all", check=False)
    assert (nothing.returncode, "was not frozen" in nothing.stderr) == (1, True)
    assert "Thawed" in gateway.cli("thaw", "--subject", "agent/ada").stdout
    until(lambda: stand.call().status == 200, "calls after the thaw", seconds=2)
    written = {
        line["eventName"]: line["additionalEventData"]["sluicegate"].get("detail")
        for line in stand.records()
        if line["eventType"] != "AwsApiCall"
    }
    assert written["freeze"] == {"by": ME, "scope": "subject", "target": "agent/ada", "reason": "a test"}
    assert written["thaw"] == {"by": ME, "scope": "subject", "target": "agent/ada", "reason": ""}


@pytest.mark.parametrize(
    "args", [[], ["--all", "--subject", "a"], ["--session", "a", "--subject", "b"], ["--subject", ""]]
)
def test_it_must_be_said_whom(stand: Stand, args: list[str]) -> None:
    ran = stand.gateway.cli("freeze", *args, check=False)
    assert (ran.returncode, "say whom" in ran.stderr) == (2, True)


@pytest.mark.parametrize("kind", ["freeze", "revoke"])
def test_a_held_call_ends_within_a_second_and_is_not_sent(stand: Stand, screen: Screen, kind: str) -> None:
    session = session_of(stand)
    seen = len(stand.upstream.seen)
    held = Background(lambda: stand.raw().call("DeleteTable", json.dumps({"TableName": f"t-{kind}"}).encode()))
    until(screen.tickets, "the held call")
    since = put(stand, Stop(kind, "session", session, time.time(), "ops", "enough"))  # type: ignore[arg-type]
    text = refusal(held.done(5))
    assert time.monotonic() - since < SECOND
    assert "refused by ops" in text
    assert "enough" in text
    assert screen.tickets() == []
    assert len(stand.upstream.seen) == seen
    (ended,) = [line for line in stand.records() if line["eventName"] == "hold-ended"][-1:]
    assert ended["additionalEventData"]["sluicegate"]["detail"]["by"] == "ops"


def test_a_yes_that_comes_with_the_freeze_sends_nothing(stand: Stand, screen: Screen) -> None:
    """The store says so, the gateway has not looked yet: the person's yes must not slip through for good."""
    seen = len(stand.upstream.seen)
    held = Background(lambda: stand.raw().call("DeleteTable", b'{"TableName":"race"}'))
    (ticket,) = until(screen.tickets, "the held call")
    put(stand, Stop("freeze", "all", "", time.time(), "ops"))
    until(lambda: not screen.tickets(), "the end of the hold", seconds=SECOND)
    assert screen.decide(ticket["id"]).status == 409
    assert held.done().status == 403
    assert len(stand.upstream.seen) == seen


def test_a_streamed_answer_is_cut(stand: Stand) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: binary/octet-stream\r\nContent-Length: 1000000\r\n\r\nfirst"

    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        with contextlib.suppress(OSError):
            while True:
                time.sleep(0.05)
                connection.sendall(b"x")

    raw = stand.raw(host="bucket.s3.us-east-1.amazonaws.com", service="s3")
    headers = raw.signed("GET", "/key", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, b"")
    with wild(stand.upstream, drip), raw.tunnel() as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        connection.sendall(f"GET /key HTTP/1.1\r\n{lines}\r\n".encode())
        connection.settimeout(5)
        received = b""
        while b"first" not in received:
            more = connection.recv(65536)
            assert more, received
            received += more
        since = put(stand, Stop("freeze", "subject", "agent/ada", time.time(), "ops"))
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                assert time.monotonic() - since < 5, "the stream goes on"
        assert time.monotonic() - since < SECOND
    line = until(lambda: [c for c in stand.gateway.calls() if c["eventName"] == "GetObject"], "the line")[-1]
    assert line["additionalEventData"]["sluicegate"]["outcome"] == "answered"


def test_an_upload_is_cut_and_aws_never_has_the_whole(stand: Stand) -> None:
    size, received = 4 << 20, bytearray()
    ended = threading.Event()

    def take(connection: socket.socket, address: object) -> None:
        with contextlib.suppress(OSError):
            while more := connection.recv(65536):
                received.extend(more)
        ended.set()

    raw = stand.raw(host="bucket.s3.us-east-1.amazonaws.com", service="s3")
    headers = raw.signed("PUT", "/key", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, b"")
    lines = "".join(f"{n}: {size if n == 'Content-Length' else v}\r\n" for n, v in headers)
    with pytest.MonkeyPatch.context() as patch, raw.tunnel() as connection:
        patch.setattr(stand.upstream.server, "finish_request", take)
        connection.sendall(f"PUT /key HTTP/1.1\r\n{lines}\r\n".encode() + b"x" * (2 << 20))
        until(lambda: len(received) > 1 << 20, "the beginning of the upload")
        since = put(stand, Stop("freeze", "session", session_id(stand), time.time(), "ops"))
        assert ended.wait(5)
        assert time.monotonic() - since < SECOND
        assert len(received) < size
        connection.settimeout(5)
        with contextlib.suppress(OSError):
            assert connection.recv(100) == b""


def session_id(stand: Stand) -> str:
    """The id of the session that was seen last, from the store."""
    with contextlib.closing(store(stand)) as kept:
        return kept.sessions(1)[0].id


@pytest.fixture
def tunnelling(tmp_path: Path) -> Iterator[Stand]:
    with standing(tmp_path, other_hosts="{tunnel: [localhost]}") as made:
        yield made


def hello(name: str) -> bytes:
    """The first bytes of a TLS client."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def connect(stand: Stand, port: int) -> tuple[socket.socket, bytes]:
    """Ask the proxy for a tunnel; the connection and the first line of the answer."""
    plain = socket.create_connection(stand.gateway.proxy_address, timeout=5)
    plain.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    return plain, plain.recv(4096)


def test_freezing_everything_closes_tunnels_and_opens_no_new_ones(tunnelling: Stand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        port = server.getsockname()[1]
        client, answer = connect(tunnelling, port)
        assert b" 200 " in answer
        client.sendall(hello("localhost"))
        far, _ = server.accept()
        assert far.recv(4096)
        far.sendall(b"through")
        assert client.recv(100) == b"through"
        since = put(tunnelling, Stop("freeze", "all", "", time.time(), "ops"))
        client.settimeout(5)
        with contextlib.suppress(ConnectionError):
            assert client.recv(100) == b""
        assert time.monotonic() - since < SECOND
        refused, answer = connect(tunnelling, port)
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"frozen by ops" in answer
        for each in (client, far, refused):
            each.close()


@pytest.mark.long
def test_a_freeze_while_nothing_runs_counts_from_the_start_and_outlives_a_crash(tmp_path: Path) -> None:
    upstream = harness.Upstream()
    config = harness.prepare(tmp_path, upstream.url)
    stopped = harness.Gateway(tmp_path, None, {"ca": ""}, tmp_path / "log")  # type: ignore[arg-type]
    assert "Frozen" in stopped.cli("freeze", "--all", "--config", str(config)).stdout
    for _ in range(2):
        with harness.gateway(tmp_path, upstream.url) as gateway:
            with pytest.raises(Exception, match="frozen by") as caught:
                agent.sign_in(gateway)
            assert "AccessDenied" in str(caught.value)
            gateway.process.send_signal(signal.SIGKILL)
            gateway.process.wait(10)
            (tmp_path / "ready.json").unlink()
    assert upstream.seen == []
    assert any(line["eventName"] == "freeze" for line in gateway.lines())
    upstream.close()


def test_a_revoked_session_neither_calls_nor_signs_in(stand: Stand) -> None:
    session = session_of(stand)
    assert "Revoked" in stand.gateway.cli("session", "revoke", session, "--reason", "leaked").stdout
    text, _ = until_refused(stand, time.monotonic())
    assert f"revoked by {ME}" in text
    assert "leaked" in text
    assert json.loads(stand.call().body)["__type"].endswith("ExpiredToken")
    with pytest.raises(Exception, match="revoked by") as caught, stand.nothing_passes():
        agent.sign_in(stand.gateway)
    assert "ExpiredToken" in str(caught.value)
    (shown,) = json.loads(stand.gateway.cli("session", "list", "--json").stdout)
    assert (shown["id"], shown["state"]) == (session, "revoked")
    assert "no session of that name" in stand.gateway.cli("session", "revoke", "0" * 32).stderr
    assert "no subject of that name" in stand.gateway.cli("freeze", "--subject", "agent/adda").stderr


@pytest.mark.long
def test_a_revoked_subject_comes_back_with_a_new_token_only(tmp_path: Path) -> None:
    with standing(tmp_path) as stand:
        put(stand, Stop("revoke", "subject", "agent/ada", time.time(), "ops"))
        text, seconds = until_refused(stand, time.monotonic())
        assert seconds < SECOND
        assert "new web identity token" in text
        with pytest.raises(Exception, match="revoked by"):
            agent.sign_in(stand.gateway)
        time.sleep(1.1)  # tokens are exact to the second
        made = LocalIssuer.open(tmp_path / "state").token("agent/ada", ["developers"])
        private_file.replace(stand.gateway.token_file(), made.encode())
        assert stand.call(keys=agent.sign_in(stand.gateway)).status == 200
        assert stand.call().status == 403


@pytest.mark.long
def test_who_was_seen_is_listed_soon_and_not_written_at_every_call(tmp_path: Path) -> None:
    with standing(tmp_path) as stand, contextlib.closing(store(stand)) as kept:
        (first,) = until(lambda: kept.sessions(5), "the session", seconds=2)
        assert (first.subject, first.groups, first.role) == ("agent/ada", ("developers",), harness.ROLE)
        for _ in range(5):
            assert stand.call().status == 200
        time.sleep(SECOND)
        assert kept.sessions(5)[0].calls == first.calls
        stand.gateway.stop()
        (last,) = kept.sessions(5)
        assert (last.id, last.calls) == (first.id, 5)
        assert first.first <= first.last < last.last


@pytest.mark.long
def test_nobody_calls_while_the_shared_state_cannot_be_read(tmp_path: Path) -> None:
    """A new file in its place has no stops, and the gateway would not see those that are written to it."""
    with standing(tmp_path) as stand:
        assert stand.call().status == 200
        for file in (tmp_path / "state").glob(f"{FILE}*"):
            file.unlink()
        store(stand).close()
        found = until(lambda: (got := stand.call()).status == 503 and got, "the refusal", seconds=25)
        assert "shared state" in json.loads(found.body)["message"]
