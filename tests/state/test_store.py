"""The shared state: what one process writes another reads, durably, and what makes a session stopped."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.state import private_file, store
from addons.state.sqlite import SqliteStore
from addons.state.stops import Stops
from addons.state.store import KEPT, Seen, Stop, StoreUnavailable

NOW = 1_764_000_000.0


def freeze(scope: store.Scope, target: str = "", reason: str = "") -> Stop:
    return Stop("freeze", scope, target, NOW, "ops", reason)


def revoke(scope: store.Scope, target: str, at: float = NOW) -> Stop:
    return Stop("revoke", scope, target, at, "ops")


def seen(name: str = "s1", at: float = NOW, calls: int = 1, role: str = "r") -> Seen:
    return Seen(name, "https://idp", "agent/ada", ("dev", "ops"), role, at, at, calls)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


def test_another_connection_sees_a_stop_and_a_new_version(file: Path) -> None:
    one, other = SqliteStore(file), SqliteStore(file)
    before = other.version()
    one.stop(freeze("all", reason="r"))
    assert other.version() > before
    assert other.stops() == (other.version(), (freeze("all", reason="r"),))
    unchanged = other.version()
    one.saw([seen()])
    assert other.version() == unchanged


def test_a_stop_outlives_the_process_that_wrote_it(file: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from addons.state.sqlite import SqliteStore\n"
        "from addons.state.store import Stop\n"
        "SqliteStore(Path(sys.argv[1])).stop(Stop('freeze', 'subject', 'agent/ada', 1.5, 'ops', 'why'))\n"
        "os._exit(9)"  # nothing is closed
    )
    assert subprocess.run([sys.executable, "-c", code, str(file)], check=False, timeout=30).returncode == 9
    assert SqliteStore(file).stops()[1] == (Stop("freeze", "subject", "agent/ada", 1.5, "ops", "why"),)


def test_a_freeze_is_lifted_as_it_was_put(file: Path) -> None:
    kept = SqliteStore(file)
    for stop in (freeze("all"), freeze("subject", "agent/ada"), revoke("subject", "agent/ada")):
        kept.stop(stop)
    assert kept.thaw("subject", "agent/ada") == freeze("subject", "agent/ada")
    assert kept.thaw("subject", "agent/ada") is None
    assert set(kept.stops()[1]) == {freeze("all"), revoke("subject", "agent/ada")}


def test_old_revocations_are_forgotten_and_freezes_never(file: Path) -> None:
    kept = SqliteStore(file)
    kept.stop(revoke("session", "old", NOW - KEPT - 1))
    kept.stop(Stop("freeze", "session", "older", NOW - 2 * KEPT, "ops"))
    kept.stop(revoke("session", "young", NOW - KEPT + 1))
    kept.stop(revoke("session", "new"))
    assert {stop.target for stop in kept.stops()[1]} == {"older", "young", "new"}


def test_sessions_add_up_whoever_writes_them(file: Path) -> None:
    one, other = SqliteStore(file), SqliteStore(file)
    one.saw([seen(at=NOW, calls=3)])
    other.saw([seen(at=NOW + 60, calls=4, role="r2"), seen("s2", NOW + 5)])
    assert one.sessions(10) == (
        Seen("s1", "https://idp", "agent/ada", ("dev", "ops"), "r2", NOW, NOW + 60, 7),
        seen("s2", NOW + 5),
    )
    assert [found.id for found in one.sessions(1)] == ["s1"]


def test_the_sessions_not_seen_for_longest_are_forgotten(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addons.state.sqlite.MOST_SESSIONS", 3)
    kept = SqliteStore(file)
    for number in range(5):
        kept.saw([seen(f"s{number}", NOW + number)])
    assert [found.id for found in kept.sessions(10)] == ["s4", "s3", "s2"]


def test_nobody_else_can_read_it(file: Path) -> None:
    kept = SqliteStore(file)
    kept.saw([seen()])
    assert {path.stat().st_mode & 0o077 for path in file.parent.iterdir()} == {0}
    kept.close()
    file.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        SqliteStore(file)


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    private_file.make(tmp_path / "elsewhere")
    file.parent.mkdir()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="can't be read"):
        SqliteStore(file)


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be looked at" * 20], ids=["garbage"])
def test_what_is_no_database_is_refused_in_words_of_ours(file: Path, damage: bytes) -> None:
    file.parent.mkdir()
    private_file.replace(file, damage)
    with pytest.raises(StoreUnavailable, match="not a database"):
        SqliteStore(file)


def test_a_file_of_another_version_is_refused(file: Path) -> None:
    SqliteStore(file).close()
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="another version"):
        SqliteStore(file)


@pytest.mark.parametrize(
    ("stop", "stopped"),
    [
        (freeze("all"), True),
        (freeze("session", "s1"), True),
        (freeze("session", "s2"), False),
        (freeze("session", "agent/ada"), False),
        (freeze("subject", "agent/ada"), True),
        (freeze("subject", "agent/ad"), False),
        (freeze("subject", "s1"), False),
        (revoke("session", "s1"), True),
        (revoke("session", "s2"), False),
        (revoke("subject", "agent/ada"), True),
        (revoke("subject", "agent/bob"), False),
    ],
)
def test_whom_a_stop_stops(stop: Stop, stopped: bool) -> None:
    assert (Stops([stop]).of("s1", "agent/ada", NOW - 60) is not None) is stopped


@pytest.mark.parametrize(("issued", "stopped"), [(NOW - 1, True), (NOW, True), (NOW + 1, False)])
def test_what_a_subject_got_after_a_revocation_is_good(issued: float, stopped: bool) -> None:
    assert (Stops([revoke("subject", "agent/ada", NOW + 0.4)]).of("s", "agent/ada", issued) is not None) is stopped


def test_a_revoked_session_is_revoked_whenever_it_signs_in() -> None:
    assert Stops([revoke("session", "s1")]).of("s1", "agent/ada", NOW + 9_999)


names = st.sampled_from(["a", "b", ""])
stops = st.builds(
    Stop,
    st.sampled_from(["freeze", "revoke"]),
    st.sampled_from(["session", "subject", "all"]),
    names,
    st.floats(0, 100),
    st.just("ops"),
    st.just(""),
)


@given(st.lists(stops), st.sampled_from("ab"), st.sampled_from("ab"), st.integers(0, 100))
def test_more_stops_never_stop_less(found: list[Stop], session: str, subject: str, issued: int) -> None:
    whole = Stops(found).of(session, subject, issued)
    # The latest of one kind and target counts: an earlier one of a subject stops less.
    last = {(s.kind, s.scope, s.target): s for s in found}
    single = [s for s in last.values() if Stops([s]).of(session, subject, issued)]
    assert (whole is not None) == bool(single)
