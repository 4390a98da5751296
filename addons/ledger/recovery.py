"""What writers that died left behind: torn ends are cut off, and intents without an outcome become "unknown" records.

A call whose intent is durable may have been sent: the record says that nobody knows. It is the only line of that call.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from addons.ledger import intents
from addons.ledger.cloudtrail import unknown
from addons.ledger.encoding import administrative
from addons.ledger.files import heal
from addons.ledger.writer import Writer, lock

EVENT_ID = b'"eventID":"'
CALL = b'"eventType":"AwsApiCall"'
SLACK = 120.0  # seconds between a clock and a file's time


def recover(writer: Writer, now: float) -> None:
    """Take up what dead writers of the same directory left. Raises OSError."""
    for directory in sorted(writer.root.iterdir()):
        if directory == writer.directory or not (directory / "journal").is_dir():
            continue
        held = lock(directory)
        if held is None:
            continue
        try:
            if not (directory / "journal").is_dir():
                continue  # another one that started meanwhile was faster
            torn = [asdict(tear) for path in sorted(directory.glob("*.jsonl")) if (tear := heal(path))]
            lines = _unsettled(directory)
            detail = {"writer": directory.name, "torn": torn, "unknown": len(lines)}
            writer.write([administrative("recovered", detail, now), *lines])
            # Only now: had we died before, the next one would have done the same again.
            for segment in intents.segments(directory / "journal"):
                segment.unlink()
            (directory / "journal").rmdir()
            for name in ("reserve", "lock"):
                (directory / name).unlink(missing_ok=True)
        finally:
            os.close(held)


def _unsettled(directory: Path) -> list[dict[str, Any]]:
    """The "unknown" records of one dead writer."""
    found = list(intents.read(directory / "journal"))
    if not found:
        return []
    since = min(at for at, _ in found) - SLACK
    # Other writers' files too: a recovery that died half-way may have written some of them.
    settled = {
        name for path in directory.parent.glob("*/*.jsonl") if path.stat().st_mtime >= since for name in _calls(path)
    }
    open_ = {str(intent.get("eventID")): intent for _, intent in found}
    return [unknown(intent) for name, intent in open_.items() if name not in settled]


def _calls(path: Path) -> Iterator[str]:
    """The eventIDs of the calls in a file, without reading whole records.

    Inside a JSON string every quote is escaped, so the first match is a key of our own, and it precedes the parameters.
    """
    with path.open("rb") as file:
        for line in file:
            start = line.find(EVENT_ID) + len(EVENT_ID)
            if start >= len(EVENT_ID) and line.find(CALL, 0, start + 200) >= 0:
                yield line[start : line.index(b'"', start)].decode()
