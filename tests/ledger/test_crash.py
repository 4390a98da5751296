"""After a crash: no torn line is read, nothing acknowledged is lost, and calls of unknown outcome are named."""

# ruff: noqa: ASYNC240

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.ledger.files import heal
from addons.ledger.log import Ledger
from addons.ledger.writer import Writer, lock
from tests.ledger.conftest import calls, intent, lines, outcome

WRITER = """
import asyncio, sys
from pathlib import Path
from addons.ledger.log import Ledger
from tests.ledger.conftest import intent, outcome

async def one(ledger, worker):
    for number in range(10_000):
        name = f"{sys.argv[2]}-{worker}-{number}"
        await ledger.intent(intent(name))
        print("intent", name, flush=True)       # here the call would be sent
        await ledger.outcome(outcome(name))
        print("outcome", name, flush=True)      # here the answer would be delivered

async def main():
    ledger = Ledger(Path(sys.argv[1]), 1 << 16)
    await ledger.start()
    print("ready", flush=True)
    await asyncio.gather(*(one(ledger, worker) for worker in range(8)))

asyncio.run(main())
"""


def killed_writer(directory: Path, name: str, after: int) -> tuple[set[str], set[str]]:
    """Run a real writer, kill -9 it after so many lines of output; returns what it had sent and delivered by then."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), name],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout
    output = [process.stdout.readline() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    output += process.stdout.read().splitlines(keepends=True)
    process.wait()
    process.stdout.close()
    words = [line.split() for line in output if line.endswith("\n")]
    return {w[1] for w in words if w[0] == "intent"}, {w[1] for w in words if w[0] == "outcome"}


async def check(directory: Path, sent: set[str], delivered: set[str]) -> None:
    ledger = Ledger(directory, 1 << 16)
    await ledger.start()
    await ledger.close()
    found = calls(directory)
    names = [record["eventID"] for record in found]
    assert len(names) == len(set(names))
    ends = {r["eventID"]: r["additionalEventData"]["sluicegate"]["outcome"] for r in found}
    assert sent <= ends.keys()
    assert all(ends[name] == "answered" for name in delivered)
    assert not list(directory.rglob("*.wal"))


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    random_ = random.Random(20261124)
    sent, delivered = set(), set()
    for number in range(2):
        new = killed_writer(tmp_path, f"run{number}", random_.randrange(2, 200))
        sent, delivered = sent | new[0], delivered | new[1]
    assert sent
    await check(tmp_path, sent, delivered)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_kill_9_many_times(tmp_path: Path) -> None:
    random_ = random.Random(20261125)
    for number in range(int(os.environ.get("SLUICEGATE_KILLS", "25"))):  # each takes a process's start
        await check(tmp_path / str(number), *killed_writer(tmp_path / str(number), "run", random_.randrange(1, 400)))


async def crashed(directory: Path, settled: list[str], open_: list[str]) -> Writer:
    """A writer whose process is gone: files without their lock."""
    writer = Writer(directory, 1 << 16)
    writer.open()
    writer.intents.append([intent(name) for name in settled + open_])
    writer.write([outcome(name) for name in settled])
    writer.close()
    return writer


async def test_intents_without_outcome_become_unknown_records(tmp_path: Path, opened: Any) -> None:
    dead = await crashed(tmp_path, ["a", "b"], ["c"])
    await opened(tmp_path)
    found = {record["eventID"]: record for record in calls(tmp_path)}
    assert found.keys() == {"a", "b", "c"}
    unknown = found["c"]
    assert unknown["additionalEventData"]["sluicegate"]["outcome"] == "unknown"
    assert unknown["additionalEventData"]["sluicegate"]["subject"] == "agent/ada"
    assert (unknown["eventSource"], unknown["eventName"]) == ("dynamodb.amazonaws.com", "DeleteTable")
    assert "errorCode" not in unknown  # it may have happened: rules about successful calls must see it
    assert not (dead.directory / "journal").exists()
    (note,) = [record for record in lines(tmp_path) if record["eventName"] == "recovered"]
    assert note["additionalEventData"]["sluicegate"]["detail"] == {"writer": dead.name, "torn": [], "unknown": 1}


async def test_a_recovery_that_is_itself_interrupted_writes_no_call_twice(tmp_path: Path, opened: Any) -> None:
    dead = await crashed(tmp_path, [], ["c"])
    first = await opened(tmp_path)
    journal = dead.directory / "journal"
    journal.mkdir()
    (journal / "000001.wal").write_text(json.dumps({"at": 1_795_000_000.0, "intent": intent("c")}) + "\n")
    await first.close()
    await opened(tmp_path)
    assert [record["eventID"] for record in calls(tmp_path)] == ["c"]


async def test_the_files_of_a_living_writer_are_left_alone(tmp_path: Path, opened: Any) -> None:
    living = await opened(tmp_path)
    await living.intent(intent("a"))
    await opened(tmp_path)
    assert calls(tmp_path) == []
    await living.outcome(outcome("a"))
    assert [record["eventID"] for record in calls(tmp_path)] == ["a"]


async def test_a_torn_tail_is_cut_off_and_noted(tmp_path: Path, opened: Any) -> None:
    dead = await crashed(tmp_path, ["a"], ["b"])
    (path,) = dead.directory.glob("*.jsonl")
    whole = path.read_bytes()
    torn = json.dumps(outcome("b")).encode()[:333]
    path.write_bytes(whole + torn)
    await opened(tmp_path)
    assert path.read_bytes() == whole
    (note,) = [record for record in lines(tmp_path) if record["eventName"] == "recovered"]
    (tear,) = note["additionalEventData"]["sluicegate"]["detail"]["torn"]
    assert (tear["file"], tear["size"]) == (path.name, 333)
    assert {r["eventID"]: r["additionalEventData"]["sluicegate"]["outcome"] for r in calls(tmp_path)} == {
        "a": "answered",
        "b": "unknown",
    }


@settings(max_examples=100, deadline=None)
@given(whole=st.integers(0, 5), cut=st.integers(0, 400), zeros=st.integers(0, 5_000))
def test_healing_keeps_exactly_the_whole_lines(tmp_path_factory: Any, whole: int, cut: int, zeros: int) -> None:
    path = tmp_path_factory.mktemp("heal") / "f.jsonl"
    good = b"".join(json.dumps({"n": n, "text": "x" * 100 * n}).encode() + b"\n" for n in range(whole))
    tail = json.dumps({"text": "y" * 500}).encode()[:cut] + b"\0" * zeros
    path.write_bytes(good + tail)
    tear = heal(path)
    assert path.read_bytes() == good
    assert (tear.size if tear else 0) == len(tail)


async def test_a_lock_is_free_as_soon_as_its_process_is_gone(tmp_path: Path) -> None:
    held = lock(tmp_path)
    assert held is not None
    assert lock(tmp_path) is None
    os.close(held)
    again = lock(tmp_path)
    assert again is not None
    os.close(again)
    await asyncio.sleep(0)
