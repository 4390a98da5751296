"""Chunk-signed bodies: AWS's published ones are verified and come out signed with our key, and no other body does.

The published examples: S3 API reference, "Signature Calculations for the Authorization Header: Transferring Payload in
Multiple Chunks" (sigv4-streaming.html) and "... Including Trailing Headers" (sigv4-streaming-trailers.html).
"""

import hashlib
import hmac
import tracemalloc
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.wire.chunks import MAX_CHUNK, MIN_CHUNK, Resigner
from addons.wire.message import Headers, HttpRequest
from addons.wire.sigv4 import SignatureRefused, parse_authorization, sign, verify

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REAL_KEY, REAL_SECRET = "AKIAREALREALREALREAL", "realrealrealrealrealrealrealrealrealreal"
NOW = datetime(2013, 5, 24, tzinfo=UTC)
HOST = "s3.amazonaws.com"
SIGNED, TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
EMPTY = hashlib.sha256().hexdigest()
CHECKSUM = b"x-amz-checksum-crc32c:sOO8/Q=="
PUBLISHED = {  # seed, three chunks, trailer
    SIGNED: (
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ),
    TRAILER: (
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
    ),
}


@dataclass
class Upload:
    """A chunk-signed upload as an agent sends it."""

    headers: Headers
    body: bytes


def published(kind: str) -> Upload:
    """AWS's own example: 65 KB of "a" in two chunks."""
    seed, one, two, end, *trailer = PUBLISHED[kind]
    headers = {
        "Host": HOST, "x-amz-date": "20130524T000000Z", "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "Content-Encoding": "aws-chunked", "x-amz-decoded-content-length": "66560", "x-amz-content-sha256": kind,
    }  # fmt: skip
    if trailer:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32c"
    else:
        headers["Content-Length"] = "66824"
    names = ";".join(sorted(name.lower() for name in headers))
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders={names},Signature={seed}"
    )
    body = b"10000;chunk-signature=%b\r\n%b\r\n" % (one.encode(), b"a" * 65536)
    body += b"400;chunk-signature=%b\r\n%b\r\n0;chunk-signature=%b\r\n" % (two.encode(), b"a" * 1024, end.encode())
    if trailer:
        body += CHECKSUM + b"\r\nx-amz-trailer-signature:%b\r\n" % trailer[0].encode()
    return Upload(tuple(headers.items()), body + b"\r\n")


def made(
    kind: str, chunks: list[bytes], length: int | None = None, end: bytes = b"\r\n", secret: str = SECRET
) -> Upload:
    """An upload with these chunks, signed as the S3 reference says, by code of its own."""
    size = sum(map(len, chunks))
    plain = [
        ("Host", HOST), ("x-amz-content-sha256", kind),
        ("x-amz-decoded-content-length", str(size if length is None else length)),
    ]  # fmt: skip
    if kind == TRAILER:
        plain.append(("x-amz-trailer", "x-amz-checksum-crc32c"))
    headers = signed(HttpRequest("PUT", HOST, "/b/k", tuple(plain), None), KEY, secret)
    return Upload(headers, framed(headers, secret, chunks, kind, end))


def signed(request: HttpRequest, key: str, secret: str) -> Headers:
    return sign(
        request, access_key=key, secret_key=secret, token=None, service="s3", region="us-east-1", now=NOW
    )  # fmt: skip


def framed(headers: Headers, secret: str, chunks: list[bytes], kind: str, end: bytes = b"\r\n") -> bytes:
    """The whole body of a head that has been signed with `secret`."""
    last, key = dict(headers)["Authorization"].rpartition("Signature=")[2], ("AWS4" + secret).encode()
    for part in ("20130524", "us-east-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    scope, body = "20130524T000000Z\n20130524/us-east-1/s3/aws4_request", b""
    for chunk in [*chunks, b""]:
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{scope}\n{last}\n{EMPTY}\n{hashlib.sha256(chunk).hexdigest()}"
        last = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        body += f"{len(chunk):x};chunk-signature={last}\r\n".encode() + chunk + (b"\r\n" if chunk else b"")
    if kind == TRAILER:
        text = f"AWS4-HMAC-SHA256-TRAILER\n{scope}\n{last}\n{hashlib.sha256(CHECKSUM + b'\n').hexdigest()}"
        body += CHECKSUM + b"\r\nx-amz-trailer-signature:" + hmac.new(key, text.encode(), "sha256").hexdigest().encode()
        body += b"\r\n"
    return body + end


def resigner(upload: Upload, secret: str = SECRET) -> tuple[Resigner, Headers]:
    ours = signed(HttpRequest("PUT", HOST, "/b/k", upload.headers, None), REAL_KEY, REAL_SECRET)
    return Resigner(upload.headers, secret, ours, REAL_SECRET), ours


def passed(body: Resigner, data: bytes, sizes: list[int] | None = None) -> bytes:
    """The body pushed through in pieces of these sizes, over and over. As much comes out as went in."""
    out, at, turn = b"", 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)] if sizes else len(data)
        out += body.feed(data[at : at + size])
        assert len(out) <= at + size
        at, turn = at + size, turn + 1
    out += body.close()
    assert len(out) == len(data)
    return out


def refused(upload: Upload, data: bytes | None = None) -> SignatureRefused:
    """A body that is not let through: whatever came out has no valid end."""
    body, _ = resigner(upload)
    out = passed(body, upload.body if data is None else data)
    assert body.refused
    assert b"\r\n0;chunk-signature=" not in out
    assert not out.startswith(b"0;chunk-signature=")
    assert SECRET not in str(body.refused)
    assert body.feed(b"more") == b"!!!!"
    return body.refused


@pytest.mark.parametrize("kind", PUBLISHED)
@pytest.mark.parametrize("sizes", [None, [1], [7, 100], [65536], [85, 1]], ids=str)
def test_the_published_examples_are_verified_and_signed_anew(kind: str, sizes: list[int] | None) -> None:
    upload = published(kind)
    head = HttpRequest("PUT", HOST, "/examplebucket/chunkObject.txt", upload.headers, None)
    verify(head, parse_authorization(head), SECRET, now=NOW)
    ours = signed(head, REAL_KEY, REAL_SECRET)
    body = Resigner(upload.headers, SECRET, ours, REAL_SECRET)
    assert passed(body, upload.body, sizes) == framed(ours, REAL_SECRET, [b"a" * 65536, b"a" * 1024], kind)
    assert (body.refused, body.received) == (None, 66560)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_signing_with_the_published_key_gives_the_published_body(kind: str) -> None:
    upload = published(kind)
    assert passed(Resigner(upload.headers, SECRET, upload.headers, SECRET), upload.body) == upload.body


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from([SIGNED, TRAILER]),
    st.lists(st.integers(MIN_CHUNK, 40_000), max_size=4),
    st.integers(0, 9_000),
    st.lists(st.integers(1, 30_000), min_size=1, max_size=5),
)
def test_any_chunks_in_any_pieces(kind: str, sizes: list[int], last: int, pieces: list[int]) -> None:
    chunks = [bytes([65 + n]) * size for n, size in enumerate([*sizes, *([last] if last else [])])]
    upload = made(kind, chunks)
    body, ours = resigner(upload)
    assert passed(body, upload.body, pieces) == framed(ours, REAL_SECRET, chunks, kind)
    assert body.refused is None


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from([SIGNED, TRAILER]), st.integers(0, 2**30), st.integers(0, 7))
def test_no_bit_can_be_flipped(kind: str, place: int, bit: int) -> None:
    """Half of the places are in the framing, which is a small part of the bytes."""
    upload = made(kind, [b"a" * MIN_CHUNK, b"b" * 100])
    frame = [n for n, byte in enumerate(upload.body) if byte not in b"ab"]
    at = frame[place // 2 % len(frame)] if place % 2 else place % len(upload.body)
    changed = bytearray(upload.body)
    changed[at] ^= 1 << bit
    body, _ = resigner(upload)
    passed(body, bytes(changed))
    assert body.refused


@pytest.mark.parametrize("kind", PUBLISHED)
def test_no_body_can_be_cut_short(kind: str) -> None:
    upload = published(kind)
    ends = [0, 1, 84, 87, 1000, 65_622, 65_624, 65_630, len(upload.body) - 90, len(upload.body) - 3]
    for end in ends:
        assert refused(upload, upload.body[:end]).code in ("IncompleteBody", "IncompleteSignature"), end


@pytest.mark.parametrize("kind", PUBLISHED)
@pytest.mark.parametrize("more", [b"\n", b"0", b"\r\n\r\n", b"a" * 5000, b"x-amz-acl:public-read\r\n"])
def test_nothing_can_stand_after_the_end(kind: str, more: bytes) -> None:
    upload = published(kind)
    refused(upload, upload.body + more)
    body, _ = resigner(upload)
    passed(body, upload.body)
    assert body.refused is None
    assert body.feed(more) == b"!" * len(more)
    assert body.refused


def test_chunks_cannot_be_left_out_repeated_or_reordered() -> None:
    one, two, three = b"a" * MIN_CHUNK, b"b" * MIN_CHUNK, b"c" * MIN_CHUNK
    upload = made(SIGNED, [one, two, three])
    frame = MIN_CHUNK + len("2000;chunk-signature=") + 64 + 4
    parts = [upload.body[n * frame : (n + 1) * frame] for n in range(4)]
    for order in ([0, 2, 1, 3], [0, 1, 3], [1, 2, 3], [0, 0, 1, 2, 3], [3], [0, 1, 1, 2, 3]):
        refused(upload, b"".join(parts[n] for n in order))
    body, _ = resigner(upload)
    passed(body, b"".join(parts))
    assert body.refused is None


def test_chunks_of_another_upload_or_secret_are_refused() -> None:
    upload, other = made(SIGNED, [b"a" * 100]), made(SIGNED, [b"a" * 100], secret="another")
    assert refused(upload, other.body).code == "SignatureDoesNotMatch"
    body, _ = resigner(upload, "another")
    passed(body, upload.body)
    assert body.refused
    body, _ = resigner(replace(upload, headers=other.headers))
    passed(body, upload.body)
    assert body.refused


@pytest.mark.parametrize("length", [0, 8_291, 8_293, 10**15])
def test_the_length_must_be_the_announced_one(length: int) -> None:
    chunks = [b"a" * MIN_CHUNK, b"b" * 100]
    assert made(SIGNED, chunks, 8_292).body
    assert refused(made(SIGNED, chunks, length)).code == "IncompleteBody"


def test_only_the_last_chunk_may_be_small_and_none_large() -> None:
    assert refused(made(SIGNED, [b"a" * (MIN_CHUNK - 1), b"b"])).code == "InvalidChunkSizeError"
    upload = made(SIGNED, [b"a"], MAX_CHUNK * 2)
    head = b"%x;chunk-signature=%b\r\n" % (MAX_CHUNK + 1, b"0" * 64)
    body, _ = resigner(upload)
    assert body.feed(head) == b"!" * len(head)
    assert body.refused
    assert body.refused.code == "InvalidChunkSizeError"


@pytest.mark.parametrize(
    "head",
    [
        b"x;chunk-signature=" + b"0" * 64,
        b"64",
        b"64;chunk-signature=" + b"A" * 64,
        b"64;chunk-signature=" + b"0" * 63,
        b"64;a=b;chunk-signature=" + b"0" * 64,
        b" 64;chunk-signature=" + b"0" * 64,
        b"+64;chunk-signature=" + b"0" * 64,
        b"0x64;chunk-signature=" + b"0" * 64,
        b"000000064;chunk-signature=" + b"0" * 64,
        b"6" * 200,
    ],
)
def test_a_head_in_another_form_is_refused(head: bytes) -> None:
    upload = made(SIGNED, [b"a" * 100])
    assert refused(upload, head + b"\r\n" + b"a" * 100 + b"\r\n").code == "IncompleteSignature"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"x-amz-checksum-crc32c:", b"x-amz-checksum-crc32:"),
        (b"sOO8/Q==", b"sOO8/R=="),
        (b"sOO8/Q==", b" sOO8/Q=="),
        (b"x-amz-trailer-signature", b"x-amz-trailer-signaturf"),
        (CHECKSUM + b"\r\n", b""),
        (CHECKSUM + b"\r\n", CHECKSUM + b"\r\n" + CHECKSUM + b"\r\n"),
        (CHECKSUM + b"\r\n", CHECKSUM + b"\r\nx-amz-acl:public-read\r\n"),
        (b"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature", b"x-amz-trailer-signature"),
    ],
)
def test_a_trailer_must_be_the_announced_one(old: bytes, new: bytes) -> None:
    upload = published(TRAILER)
    assert old in upload.body
    refused(upload, upload.body.replace(old, new))


def test_a_trailer_whose_line_ends_as_in_the_canonical_form_passes() -> None:
    upload = made(TRAILER, [b"a" * 100])
    changed = upload.body.replace(CHECKSUM + b"\r\n", CHECKSUM + b"\n\r\n")
    body, _ = resigner(upload)
    assert CHECKSUM + b"\n\r\n" in passed(body, changed)
    assert body.refused is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-content-sha256", TRAILER),
        ("x-amz-decoded-content-length", "-1"),
        ("x-amz-decoded-content-length", "1e3"),
        ("x-amz-decoded-content-length", ""),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ],
)
def test_a_head_that_announces_something_else_is_refused(name: str, value: str) -> None:
    upload = made(SIGNED, [])
    headers = (*((n, v) for n, v in upload.headers if n != name), (name, value))
    with pytest.raises(SignatureRefused):
        Resigner(headers, SECRET, upload.headers, REAL_SECRET)
    with pytest.raises(SignatureRefused):
        Resigner((), SECRET, upload.headers, REAL_SECRET)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=300) | st.sampled_from([b"\r\n", b"0;chunk-signature=", b"2000;"]), max_size=8))
def test_whatever_comes_nothing_is_raised_and_as_much_goes_out(pieces: list[bytes]) -> None:
    body, _ = resigner(made(SIGNED, [b"a" * 100]))
    out = b"".join([body.feed(piece) for piece in pieces] + [body.close()])
    assert body.refused
    assert out == b"!" * sum(map(len, pieces))
    assert body.close() == b""


def test_chunks_of_sigv4a_are_refused() -> None:
    upload = made(SIGNED, [])
    head = HttpRequest("PUT", HOST, "/b/k", upload.headers, None)
    ecdsa = sign(
        head, access_key=KEY, secret_key=SECRET, token=None, service="s3", region="*", now=NOW
    )  # fmt: skip
    with pytest.raises(SignatureRefused, match="Version 4a"):
        Resigner(ecdsa, SECRET, upload.headers, REAL_SECRET)
    with pytest.raises(SignatureRefused, match="Version 4a"):
        Resigner(upload.headers, SECRET, ecdsa, REAL_SECRET)


def test_an_upload_takes_the_memory_of_a_chunk() -> None:
    """One byte at a time too: what comes is kept as bytes, not as pieces."""
    upload = made(SIGNED, [b"a" * 40_000] * 2)
    body, _ = resigner(upload)
    tracemalloc.start()
    try:
        for at in range(len(upload.body)):
            body.feed(upload.body[at : at + 1])
        body.close()
        assert body.refused is None
        assert tracemalloc.get_traced_memory()[1] < 250_000
    finally:
        tracemalloc.stop()
