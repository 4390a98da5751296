"""One writer's files, used by one thread: lines by the hour, the journal of intents, the reserve, the lock.

    <directory>/<host>-<pid>-<start>/journal/000001.wal     intents (intents.py)
                                    /2026-11-22T23.jsonl    records, in the order of their `seq`
                                    /reserve                disk space for outcomes of calls in flight
                                    /lock                   held while the writer lives

No two writers share a file, so any number of gateways may use one directory. What a writer leaves behind when it
dies is taken up by the next one that starts (recovery.py).
"""

import errno
import fcntl
import os
import re
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from addons.ledger.encoding import encode
from addons.ledger.files import AppendFile, Reserve, Vanished, heal, need_room, reserve_size
from addons.ledger.intents import Intents

RESERVE = 64 << 20  # bytes


def writer_name() -> str:
    """A name that no other writer has: host, process, start."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40] or "host"
    return f"{host}-{os.getpid()}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(2).hex()}"


def lock(directory: Path) -> int | None:
    """Take a writer's lock; None: its process lives. The kernel lets go of it when the process dies."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Writer:
    """Appends records and intents. Everything here blocks, and raises OSError."""

    def __init__(self, directory: Path, reserve: int = RESERVE) -> None:
        self.root, self.name = directory, writer_name()
        self.directory = directory / self.name
        self.intents = Intents(self.directory / "journal")
        self.wanted, self.reserve = reserve, Reserve(self.directory / "reserve", 0)
        self.seq = 0  # of the next record: its index in this writer's log
        self._lock: int | None = None
        self._lines: AppendFile | None = None
        self._hour = ""

    def open(self) -> None:
        """Make the directory (0700) and everything in it, or mend it: after a full disk, after it has vanished."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self._hold()
        self.reserve.size = reserve_size(self.directory, self.wanted)
        self.reserve.fill()
        need_room(self.directory)
        if self._lines:
            self._lines.close()
            self._lines = None
        for path in self.directory.glob("*.jsonl"):
            heal(path)
        self.intents.start()

    def _hold(self) -> None:
        """Have the lock, without ever letting go of one that is good: another gateway would think us dead."""
        path = self.directory / "lock"
        if self._lock is not None:
            held = os.fstat(self._lock)
            if path.exists() and os.path.samestat(path.stat(), held):
                return
            os.close(self._lock)
        self._lock = lock(self.directory)
        if self._lock is None:
            raise OSError(errno.EBUSY, f"{path} is held by another process")

    def write(self, records: list[dict[str, Any]]) -> None:
        """Append records, numbering them; they are durable on return, or none of them stands."""
        hour = f"{datetime.fromtimestamp(time.time(), UTC):%Y-%m-%dT%H}"
        if self._lines is None or hour != self._hour:
            opened = AppendFile(self.directory / f"{hour}.jsonl")
            if self._lines:
                self._lines.close()
            self._lines, self._hour = opened, hour
        log = f"{self.name}/{hour[:10]}"
        lines = []
        for seq, record in enumerate(records, self.seq):
            block = record["additionalEventData"]["sluicegate"]
            block["seq"], block["log"] = seq, log
            lines.append(encode(record))
        self._lines.append(lines)
        self.seq += len(lines)
        for record in records:
            if record["eventType"] == "AwsApiCall":
                self.intents.settle(record["eventID"])

    def write_from_reserve(self, records: list[dict[str, Any]]) -> None:
        """The same with a full disk, at the cost of the reserve."""
        needed = sum(len(encode(record)) + 64 for record in records)
        while True:
            try:
                return self.write(records)
            except Vanished:
                raise
            except OSError:
                # Whoever fills the disk may be faster than we are: give up more each time.
                if not self.reserve.give_up(needed := max(needed * 2, 1 << 16)):
                    raise

    def check(self) -> None:
        """See that all files are still where they belong."""
        self.intents.check()
        if self._lines:
            self._lines.check()

    def close(self) -> None:
        """Let go of everything."""
        self.intents.close()
        if self._lines:
            self._lines.close()
            self._lines = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def finish(self) -> None:
        """End in order: nothing stays but the lines, and the journal where an outcome is still missing."""
        if not self.intents.open:
            self.intents.close()
            self.intents.remove()
        self.reserve.remove()
        (self.directory / "lock").unlink(missing_ok=True)
        self.close()
