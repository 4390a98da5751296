"""Files that turn into something else under a running gateway, and signals without end: the old policy stays."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fail_closed.conftest import Screen, Stand, until


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def depths(path: Path) -> None:
    path.write_text("a: " + "[" * 50_000)


def many(path: Path) -> None:
    path.write_text("version: 1\npolicies: [" + "{name: x, statements: []}, " * 100_000)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def reloads(stand: Stand, kind: str) -> int:
    return sum(record["eventName"] == kind for record in stand.records())


@pytest.mark.parametrize("name", ["gateway.yaml", "policy.yaml"])
@pytest.mark.parametrize("change", [fifo, directory, loop, depths, many, Path.unlink])
def test_whatever_a_file_turns_into_the_old_policy_stays_and_the_next_good_one_counts(
    stand: Stand, screen: Screen, name: str, change: Callable[[Path], None]
) -> None:
    path = stand.gateway.directory / name
    good, refused, done = path.read_bytes(), reloads(stand, "reload-failed"), reloads(stand, "reload")
    try:
        change(path)
        stand.gateway.process.send_signal(signal.SIGHUP)
        until(lambda: reloads(stand, "reload-failed") > refused, "a line about the refused reload")
        assert stand.call().status == 200, "the old policy is in force"
    finally:
        remove(path)
        path.write_bytes(good)
    stand.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: reloads(stand, "reload") > done, "the reload of the good file")
    assert stand.call().status == 200


def test_a_storm_of_signals_is_few_reloads(stand: Stand) -> None:
    done = reloads(stand, "reload")
    until(lambda: stand.call().status == 200, "a call")
    end = time.monotonic() + 1
    sent = 0
    while time.monotonic() < end:
        stand.gateway.process.send_signal(signal.SIGHUP)
        sent += 1
        time.sleep(0.001)
    assert stand.call().status == 200
    until(lambda: reloads(stand, "reload") > done, "a reload")
    assert reloads(stand, "reload") - done < sent / 10
