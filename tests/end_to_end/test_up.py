"""`sluicegate up` where it can't or must not start: a clear word, exit 2, and nothing of a running gateway harmed."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Gateway]:
    upstream = harness.Upstream()
    with harness.gateway(tmp_path_factory.mktemp("gateway"), upstream.url) as made:
        yield made
    upstream.close()


def start(config: Path) -> subprocess.CompletedProcess[str]:
    keys = {"AWS_ACCESS_KEY_ID": harness.REAL_KEY, "AWS_SECRET_ACCESS_KEY": harness.REAL_SECRET}
    command = [sys.executable, "-m", "scripts", "up", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ | keys)


def test_a_second_gateway_of_one_state_directory_does_not_start_and_harms_nothing(gate: harness.Gateway) -> None:
    ran = start(gate.config)
    assert ran.returncode == 2
    assert "runs already" in ran.stderr
    assert gate.cli("approvals", "list").stdout.strip() == "Nothing waits."


@pytest.mark.parametrize("key", ["listen", "web"])
def test_a_port_that_is_taken_is_told_in_our_words(tmp_path: Path, key: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        value = f"'{address}'" if key == "listen" else f"{{listen: '{address}'}}"
        ran = start(harness.prepare(tmp_path, "http://127.0.0.1:9", **{key: value}))
    assert ran.returncode == 2
    assert f"can't listen on {address}" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_state_directory_that_others_can_look_into_is_not_used(tmp_path: Path) -> None:
    config = harness.prepare(tmp_path, "http://127.0.0.1:9")
    (tmp_path / "state").chmod(0o755)
    ran = start(config)
    assert ran.returncode == 2
    assert f"chmod 700 {tmp_path / 'state'}" in ran.stderr


def test_an_upstream_that_is_not_there_is_told_with_what_to_check(tmp_path: Path) -> None:
    ran = start(harness.prepare(tmp_path, "http://127.0.0.1:9"))
    assert ran.returncode == 2
    assert "upstream.endpoint" in ran.stderr
    assert "Traceback" not in ran.stderr
