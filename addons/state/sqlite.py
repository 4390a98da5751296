"""The embedded store: a SQLite file in the state directory, for the gateway and the operator's commands at one time."""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from addons.state import private_file
from addons.state.store import KEPT, MOST_SESSIONS, Scope, Seen, Stop, StoreUnavailable

FILE = "state.db"
WAIT = 5.0  # seconds for another process to finish writing
VERSION = 1
SCHEMA = """
CREATE TABLE stops (
  kind TEXT NOT NULL, scope TEXT NOT NULL, target TEXT NOT NULL,
  at REAL NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (kind, scope, target)
) WITHOUT ROWID;
CREATE TABLE versions (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO versions VALUES ('stops', 1);
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, issuer TEXT NOT NULL, subject TEXT NOT NULL, groups TEXT NOT NULL, role TEXT NOT NULL,
  first REAL NOT NULL, last REAL NOT NULL, calls INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_last ON sessions (last);
"""


class SqliteStore:
    """A `Store` in a file (0600). One connection, which one thread uses at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file; made if absent. Raises ValueError where it can't be trusted, and `StoreUnavailable`."""
        try:
            private_file.make(path)
        except OSError as error:
            raise StoreUnavailable(f"{path} can't be made: {error.strerror}") from None
        self._path, self._inode = path, inode(path)
        self._lock = threading.Lock()
        with self._errors():
            self._db = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            # Readers and the one writer do not wait for each other; what is written is on disk when it returns.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
        with self._change() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {VERSION}")
        if version not in (0, VERSION):
            self.close()
            raise ValueError(f"{path} is of another version of sluicegate: use that one, or move the file away")

    def version(self) -> int:
        """A number that grows whenever the stops change.

        `StoreUnavailable` also where the file is not the one that was opened: nobody else writes to that any more, and
        the one that is there now may lack stops.
        """
        if inode(self._path) != self._inode:
            raise StoreUnavailable(f"{self._path} has been removed or replaced: restart the gateway")
        with self._lock, self._errors():
            return self._version()

    def stops(self) -> tuple[int, tuple[Stop, ...]]:
        """All stops, and the version that they are of."""
        with self._lock, self._errors():
            version = self._version()  # first: what changes meanwhile is read again next time
            rows = self._db.execute("SELECT kind, scope, target, at, by, reason FROM stops ORDER BY at").fetchall()
        return version, tuple(Stop(*row) for row in rows)

    def stop(self, stop: Stop) -> None:
        """Add a stop, durably."""
        row = (stop.kind, stop.scope, stop.target, stop.at, stop.by, stop.reason)
        with self._change() as db:
            db.execute("DELETE FROM stops WHERE kind = 'revoke' AND at < ?", (stop.at - KEPT,))
            db.execute("INSERT OR REPLACE INTO stops VALUES (?, ?, ?, ?, ?, ?)", row)
            self._grow()

    def thaw(self, scope: Scope, target: str) -> Stop | None:
        """Lift a freeze; the one that was there, or None."""
        with self._change() as db:
            row = db.execute(
                "DELETE FROM stops WHERE kind = 'freeze' AND scope = ? AND target = ? "
                "RETURNING kind, scope, target, at, by, reason",
                (scope, target),
            ).fetchone()
            self._grow()
            return Stop(*row) if row else None

    def saw(self, sessions: Iterable[Seen]) -> None:
        """Add to what is known of sessions."""
        rows = [(s.id, s.issuer, s.subject, json.dumps(s.groups), s.role, s.first, s.last, s.calls) for s in sessions]
        with self._change() as db:
            db.executemany(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "groups = excluded.groups, role = excluded.role, first = min(first, excluded.first), "
                "last = max(last, excluded.last), calls = calls + excluded.calls",
                rows,
            )
            db.execute(
                "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions ORDER BY last DESC LIMIT -1 OFFSET ?)",
                (MOST_SESSIONS,),
            )

    def sessions(self, limit: int) -> tuple[Seen, ...]:
        """The sessions seen last, the latest first."""
        with self._lock, self._errors():
            rows = self._db.execute("SELECT * FROM sessions ORDER BY last DESC, id LIMIT ?", (limit,)).fetchall()
        return tuple(Seen(i, iss, sub, tuple(json.loads(groups)), *rest) for i, iss, sub, groups, *rest in rows)

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            self._db.close()

    def _version(self) -> int:
        (value,) = self._db.execute("SELECT value FROM versions WHERE name = 'stops'").fetchone()
        return int(value)

    def _grow(self) -> None:
        self._db.execute("UPDATE versions SET value = value + 1 WHERE name = 'stops'")

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block, or nothing."""
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:  # its texts name no content: "disk I/O error", "database is locked"
            raise StoreUnavailable(f"{self._path} can't be used: {error}") from None


def inode(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of that name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
