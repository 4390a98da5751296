"""The framing of an aws-chunked body without chunk signatures, checked while it passes, in constant memory.

    <size in hex>\\r\\n <data> \\r\\n ...   0\\r\\n [<trailer>:<value>\\r\\n] \\r\\n

Every byte goes on as it came. What AWS would read into a body is what its head announces: as many bytes as
x-amz-decoded-content-length says, and the one trailer that x-amz-trailer names, which could else bring a header of the
object that nobody decided on. Its checksum is AWS's to check. Source:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

import re

from addons.wire.authorization import SignatureRefused
from addons.wire.chunked import MAX_TRAILER
from addons.wire.message import Headers

KIND = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SMALL, MAX_SMALL = (
    8 * 1024,
    100_000,
)  # bytes of a chunk that S3 takes as a last one only; how many may come all the same
_HEAD = re.compile(rb"([0-9a-fA-F]{1,8})\r\n", re.ASCII)
_END = re.compile(rb"0+\r\n(?:([a-z0-9-]{1,64}):[\x21-\x7e]{1,1024}\r\n)?(?:\r\n)?", re.ASCII)
_LENGTH = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)


class Framing:
    """A body on its way: `feed` what comes, send what it gives, `close` at the end.

    The end (the chunk of size 0 and what follows) goes out only by `close`, if all of it was right. Neither method
    raises; from a refusal on nothing goes out.
    """

    def __init__(self, headers: Headers) -> None:
        """Raises `SignatureRefused` where these headers do not announce such a body, with its length."""
        names = {name.lower(): value for name, value in headers}
        length = names.get("x-amz-decoded-content-length", "")
        if names.get("x-amz-content-sha256") != KIND or not _LENGTH.fullmatch(length):
            raise _refusal("x-amz-decoded-content-length must be there, a number")
        self.refused: SignatureRefused | None = None  # why; final once set
        self._length, self._trailer = int(length), names.get("x-amz-trailer", "").lower().encode()
        self._received = self._small = 0
        self._missing = 0  # bytes of a chunk's data that have not come
        self._after = False  # behind a chunk's data: a line break must come
        self._line = b""  # a chunk's head, or the break behind it, as far as it has come
        self._end: bytes | None = None  # the last chunk and what follows

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the body; give what may be sent now."""
        try:
            return b"" if self.refused else self._passed(data)
        except SignatureRefused as error:
            self.refused = error
            return b""

    def close(self) -> bytes:
        """The body has ended: give its end, if all was right."""
        if self.refused:
            return b""
        end, self._end = self._end, b""
        found = _END.fullmatch(end or b"")
        if found is None or (found[1] or b"") != self._trailer:
            self.refused = _refusal("it does not end with its last chunk and the trailer that x-amz-trailer names")
        elif self._received != self._length:
            self.refused = _refusal("the chunks have less bytes than x-amz-decoded-content-length says")
        return b"" if self.refused else end or b""

    def _passed(self, data: bytes) -> bytes:
        out: list[bytes | memoryview] = []
        view, at = memoryview(data), 0
        while at < len(data):
            if self._end is not None:
                self._end += view[at:]
                if len(self._end) > MAX_TRAILER:
                    raise _refusal("it goes on after its end")
                break
            if self._missing:
                piece = view[at : at + self._missing]
                self._missing -= len(piece)
                at += len(piece)
                out.append(piece)
                continue
            stop = data.find(b"\n", at, at + 11) + 1
            self._line += view[at : stop or at + 11]
            at = stop or len(data)
            if len(self._line) > 10:
                raise _refusal("a chunk's head is not as aws-chunked says")
            if stop:
                out.append(self._head())
        return b"".join(out)

    def _head(self) -> bytes:
        """A whole line between two chunks' data has come: what may go on of it."""
        line, self._line = self._line, b""
        if self._after:
            self._after = False
            if line != b"\r\n":
                raise _refusal("a chunk is not as long as it says")
            return line
        head = _HEAD.fullmatch(line)
        if head is None:
            raise _refusal("a chunk's head is not as aws-chunked says")
        size = int(head[1], 16)
        if not size:
            self._end = line
            return b""
        self._missing, self._after = size, True
        self._received += size
        self._small += size < SMALL
        if self._received > self._length:
            raise _refusal("the chunks have more bytes than x-amz-decoded-content-length says")
        if self._small > MAX_SMALL:
            raise _refusal(f"more than {MAX_SMALL} chunks are smaller than {SMALL} bytes")
        return line


def _refusal(what: str) -> SignatureRefused:
    return SignatureRefused("IncompleteBody", f"the aws-chunked body was refused: {what}.")
