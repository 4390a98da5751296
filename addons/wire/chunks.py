"""Chunk signatures: a body that is verified and signed anew while it passes, chunk by chunk, in constant memory.

    <size in hex>;chunk-signature=<64 hex>\\r\\n <data> \\r\\n ...   0;chunk-signature=<64 hex>\\r\\n
    [<trailer>:<value>\\r\\n x-amz-trailer-signature:<64 hex>\\r\\n] \\r\\n

Each signature covers the one before it, and the first covers that of the head. So there are two chains: the agent's,
which is checked, and ours, which replaces it. Lengths stay what they are, so Content-Length does. Source:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and .../sigv4-streaming-trailers.html

    verify(request, ...)                                     # the head, with `body=None`: whoever streams it does this
    headers = sign(request, ...)
    body = Resigner(request.headers, secret, headers, real_secret)     # raises SignatureRefused
    while data := ...: send(body.feed(data))                 # never raises; what comes out has been verified
    send(body.close())                                       # the end goes out only now, if all of it was right
    if body.refused: ...                                     # what was sent can't be taken for an upload
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from addons.wire.authorization import HMAC, SignatureRefused, not_served, of_header
from addons.wire.chunked import MAX_TRAILER, STREAMING
from addons.wire.message import Headers
from addons.wire.sigv4 import signing_key

MAX_CHUNK = 16 * 1024 * 1024  # bytes of one chunk, which is held until its signature has been checked
MIN_CHUNK = 8 * 1024  # bytes of every chunk but the last, as S3 demands: else a flood of signatures
_EMPTY = hashlib.sha256().hexdigest()
_HEAD = re.compile(rb"([0-9a-fA-F]{1,8});chunk-signature=([0-9a-f]{64})", re.ASCII)
_MAX_HEAD = 8 + len(";chunk-signature=") + 64
# Some clients end the trailer's line as the canonical form does, by a line feed, before CRLF.
_END = re.compile(
    rb"([a-z0-9-]{1,64}):([\x21-\x7e]{1,1024})\n?\r\nx-amz-trailer-signature:([0-9a-f]{64})(?:\r\n){1,2}", re.ASCII
)
_LENGTH = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_INVALID = b"!"  # stands for what was refused: no size of a chunk in any reading, so that nobody takes it for one

type _Out = list[bytes | bytearray]
type _Step = Callable[[memoryview, int, _Out], int]  # reads from a place in a piece of the body; gives the next place


@dataclass(slots=True)
class Chain:
    """One row of signatures, each of which covers the one before; the first is that of a head.

    It holds no secret, but the key that is made from it for one day.
    """

    key: bytes = field(repr=False)
    scope: str  # timestamp and credential scope, as two lines
    last: str  # the signature before, 64 hexadecimal digits

    @classmethod
    def of(cls, headers: Headers, secret: str) -> Self:
        """The chain that begins with the Authorization header among these. Raises `SignatureRefused`."""
        found = of_header(headers)
        if found.algorithm != HMAC:
            raise not_served("a chunk-signed body by Signature Version 4a", "Send an unsigned trailer.")
        key = signing_key(secret, found.date, found.region, found.service)
        return cls(key, f"{found.timestamp}\n{found.scope}", found.signature)

    def chunk(self, digest: str) -> str:
        """The signature of the next chunk, whose data has this SHA-256."""
        return self._next(f"AWS4-HMAC-SHA256-PAYLOAD\n{self.scope}\n{self.last}\n{_EMPTY}\n{digest}")

    def trailer(self, digest: str) -> str:
        """The signature of the trailer, whose canonical form has this SHA-256."""
        return self._next(f"AWS4-HMAC-SHA256-TRAILER\n{self.scope}\n{self.last}\n{digest}")

    def _next(self, text: str) -> str:
        self.last = hmac.digest(self.key, text.encode(), "sha256").hex()
        return self.last


class Resigner:
    """A chunk-signed body on its way: `feed` what comes, send what it gives, `close` at the end.

    As many bytes go out as came in, however the input is split; at most one chunk is held. Nothing goes out that was
    not verified, and the last chunk and trailer only by `close`: what is cut short, longer than it says, or changed
    anywhere has no valid end. From a refusal on, all that is left is replaced by bytes that no reader takes for a
    chunk. Neither method raises: they run where an exception would let the rest pass.
    """

    def __init__(self, received: Headers, secret: str, sent: Headers, real_secret: str) -> None:
        """`received`: the agent's headers, verified with `secret`; `sent`: ours, signed with `real_secret`.

        Raises `SignatureRefused` where these headers do not announce a chunk-signed body, with its length.
        """
        names = {name.lower(): value for name, value in received}
        kind, length, trailer = (
            names.get(name, "") for name in ("x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer")
        )
        signed, trailing = STREAMING.get(kind, (False, False))
        if not signed:
            raise SignatureRefused("IncompleteSignature", "x-amz-content-sha256 announces no chunk signatures.")
        if not _LENGTH.fullmatch(length):
            raise SignatureRefused("MissingContentLength", "x-amz-decoded-content-length must be there, a number.")
        if trailing != bool(trailer):
            raise SignatureRefused("IncompleteSignature", "x-amz-trailer and x-amz-content-sha256 do not agree.")
        self.refused: SignatureRefused | None = None  # why the upload was refused; final once set
        self.received = 0  # bytes of payload, without framing
        self._inbound, self._outbound = Chain.of(received, secret), Chain.of(sent, real_secret)
        self._length, self._trailer = int(length), trailer.lower().encode()
        self._balance = 0  # bytes that came in and have not gone out
        self._line = b""  # of a chunk's head, or all that follows the last one
        self._signature = ""  # that the chunk under way has to have
        self._missing = 0  # bytes of its data that have not come
        self._data = bytearray()  # and not the pieces as they came: a million of them would take a hundred times more
        self._digest = hashlib.sha256()
        self._step: _Step = self._in_head
        self._size = b""  # its size, as written
        self._small = self._closed = False

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the body; give what may be sent now, perhaps nothing."""
        out: _Out = []
        self._balance += len(data)
        try:
            if self._closed and data:
                raise _refusal("the body goes on after its end")
            view, at = memoryview(data), 0
            while at < len(data) and not self.refused:
                at = self._step(view, at, out)
        except SignatureRefused as error:
            self.refused = self.refused or error
        return self._give(out)

    def close(self) -> bytes:
        """The body has ended: give what is left, which is its valid end if all was right. May be called once."""
        out: _Out = []
        try:
            if not self.refused and not self._closed:
                self._end(out)
        except SignatureRefused as error:
            self.refused = error
        self._closed = True
        return self._give(out)

    def _give(self, out: _Out) -> bytes:
        made = b"".join(out)
        self._balance -= len(made)
        if self.refused:
            made += _INVALID * self._balance
            self._balance, self._data, self._line = 0, bytearray(), b""
        return made

    def _in_head(self, view: memoryview, at: int, out: _Out) -> int:
        before = len(self._line)
        self._line += view[at : at + _MAX_HEAD + 2 - before]
        end = self._line.find(b"\r\n")
        if end < 0:
            if len(self._line) >= _MAX_HEAD + 2:
                raise _refusal("a chunk's head is too long")
            return len(view)
        head = _HEAD.fullmatch(self._line, 0, end)
        if head is None:
            raise _refusal("a chunk's head is not as aws-chunked says")
        at += end + 2 - before
        size, self._signature = int(head[1], 16), head[2].decode()
        if size == 0:
            # The whole end waits for `close`: it makes an object of the upload.
            self._size, self._line, self._step = head[1], b"", self._in_end
            return at
        if size > MAX_CHUNK:
            raise _refusal(f"a chunk is larger than {MAX_CHUNK} bytes", "InvalidChunkSizeError")
        if self._small:
            raise _refusal(f"a chunk but the last has less than {MIN_CHUNK} bytes", "InvalidChunkSizeError")
        self._small = size < MIN_CHUNK
        self.received += size
        if self.received > self._length:
            raise _refusal("the chunks have more bytes than x-amz-decoded-content-length says", "IncompleteBody")
        self._size, self._line, self._missing, self._digest = head[1], b"", size, hashlib.sha256()
        self._step = self._in_data
        return at

    def _in_data(self, view: memoryview, at: int, out: _Out) -> int:
        piece = view[at : at + self._missing]
        self._data += piece
        self._digest.update(piece)
        self._missing -= len(piece)
        if not self._missing:
            self._step = self._after_data
        return at + len(piece)

    def _after_data(self, view: memoryview, at: int, out: _Out) -> int:
        before = len(self._line)
        self._line += view[at : at + 2 - before]
        if not b"\r\n".startswith(self._line):
            raise _refusal("a chunk is not as long as it says")
        at += len(self._line) - before
        if len(self._line) == 2:
            out += [*self._head(self._digest.hexdigest()), self._data, b"\r\n"]
            self._data, self._line, self._step = bytearray(), b"", self._in_head
        return at

    def _head(self, digest: str) -> tuple[bytes, bytes, bytes]:
        """A chunk's head with our signature, once the agent's has been found right."""
        if not hmac.compare_digest(self._inbound.chunk(digest), self._signature):
            raise _refusal("a chunk's signature does not match: it was changed on the way", "SignatureDoesNotMatch")
        return b"%b;chunk-signature=" % self._size, self._outbound.chunk(digest).encode(), b"\r\n"

    def _in_end(self, view: memoryview, at: int, out: _Out) -> int:
        self._line += view[at:]
        if len(self._line) > MAX_TRAILER:
            raise _refusal("the body goes on after its end")
        return len(view)

    def _end(self, out: _Out) -> None:
        """Check what has to be there at the end, then let it go."""
        if self._step != self._in_end:
            raise _refusal("the body ends before its last chunk", "IncompleteBody")
        if self.received != self._length:
            raise _refusal("the chunks have less bytes than x-amz-decoded-content-length says", "IncompleteBody")
        head = self._head(_EMPTY)
        if not self._trailer:
            if self._line != b"\r\n":
                raise _refusal("the body does not end with its last chunk", "IncompleteBody")
            out += [*head, b"\r\n"]
            return
        found = _END.fullmatch(self._line)
        if found is None or found[1] != self._trailer:
            raise _refusal("the trailer is not the one that x-amz-trailer names, with its signature")
        digest = hashlib.sha256(found[1] + b":" + found[2] + b"\n").hexdigest()
        if not hmac.compare_digest(self._inbound.trailer(digest), found[3].decode()):
            raise _refusal("the trailer's signature does not match", "SignatureDoesNotMatch")
        ours = self._outbound.trailer(digest).encode()
        out += [*head, self._line[: found.start(3)], ours, self._line[found.end(3) :]]


def _refusal(what: str, code: str = "IncompleteSignature") -> SignatureRefused:
    return SignatureRefused(code, f"the chunk-signed body was refused: {what}.")
