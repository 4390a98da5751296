"""The ledger: intents and records, durable when the call returns, by asynchronous group commit.

What the tasks of the event loop have to write is gathered for one turn of the loop and handed to one thread, which
takes all that is there, encodes it, writes it with one fdatasync a file, and wakes the waiters. A lone task is served
at once, many share one fdatasync, and none ever blocks the loop. The session's recording of a call is written on the
way to its line: a call is one hand-over.

When the disk fails or is full, new intents and events are refused (so nothing new is sent), outcomes of calls in flight
are written from a reserve, and the thread tries again until it works. Then a "gap" record says what was missed.
"""

import asyncio
import contextlib
import errno
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from addons.ledger.encoding import administrative
from addons.ledger.files import Vanished
from addons.ledger.recovery import recover
from addons.ledger.writer import RESERVE, Writer

RETRY = 0.25  # seconds between attempts to get a failed ledger going again
LOOK = 1.0  # seconds between looks whether the files of an idle ledger are still there
BACKLOG = 256  # records kept in memory while nothing can be written
BATCH = 1_024


Copy = Callable[[], str | None]  # writes the recording of a call, and says where; None: it could not. Never raises.


class LedgerUnavailable(Exception):
    """What was to be written is not durable. The message says why, and names no content."""


@dataclass(slots=True, eq=False)
class _Entry:
    """One record on its way, and who waits for it."""

    kind: Literal["intent", "event", "outcome", "abandon"]
    record: dict[str, Any]
    waiter: asyncio.Future[None]
    copy: Copy | None = None


class Ledger:
    """One gateway's writer in an audit directory, for the tasks of one event loop."""

    def __init__(self, directory: Path, reserve: int = RESERVE) -> None:
        self._writer = Writer(directory, reserve)
        self._gathered: list[_Entry] = []  # in this turn of the loop
        self._queue: queue.SimpleQueue[list[_Entry] | None] = queue.SimpleQueue()  # None: the end
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._trouble: str | None = "not started"
        self._since = 0.0
        self._tried = 0.0
        self._refused = 0  # intents and events refused in this trouble
        self._lost = 0  # records that the backlog had no room for
        self._backlog: deque[dict[str, Any]] = deque()

    @property
    def healthy(self) -> bool:
        """Whether new calls can be written down."""
        return self._trouble is None

    async def start(self) -> None:
        """Open a writer of our own and take up what dead ones left. Raises `LedgerUnavailable`."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open)
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    async def event(self, kind: str, **fields: Any) -> None:
        """Write an administrative record; durable on return. Raises `LedgerUnavailable`."""
        await self._put("event", administrative(kind, fields, time.time()))

    async def intent(self, intent: dict[str, Any]) -> None:
        """Write that a call is about to be sent; durable on return. Raises `LedgerUnavailable`: then don't send.

        `intent["eventID"]` is the call's; the outcome with the same eventID settles it.
        """
        try:
            await self._put("intent", intent)
        except asyncio.CancelledError:
            # Its task will never send: a later start must not say that it might have.
            with contextlib.suppress(LedgerUnavailable):
                self._enqueue("abandon", intent)
            raise

    async def outcome(self, line: dict[str, Any], copy: Copy | None = None) -> None:
        """Write a call's line (`cloudtrail.line`); durable on return. Raises `LedgerUnavailable`.

        Even then the line is kept in memory, and written when the ledger works again. `copy` runs before that, in the
        ledger's thread: keep it short. What it returns is the line's `flow`.
        """
        line["eventID"], line["eventType"], line["additionalEventData"]["sluicegate"]  # a KeyError is the caller's
        await self._put("outcome", line, copy)

    async def close(self) -> None:
        """Write what is queued and end."""
        if self._thread is None:
            return
        self._stopping = True
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._thread = None

    async def _put(
        self, kind: Literal["intent", "event", "outcome"], record: dict[str, Any], copy: Copy | None = None
    ) -> None:
        await self._enqueue(kind, record, copy)

    def _enqueue(
        self, kind: Literal["intent", "event", "outcome", "abandon"], record: dict[str, Any], copy: Copy | None = None
    ) -> asyncio.Future[None]:
        if self._thread is None or self._stopping:
            raise LedgerUnavailable("the ledger is not open")
        entry = _Entry(kind, record, self._loop.create_future(), copy)
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(entry)
        return entry.waiter

    def _hand_over(self) -> None:
        # Waking the thread costs more than encoding a record: a busy loop does it once a turn, not once a task.
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    # From here on everything runs in the ledger's own thread.

    def _open(self) -> None:
        try:
            self._writer.open()
            recover(self._writer, time.time())
        except OSError as error:
            self._writer.close()
            raise LedgerUnavailable(f"can't open {self._writer.root}: {error.strerror}") from error
        self._trouble = None

    def _take(self) -> tuple[list[_Entry], bool]:
        """All that is queued, once there is anything or some time has passed; whether that was the end."""
        batch: list[_Entry] = []
        with contextlib.suppress(queue.Empty):
            while len(batch) < BATCH:
                more = self._queue.get_nowait() if batch else self._queue.get(timeout=RETRY if self._trouble else LOOK)
                if more is None:
                    return batch, True
                batch += more
        return batch, False

    def _run(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._take()
            try:
                if self._trouble and time.monotonic() - self._tried > RETRY:
                    self._retry()
                if batch:
                    self._commit(batch)
                else:
                    self._look()
            except Exception as error:  # whatever it is: nobody waits for ever, and nothing new is sent
                self._fail(OSError(errno.EIO, f"internal error ({type(error).__name__})"))
                self._answer(batch, self._trouble)
        with contextlib.suppress(OSError):
            if self._trouble:
                self._retry()
            self._writer.finish()
        self._trouble = self._trouble or "closed"

    def _commit(self, batch: list[_Entry]) -> None:
        intents = [entry for entry in batch if entry.kind == "intent"]
        outcomes = [entry for entry in batch if entry.kind == "outcome"]
        events = [entry for entry in batch if entry.kind == "event"]
        self._write_intents(intents)
        for entry in batch:
            if entry.kind == "abandon":
                self._writer.intents.settle(str(entry.record.get("eventID")))
        self._write_lines(outcomes, events)

    def _write_intents(self, entries: list[_Entry]) -> None:
        if not entries:
            return
        if self._trouble is None:
            try:
                self._writer.intents.append([entry.record for entry in entries])
                self._answer(entries)
                return
            except OSError as error:
                self._fail(error)
        self._refuse(entries)

    def _write_lines(self, outcomes: list[_Entry], events: list[_Entry]) -> None:
        entries = outcomes + events
        if not entries:
            return
        for entry in outcomes:
            if entry.copy:
                entry.record["additionalEventData"]["sluicegate"]["flow"] = entry.copy()
        if self._trouble is None:
            try:
                self._writer.write([entry.record for entry in entries])
                self._answer(entries)
                return
            except OSError as error:
                self._fail(error)
        self._refuse(events)
        # The reserve is for calls that were let out, lest refused ones use it up.
        open_ = self._writer.intents.open
        in_flight = [entry for entry in outcomes if entry.record["eventID"] in open_]
        late = [entry for entry in outcomes if entry.record["eventID"] not in open_]
        if in_flight:
            try:
                self._writer.write_from_reserve([entry.record for entry in in_flight])
                self._answer(in_flight)
            except OSError:
                late += in_flight
        for entry in late:
            if len(self._backlog) < BACKLOG:
                self._backlog.append(entry.record)
            else:
                self._lost += 1
        self._refuse(late, count=False)

    def _refuse(self, entries: list[_Entry], count: bool = True) -> None:
        if entries:
            self._refused += len(entries) if count else 0
            self._answer(entries, self._trouble)

    def _fail(self, error: OSError) -> None:
        if self._trouble is None:
            self._since, self._refused, self._lost = time.time(), 0, 0
        self._trouble = str(error) if isinstance(error, Vanished) else (error.strerror or type(error).__name__)

    def _look(self) -> None:
        if self._trouble is None:
            try:
                self._writer.check()
            except OSError as error:
                self._fail(error)

    def _retry(self) -> None:
        """Get going again: everything opened anew, the reserve full, the gap and what was missed written down."""
        now, self._tried = time.time(), time.monotonic()
        detail = {
            "reason": self._trouble,
            "since": self._since,
            "until": now,
            "refused": self._refused,
            "late": len(self._backlog),
            "lost": self._lost,
        }
        try:
            self._writer.open()
            self._writer.write([administrative("gap", detail, now), *self._backlog])
        except OSError as error:
            self._trouble = str(error) if isinstance(error, Vanished) else (error.strerror or type(error).__name__)
            return
        self._backlog.clear()
        self._trouble = None

    def _answer(self, entries: list[_Entry], trouble: str | None = None) -> None:
        """Wake those who wait: one call into the loop, whatever became of single tasks meanwhile."""

        def resolve() -> None:
            for entry in entries:
                if not entry.waiter.done():
                    if trouble is None:
                        entry.waiter.set_result(None)
                    else:
                        entry.waiter.set_exception(LedgerUnavailable(trouble))

        with contextlib.suppress(RuntimeError):  # a loop that was closed waits for nothing
            self._loop.call_soon_threadsafe(resolve)
