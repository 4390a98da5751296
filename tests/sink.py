"""An AWS for large bodies: it counts what comes, keeps none of it, and can be slow, silent or early with its answer."""

import hashlib
import hmac
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import botocore.awsrequest
import botocore.credentials
from botocore.auth import S3SigV4Auth

from tests.agent import Raw
from tests.harness import IDENTITY, REAL_KEY

BUCKET = "bucket.s3.us-east-1.amazonaws.com"
PIECE = 1 << 20  # bytes
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-amz-request-id: r\r\n\r\n"


@dataclass
class Arrived:
    """One request: its head, and what has come of its body until now."""

    line: str
    headers: dict[str, str]
    size: int = 0  # bytes of the body, without the framing of HTTP
    whole: bool = False
    body: bytes = b""  # only the first bytes
    keep: int = 4096
    done: threading.Event = field(default_factory=threading.Event)  # whole, or broken off


Behaviour = Callable[[Arrived, socket.socket, BinaryIO], None]  # in place of reading the body and answering


class Sink:
    """An HTTP/1.1 server on loopback. `get` bytes are what a GET is answered with."""

    def __init__(self, get: int = 0) -> None:
        self.seen: list[Arrived] = []
        self.get = get
        self.keep = 4096  # first bytes of each body that are kept
        self.behave: Behaviour | None = None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listener.close()

    @property
    def bytes(self) -> int:
        """What has come of all bodies."""
        return sum(one.size for one in self.seen)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, cast("BinaryIO", connection.makefile("rb", buffering=PIECE)) as file:
            try:
                while line := file.readline().decode().strip():
                    names = dict(iter(lambda: read_header(file), ("", "")))
                    self._answer(Arrived(line, names, keep=self.keep), connection, file)
            except OSError:
                return

    def _answer(self, arrived: Arrived, connection: socket.socket, file: BinaryIO) -> None:
        if arrived.line.startswith("POST / "):  # the gateway's own question, at its start
            read_body(arrived, file)
            assert b"Action=GetCallerIdentity" in arrived.body
            assert REAL_KEY in arrived.headers["authorization"]
            connection.sendall(answer(IDENTITY.encode()))
            return
        self.seen.append(arrived)
        try:
            if self.behave:
                self.behave(arrived, connection, file)
                return
            read_body(arrived, file)
            if not arrived.whole:
                return
            if arrived.line.startswith("GET "):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.get)
                for left in range(self.get, 0, -PIECE):
                    connection.sendall(bytes(min(left, PIECE)))
            else:
                extra = b'ETag: "e"\r\n' if arrived.line.startswith("PUT ") else b""
                connection.sendall(multipart(arrived) or OK[:-2] + extra + b"\r\n")
        finally:
            arrived.done.set()


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def multipart(arrived: Arrived) -> bytes:
    """The answers to the beginning and the end of a multipart upload, b"" for other calls."""
    if not arrived.line.startswith("POST "):
        return b""
    kind = "InitiateMultipartUploadResult" if "?uploads" in arrived.line else "CompleteMultipartUploadResult"
    inner = "<UploadId>u</UploadId>" if "?uploads" in arrived.line else '<ETag>"e"</ETag>'
    text = f'<{kind} xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket><Key>k</Key>{inner}</{kind}>'
    return answer(text.encode())


def read_header(file: BinaryIO) -> tuple[str, str]:
    name, _, value = file.readline().decode().strip().partition(":")
    return name.lower(), value.strip()


def read_body(arrived: Arrived, file: BinaryIO) -> None:
    """Count a body to its end, or to where it breaks off."""
    if "chunked" in arrived.headers.get("transfer-encoding", ""):
        while size := int(file.readline() or b"-1", 16):
            if size < 0 or not take(arrived, file, size):
                return
            file.readline()
        arrived.whole = file.readline() == b"\r\n"
    else:
        arrived.whole = take(arrived, file, int(arrived.headers.get("content-length", "0")))


def take(arrived: Arrived, file: BinaryIO, size: int) -> bool:
    while size:
        piece = file.read1(min(size, PIECE))  # type: ignore[attr-defined]
        if not piece:
            return False
        arrived.size += len(piece)
        size -= len(piece)
        arrived.body += piece[: max(0, arrived.keep - len(arrived.body))]
    return True


class _Signer(S3SigV4Auth):  # type: ignore[misc]
    """botocore's own signer, with the payload line that a test says."""

    def payload(self, request: object) -> str:
        return str(request.headers["X-Amz-Content-SHA256"])  # type: ignore[attr-defined]

    def _should_sha256_sign_payload(self, request: object) -> bool:
        return True

    def _modify_request_before_signing(self, request: object) -> None:
        stated = request.headers["X-Amz-Content-SHA256"]  # type: ignore[attr-defined]
        super()._modify_request_before_signing(request)
        del request.headers["X-Amz-Content-SHA256"]  # type: ignore[attr-defined]
        request.headers["X-Amz-Content-SHA256"] = stated  # type: ignore[attr-defined]


def head(
    raw: Raw, size: int | None, payload: str = "UNSIGNED-PAYLOAD", path: str = "/key", method: str = "PUT",
    headers: Mapping[str, str] | None = None,
) -> bytes:  # fmt: skip
    """A signed head of S3's. `size` None: chunked. `payload`: x-amz-content-sha256."""
    request = botocore.awsrequest.AWSRequest(
        method, f"https://{raw.host}{path}", headers={"X-Amz-Content-SHA256": payload} | dict(headers or {})
    )
    if raw.keys:
        _Signer(botocore.credentials.Credentials(*raw.keys), "s3", raw.region).add_auth(request)
    framing = ("Transfer-Encoding", "chunked") if size is None else ("Content-Length", str(size))
    lines = "".join(f"{name}: {value}\r\n" for name, value in [("Host", raw.host), *request.headers.items(), framing])
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()


def push(connection: socket.socket, size: int) -> int:
    """Send zeros until all are sent or the other side takes no more; how many were sent."""
    sent = 0
    try:
        while sent < size:
            sent += connection.send(bytes(min(PIECE, size - sent)))
    except OSError:
        pass
    return sent


def in_chunks(headers: Mapping[str, str], secret: str, pieces: list[bytes]) -> bytes:
    """A body whose chunks are signed, as the S3 API reference says, after a head with these headers (lower-case)."""
    signature = headers["authorization"].rpartition("Signature=")[2]
    date, region, service, end = headers["authorization"].split("Credential=")[1].split(",")[0].split("/")[1:]
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, end):
        key = hmac.digest(key, part.encode(), "sha256")
    body = b""
    for piece in [*pieces, b""]:
        lines = [
            "AWS4-HMAC-SHA256-PAYLOAD",
            headers["x-amz-date"],
            f"{date}/{region}/{service}/{end}",
            signature,
            hashlib.sha256().hexdigest(),
            hashlib.sha256(piece).hexdigest(),
        ]
        signature = hmac.digest(key, "\n".join(lines).encode(), "sha256").hex()
        body += b"%x;chunk-signature=%b\r\n%b\r\n" % (len(piece), signature.encode(), piece)
    return body


def names_of(top: bytes) -> dict[str, str]:
    """The headers of a head, by their lower-case names."""
    pairs = (line.partition(": ")[::2] for line in top.decode().strip().split("\r\n")[1:])
    return {name.lower(): value for name, value in pairs}
