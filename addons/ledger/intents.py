"""The journal of intents: what was about to be sent, until its outcome is durable.

Segments `journal/000001.wal` hold one JSON line an intent: {"at": seconds, "intent": {...}}. A segment that has grown
is replaced by a new one that starts with the intents still open, so the journal is as large as what is in flight.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from addons.ledger.encoding import encode
from addons.ledger.files import AppendFile, sync_directory

SEGMENT = 1 << 20  # bytes
NAME = re.compile(r"[0-9]{6}\.wal")


def segments(directory: Path) -> list[Path]:
    """A journal's segments, oldest first."""
    return sorted(path for path in directory.glob("*.wal") if NAME.fullmatch(path.name))


def read(directory: Path) -> Iterator[tuple[float, dict[str, Any]]]:
    """Every whole intent of a journal with the time it was written; torn ones were never acted on."""
    for path in segments(directory):
        for line in path.read_bytes().split(b"\n"):
            try:
                found = json.loads(line)
                yield float(found["at"]), dict(found["intent"])
            except (ValueError, KeyError, TypeError):
                continue


class Intents:
    """The journal of one living writer."""

    def __init__(self, directory: Path, segment: int = SEGMENT) -> None:
        self.directory, self.segment = directory, segment
        self.open: dict[str, bytes] = {}  # eventID -> its line, until the outcome is durable
        self._file: AppendFile | None = None
        self._number = 0

    def start(self) -> None:
        """Begin a new segment with what is open, and drop the older ones. Raises OSError."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        old = segments(self.directory)
        self._number = max([self._number, *(int(path.stem) for path in old)]) + 1
        new = AppendFile(self.directory / f"{self._number:06}.wal")
        try:
            if self.open:
                new.append(list(self.open.values()))
        except OSError:
            new.close()
            new.path.unlink(missing_ok=True)
            raise
        if self._file:
            self._file.close()
        self._file = new
        for path in old:
            path.unlink()
        if old:
            sync_directory(self.directory)

    def append(self, intents: list[dict[str, Any]]) -> None:
        """Write intents; they are durable on return. Raises OSError, and then none of them stands."""
        assert self._file
        if self._file.size > self.segment:
            self.start()
        now = time.time()
        lines = {str(i.get("eventID")): encode({"at": now, "intent": i}) for i in intents}
        self._file.append(list(lines.values()))
        self.open |= lines

    def settle(self, event_id: str) -> None:
        """The outcome of an intent is durable."""
        self.open.pop(event_id, None)

    def check(self) -> None:
        """See that the current segment is still there. Raises OSError."""
        assert self._file
        self._file.check()

    def close(self) -> None:
        """Close the segment; one without open intents is removed, with the whole journal."""
        if self._file:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Remove the journal once nothing in it is open."""
        for path in segments(self.directory):
            path.unlink()
        self.directory.rmdir()
