"""Reading the log: the lines of all writers in the order of their times, one at a time, and those a person asks for."""

import contextlib
import heapq
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FILE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}\.jsonl")
DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d|w)")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
CHUNK = 1 << 16
Record = dict[str, Any]


def block(record: Record) -> Record:
    """What the gateway itself says in a record."""
    found = (record.get("additionalEventData") or {}).get("sluicegate")
    return found if isinstance(found, dict) else {}


def files(directory: Path, since: datetime | None = None) -> dict[str, list[Path]]:
    """hour -> that hour's files, oldest hour first. Raises OSError."""
    found: dict[str, list[Path]] = {}
    start = f"{since:%Y-%m-%dT%H}" if since else ""
    for writer in sorted(path for path in directory.iterdir() if path.is_dir()):
        for path in writer.iterdir():
            if FILE.fullmatch(path.name) and path.stem >= start:
                found.setdefault(path.stem, []).append(path)
    return dict(sorted(found.items()))


def records(directory: Path, since: datetime | None = None) -> Iterator[Record]:
    """Every record from `since` on, in the order of their times; a line that is no record is passed over."""
    for paths in files(directory, since).values():
        yield from heapq.merge(*map(_lines, paths), key=_time)


def newest(directory: Path, count: int) -> list[Record]:
    """The last `count` records, oldest first, reading only the ends of the files."""
    found: list[Record] = []
    for paths in reversed(files(directory).values()):
        if len(found) >= count:
            break
        ends = [_end(path, count - len(found)) for path in paths]
        found = list(deque(heapq.merge(*ends, key=_time), maxlen=count - len(found))) + found
    return found


def _time(record: Record) -> tuple[str, str]:
    return str(record.get("eventTime")), str(block(record).get("start") or "")


def _lines(path: Path) -> Iterator[Record]:
    # A file may be removed by retention between the listing and here.
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            if record := parse(line):
                yield record


def parse(line: bytes) -> Record | None:
    """A whole line as a record; None for a torn one, which is still being written or was never acknowledged."""
    if not line.endswith(b"\n"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "eventTime" in found else None


def _end(path: Path, count: int) -> list[Record]:
    data = b""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        position = file.seek(0, 2)
        while position and data.count(b"\n") <= count:
            start = max(0, position - CHUNK)
            file.seek(start)
            data = file.read(position - start) + data
            position = start
        if position:
            data = data.partition(b"\n")[2]
    return [record for line in data.splitlines(keepends=True) if (record := parse(line))][-count:]


class Follower:
    """Records as they come, from all writers, new ones included."""

    def __init__(self, directory: Path) -> None:
        """Begin at what is there now. Raises OSError."""
        self.directory = directory
        self.places = {path: path.stat().st_size for paths in files(directory).values() for path in paths}

    def poll(self) -> list[Record]:
        """What has come since the last look, in the order of time."""
        found: list[Record] = []
        with contextlib.suppress(FileNotFoundError):
            for paths in files(self.directory).values():
                for path in paths:
                    with path.open("rb") as file:
                        file.seek(self.places.get(path, 0))
                        for line in file:
                            if not line.endswith(b"\n"):
                                break
                            self.places[path] = self.places.get(path, 0) + len(line)
                            found += [record] if (record := parse(line)) else []
        return sorted(found, key=_time)


def moment(text: str, now: datetime) -> datetime:
    """`1h`, `30m`, `7d`, or a date or time in ISO 8601 (else UTC). ValueError says what one looks like."""
    if match := DURATION.fullmatch(text):
        return now - timedelta(**{UNITS[match[2]]: int(match[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write 30m, 1h, 7d, 2026-11-22 or 2026-11-22T23:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Search:
    """What a person asks for. Texts match anywhere in the field, without case; `*` stands for anything in an action."""

    who: str = ""
    action: str = ""
    resource: str = ""
    text: str = ""
    session: str = ""
    denied: bool = False
    held: bool = False
    errors: bool = False
    since: datetime | None = None

    def matches(self, record: Record) -> bool:
        """Whether a record is asked for."""
        own = block(record)
        if self.since and str(record.get("eventTime")) < f"{self.since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}":
            return False
        if self.denied and own.get("outcome") != "refused":
            return False
        if self.held and not (own.get("approval") or record.get("eventName") in ("hold", "hold-ended")):
            return False
        if self.errors and not record.get("errorCode"):
            return False
        if self.session and not str(own.get("sessionId") or "").startswith(self.session):
            return False
        return (
            _within(self.who, who(record), (record.get("userIdentity") or {}).get("arn"), *(own.get("groups") or ()))
            and self._acts(record, own)
            and _within(self.resource, *targets(record))
            and (not self.text or self.text.casefold() in json.dumps(record, ensure_ascii=False).casefold())
        )

    def _acts(self, record: Record, own: Record) -> bool:
        if not self.action:
            return True
        names = [operation(record), *(str(a.get("action")) for a in (own.get("decision") or {}).get("actions") or ())]
        pattern = re.escape(self.action).replace(r"\*", ".*")
        exact = "*" in self.action
        test = re.compile(pattern, re.IGNORECASE)
        return any(test.fullmatch(name) if exact else test.search(name) for name in names)


def _within(wanted: str, *values: object) -> bool:
    return not wanted or any(wanted.casefold() in str(value or "").casefold() for value in values)


def who(record: Record) -> str:
    """The subject of a record."""
    own = block(record)
    return str(own.get("subject") or (own.get("detail") or {}).get("subject") or "")


def operation(record: Record) -> str:
    """`s3:DeleteBucket`, or an administrative record's kind."""
    name = str(record.get("eventName") or "")
    if record.get("eventType") != "AwsApiCall":
        return name
    return f"{str(record.get('eventSource') or '').partition('.')[0]}:{name}"


def targets(record: Record) -> list[str]:
    """The resources of a record."""
    own = block(record)
    found = [str(r.get("ARN")) for r in record.get("resources") or ()]
    found += [str(a.get("resource")) for a in (own.get("decision") or {}).get("actions") or ()]
    found += [str(r) for r in (own.get("detail") or {}).get("resources") or ()]
    return list(dict.fromkeys(found))


def result(record: Record) -> str:
    """How it ended, in a word or two."""
    own = block(record)
    if record.get("eventType") != "AwsApiCall":
        detail = own.get("detail") or {}
        return str(detail.get("verdict") or detail.get("code") or detail.get("reason") or "")
    ended = str(own.get("outcome") or "")
    if ended == "unknown":
        return "sent, outcome unknown"
    return f"{ended}: {record['errorCode']}" if record.get("errorCode") else ended
