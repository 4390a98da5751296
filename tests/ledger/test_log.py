"""Group commit: what has returned is durable, in order, cheaply, whatever becomes of single tasks."""

# ruff: noqa: ASYNC240

import asyncio
import json
import os
import stat
import threading
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from addons.ledger import files, intents
from addons.ledger.log import Ledger, LedgerUnavailable
from addons.ledger.writer import Writer
from tests.ledger.conftest import calls, intent, lines, outcome


class Disk:
    """Watches what is written and synced: `durable` is what a power cut would leave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.durable: dict[int, bytes] = {}  # inode -> content
        self.syncs = 0
        real = files.sync

        def sync(descriptor: int) -> None:
            real(descriptor)
            self.syncs += 1
            status = os.fstat(descriptor)
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            self.durable[status.st_ino] = Path(path).read_bytes()

        monkeypatch.setattr(files, "sync", sync)

    def has(self, text: str) -> bool:
        return any(text.encode() in content for content in self.durable.values())


async def test_what_has_returned_survives_a_power_cut(
    tmp_path: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await opened(tmp_path)
    disk = Disk(monkeypatch)
    for number in range(20):
        name = f"call-{number}"
        await ledger.intent(intent(name))
        assert disk.has(name)
        disk.durable = {i: c for i, c in disk.durable.items() if b"AwsApiCall" in c}
        await ledger.outcome(outcome(name))
        assert disk.has(f'"eventID":"{name}"')
    await ledger.event("freeze", by="ada")
    assert disk.has('"eventName":"freeze"')


async def test_a_thousand_tasks_share_few_syncs(tmp_path: Path, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = await opened(tmp_path)
    disk = Disk(monkeypatch)

    async def one(number: int) -> None:
        await ledger.intent(intent(f"call-{number}"))
        await ledger.outcome(outcome(f"call-{number}"))

    await asyncio.gather(*(one(number) for number in range(1_000)))
    assert disk.syncs < 40
    assert sorted(r["eventID"] for r in calls(tmp_path)) == sorted(f"call-{n}" for n in range(1_000))


async def test_what_one_turn_of_the_loop_brings_is_one_commit(
    tmp_path: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await opened(tmp_path)
    disk = Disk(monkeypatch)
    await asyncio.gather(*(ledger.outcome(outcome(f"call-{number}")) for number in range(20)))
    assert disk.syncs == 1


async def test_a_recording_is_made_before_its_line_and_off_the_loop(tmp_path: Path, opened: Any) -> None:
    ledger = await opened(tmp_path)
    seen = []

    def copy() -> str:
        seen.append((threading.current_thread(), calls(tmp_path)))
        return "7f3c/0001.mitm#0"

    await ledger.outcome(outcome("a"), copy)
    await ledger.outcome(outcome("b"), lambda: None)
    ((thread, before),) = seen
    assert thread is not threading.main_thread()
    assert before == []
    own = [record["additionalEventData"]["sluicegate"] for record in calls(tmp_path)]
    assert [block["flow"] for block in own] == ["7f3c/0001.mitm#0", None]


async def test_nothing_is_synced_on_the_event_loops_thread(
    tmp_path: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await opened(tmp_path)
    seen = set()
    real = files.sync
    monkeypatch.setattr(files, "sync", lambda fd: (seen.add(threading.current_thread()), real(fd)))
    await ledger.intent(intent("a"))
    await ledger.outcome(outcome("a"))
    assert len(seen) == 1
    assert threading.main_thread() not in seen


async def test_records_are_numbered_in_the_order_of_the_log(tmp_path: Path, opened: Any) -> None:
    ledger = await opened(tmp_path)
    await asyncio.gather(*(ledger.outcome(outcome(f"c{n}")) if n % 2 else ledger.event("hold", n=n) for n in range(50)))
    blocks = [record["additionalEventData"]["sluicegate"] for record in lines(tmp_path)]
    assert [b["seq"] for b in blocks] == list(range(50))
    (directory,) = tmp_path.iterdir()
    day = next(directory.glob("*.jsonl")).name[:10]
    assert {b["log"] for b in blocks} == {f"{directory.name}/{day}"}


async def test_an_administrative_record_is_no_api_call_and_can_not_pass_for_one(tmp_path: Path, opened: Any) -> None:
    ledger = await opened(tmp_path)
    await ledger.event("hold", eventID="call-1", eventType="AwsApiCall", eventName="DeleteTable")
    (record,) = lines(tmp_path)
    assert record["eventType"] == "SluicegateEvent"
    assert record["eventName"] == "hold"
    assert record["eventID"] != "call-1"
    assert record["additionalEventData"]["sluicegate"]["detail"]["eventID"] == "call-1"
    assert "userIdentity" not in record


async def test_a_cancelled_task_does_not_disturb_its_group(tmp_path: Path, opened: Any) -> None:
    ledger = await opened(tmp_path)
    tasks = [asyncio.create_task(ledger.outcome(outcome(f"c{n}"))) for n in range(40)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(d, asyncio.CancelledError) if n % 3 == 0 else d is None for n, d in enumerate(done))
    await ledger.event("after")
    assert ledger.healthy


async def test_the_intent_of_a_cancelled_task_does_not_stay_open(tmp_path: Path, opened: Any) -> None:
    ledger = await opened(tmp_path)
    task = asyncio.create_task(ledger.intent(intent("gone")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ledger.event("after")
    assert ledger._writer.intents.open == {}


async def test_files_are_the_owners_alone(tmp_path: Path, opened: Any) -> None:
    directory = tmp_path / "audit"
    ledger = await opened(directory)
    await ledger.intent(intent("a"))
    await ledger.outcome(outcome("a"))
    for path in [directory, *directory.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_the_journal_stays_as_small_as_what_is_in_flight(tmp_path: Path) -> None:
    writer = Writer(tmp_path, 0)
    writer.open()
    writer.intents.segment = 4_096
    for number in range(500):
        writer.intents.append([intent(f"c{number}")])
        if number != 7:
            writer.write([outcome(f"c{number}")])
    journal = writer.directory / "journal"
    assert sum(path.stat().st_size for path in journal.iterdir()) < 3 * 4_096
    assert "c7" in {found["eventID"] for _, found in intents.read(journal)}
    writer.close()


async def test_an_orderly_end_leaves_nothing_but_the_lines(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 1 << 16)
    await ledger.start()
    await ledger.intent(intent("a"))
    await ledger.outcome(outcome("a"))
    await ledger.close()
    (directory,) = tmp_path.iterdir()
    assert {path.suffix for path in directory.iterdir()} == {".jsonl"}
    assert not ledger.healthy
    with pytest.raises(LedgerUnavailable):
        await ledger.event("late")


async def test_close_writes_what_is_queued(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 0)
    await ledger.start()
    waiting = [asyncio.create_task(ledger.outcome(outcome(f"c{n}"))) for n in range(100)]
    await asyncio.sleep(0)
    await ledger.close()
    await asyncio.gather(*waiting)
    assert len(calls(tmp_path)) == 100


async def test_a_directory_that_can_not_be_made_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnavailable, match="Not a directory"):
        await Ledger(tmp_path / "file" / "audit").start()


@pytest.mark.parametrize(
    "value",
    [
        *("\ud800 half", "\x1b[2J\u202e", "\x7f", "é", {"a\ud800": float("nan")}, b"\xff", object(), {1: {2, 3}}),
        *(float("inf"), 2**70, datetime(2026, 11, 24, tzinfo=UTC), HTTPStatus.OK),
    ],
)
async def test_any_value_becomes_one_line_of_plain_json(tmp_path: Path, opened: Any, value: object) -> None:
    ledger = await opened(tmp_path)
    await ledger.event("odd", value=value)
    (path,) = tmp_path.rglob("*.jsonl")
    data = path.read_bytes()
    assert data.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in data[:-1])

    def refuse(name: str) -> None:
        raise AssertionError(name)

    found = json.loads(data, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode()  # no half of a surrogate pair


async def test_two_gateways_share_a_directory(tmp_path: Path, opened: Any) -> None:
    first, second = await opened(tmp_path), await opened(tmp_path)
    await asyncio.gather(
        *(led.outcome(outcome(f"{i}-{n}")) for i, led in enumerate((first, second)) for n in range(20))
    )
    assert len(calls(tmp_path)) == 40
    assert len(list(tmp_path.iterdir())) == 2
