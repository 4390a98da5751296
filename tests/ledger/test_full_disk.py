"""A full disk, a broken one, a vanished directory: nothing new is let out, what is out is written, it heals."""

import asyncio
import contextlib
import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from addons.ledger import files
from addons.ledger.log import Ledger, LedgerUnavailable
from tests.ledger.conftest import calls, intent, lines, outcome


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"NOT TESTED: a full disk needs a tmpfs, and mounting one needs root ({mounted.stderr.strip()})")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def fill(directory: Path) -> Path:
    """Take every byte that is left."""
    path = directory / "ballast"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4_096))
    return path


async def until(condition: Any, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_full_disk_refuses_the_new_keeps_what_is_in_flight_and_recovers(small_disk: Path, opened: Any) -> None:
    audit = small_disk / "audit"
    ledger = await opened(audit)
    for number in range(30):
        await ledger.intent(intent(f"c{number}"))
    ballast = fill(small_disk)
    with pytest.raises(LedgerUnavailable, match="No space left"):
        while True:  # until the last page is used up
            await ledger.intent(intent("new"))
            await ledger.event("new")
    assert not ledger.healthy
    for number in range(30):
        await ledger.outcome(outcome(f"c{number}"))  # from the reserve
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            await ledger.intent(intent("refused"))
        with pytest.raises(LedgerUnavailable):
            await ledger.event("refused")
    with pytest.raises(LedgerUnavailable):
        await ledger.outcome(outcome("late", outcome="refused"))
    written = {record["eventID"] for record in calls(audit)}
    assert {f"c{n}" for n in range(30)} <= written
    assert "late" not in written

    ballast.unlink()
    await until(lambda: ledger.healthy)
    await ledger.intent(intent("again"))
    await ledger.outcome(outcome("again"))
    (gap,) = [record for record in lines(audit) if record["eventName"] == "gap"]
    detail = gap["additionalEventData"]["sluicegate"]["detail"]
    assert detail["reason"] == "No space left on device"
    assert detail["since"] < detail["until"]
    assert (detail["refused"] >= 6, detail["late"], detail["lost"]) == (True, 1, 0)
    assert {"late", "again"} <= {record["eventID"] for record in calls(audit)}
    seqs = [record["additionalEventData"]["sluicegate"]["seq"] for record in lines(audit)]
    assert seqs == list(range(len(seqs)))


async def test_a_full_disk_at_the_start_is_refused(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(LedgerUnavailable, match="No space left"):
        await Ledger(small_disk / "audit").start()


async def test_refused_calls_can_not_use_up_the_reserve(small_disk: Path, opened: Any) -> None:
    ledger = await opened(small_disk / "audit")
    await ledger.intent(intent("in-flight"))
    fill(small_disk)
    for number in range(600):
        with contextlib.suppress(LedgerUnavailable):
            await ledger.outcome(outcome(f"refused-{number}", outcome="refused"))
    assert not ledger.healthy
    await ledger.outcome(outcome("in-flight"))
    assert "in-flight" in {record["eventID"] for record in calls(small_disk)}


async def test_a_failing_sync_is_never_taken_for_durable(
    tmp_path: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await opened(tmp_path)
    real, broken = files.sync, True

    def sync(descriptor: int) -> None:
        if broken:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(files, "sync", sync)
    with pytest.raises(LedgerUnavailable, match="Input/output error"):
        await ledger.intent(intent("a"))
    with pytest.raises(LedgerUnavailable):
        await ledger.outcome(outcome("a", outcome="refused"))
    assert not ledger.healthy
    assert calls(tmp_path) == []
    broken = False
    await until(lambda: ledger.healthy)
    assert [record["eventID"] for record in calls(tmp_path)] == ["a"]


@pytest.mark.parametrize("how", ["removed", "renamed"])
async def test_a_vanished_directory_is_noticed_and_made_again(tmp_path: Path, opened: Any, how: str) -> None:
    audit = tmp_path / "audit"
    ledger = await opened(audit)
    await ledger.intent(intent("in-flight"))
    await ledger.outcome(outcome("before"))
    if how == "removed":
        shutil.rmtree(audit)
    else:
        audit.rename(tmp_path / "elsewhere")
    with pytest.raises(LedgerUnavailable, match="vanished"):
        await ledger.intent(intent("new"))
    assert not ledger.healthy
    await until(lambda: ledger.healthy)
    await ledger.outcome(outcome("in-flight"))
    assert [record["eventID"] for record in calls(audit)] == ["in-flight"]
    assert lines(audit)[0]["eventName"] == "gap"


async def test_an_idle_ledger_notices_that_its_directory_has_vanished(tmp_path: Path, opened: Any) -> None:
    audit = tmp_path / "audit"
    ledger = await opened(audit)
    shutil.rmtree(audit)
    audit.write_text("in the way")
    await until(lambda: not ledger.healthy)
    await asyncio.sleep(0.4)
    assert not ledger.healthy
    audit.unlink()
    await until(lambda: ledger.healthy)
