"""A request's body that is passed on as it comes: counted, hashed, checked, and where chunks are signed, signed anew.

It knows no flow: mitmproxy calls it with every piece of the body, and what it gives is sent. It holds back as much as
has to be known for good before the upstream could take the body for whole: the last piece where the head states the
body's hash, the end of the last chunk where chunks are signed.
"""

import contextlib
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from addons.wire.authorization import SignatureRefused

_HASH = re.compile(r"[0-9a-f]{64}")
Fail = Callable[[str, str], None]  # (code, message): nothing more of the body is sent
Room = Callable[[object, int], bool]  # (upload, bytes that it has in memory): whether there is room for them


def stated_hash(content_sha256: str) -> str | None:
    """The body's hash, where this is the value of x-amz-content-sha256; None for its words for unhashed bodies."""
    return content_sha256 if _HASH.fullmatch(content_sha256) else None


def _roomy(upload: object, held: int) -> bool:
    return True


def _ignore(code: str, message: str) -> None:
    pass


class Checker(Protocol):
    """What checks a body's own framing while it passes (addons/wire: `Framing`, `Resigner`). It never raises."""

    refused: SignatureRefused | None

    def feed(self, data: bytes) -> bytes:
        """Take a piece, give what may be sent."""

    def close(self) -> bytes:
        """The body has ended: give the rest."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class Upload:
    """One body on its way. Calling it never raises: an exception there would leave mitmproxy with half a request."""

    limit: int  # bytes
    stated: str | None = None  # the SHA-256 that the head states and that is signed upstream
    checker: Checker | None = field(default=None, repr=False)
    fail: Fail = field(default=_ignore, repr=False)
    room: Room = field(default=_roomy, repr=False)
    size: int = 0  # bytes received
    whole: bool = False  # all of it was received and found right
    failed: bool = False
    moved: float = field(default_factory=time.monotonic)  # when a piece was last passed on
    _digest: Any = field(default_factory=hashlib.sha256, repr=False)
    _kept: bytes = field(default=b"", repr=False)
    _passed: int = 0  # bytes that the checker has let go
    _over: bool = False

    @property
    def sha256(self) -> str | None:
        """The hash of what was received, if that is the whole body."""
        return self._digest.hexdigest() if self.whole else None

    def __call__(self, piece: bytes) -> list[bytes]:
        """What to send now; `piece` is b"" at the end. A list, as b"" itself would end a chunked message."""
        if self._over:
            return []
        try:
            return self._taken(piece) if piece else self._ended()
        except Exception as error:
            return self._refused("InternalFailure", f"internal error in the body ({type(error).__name__}).")

    def end(self) -> None:
        """Nothing more of the body is passed on, and nothing of it kept."""
        self._over, self.checker, self._kept = True, None, b""
        self.room(self, 0)

    def _taken(self, piece: bytes) -> list[bytes]:
        self.size += len(piece)
        self.moved = time.monotonic()
        if self.size > self.limit:
            return self._refused("EntityTooLarge", "the body is longer than it may be.")
        self._digest.update(piece)
        if self.checker:
            return self._verified(self.checker.feed(piece))
        if self.stated is None:
            return [piece]
        passed, self._kept = self._kept, piece
        return [passed] if passed else []

    def _ended(self) -> list[bytes]:
        last = self._verified(self.checker.close()) if self.checker else [self._kept] if self._kept else []
        self._kept = b""
        if self.stated is not None and self._digest.hexdigest() != self.stated:
            text = "x-amz-content-sha256 is not the hash of the body: it was changed on the way."
            return self._refused("XAmzContentSHA256Mismatch", text)
        self.whole = not self.failed
        return last

    def _verified(self, passed: bytes) -> list[bytes]:
        assert self.checker
        if refused := self.checker.refused:
            return self._refused(refused.code, refused.message)
        self._passed += len(passed)
        if not self.room(self, self.size - self._passed):
            return self._refused("ServiceUnavailable", "too much of all agents' bodies waits for its signatures.")
        return [passed] if passed else []

    def _refused(self, code: str, message: str) -> list[bytes]:
        self.failed = True
        self.end()
        with contextlib.suppress(Exception):
            self.fail(code, message)
        return []
