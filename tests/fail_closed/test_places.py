"""Where a connection may lead: to AWS by TLS, to what is listed, and never to what only this machine can reach."""

import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agent import Raw
from tests.fail_closed.conftest import DYNAMODB, Stand, read_all, standing


@pytest.fixture(scope="module")
def open_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A gateway that tunnels to everything that is not AWS."""
    with standing(tmp_path_factory.mktemp("open"), other_hosts="{tunnel: all}") as made:
        yield made


def test_plain_http_is_refused_wherever_it_goes(open_stand: Stand) -> None:
    web = open_stand.gateway.ready["web"].removeprefix("http://").rstrip("/")
    own = open_stand.gateway.proxy.removeprefix("http://")
    upstream = open_stand.upstream.url.removeprefix("http://")
    for place in ("169.254.169.254", own, web, upstream, f"{DYNAMODB}:80", "example.com"):
        connections = open_stand.upstream.connections
        with open_stand.nothing_passes():
            found = open_stand.exchange(f"GET http://{place}/latest HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        assert found.split(b" ")[1] == b"403", place
        assert open_stand.upstream.connections == connections


@pytest.mark.parametrize(
    "place",
    ["own", "web", "upstream", "localhost:443", "127.0.0.1:443", "169.254.169.254:443", "[::1]:443", "10.0.0.1:443",
     "2130706433:443", "0x7f000001:443", "127.1:443", "0.0.0.0:443", "[::ffff:127.0.0.1]:443"],
)  # fmt: skip
def test_a_tunnel_to_a_place_that_is_not_public_is_refused(open_stand: Stand, place: str) -> None:
    urls = {
        "own": open_stand.gateway.proxy,
        "web": open_stand.gateway.ready["web"],
        "upstream": open_stand.upstream.url.replace("127.0.0.1", "localhost"),
    }
    target = urls[place].removeprefix("http://").rstrip("/") if place in urls else place
    connections = open_stand.upstream.connections
    with open_stand.nothing_passes():
        found = knock(open_stand, target)
    assert found == b"" or found.startswith(b"HTTP/1.1 403")
    assert open_stand.upstream.connections == connections


def knock(stand: Stand, target: str) -> bytes:
    """Ask for a tunnel; where it is opened, greet by TLS. What came back, but for the 200 of the CONNECT."""
    host = target.rpartition(":")[0].strip("[]")
    with socket.create_connection(stand.gateway.proxy_address, timeout=10) as connection:
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        first = connection.recv(4096)
        if not first.startswith(b"HTTP/1.1 200"):
            return first
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        greeting = context.wrap_bio(incoming, outgoing, server_hostname=host)
        with pytest.raises(ssl.SSLWantReadError):
            greeting.do_handshake()
        connection.sendall(outgoing.read())
        connection.settimeout(3)
        return read_all(connection)


def test_raw_bytes_in_a_tunnel_go_nowhere(open_stand: Stand) -> None:
    for target in (f"{DYNAMODB}:443", "example.com:443"):
        connections = open_stand.upstream.connections
        with (
            open_stand.nothing_passes(),
            socket.create_connection(open_stand.gateway.proxy_address, timeout=10) as connection,
        ):
            connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n\r\n" + bytes(range(256)))
            connection.settimeout(3)
            assert not read_all(connection).startswith(b"HTTP/1.1 200")
        assert open_stand.upstream.connections == connections


def test_a_tunnel_whose_tls_names_another_host_is_cut(open_stand: Stand) -> None:
    with open_stand.nothing_passes():
        found = Raw(open_stand.gateway, host="example.com", sni=DYNAMODB).send("GET", "/", [("Host", DYNAMODB)])
    assert found.status == 0
    assert any(line["eventName"] == "tunnel-refused" for line in open_stand.records())


def test_a_host_that_nobody_listed_is_refused(stand: Stand) -> None:
    with stand.nothing_passes():
        found = stand.exchange(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 403")


def test_a_listed_host_may_even_be_here(tmp_path: Any, open_stand: Stand) -> None:
    """The positive control of the tunnels: where the operator says so, the bytes go through unread."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with standing(tmp_path, other_hosts="{tunnel: [localhost]}") as listed:
            with socket.create_connection(listed.gateway.proxy_address, timeout=10) as client:
                client.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode())
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                greeting = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
                with pytest.raises(ssl.SSLWantReadError):
                    greeting.do_handshake()
                hello = outgoing.read()
                client.sendall(hello)
                server.settimeout(10)
                with server.accept()[0] as arrived:
                    arrived.settimeout(10)
                    assert arrived.recv(len(hello)) == hello
            assert [line["eventName"] for line in listed.records()].count("tunnel") == 1
