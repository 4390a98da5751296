"""The kept host index: whole or rebuilt, never trusted when it is damaged, stale or open to others."""

import os
import stat
import time
from pathlib import Path

import pytest

from addons import config
from addons.services import Services
from addons.wire import hosts, index
from addons.wire.index import Endpoint
from scripts.cli import decode
from tests import harness

SMALL = {"sts.{region}.amazonaws.com": [Endpoint("sts", "aws", "", "{region}", "sts", "{region}")]}


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []

    def build() -> index.Index:
        made.append(1)
        return SMALL

    monkeypatch.setattr(index, "build", build)
    return made


def test_built_once_and_read_again(tmp_path: Path, builds: list[int]) -> None:
    assert index.load(tmp_path / "new") == index.load(tmp_path / "new") == SMALL
    assert len(builds) == 1
    path = tmp_path / "new" / "hosts.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["hosts.json"]


@pytest.mark.parametrize("change", ["cut", "flip", "empty", "text", "binary"])
def test_a_damaged_one_is_rebuilt(tmp_path: Path, builds: list[int], change: str) -> None:
    index.load(tmp_path)
    path = tmp_path / "hosts.json"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut": whole[:-5],
            "flip": whole.replace(b"sts", b"iam", 1),
            "empty": b"",
            "text": b"nothing\n[]",
            "binary": b"\xff\x00",
        }[change]
    )
    assert index.load(tmp_path) == SMALL
    assert len(builds) == 2
    assert path.read_bytes() == whole


def test_a_stale_one_is_rebuilt(tmp_path: Path, builds: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    index.load(tmp_path)
    monkeypatch.setattr("botocore.__version__", "99.0")
    index.load(tmp_path)
    monkeypatch.setattr(index, "FORMAT", index.FORMAT + 1)
    index.load(tmp_path)
    assert len(builds) == 3


def test_one_that_others_can_write_is_not_trusted(tmp_path: Path, builds: list[int]) -> None:
    index.load(tmp_path)
    (tmp_path / "hosts.json").chmod(0o666)
    index.load(tmp_path)
    assert len(builds) == 2


def test_a_directory_that_cannot_be_written_is_no_failure(tmp_path: Path, builds: list[int]) -> None:
    (tmp_path / "file").write_text("")
    assert index.load(tmp_path / "file") == SMALL
    assert index.load(None) == SMALL
    assert len(builds) == 2


@pytest.mark.long
def test_a_cold_build_takes_seconds() -> None:
    started = time.process_time()
    assert len(index.build()) > 11_000
    assert time.process_time() - started < 10 * max(1, (os.cpu_count() or 1) / 2)


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch, builds: list[int]) -> None:
    monkeypatch.setattr(hosts, "_loaded", None)


SAYS = "sluicegate: making an index of AWS's hosts, once (some seconds) ...\n"


def test_decode_says_once_why_it_takes_long(
    tmp_path: Path, cold: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decode._load(tmp_path)
    assert capsys.readouterr().err == SAYS
    monkeypatch.setattr(hosts, "_loaded", None)
    decode._load(tmp_path)
    assert capsys.readouterr().err == ""


def test_a_gateway_says_once_why_its_start_takes_long(
    tmp_path: Path, cold: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = config.load(harness.prepare(tmp_path, "http://127.0.0.1:9"))
    (gateway.state / "wire").unlink()  # the tests' shared index
    Services(gateway)
    assert capsys.readouterr().err == SAYS
    monkeypatch.setattr(hosts, "_loaded", None)
    Services(gateway)
    assert capsys.readouterr().err == ""
