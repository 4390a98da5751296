"""The AWS of the benchmarks: a TLS server on loopback with static answers, which can also judge signatures.

    python -m scripts.benchmarks.upstream CERTIFICATE        prints {"port": ..., "pid": ...} once it listens

One thread on a selector, so that it costs a fraction of what is measured. Requests for the host `bench.invalid` are the
bench's own: `/judge` has every signature verified from here on, `/trust` ends that, `/report` tells what was seen.
"""

import contextlib
import ipaddress
import json
import os
import re
import selectors
import socket
import ssl
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.benchmarks.calls import CALLS, IDENTITY
from scripts.benchmarks.judge import Wrong, verify

CONTROL = "bench.invalid"
HEAD = re.compile(rb"\A([A-Z]+) (\S+) HTTP/1\.1\r\n")
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
TARGET = re.compile(rb"\r\nx-amz-target: *([^\r]+)\r\n", re.IGNORECASE)
HOST = re.compile(rb"\r\nhost: *([^\r]+)\r\n", re.IGNORECASE)
ANSWERS = {call.key.encode(): call.answer.encoded() for call in CALLS}
IDENTITY_ANSWER = IDENTITY.encoded()


@dataclass(slots=True)
class State:
    """What the upstream has seen since `/judge`."""

    judging: bool = False
    right: int = 0
    wrong: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Peer:
    """One connection of a proxy."""

    stream: ssl.SSLSocket
    shaken: bool = False
    buffer: bytes = b""


def serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Answer until the process is ended."""
    selector, state = selectors.DefaultSelector(), State()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                accept(listener, context, selector)
                continue
            try:
                going = step(key.data, state)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            except (OSError, ValueError) as error:
                going = isinstance(error, BlockingIOError)
            if not going:
                selector.unregister(key.data.stream)
                key.data.stream.close()


def accept(listener: socket.socket, context: ssl.SSLContext, selector: selectors.BaseSelector) -> None:
    """Take one connection."""
    plain, _ = listener.accept()
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setblocking(False)
    stream = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
    selector.register(stream, selectors.EVENT_READ, Peer(stream))


def step(peer: Peer, state: State) -> bool:
    """Read what is there and answer what is whole; False at the end of the connection."""
    if not peer.shaken:
        peer.stream.do_handshake()
        peer.shaken = True
    while True:
        if not (data := peer.stream.recv(1 << 16)):
            return False
        peer.buffer += data
        while (end := peer.buffer.find(b"\r\n\r\n")) >= 0:
            head = peer.buffer[: end + 4]
            size = int(match[1]) if (match := LENGTH.search(head)) else 0
            if len(peer.buffer) < len(head) + size:
                break
            body, peer.buffer = peer.buffer[len(head) : len(head) + size], peer.buffer[len(head) + size :]
            send(peer.stream, answer(head, body, state))


def answer(head: bytes, body: bytes, state: State) -> bytes:
    """The answer to one request. ValueError for what is no request."""
    if not (line := HEAD.match(head)) or not (host := HOST.search(head)):
        raise ValueError("not a request")
    if host[1].decode() == CONTROL:
        return control(line[2], state)
    if state.judging:
        try:
            verify(head, body)
            state.right += 1
        except Wrong as error:
            state.wrong[str(error)] += 1
    target = TARGET.search(head)
    if found := ANSWERS.get(target[1] if target else line[2].partition(b"?")[0]):
        return found
    if b"Action=GetCallerIdentity" in body:
        return IDENTITY_ANSWER
    return message(404, {"__type": "UnknownOperationException"})


def control(path: bytes, state: State) -> bytes:
    """What the bench itself asks for."""
    if path in (b"/judge", b"/trust"):
        state.judging, state.right, state.wrong = path == b"/judge", 0, Counter()
    return message(200, {"right": state.right, "wrong": dict(state.wrong)})


def message(status: int, value: Any) -> bytes:
    """A JSON answer."""
    body = json.dumps(value).encode()
    return (
        f"HTTP/1.1 {status} Bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def send(stream: ssl.SSLSocket, data: bytes) -> None:
    """Send all; the peer is on the same machine and reads."""
    view = memoryview(data)
    while view:
        try:
            view = view[stream.send(view) :]
        except ssl.SSLWantWriteError:
            with selectors.DefaultSelector() as one:
                one.register(stream, selectors.EVENT_WRITE)
                if not one.select(10):
                    raise TimeoutError("the proxy does not read") from None


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A throw-away root and a leaf for 127.0.0.1 and the AWS names of the calls: (the root, leaf with its key)."""
    now = datetime.now(UTC)
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sluicegate bench upstream")])
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    names += [x509.DNSName(host) for host in sorted({call.host for call in CALLS} | {CONTROL})]

    def certificate(
        subject: x509.Name, key: ec.EllipticCurvePrivateKey, extra: list[x509.ExtensionType]
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(root_name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        for extension in extra:
            builder = builder.add_extension(
                extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            )
        return builder.sign(root_key, hashes.SHA256())

    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # keyCertSign and cRLSign alone
    root = certificate(root_name, root_key, [x509.BasicConstraints(ca=True, path_length=0), usage])
    leaf_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    leaf = certificate(
        leaf_name, leaf_key, [x509.BasicConstraints(ca=False, path_length=None), x509.SubjectAlternativeName(names)]
    )
    pem = serialization.Encoding.PEM
    private = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "upstream-root.pem").write_bytes(root.public_bytes(pem))
    (directory / "upstream.pem").write_bytes(leaf.public_bytes(pem) + private)
    return directory / "upstream-root.pem", directory / "upstream.pem"


def main() -> None:
    """Listen and serve."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, contextlib.suppress(KeyboardInterrupt):
        print(json.dumps({"port": listener.getsockname()[1], "pid": os.getpid()}), flush=True)
        serve(listener, context)


if __name__ == "__main__":
    main()
