"""The interface to what gateways share: who is stopped, and which sessions there are.

A gateway keeps all stops in memory and asks a few times a second whether they have changed (`version`), so that a call
costs no look at a store, and a store that is a server far away serves as well as a file. Sessions are written in
batches, as sums to be added: any number of gateways may write of one session.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["freeze", "revoke"]
Scope = Literal["session", "subject", "all"]
MOST_SESSIONS = 10_000  # the ones not seen for longest are forgotten first
KEPT = 400 * 86400  # seconds: longer than any web identity token that could sign a revoked session in again


class StoreUnavailable(Exception):
    """The shared state can't be read or written. The message says why, and names no content."""


@dataclass(frozen=True, slots=True)
class Stop:
    """An operator's word that calls are refused.

    A freeze holds until it is lifted. A revocation is for good: of a session whatever token it shows, of a subject for
    what was issued up to then. A subject is meant whichever issuer names it.
    """

    kind: Kind
    scope: Scope
    target: str  # the session's id, the subject; "" for all
    at: float  # seconds since the epoch
    by: str  # the operator's user on the machine
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A session as it was seen; in a batch, since the last one."""

    id: str
    issuer: str
    subject: str
    groups: tuple[str, ...]
    role: str  # the one that it signed in to last
    first: float  # seconds since the epoch
    last: float
    calls: int


class Store(Protocol):
    """All methods block, may be called by any thread, and raise `StoreUnavailable`."""

    def version(self) -> int:
        """A number that grows whenever the stops change."""

    def stops(self) -> tuple[int, tuple[Stop, ...]]:
        """All stops, and the version that they are of."""

    def stop(self, stop: Stop) -> None:
        """Add a stop, durably; it takes the place of one of the same kind and target. Old revocations are forgotten."""

    def thaw(self, scope: Scope, target: str) -> Stop | None:
        """Lift a freeze; the one that was there, or None."""

    def saw(self, sessions: Iterable[Seen]) -> None:
        """Add to what is known of sessions."""

    def sessions(self, limit: int) -> tuple[Seen, ...]:
        """The sessions seen last, the latest first."""

    def close(self) -> None:
        """Let go of it."""
