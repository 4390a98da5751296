"""What stands between the message's bytes and the payload: aws-chunked framing and gzip request compression.

aws-chunked: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and .../sigv4-streaming-trailers.html
"""

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping

from addons.wire.scalars import deny

MAX_BODY = 32 * 1024 * 1024
MAX_CHUNKS = 100_000
MAX_TRAILER = 4096  # bytes; a checksum and a signature have 300
_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})(;chunk-signature=[0-9a-f]{64,160})?", re.ASCII)
_TRAILER = re.compile(rb"([a-z0-9-]+):([\x21-\x7e]+)", re.ASCII)
STREAMING = {
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": (False, True),  # value: chunks signed, trailer follows
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": (True, False),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": (True, True),
}


def codings(headers: Mapping[str, str]) -> list[str]:
    """The content codings, outermost last, as the header lists them. Headers go by lower-case names here."""
    value = headers.get("content-encoding")
    return [part.strip() for part in value.split(",")] if value else []


def unchunk(headers: Mapping[str, str], body: bytes | None) -> bytes | None:
    """The payload of an aws-chunked body, or the body as it is. None: only the head is there.

    Lengths must agree with x-amz-decoded-content-length, and the trailer with x-amz-trailer and its checksum.
    """
    kind = headers.get("x-amz-content-sha256", "")
    streaming = STREAMING.get(kind)
    length, trailer = headers.get("x-amz-decoded-content-length"), headers.get("x-amz-trailer")
    named = "aws-chunked" in codings(headers)
    if kind.startswith("STREAMING-") and streaming is None:
        deny("x-amz-content-sha256 names a kind of streaming that is not known")
    if streaming is None:
        if named or length is not None or trailer is not None:
            deny("an aws-chunked body without its x-amz-content-sha256")
        return body
    if length is None or not re.fullmatch(r"0|[1-9][0-9]{0,15}", length):
        deny("an aws-chunked body without x-amz-decoded-content-length")
    signed, trailing = streaming
    if trailing != (trailer is not None):
        deny("x-amz-trailer and x-amz-content-sha256 do not agree")
    if trailer is not None and not trailer.lower().startswith("x-amz-checksum-"):
        deny("x-amz-trailer names something else than a checksum")  # a header of the object, that nobody decided on?
    if body is None:
        return None
    payload, rest = _chunks(body, signed)
    if len(payload) != int(length):
        deny("the chunks and x-amz-decoded-content-length do not agree")
    _check_trailer(rest, payload, trailer, signed)
    return payload


def _chunks(body: bytes, signed: bool) -> tuple[bytes, bytes]:
    """The payload, and what follows the chunk of size 0."""
    pieces: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\r\n", at, at + 256)
        head = _SIZE.fullmatch(body, at, end) if end >= 0 else None
        if head is None or (head[2] is not None) != signed:
            deny("a chunk's head is not as aws-chunked says")
        size, at = int(head[1], 16), end + 2
        if size == 0:
            return b"".join(pieces), body[at:]
        if body[at + size : at + size + 2] != b"\r\n":
            deny("a chunk is not as long as it says")
        if len(pieces) == MAX_CHUNKS:
            deny(f"more than {MAX_CHUNKS} chunks")
        pieces.append(body[at : at + size])
        at += size + 2


def _check_trailer(rest: bytes, payload: bytes, trailer: str | None, signed: bool) -> None:
    if len(rest) > MAX_TRAILER:
        deny("the trailer is too long")
    lines = rest.split(b"\r\n")
    while lines and not lines[-1]:
        lines.pop()
    found = {}
    for line in lines:
        parts = _TRAILER.fullmatch(line)
        if parts is None or parts[1] in found:
            deny("a trailer is not as aws-chunked says")
        found[parts[1].decode()] = parts[2].decode()
    signature = found.pop("x-amz-trailer-signature", None)
    if (signature is not None) != (signed and trailer is not None):
        deny("a trailer's signature is missing or not asked for")
    if set(found) != ({trailer.lower()} if trailer else set()):
        deny("the trailers are not those that x-amz-trailer names")
    for name, value in found.items():
        check = CHECKSUMS.get(name)
        if check and base64.b64encode(check(payload)).decode() != value:
            deny("a trailer's checksum is not that of the payload")


CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {  # those in the standard library
    "x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4),
    "x-amz-checksum-sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
}


def gunzip(body: bytes) -> bytes:
    """One gzip member and nothing after it, at most 32 MB when inflated (Smithy's requestCompression)."""
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        value = inflate.decompress(body, MAX_BODY + 1)
    except zlib.error:
        deny("the body is not gzip")
    if len(value) > MAX_BODY:
        deny("the body is too large when inflated")
    if not inflate.eof or inflate.unused_data:
        deny("the body is not one whole gzip member")
    return value
