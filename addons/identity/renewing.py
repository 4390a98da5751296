"""Credentials that are renewed before they end: once for all callers, and never on the event loop."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor

from addons.identity.session import Keys

log = logging.getLogger(__name__)

USABLE = 60  # seconds before their end from which credentials are no longer signed with
RETRY = 30.0  # seconds between renewals in the background while the present credentials still hold
LOOK = 1.0  # seconds for which the word that they are fresh is taken: asking can cost more than a signature
PAUSE = 1.0  # seconds after a failure in which nobody tries again: an agent must not be able to besiege STS
Needed = Callable[[int | None], bool]  # whether they end in so many seconds; None: whether they should be renewed


class UpstreamUnavailable(Exception):
    """AWS, or the credentials for it, can't be had. The message says why and how to mend it."""


class Renewing:
    """One set of credentials. `keys` is for the event loop; `load` blocks, and runs in a thread of `threads`."""

    def __init__(
        self,
        load: Callable[[], tuple[Keys, Needed]],
        threads: Executor | None = None,
        turn: asyncio.Semaphore | None = None,
    ) -> None:
        """`load` gives credentials that hold now, or raises `UpstreamUnavailable`.

        `threads`: None for the loop's own. `turn`: what has to be waited for before one is taken.
        """
        self._load = load
        self._threads = threads
        self._turn = turn or asyncio.Semaphore()
        self._needed: Needed = never
        self._keys: Keys | None = None
        self._failed = ""  # why the last renewal failed
        self._fresh_until = self._retry_at = self._pause_until = 0.0  # on the monotonic clock
        self.flight: asyncio.Future[tuple[Keys, Needed]] | None = None

    async def keys(self) -> Keys:
        """The credentials to sign with now. Microseconds when they are at hand; waits only if they are about to end.

        Raises `UpstreamUnavailable`.
        """
        keys, moment = self._keys, time.monotonic()
        if keys is not None:
            if moment < self._fresh_until:
                return keys
            if not self._needed(None):
                self._fresh_until = moment + LOOK
                return keys
            if not self._needed(USABLE):
                if moment >= self._retry_at:
                    self._retry_at = moment + RETRY
                    self._renew()
                return keys
        if self._failed and moment < self._pause_until:
            raise UpstreamUnavailable(self._failed)
        return (await asyncio.shield(self._renew()))[0]

    def _renew(self) -> asyncio.Future[tuple[Keys, Needed]]:
        if self.flight is None:
            self.flight = asyncio.ensure_future(self._loaded())
            self.flight.add_done_callback(self._landed)
        return self.flight

    async def _loaded(self) -> tuple[Keys, Needed]:
        async with self._turn:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._load)

    def _landed(self, flight: asyncio.Future[tuple[Keys, Needed]]) -> None:
        self.flight = None  # here, not as soon as it is done: somebody may ask in between
        if flight.cancelled():
            return
        if error := flight.exception():
            self._failed, self._pause_until = str(error), time.monotonic() + PAUSE
            log.warning("upstream credentials can't be renewed: %s", error)
        else:
            self._failed, (self._keys, self._needed) = "", flight.result()


def never(seconds: int | None = None) -> bool:
    """Long-lived keys need no renewal."""
    return False
