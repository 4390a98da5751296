"""The gateway's own troubles: a broken policy, a ledger that can't be written, a configuration that makes no sense."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.client.ports import free_port
from tests import harness
from tests.fail_closed.conftest import Screen, Stand, standing, until
from tests.harness import POLICY


def names(stand: Stand) -> list[str]:
    return [str(record["eventName"]) for record in stand.records()]


@pytest.mark.parametrize("how", ["signal", "file"])
def test_a_broken_policy_leaves_the_old_one_in_force(stand: Stand, screen: Screen, how: str) -> None:
    file = stand.gateway.directory / "policy.yaml"
    failed, reloaded = names(stand).count("reload-failed"), names(stand).count("reload")
    file.write_text(POLICY + "  no: yaml: [\n")
    if how == "signal":
        stand.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: names(stand).count("reload-failed") > failed, "the event in the ledger")
    assert "the old policy stays in force" in stand.gateway.log.read_text()
    status, ready = screen.ready()
    assert status == 200
    assert "the last reload was refused" in ready["warning"]
    assert stand.call().status == 200
    with stand.nothing_passes():
        assert stand.call("UpdateTable").status == 403
    file.write_text(POLICY.replace("    - dynamodb:GetItem\n", ""))
    if how == "signal":
        stand.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: names(stand).count("reload") > reloaded, "the next reload")
    assert screen.ready()[1]["warning"] == ""
    with stand.nothing_passes():
        assert stand.call().status == 403
    file.write_text(POLICY)
    stand.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: names(stand).count("reload") > reloaded + 1, "the last reload")
    assert stand.call().status == 200


def test_a_missing_policy_file_leaves_the_old_one_in_force(stand: Stand, screen: Screen) -> None:
    file = stand.gateway.directory / "policy.yaml"
    failed, reloaded = names(stand).count("reload-failed"), names(stand).count("reload")
    file.unlink()
    stand.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: names(stand).count("reload-failed") > failed, "the event in the ledger")
    assert stand.call().status == 200
    file.write_text(POLICY)
    until(lambda: names(stand).count("reload") > reloaded, "the reload of the mended file")
    assert screen.ready()[1]["warning"] == ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A gateway's directory whose `audit` is a file system of 1 MiB."""
    audit = tmp_path / "audit"
    audit.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(audit)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"NOT TESTED: a full disk needs a tmpfs, and mounting one needs root ({mounted.stderr.strip()})")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", str(audit)], check=True)


def test_a_full_disk_closes_the_gate_until_there_is_space(small_disk: Path) -> None:
    with standing(small_disk) as stand:
        screen, ballast = Screen(stand.gateway), small_disk / "audit" / "ballast"
        assert stand.call().status == 200
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        seen = len(stand.upstream.seen)
        until(lambda: stand.call().status != 200, "the last page")  # what fits into the last page may still pass
        passed = len(stand.upstream.seen)
        assert passed - seen < 20
        for _ in range(3):
            assert stand.call().status == 503
            assert stand.secret().status == 503
        refused = stand.raw(keys=None).call()
        assert refused.status in (403, 503)
        assert len(stand.upstream.seen) == passed
        status, ready = screen.ready()
        assert status == 503
        assert "audit log" in ready["problem"]
        assert "the audit log can't be written" in stand.gateway.log.read_text()
        ballast.unlink()
        until(lambda: screen.ready()[0] == 200, "its recovery")
        assert stand.call().status == 200
        assert "gap" in names(stand)
        assert stand.last_call()["additionalEventData"]["sluicegate"]["outcome"] == "answered"


def test_an_audit_directory_that_vanishes_closes_the_gate_until_it_is_back(tmp_path: Path) -> None:
    with standing(tmp_path, other_hosts="{tunnel: [localhost]}") as stand:
        screen, audit = Screen(stand.gateway), tmp_path / "audit"
        assert stand.call().status == 200
        shutil.rmtree(audit)
        audit.write_text("in the way")
        seen = len(stand.upstream.seen)
        assert stand.call().status == 503
        tunnel = stand.raw(host="localhost", connect=stand.upstream.url.replace("http://127.0.0.1", "localhost"))
        connections = stand.upstream.connections
        assert tunnel.send("GET", "/", [("Host", "localhost")]).status == 0
        assert stand.upstream.connections == connections
        assert len(stand.upstream.seen) == seen
        assert screen.ready()[0] == 503
        assert "the audit log can't be written" in stand.gateway.log.read_text()
        audit.unlink()
        until(lambda: screen.ready()[0] == 200, "its recovery")
        assert stand.call().status == 200
        assert "gap" in names(stand)


@pytest.mark.parametrize(
    "broken",
    [
        {"listen": "127.0.0.1:PORT", "no_such_key": "1"},
        {"listen": "127.0.0.1:PORT", "approvals": "{timeout: soon}"},
        {"listen": "127.0.0.1:PORT", "groups": "{developers: {policies: [./absent.yaml], roles: []}}"},
        {"listen": "127.0.0.1:PORT", "upstream": "{endpoint: 'http://127.0.0.1:1', ca: absent.pem}"},
        {"listen": "127.0.0.1:PORT", "upstream": "{endpoint: 'http://127.0.0.1:1', connect_timeout: 1s}"},
    ],
    ids=["unknown key", "bad type", "missing policy", "missing certificate", "no upstream"],
)
def test_what_makes_no_sense_does_not_start(tmp_path: Path, broken: dict[str, str]) -> None:
    port = free_port()
    extra = {key: value.replace("PORT", str(port)) for key, value in broken.items()}
    config = harness.prepare(tmp_path, "http://127.0.0.1:1", **extra)
    ready = tmp_path / "ready.json"
    ended = subprocess.run(
        [sys.executable, "-m", "scripts", "up", "--config", str(config), "--ready-file", str(ready)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "x", "AWS_MAX_ATTEMPTS": "1"},
    )
    assert ended.returncode == 2
    assert "sluicegate: " in ended.stderr
    assert not ready.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_broken_policy_does_not_start(tmp_path: Path) -> None:
    config = harness.prepare(tmp_path, "http://127.0.0.1:1", "version: 1\npolicies: nothing\n")
    ended = subprocess.run(
        [sys.executable, "-m", "scripts", "up", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert str(tmp_path / "policy.yaml") in ended.stderr
