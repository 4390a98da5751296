"""`sluicegate audit`: the lines of all writers in order of time, found, followed, and harmless on a terminal."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from addons.ledger import reading
from addons.ledger.encoding import administrative
from scripts.cli import audit
from tests.harness import prepare
from tests.ledger.conftest import call, outcome

NOW = time.time()


def write(directory: Path, writer: str, records: list[dict[str, Any]]) -> Path:
    """Lines as a writer leaves them."""
    for record in records:
        path = directory / writer / f"{record['eventTime'][:13]}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A configuration with an audit log of two writers."""
    config = prepare(tmp_path, "http://127.0.0.1:1")
    denied = {"outcome": "refused", "effect": "deny", "error_code": "AccessDenied", "error_message": "no"}
    evil = {"params": {"TableName": "\x1b[2J\u202e[bold]x"}, "subject": "\x1b[31meve\u202e[red]", "session": "beef"}
    first = [outcome(f"a{n}", started=NOW - 7_200 + n, ended=NOW - 7_200 + n) for n in (0, 2, 4)]
    second = [
        outcome("b1", started=NOW - 7_199, ended=NOW - 7_199, **denied),
        outcome("b3", started=NOW - 60, ended=NOW - 60, approval={"verdict": "approved", "by": "ada", "seconds": 2.0}),
        outcome("b5", started=NOW - 30, ended=NOW - 30, **evil),
        administrative("sign-in", {"subject": "agent/bob", "sessionId": "beef"}, NOW - 20),
    ]
    write(tmp_path / "audit", "gw1", first)
    path = write(tmp_path / "audit", "gw2", second)
    with path.open("ab") as file:
        file.write(b'{"eventTime":"torn')
    return config


def run(config: Path, *args: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(audit.app, [*args, "--config", str(config)])


def ids(ran: Result) -> list[str]:
    assert ran.exit_code == 0, ran.stderr
    return [json.loads(text)["eventID"] for text in ran.stdout.splitlines()]


def test_tail_merges_all_writers_by_time(log: Path) -> None:
    found = ids(run(log, "tail", "--json"))
    assert found[:6] == ["a0", "b1", "a2", "a4", "b3", "b5"]
    assert ids(run(log, "tail", "-n", "3", "--json")) == found[-3:]


def test_a_table_shows_the_agents_words_as_words(log: Path) -> None:
    ran = run(log, "tail")
    assert ran.exit_code == 0, ran.stderr
    assert "\x1b[2J" not in ran.stdout
    assert "\u202e" not in ran.stdout
    assert "[red]" in ran.stdout
    assert "dynamodb:DeleteTable" in ran.stdout


def test_follow_prints_what_comes(log: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts", "audit", "tail", "-n", "1", "-f", "--json", "--config", str(log)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout
        process.stdout.readline()
        write(log.parent / "audit", "gw3", [outcome("new", started=NOW, ended=NOW)])
        assert json.loads(process.stdout.readline())["eventID"] == "new"
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def found(log: Path) -> Any:
    def search(**wanted: Any) -> list[str]:
        records = reading.records(log.parent / "audit", wanted.get("since"))
        return [r["eventID"] for r in records if reading.Search(**wanted).matches(r)]

    return search


def test_search_filters(found: Any) -> None:
    assert found(denied=True) == ["b1"]
    assert found(held=True) == ["b3"]
    assert found(errors=True) == ["b1"]
    assert found(who="eve") == ["b5"]
    assert len(found(session="bee")) == 2
    assert len(found(action="dynamodb:Delete*")) == 6
    assert len(found(action="deletetable")) == 6
    assert found(action="s3:*") == []
    assert len(found(resource="table/orders")) == 6
    assert found(text="ADA", held=True) == ["b3"]
    assert found(since=reading.moment("10m", datetime.fromtimestamp(NOW, UTC)))[:2] == ["b3", "b5"]


def test_search_by_command(log: Path) -> None:
    assert ids(run(log, "search", "--denied", "--since", "3h", "--json")) == ["b1"]
    nothing = run(log, "search", "--who", "nobody")
    assert (nothing.exit_code, "nothing" in nothing.stderr) == (1, True)
    wrong = run(log, "search", "--since", "yesterday")
    assert (wrong.exit_code, "write 30m" in wrong.stderr) == (2, True)


def test_no_log_yet_says_what_to_do(tmp_path: Path) -> None:
    ran = run(prepare(tmp_path, "http://127.0.0.1:1"), "tail")
    assert ran.exit_code == 1
    assert "sluicegate up" in ran.stderr


def test_times() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert reading.moment("2h", now) == datetime(2026, 11, 24, 10, tzinfo=UTC)
    assert reading.moment("2026-11-22", now) == datetime(2026, 11, 22, tzinfo=UTC)
    assert reading.moment("2026-11-22T23:00:00+01:00", now) == datetime(2026, 11, 22, 22, tzinfo=UTC)


def test_a_search_reads_a_large_log_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    text = json.dumps(outcome("x", started=NOW, ended=NOW)) + "\n"
    (tmp_path / "gw").mkdir()
    (tmp_path / "gw" / "2026-11-22T23.jsonl").write_text(text * 5_000)
    tracemalloc.start()
    assert sum(1 for _ in reading.records(tmp_path)) == 5_000
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert len(reading.newest(tmp_path, 7)) == 7
    assert call().outcome == "answered"
