"""A body on its way: what is passed on, what is held back, and that nothing in there ever raises."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.upload import Upload, stated_hash
from addons.wire.authorization import SignatureRefused

HASH = hashlib.sha256(b"whole").hexdigest()


@given(st.lists(st.binary(min_size=1)))
def test_a_right_body_passes_as_it_is(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    for stated in (None, hashlib.sha256(body).hexdigest()):
        upload = Upload(1 << 20, stated)
        passed = [out for piece in [*pieces, b""] for out in upload(piece)]
        assert b"".join(passed) == body
        assert b"" not in passed
        assert (upload.whole, upload.size, upload.sha256) == (True, len(body), hashlib.sha256(body).hexdigest())


def test_with_a_stated_hash_the_last_piece_waits_for_the_end() -> None:
    upload = Upload(100, HASH)
    assert upload(b"who") == []
    assert upload(b"le") == [b"who"]
    assert upload(b"") == [b"le"]


def test_a_wrong_body_loses_its_last_piece_and_says_so_once() -> None:
    said: list[tuple[str, str]] = []
    upload = Upload(100, HASH, fail=lambda *what: said.append(what))
    assert [upload(b"who"), upload(b"lE"), upload(b""), upload(b""), upload(b"more")] == [[], [b"who"], [], [], []]
    assert [code for code, _ in said] == ["XAmzContentSHA256Mismatch"]
    assert (upload.whole, upload.failed, upload.sha256) == (False, True, None)


def test_what_is_over_the_limit_is_not_passed_on() -> None:
    upload = Upload(5)
    assert upload(b"whole") == [b"whole"]
    assert upload(b"!") == []
    assert upload.failed


class Broken:
    """A checker that breaks its promise."""

    refused: SignatureRefused | None = None

    def feed(self, data: bytes) -> bytes:
        raise MemoryError

    def close(self) -> bytes:
        raise MemoryError


@pytest.mark.parametrize("piece", [b"x", b""])
def test_an_exception_ends_the_body_and_goes_nowhere(piece: bytes) -> None:
    def fail(code: str, message: str) -> None:
        raise OSError

    upload = Upload(100, checker=Broken(), fail=fail)
    assert upload(piece) == []
    assert upload.failed
    assert upload(b"more") == []


def test_after_its_end_nothing_is_passed_on_and_it_has_not_failed() -> None:
    upload = Upload(100)
    upload(b"x")
    upload.end()
    assert upload(b"y") == []
    assert (upload.whole, upload.failed) == (False, False)


@pytest.mark.parametrize(
    "value", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "", HASH.upper(), HASH[1:]]
)
def test_only_a_hash_is_a_hash(value: str) -> None:
    assert stated_hash(value) is None
    assert stated_hash(HASH) == HASH
