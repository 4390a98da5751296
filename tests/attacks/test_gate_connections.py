"""Connections opened for nothing, or used as slowly or as wastefully as they can be: they cost only whoever does it."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent import JSON
from tests.fail_closed.conftest import DYNAMODB, Background, Screen, Stand, read_all, resident, standing, until

CONNECT = f"CONNECT {DYNAMODB}:443 HTTP/1.1\r\nHost: {DYNAMODB}:443\r\n\r\n".encode()


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    limits = "{connections_each: 20, request_time: 2s}"
    with standing(tmp_path_factory.mktemp("gateway"), limits=limits) as made:
        yield made


def closed(connection: socket.socket, seconds: float) -> bool:
    """Whether the other side closes in time."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_more_connections_than_may_be_are_turned_away_and_room_comes_back(narrow: Stand) -> None:
    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(socket.create_connection(narrow.gateway.proxy_address, timeout=10)) for _ in range(40)
        ]
        time.sleep(0.3)
        assert sum(closed(connection, 0.05) for connection in made[20:]) >= 19
        until(lambda: any(r["eventName"] == "too-many-connections" for r in narrow.records()), "a line about it")
    until(lambda: narrow.call().status == 200, "room")


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"CON", b""),
        (CONNECT, b""),
        (CONNECT, b"\x16"),
        (b"GET http://x/ HTTP/1.1\r\n", b"a: b\r\n"),
    ],
    ids=["silence", "half a line", "no TLS", "half a hello", "dripping headers"],
)
def test_a_connection_that_brings_no_request_ends(narrow: Stand, first: bytes, drip: bytes) -> None:
    with socket.create_connection(narrow.gateway.proxy_address, timeout=10) as connection:
        connection.sendall(first)
        started = time.monotonic()
        while time.monotonic() - started < 1.5:
            with contextlib.suppress(OSError):
                connection.sendall(drip) if drip else None
            time.sleep(0.3)
        assert closed(connection, 5)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("idle", [0, 2.5], ids=["the first request", "a later request"])
def test_a_body_that_drips_ends_in_time_though_an_idle_connection_stays(narrow: Stand, idle: float) -> None:
    raw, body = narrow.raw(), b'{"TableName":"t","Key":{"k":{"S":"v"}}}'
    headers = raw.signed("POST", "/", JSON | {"x-amz-target": "DynamoDB_20120810.GetItem"}, body)
    request = b"POST / HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers).encode() + b"\r\n" + body
    with raw.tunnel() as tunnel:
        if idle:
            tunnel.sendall(request)
            tunnel.settimeout(5)
            assert read_all(tunnel).startswith(b"HTTP/1.1 200")
            time.sleep(idle)
        tunnel.sendall(request[:-5])
        started = time.monotonic()
        assert closed(tunnel, 6)
        assert 1 < time.monotonic() - started < 5


def test_what_is_sent_after_a_held_call_is_not_kept(stand: Stand, screen: Screen) -> None:
    """Nothing is read as a request while the last one waits: the bytes would pile up in memory."""
    raw, body = stand.raw(), b'{"TableName":"piled"}'
    headers = raw.signed("POST", "/", JSON | {"x-amz-target": "DynamoDB_20120810.DeleteTable"}, body)
    head = b"POST / HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers).encode() + b"\r\n"
    with raw.tunnel() as tunnel, stand.nothing_passes():
        tunnel.sendall(head + body)
        until(screen.tickets, "the held call")
        before = resident(stand.gateway.process.pid)
        tunnel.settimeout(5)
        with pytest.raises(OSError):
            for _ in range(100):
                tunnel.sendall(bytes(1 << 20))
        assert resident(stand.gateway.process.pid) - before < 30 << 20
        until(lambda: not screen.held(), "the end of the hold")


def test_a_chunks_length_that_does_not_end_is_not_kept(stand: Stand) -> None:
    before = resident(stand.gateway.process.pid)
    head = f"POST / HTTP/1.1\r\nHost: {DYNAMODB}\r\nTransfer-Encoding: chunked\r\n\r\n5;".encode()
    with stand.raw().tunnel() as tunnel, stand.nothing_passes():
        tunnel.sendall(head)
        tunnel.settimeout(5)
        with pytest.raises(OSError):
            for _ in range(100):
                tunnel.sendall(b"x" * (1 << 20))
    assert resident(stand.gateway.process.pid) - before < 30 << 20


def test_calls_pass_while_hundreds_of_connections_say_nothing(stand: Stand) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(socket.create_connection(stand.gateway.proxy_address, timeout=10))
        call = Background(stand.call)
        assert call.done(10).status == 200


@pytest.mark.long
def test_what_a_tunnel_is_sent_before_it_leads_anywhere_is_not_kept(tmp_path: Path) -> None:
    """The host takes its time to answer; the client does not wait."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):  # full: the system leaves the next one waiting
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        made = stack.enter_context(standing(tmp_path, other_hosts="{tunnel: [localhost]}"))
        client = stack.enter_context(socket.create_connection(made.gateway.proxy_address, timeout=10))
        client.sendall(f"CONNECT localhost:{server.getsockname()[1]} HTTP/1.1\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        outgoing = ssl.MemoryBIO()
        hello = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        client.sendall(outgoing.read())
        time.sleep(0.5)
        before = resident(made.gateway.process.pid)
        client.settimeout(2)
        with pytest.raises(OSError):  # it stops reading, or the connection fails
            for _ in range(200):
                client.sendall(bytes(1 << 20))
        assert resident(made.gateway.process.pid) - before < 30 << 20
