"""Bodies that stream, by a client and an upstream that try the odd ends: what is refused stays refused, and untold."""

import contextlib
import hashlib
import os
import signal
import socket
import ssl
import threading
import time
import urllib.parse
from pathlib import Path
from typing import BinaryIO

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from mitmproxy.certs import CertStore

from certs.authority import Authority
from tests import agent, harness
from tests.end_to_end.test_upstream import STS, CompanyProxy
from tests.fail_closed.conftest import Stand, until
from tests.fail_closed.test_streams import HASH, POLICY, SIZE, outcome, raw, sink, stand
from tests.sink import BUCKET, Arrived, Sink, head, push, read_body

__all__ = ["sink", "stand"]

QUOTING = (
    b"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>%b</AWSAccessKeyId></Error>" % harness.REAL_KEY.encode()
)


def test_an_answer_that_crosses_the_refusal_of_its_body_is_not_passed_on_unread(stand: Stand, sink: Sink) -> None:
    """The body fails and AWS answers in one and the same turn of the event loop: nobody would mask that answer."""
    go, answered = threading.Event(), threading.Event()

    def quote(arrived: Arrived, connection: socket.socket, file: BinaryIO) -> None:
        go.wait(10)
        top = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(top % len(QUOTING) + QUOTING)
        answered.set()
        read_body(arrived, file)
        raise ConnectionError

    sink.behave = quote
    made, seen = raw(stand), len(sink.seen)
    announced = {
        "x-amz-decoded-content-length": "4",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "content-encoding": "aws-chunked",
    }
    with made.tunnel() as connection:
        connection.sendall(head(made, 1000, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", headers=announced) + b"4\r\nte")
        until(lambda: len(sink.seen) > seen, "the head")
        time.sleep(0.2)
        os.kill(stand.gateway.process.pid, signal.SIGSTOP)
        try:
            connection.sendall(b"st, and not the end of a chunk")
            time.sleep(0.1)
            go.set()
            answered.wait(5)
            time.sleep(0.1)
        finally:
            os.kill(stand.gateway.process.pid, signal.SIGCONT)
        found = agent.read(connection, "PUT")
    assert harness.REAL_KEY.encode() not in found.body
    assert found.status == 400
    assert b"IncompleteBody" in found.body
    assert outcome(stand)["outcome"] == "refused"


def test_an_empty_upload_that_waits_for_100_leaves_its_connection_usable(stand: Stand, sink: Sink) -> None:
    made, seen = raw(stand), len(sink.seen)
    with made.tunnel() as connection:
        connection.settimeout(5)
        for path in ("/key", "/key", "/secret"):
            connection.sendall(head(made, 0, path=path)[:-2] + b"Expect: 100-continue\r\n\r\n")
            found = agent.read(connection, "PUT")
            assert found.status == (403 if path == "/secret" else 200)
        connection.sendall(head(made, 5) + b"hello")
        assert agent.read(connection, "PUT").status == 200
    assert [one.size for one in sink.seen[seen:]] == [0, 0, 5]


def test_an_empty_upload_of_another_hash_is_refused(stand: Stand, sink: Sink) -> None:
    made, seen = raw(stand), len(sink.seen)
    with made.tunnel() as connection:
        connection.settimeout(5)
        connection.sendall(head(made, 0, HASH)[:-2] + b"Expect: 100-continue\r\n\r\n")
        found = agent.read(connection, "PUT")
    assert found.status == 403
    assert b"XAmzContentSHA256Mismatch" in found.body
    assert sink.seen[seen:] == []


def test_a_method_is_sent_as_it_was_decided_on(stand: Stand) -> None:
    made = raw(stand)
    with stand.nothing_passes(), made.tunnel() as connection:
        connection.settimeout(5)
        connection.sendall(head(made, 5).replace(b"PUT ", b"put ", 1) + b"hello")
        assert agent.read(connection, "PUT").status == 403


class Presigner(S3SigV4QueryAuth):  # type: ignore[misc]
    """botocore's own, for a URL that states the body's hash."""

    def payload(self, request: object) -> str:
        return HASH


def test_a_hash_that_a_presigned_url_states_is_checked_too(stand: Stand, sink: Sink) -> None:
    request = AWSRequest("PUT", f"https://{BUCKET}/key", params={"X-Amz-Content-Sha256": HASH})
    Presigner(Credentials(*stand.keys), "s3", "us-east-1").add_auth(request)
    made = request.url
    parts = urllib.parse.urlsplit(made)
    seen = len(sink.seen)
    top = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {SIZE}\r\n\r\n"
    with stand.raw(host=parts.netloc).tunnel() as connection:
        connection.sendall(top.encode() + b"x" + bytes(SIZE - 1))
        found = agent.read(connection, "PUT")
    for arrived in sink.seen[seen:]:
        assert arrived.done.wait(5)
        assert not arrived.whole
    assert found.status == 400, found


@pytest.mark.parametrize("path", ["/key", "/secret"])
@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", hashlib.sha256(b"hello").hexdigest()])
def test_a_trailer_of_http_ends_the_call_and_the_call_has_its_line(
    stand: Stand, sink: Sink, payload: str, path: str
) -> None:
    made, seen, before = raw(stand), len(sink.seen), stand.count()
    with made.tunnel() as connection:
        connection.settimeout(1.5)  # under the time after which an upstream is given up
        connection.sendall(head(made, None, payload, path) + b"5\r\nhello\r\n0\r\nx-amz-acl: public-read\r\n\r\n")
        answered = connection.recv(4096)
    assert answered == b"" or b" 403 " in answered
    assert not any(one.whole for one in sink.seen[seen:])
    until(lambda: stand.count() > before, "its line")
    until(lambda: outcome(stand)["outcome"] in ("failed", "refused"), "its line")


class Hidden(Sink):
    """An AWS behind TLS, of a certificate authority that nobody else trusts."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority.open(directory / "company", ["amazonaws.com"])
        names = [x509.DNSName(name) for name in (STS, BUCKET)]
        leaf = CertStore.from_store(self.authority.directory, "mitmproxy", 2048).get_cert(STS, names)
        chain = directory / "chain.pem"
        chain.write_bytes(leaf.cert.to_pem() + b"".join(one.to_pem() for one in leaf.chain_certs))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(chain, self.authority.directory / "mitmproxy-ca.pem")  # its leaves have the same key
        super().__init__()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            super()._serve(self.tls.wrap_socket(connection, server_side=True))


def test_behind_a_companys_proxy_a_refused_body_has_no_end_either(tmp_path: Path) -> None:
    """Its connection is not ours to break there, and what is wrong and the end of the message are read at once."""
    sink = Hidden(tmp_path)
    proxy = CompanyProxy(int(sink.url.rpartition(":")[2]))
    settings = f"{{proxy: '{proxy.url}', ca: '{sink.authority.root}'}}"
    with harness.gateway(tmp_path, "", POLICY, upstream=settings, limits="{upload: 1MB}") as gateway:
        stand = Stand(gateway, sink, agent.sign_in(gateway))  # type: ignore[arg-type]
        made = raw(stand)
        for count, more in enumerate((0, 10), 1):
            size = (1 << 20) + (1 << 16) + more
            with made.tunnel() as connection:
                connection.sendall(head(made, None) + b"%x\r\n" % size)
                push(connection, size - 100)
                until(lambda: len(sink.seen) == count and sink.seen[-1].size == size - 100, "most")  # noqa: B023
                connection.sendall(bytes(100) + b"\r\n0\r\n\r\n")
                with contextlib.suppress(OSError):
                    connection.recv(1000)
            assert sink.seen[-1].done.wait(5)
            assert sink.seen[-1].whole is (more == 0)
    sink.close()
    proxy.listener.close()
