"""aws-chunked bodies without signatures: those that SDKs send pass byte for byte, however split, and no other ends.

The format is that of the S3 API reference, sigv4-streaming-trailers.html; botocore's own wrapper makes the good ones.
"""

import io

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.wire.authorization import SignatureRefused
from addons.wire.framing import MAX_SMALL, Framing
from addons.wire.message import Headers

BODY = b"4\r\nabcd\r\n2\r\nef\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"


def announced(length: int, trailer: str = "x-amz-checksum-crc32") -> Headers:
    return (
        ("X-Amz-Content-SHA256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("X-Amz-Decoded-Content-Length", str(length)),
        ("X-Amz-Trailer", trailer),
    )


def passed(body: bytes, length: int, cuts: list[int] | None = None, **more: str) -> tuple[bytes, Framing]:
    """What comes out of a body that comes in pieces, and who let it through."""
    framing, out, ends = Framing(announced(length, **more)), b"", sorted(cuts or [])
    for begin, end in zip([0, *ends], [*ends, len(body)], strict=True):
        out += framing.feed(body[begin:end])
    return out + framing.close(), framing


@given(st.binary(max_size=200), st.integers(1, 50), st.data())
@settings(max_examples=200)
def test_botocores_bodies_pass_as_they_are_however_they_are_split(
    payload: bytes, size: int, data: st.DataObject
) -> None:
    body = AwsChunkedWrapper(io.BytesIO(payload), Crc32Checksum, "x-amz-checksum-crc32", chunk_size=size).read()
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=5))
    out, framing = passed(body, len(payload), cuts)
    assert framing.refused is None
    assert out == body


def test_the_end_waits_until_all_has_come() -> None:
    framing = Framing(announced(6))
    assert framing.feed(BODY) == b"4\r\nabcd\r\n2\r\nef\r\n"
    assert framing.close() == BODY[len(b"4\r\nabcd\r\n2\r\nef\r\n") :]


@pytest.mark.parametrize("cut", range(len(BODY) - 4))
def test_a_body_that_is_cut_short_has_no_end(cut: int) -> None:
    out, framing = passed(BODY[:cut], 6)
    assert framing.refused
    assert b"\r\n0\r\n" not in out


@pytest.mark.parametrize(
    "body",
    [
        BODY.replace(b"crc32", b"sha1"),  # another trailer than the one announced
        BODY.replace(b"x-amz-checksum-crc32:AAAAAA==\r\n", b""),
        BODY.replace(b"\r\n\r\n", b"\r\nx-amz-acl:public-read\r\n\r\n"),
        BODY.replace(b"x-amz-checksum-crc32", b"X-Amz-Checksum-Crc32"),
        BODY.replace(b"2\r\nef", b"3\r\nef"),
        BODY.replace(b"2\r\nef", b"1\r\nef"),
        BODY.replace(b"4\r\n", b"4;x=y\r\n"),
        BODY.replace(b"4\r\n", b"+4\r\n"),
        BODY.replace(b"4\r\n", b"4\n"),
        BODY.replace(b"4\r\n", b"0000000004\r\n"),
        BODY.replace(b"4\r\n", b"4" * 50),
        BODY + b"more",
        BODY + BODY,
        BODY[:-2] + b"a" * 5000,
        b"",
    ],
)
@pytest.mark.parametrize("split", [False, True], ids=["at once", "byte by byte"])
def test_what_is_not_as_announced_never_ends(body: bytes, split: bool) -> None:
    out, framing = passed(body, 6, list(range(1, len(body))) if split else None)
    assert framing.refused
    assert framing.refused.code == "IncompleteBody"
    assert b"\r\n0\r\n" not in out


@pytest.mark.parametrize("length", [0, 5, 7])
def test_another_length_than_announced_never_ends(length: int) -> None:
    assert passed(BODY, length)[1].refused
    assert passed(BODY, 6)[1].refused is None


def test_a_flood_of_small_chunks_is_refused() -> None:
    framing = Framing(announced(MAX_SMALL + 1))
    framing.feed(b"1\r\na\r\n" * MAX_SMALL)
    assert framing.refused is None
    framing.feed(b"1\r\na\r\n")
    assert framing.refused


def test_a_head_that_announces_something_else_is_refused() -> None:
    with pytest.raises(SignatureRefused):
        Framing((("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("x-amz-decoded-content-length", "5")))
    with pytest.raises(SignatureRefused):
        Framing(announced(6)[:1])
