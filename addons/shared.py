"""The shared state as one gateway sees it: read several times a second, written in batches, never on a call's way."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from addons.identity.refusal import Refused
from addons.identity.session import Session
from addons.seldom import Seldom
from addons.state.stops import Stops
from addons.state.store import Seen, Stop, Store, StoreUnavailable

INTERVAL = 0.25  # seconds between looks whether the stops have changed
STALE = 10.0  # seconds after which what was read last counts for nothing
WRITE = 60.0  # seconds between writes of who was seen; a sign-in is written at the next look
BATCH = 1_000  # sessions kept for the next write
COMPLAIN = 10.0  # seconds between lines about a store that fails


@dataclass(slots=True)
class _Tally:
    """What is to be written of one session."""

    session: Session  # at its latest sign-in
    first: float
    last: float = 0.0
    calls: int = 0

    def seen(self) -> Seen:
        session = self.session
        return Seen(
            session.id,
            session.issuer,
            session.subject,
            session.groups,
            session.role,
            self.first,
            self.last,
            self.calls,
        )


class Shared:
    """Who is stopped, in memory, and who was seen since the last write."""

    def __init__(self, store: Store) -> None:
        """Read the stops, blocking. Raises `StoreUnavailable`."""
        self.store = store
        self.version, found = store.stops()
        self.stops = Stops(found)
        # Not the loop's own threads: those may all wait for a name server.
        self._thread = ThreadPoolExecutor(1, "state")
        self._read = self._written = time.monotonic()
        self._seen: dict[str, _Tally] = {}  # by the session's id
        self._new = False  # somebody has signed in since the last write
        self._may_complain = Seldom(COMPLAIN)

    def check(self, session: Session) -> None:
        """Refuse a stopped session, and everybody while nobody can know. Raises `Refused`."""
        if time.monotonic() - self._read > STALE:
            raise Refused("ServiceUnavailable", "the gateway can't read its shared state; try again later.", 503)
        if stop := self.stop_of(session):
            raise refused(stop)

    def stop_of(self, session: Session) -> Stop | None:
        """What stops a session, or None."""
        return self.stops.of(session.id, session.subject, min(session.issued, session.token_issued))

    def saw(self, session: Session, *, signed_in: bool = False) -> None:
        """Note a call, or a sign-in, of a session."""
        now = time.time()
        if (tally := self._seen.get(session.id)) is None:
            tally = self._seen[session.id] = _Tally(session, now)
        tally.last = now
        if signed_in:
            tally.session, self._new = session, True
        else:
            tally.calls += 1

    async def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Follow the store until cancelled; `changed` is called when the stops are others than before."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                if await self._in_thread(self._look):
                    await changed()
                if self._new or len(self._seen) >= BATCH or time.monotonic() - self._written >= WRITE:
                    await self.write()
            except StoreUnavailable as error:
                if self._may_complain():
                    print(f"sluicegate: the shared state fails: {error}", file=sys.stderr, flush=True)

    async def write(self) -> None:
        """Write who was seen. Raises `StoreUnavailable`; then the counts of this time are lost."""
        batch, self._seen, self._new = [tally.seen() for tally in self._seen.values()], {}, False
        self._written = time.monotonic()
        if batch:
            await self._in_thread(lambda: self.store.saw(batch))

    async def close(self) -> None:
        """Write who was seen, and let go of the store."""
        try:
            await self.write()
        except StoreUnavailable as error:
            print(f"sluicegate: sessions seen last are not written down: {error}", file=sys.stderr, flush=True)
        self._thread.shutdown()
        self.store.close()

    async def _in_thread[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _look(self) -> bool:
        """Read the stops where they have changed; whether they have."""
        began = time.monotonic()
        changed = self.store.version() != self.version
        if changed:
            self.version, found = self.store.stops()
            self.stops = Stops(found)
        self._read = began
        return changed


def refused(stop: Stop) -> Refused:
    """The refusal of a stopped session, in AWS's words, with who stopped it and why."""
    when = datetime.fromtimestamp(stop.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    whose = {"session": "this session was", "subject": "this agent was", "all": "every call is"}[stop.scope]
    why = f": {stop.reason.rstrip('.')}." if stop.reason else "."
    if stop.kind == "freeze":
        return Refused("AccessDenied", f"{whose} frozen by {stop.by} on {when}{why} Ask {stop.by} to thaw it.")
    mend = "get a new web identity token" if stop.scope == "subject" else "begin a new session"
    whose = {"session": "this session was", "subject": "what this agent signed in with was"}.get(stop.scope, whose)
    return Refused("ExpiredToken", f"{whose} revoked by {stop.by} on {when}{why} To go on, {mend}, and sign in again.")
