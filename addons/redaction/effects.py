"""What else on the wire changes when an answer is masked: content encoding, lengths, checksums."""

import zlib

from addons.redaction.tree import Unredactable
from addons.wire.message import Headers, HttpResponse, Protocol

LIMIT = 16 * 1024 * 1024  # bytes of a body after decompression
_STALE = {"content-encoding", "content-md5", "etag", "x-amz-crc32", "digest", "content-digest", "repr-digest"}
_FAMILY: dict[Protocol, str] = {
    "json": "json",
    "rest-json": "json",
    "query": "xml",
    "ec2": "xml",
    "rest-xml": "xml",
    "smithy-rpc-v2-cbor": "cbor",
    "smithy-rpc-v2-json": "json",
}


def decoded_body(response: HttpResponse) -> bytes:
    """The body without its content encoding. Raises `Unredactable` for unknown ones, damage and bodies over `LIMIT`."""
    values = [value for key, value in response.headers if key.lower() == "content-encoding"]
    codings = [coding.strip().lower() for value in values for coding in value.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    body = response.body
    if codings == ["gzip"]:
        body = _gunzip(body)
    elif codings:
        raise Unredactable("unknown content encoding")
    if len(body) > LIMIT:
        raise Unredactable(f"a body over {LIMIT} bytes")
    return body


def _gunzip(body: bytes) -> bytes:
    inflate = zlib.decompressobj(wbits=31)
    try:
        plain = inflate.decompress(body, LIMIT + 1)
    except zlib.error:
        plain = None
    if plain is None:  # outside of the handler: an exception's context could hold bytes of the body
        raise Unredactable("damaged gzip")
    if len(plain) <= LIMIT and (not inflate.eof or inflate.unused_data):
        raise Unredactable("gzip that is cut short or goes on")
    return plain


def check_content_type(response: HttpResponse, protocol: Protocol) -> None:
    """Refuse an answer that says to be something else than the call's protocol.

    Unspecific types pass, as the body still has to parse strictly: SDKs ignore the type, and so do AWS look-alikes.
    """
    kind = (response.get("content-type") or "").split(";")[0].strip().lower()
    family = next((family for family in ("json", "xml", "cbor") if family in kind.split("/")[-1]), None)
    if kind.endswith("eventstream") or kind.startswith("multipart/"):
        raise Unredactable(f"content type {kind}")
    if family not in (None, _FAMILY[protocol]):
        raise Unredactable(f"content type {kind} in an answer of protocol {protocol}")


def with_body(headers: Headers, body: bytes, keep_etag: bool) -> Headers:
    """The headers of an answer with another body: its length, no encoding, nothing computed over the old one.

    `keep_etag`: it is a version that the client sends back (CloudFront's IfMatch), not a digest of the body.
    """
    stale = _STALE - {"etag"} if keep_etag else _STALE
    kept = []
    for key, value in headers:
        name = key.lower()
        if name == "content-length":
            kept.append((key, str(len(body))))
        elif name not in stale and not name.startswith("x-amz-checksum-"):
            kept.append((key, value))
    return tuple(kept)
