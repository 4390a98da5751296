"""The room `wire`: how much of AWS is read right, how fast, and beside what else there is, in one run.

Right: real botocore clients' requests for every operation come back as service, operation and parameters, and encoded
again they are the same request (`Counted.explained`; the reader has no step of its own for it: it uses up all that it
is given, and refuses the rest). Fast: CPU time of one request, in a process that does nothing else, alternating with
LocalStack's router and parser, which get an environment of their own.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from scripts.benchmarks import wire_calls
from scripts.benchmarks.load import Failed
from scripts.benchmarks.proxy import Progress
from scripts.benchmarks.wire_calls import LARGE, SMALL, Counted

ROOT = Path(__file__).resolve().parents[2]
LOCALSTACK = "localstack-core[base-runtime]==2026.3.0"  # the last there is: archived in March 2026
ROUNDS = 3
STARTS = 5  # of which the quickest counts: what else runs on the machine only adds


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure and what it has to reach."""

    name: str
    value: float | None  # None: not measured
    goal: float
    unit: str
    least: bool  # whether more is better

    @property
    def met(self) -> bool | None:
        """Whether it is reached; None where there is no figure."""
        if self.value is None:
            return None
        return self.value >= self.goal if self.least else self.value <= self.goal


@dataclass(slots=True)
class Result:
    """Everything that one run found. Times in microseconds of CPU, but for the starts: seconds on the clock."""

    everything: bool
    counted: Counted = field(default_factory=Counted)
    captured: Counted = field(default_factory=Counted)
    speed: dict[str, float] = field(default_factory=dict)
    localstack: dict[str, float] = field(default_factory=dict)
    localstack_right: int | None = None  # of the timed and the captured requests
    localstack_asked: int = 0
    without_localstack: str = ""  # why it was not measured
    cold: float = 0.0
    warm: float = 0.0
    memory: int = 0

    @property
    def goals(self) -> list[Goal]:
        """The figures of the issue."""
        counted, seen = self.counted, self.captured
        return [
            Goal("operations identified", share(counted.identified, counted.requests), 100.0, "%", True),
            Goal("parameters equal", share(counted.equal, counted.requests), 99.99, "%", True),
            Goal("every byte explained", share(counted.explained, counted.requests), 99.9, "%", True),
            Goal("CLI and JavaScript identified", share(seen.identified, seen.requests), 100.0, "%", True),
            *(Goal(f"{s}:{o}, explained", self.speed.get(f"{s}:{o}"), 50.0, "us", False) for s, o, _ in SMALL),
            Goal(":".join(LARGE) + " of 68 KB", self.speed.get(":".join(LARGE)), 1200.0, "us", False),
            Goal("times faster than LocalStack, least", self.times_faster, 2.0, "x", True),
            Goal("start, warm index", self.warm, 0.7, "s", False),
            Goal("start, no index", self.cold, 10.0, "s", False),
            Goal("resident, 10 services used", self.memory / 2**20, 150.0, "MB", False),
        ]

    @property
    def times_faster(self) -> float | None:
        """The smallest ratio to LocalStack of all timed requests."""
        ratios = [self.localstack[name] / us for name, us in self.speed.items() if name in self.localstack]
        return min(ratios, default=None)

    @property
    def verdict(self) -> str:
        """ "met" or "missed"."""
        return "missed" if any(goal.met is False for goal in self.goals) else "met"


def share(part: int, whole: int) -> float:
    """Per cent."""
    return 100.0 * part / whole if whole else 0.0


def run(quick: bool, progress: Progress) -> Result:
    """Measure everything. `quick` takes a sample of services for what is right. Raises `Failed`."""
    found = Result(everything=not quick)
    with tempfile.TemporaryDirectory() as directory:
        index = Path(directory)
        lines = wire_calls.timed()
        progress.phase("starting without and with an index", STARTS + 1)
        one = wire_calls.text(lines[:1])
        found.cold = seconds(lambda: child("start", index, one))
        progress.step()
        for _ in range(STARTS):
            warm = seconds(lambda: child("start", index, one))
            found.warm = min(warm, found.warm or warm)
            progress.step()
        found.memory = child("memory", index, wire_calls.text(wire_calls.of_ten_services()))
        _speed(found, index, lines, progress)
        _right(found, index, quick, progress)
    return found


def _speed(found: Result, index: Path, lines: list[dict[str, Any]], progress: Progress) -> None:
    progress.phase("making LocalStack's environment, once", 0)
    python, found.without_localstack = localstack()
    progress.phase("reading six requests over and over", ROUNDS)
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    others = wire_calls.captured()
    found.localstack_asked = len(lines) + len(others) if python else 0
    for number in range(ROUNDS):
        ours.append(child("speed", index, wire_calls.text(lines)))
        if python:
            asked = lines if number else [*lines, *others]
            program = [str(python), str(Path(__file__).with_name("localstack_child.py"))]
            said = answer(program, wire_calls.text(asked))
            theirs.append(said["speed"])
            if not number:
                found.localstack_right = len(said["right"])
        progress.step()
    found.speed = {line["id"]: statistics.median(each[line["id"]] for each in ours) for line in lines}
    if theirs:
        found.localstack = {line["id"]: statistics.median(each[line["id"]] for each in theirs) for line in lines}


def _right(found: Result, index: Path, quick: bool, progress: Progress) -> None:
    names = wire_calls.services(quick)
    progress.phase("every operation there and back" if not quick else "a sample of services there and back", len(names))
    for counted in wire_calls.count(names, index):
        found.counted.add(counted)
        progress.step()
    from addons import wire

    wire.load(index)
    found.captured = wire_calls.count_captured()


def child(what: str, index: Path, given: str) -> Any:
    """One measurement in a process of its own."""
    return answer([sys.executable, "-m", "scripts.benchmarks.wire_child", what, str(index)], given)


def answer(command: list[str], given: str) -> Any:
    """What a child prints. Raises `Failed` with its last words."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(command, input=given.encode(), capture_output=True, check=False, cwd=ROOT, env=environ)
    if done.returncode:
        raise Failed(f"{' '.join(command[1:3])} failed: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return orjson.loads(done.stdout.splitlines()[-1])


def seconds(call: Callable[[], Any]) -> float:
    """Seconds on the clock."""
    began = time.monotonic()
    call()
    return time.monotonic() - began


def localstack() -> tuple[Path | None, str]:
    """The Python of an environment that holds LocalStack's parser; or None, and why there is none."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    place = Path(base) / "sluicegate" / "bench" / LOCALSTACK.replace("==", "-").replace("[base-runtime]", "")
    python = place / "bin" / "python"
    whole = place / "whole"
    if not whole.exists():
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", LOCALSTACK, "cbor2<6"]
        for command in ([sys.executable, "-m", "venv", "--clear", str(place)], pip):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return None, f"LocalStack's parser can't be installed: {done.stderr.strip()[-200:]}"
        whole.touch()
    return python, ""
