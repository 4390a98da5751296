"""A frozen agent that tries to thaw itself, with the operator's own uid, in the sandbox of `sluicegate run`."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from addons.state.sqlite import FILE, SqliteStore
from addons.state.store import Stop
from tests.end_to_end.conftest import upstream
from tests.end_to_end.test_run import home, needs_walls, run, running
from tests.harness import Gateway

__all__ = ["home", "running", "upstream"]
ROOT = Path(__file__).parents[2]
THAW = """
import contextlib, json, sqlite3, subprocess, sys
from pathlib import Path
config, state = sys.argv[1:]
found = [str(path) for path in Path(state).glob("state.db*")]  # first: what it makes is in a place of its own
ran = subprocess.run([sys.executable, "-m", "scripts", "thaw", "--subject", "agent/frozen", "--config", config],
    capture_output=True, text=True)
found += ["command"] if ran.returncode == 0 else []
with contextlib.suppress(sqlite3.Error):
    db = sqlite3.connect(f"file:{state}/state.db?mode=rw", uri=True)
    with db: found += ["database"] * db.execute("DELETE FROM stops").rowcount
print(json.dumps(found))
"""


@pytest.fixture
def frozen(running: Gateway) -> Iterator[SqliteStore]:
    """Somebody else is frozen, so that `run` itself goes on."""
    with contextlib.closing(SqliteStore(running.directory / "state" / FILE)) as kept:
        for target in ("agent/frozen", "agent/another"):
            kept.stop(Stop("freeze", "subject", target, time.time(), "ops"))
        yield kept
        for target in ("agent/frozen", "agent/another"):
            kept.thaw("subject", target)


@needs_walls
def test_an_agent_cannot_thaw_itself(running: Gateway, home: Path, frozen: SqliteStore) -> None:
    attempt = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + THAW]
    command = ["env", f"PYTHONPATH={ROOT}", *attempt, str(running.config), str(running.directory / "state")]
    ran = run(running, home, *command)
    assert json.loads(ran.stdout or "0") == [], ran.stderr
    assert {stop.target for stop in frozen.stops()[1]} == {"agent/frozen", "agent/another"}
    bare = run(running, home, *command, options=("--no-sandbox",))
    assert {"command", "database"} <= set(json.loads(bare.stdout)), "the attempt is a real one"
    assert frozen.stops()[1] == ()
