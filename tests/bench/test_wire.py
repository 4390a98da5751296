"""The room `wire`: its goals and verdict, what its children say, and what it prints."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from addons import wire as reader
from scripts.benchmarks import timing, wire, wire_calls, wire_child, wire_report
from scripts.benchmarks.wire_calls import Counted
from tests.wire.conftest import CACHE


def result(**changes: object) -> wire.Result:
    """A run in which all went well."""
    names = [*(f"{service}:{operation}" for service, operation, _ in wire_calls.SMALL), ":".join(wire_calls.LARGE)]
    found = wire.Result(
        everything=True,
        counted=Counted(10_000, 10_000, 10_000, 10_000),
        captured=Counted(100, 100, 99, 0),
        speed=dict.fromkeys(names, 40.0),
        localstack=dict.fromkeys(names, 100.0),
        localstack_right=90,
        localstack_asked=100,
        cold=5.0,
        warm=0.5,
        memory=90 << 20,
    )
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def missed(found: wire.Result) -> list[str]:
    return [goal.name for goal in found.goals if goal.met is False]


def test_every_goal_counts() -> None:
    assert result().verdict == "met"
    assert result().times_faster == 2.5
    assert missed(result(counted=Counted(10_000, 9_999, 9_998, 9_989))) == [
        "operations identified",
        "parameters equal",
        "every byte explained",
    ]
    assert missed(result(captured=Counted(100, 99, 99, 0))) == ["CLI and JavaScript identified"]
    assert missed(result(speed={**result().speed, "sts:GetCallerIdentity": 51.0})) == [
        "sts:GetCallerIdentity, explained",
        "times faster than LocalStack, least",
    ]
    assert missed(result(warm=0.8, cold=11.0, memory=151 << 20)) == [
        "start, warm index",
        "start, no index",
        "resident, 10 services used",
    ]
    assert result(counted=Counted()).verdict == "missed"


def test_without_localstack_nothing_is_claimed() -> None:
    found = result(localstack={}, localstack_right=None, without_localstack="it can't be installed: no network")
    assert found.verdict == "met"
    assert found.times_faster is None
    assert "no network" in shown(found)


def shown(found: wire.Result) -> str:
    text = io.StringIO()
    wire_report.show(found, Console(file=text, width=200), 1.0)
    return text.getvalue()


def test_what_is_printed() -> None:
    found = result(counted=Counted(10, 9, 9, 9, ["s3:GetObject: refused: [no]"]))
    text = shown(found)
    assert "90.000 %" in text
    assert "s3:GetObject: refused: [no]" in text
    assert "missed" in text
    whole = json.loads(json.dumps(wire_report.as_json(found, 1.0)))
    assert whole["verdict"] == "missed"
    assert whole["roundTrip"]["identified"] == 9
    assert {goal["name"]: goal["met"] for goal in whole["goals"]}["start, no index"] is True


def test_the_timed_requests_are_those_of_the_goals() -> None:
    lines = wire_calls.timed()
    reader.load(CACHE)
    for line in lines:
        found = reader.decode(wire_child.request(line))
        assert f"{found.service}:{found.operation}" == line["id"]
    assert 60_000 < len(wire_child.request(lines[-1]).body or b"") < 76_000
    assert len({line["id"].partition(":")[0] for line in wire_calls.of_ten_services()}) == 10


def test_children_answer(tmp_path: Path) -> None:
    one = wire_calls.text(wire_calls.timed()[:1])
    assert wire.child("start", CACHE, one) == 1
    assert 20 << 20 < wire.child("memory", CACHE, one) < 300 << 20
    with pytest.raises(wire.Failed, match="wire_child"):
        wire.child("start", CACHE, "{")


def test_a_service_there_and_back() -> None:
    reader.load(CACHE)
    counted = wire_calls.of_service("sts")
    assert counted.requests > 10
    assert (counted.identified, counted.equal, counted.wrong) == (counted.requests, counted.requests, [])


def test_time_is_counted_a_call() -> None:
    assert timing.median_us(lambda: sum(range(20_000)), blocks=3) > timing.median_us(lambda: None, blocks=3)
