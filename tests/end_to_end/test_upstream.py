"""The keys of `upstream`: AWS through a company's proxy, under a company's certificate authority, and time-outs."""

import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from mitmproxy.certs import CertStore

import addons
from certs.authority import Authority
from tests import harness
from tests.agent import Raw, sign_in
from tests.harness import REAL_KEY, Gateway, Upstream

pytestmark = pytest.mark.long  # many gateways

STS, DYNAMODB = "sts.us-east-1.amazonaws.com", "dynamodb.us-east-1.amazonaws.com"


class CompanyProxy:
    """A proxy that knows CONNECT alone, and leads every name to one server on loopback."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.tunnel, args=[client], daemon=True).start()

    def tunnel(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (byte := client.recv(1)):
                return
            head += byte
        method, target = head.decode().split(" ")[:2]
        self.asked.append(f"{method} {target}")
        server = socket.create_connection(("127.0.0.1", self.port))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=pump, args=[server, client], daemon=True).start()
        pump(client, server)


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[tuple[Upstream, str]]:
    """An AWS of a certificate authority that nobody else trusts; and that authority's file."""
    authority = Authority.open(tmp_path / "company", ["amazonaws.com"])
    names = [x509.DNSName(STS), x509.DNSName(DYNAMODB)]
    leaf = CertStore.from_store(authority.directory, "mitmproxy", 2048).get_cert(STS, names)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(leaf.cert.to_pem() + b"".join(one.to_pem() for one in leaf.chain_certs))
    key.write_bytes((authority.directory / "mitmproxy-ca.pem").read_bytes())  # mitmproxy's leaves have the same key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    upstream = Upstream()
    upstream.server.socket = context.wrap_socket(upstream.server.socket, server_side=True)
    yield upstream, str(authority.root)
    upstream.close()


@pytest.fixture
def proxy(aws: tuple[Upstream, str]) -> Iterator[CompanyProxy]:
    made = CompanyProxy(aws[0].server.server_address[1])
    yield made
    made.listener.close()


def call(gate: Gateway) -> int:
    return Raw(gate, keys=sign_in(gate)).call().status


def check(gate: Gateway, upstream: Upstream, proxy: CompanyProxy) -> None:
    """A call passes; it and the gateway's own went through the proxy, signed with the real key, to the right host."""
    assert call(gate) == 200
    assert proxy.asked == [f"CONNECT {STS}:443", f"CONNECT {DYNAMODB}:443"]
    (seen,) = upstream.seen
    assert seen.headers["host"] == DYNAMODB
    assert REAL_KEY in seen.headers["authorization"]


def test_calls_and_the_gateways_own_go_through_upstream_proxy_under_upstream_ca(
    tmp_path: Path, aws: tuple[Upstream, str], proxy: CompanyProxy
) -> None:
    upstream, root = aws
    with harness.gateway(tmp_path, "", upstream=f"{{proxy: '{proxy.url}', ca: '{root}'}}") as gate:
        check(gate, upstream, proxy)


@pytest.mark.long
def test_the_script_of_stock_mitmdump_obeys_both_as_well(
    tmp_path: Path, aws: tuple[Upstream, str], proxy: CompanyProxy
) -> None:
    upstream, root = aws
    keys = f"{{proxy: '{proxy.url}', ca: '{root}'}}"
    place = Path(addons.__file__).parent
    with harness.script(tmp_path, "", program="mitmdump", addons=place, upstream=keys) as gate:
        check(gate, upstream, proxy)


def test_an_authority_that_is_not_named_is_not_trusted(
    tmp_path: Path, aws: tuple[Upstream, str], proxy: CompanyProxy
) -> None:
    config = harness.prepare(tmp_path, "", upstream=f"{{proxy: '{proxy.url}'}}")
    command = [sys.executable, "-m", "scripts", "up", "--config", str(config)]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=harness.operator_environment()
    )
    assert ran.returncode == 2
    assert "upstream.ca" in ran.stderr


def test_an_upstream_that_does_not_connect_is_given_up_after_connect_timeout(tmp_path: Path) -> None:
    upstream = Upstream()
    settings = f"{{endpoint: '{upstream.url}', connect_timeout: 1s}}"
    with harness.gateway(tmp_path, "", upstream=settings) as gate:
        keys = sign_in(gate)
        upstream.close()
        with socket.create_server(upstream.server.server_address, backlog=0) as deaf:
            waiting = [socket.socket() for _ in range(4)]  # fill its queue: Linux lets further ones wait unanswered
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(deaf.getsockname())
            began = time.monotonic()
            assert Raw(gate, keys=keys).call().status == 502
            assert 0.9 < time.monotonic() - began < 8
            for one in waiting:
                one.close()
        assert gate.calls()[-1]["errorCode"] == "ServiceUnavailable"
