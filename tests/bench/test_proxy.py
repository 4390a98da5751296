"""The room `proxy`: its verdict, and one very short run against a real gateway."""

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from addons.gateway import Gateway
from scripts.benchmarks import calls, proxy, report
from scripts.benchmarks.compare import Comparison, Sample, compare

SHORT = proxy.Scenario("c16", "short", calls.GET_ITEM, 4, 2, 0.1)


def comparison(
    gateway: float, *, copy: float = 1000.0, swing: float = 0.0, shake: float = 0.0, waiting: float = 0.0
) -> Comparison:
    """Blocks in which bare mitmdump makes 1000 requests a second; the others' rates swing from block to block."""
    rates = {proxy.BASE: 1000.0, proxy.COPY: copy, proxy.GATEWAY: gateway}
    loads = itertools.count()

    def load(name: str) -> Sample:
        block = next(loads) // 6
        width = {proxy.BASE: 0.0, proxy.COPY: shake, proxy.GATEWAY: swing}[name]
        rate = rates[name] + (width if block % 2 else -width)
        return Sample(round(rate), 1.0, 0.01, 0.02, 0.9, None, waiting)

    return compare(list(rates), load, blocks=6)


def result(found: Comparison) -> proxy.Result:
    return proxy.Result(scenarios={"c16": (SHORT, found)}, client_times=20.0, judged=1, counted=1)


@pytest.mark.parametrize(
    ("found", "verdict", "reason"),
    [
        (comparison(950), "met", "0.95"),
        (comparison(850), "missed", "0.85"),
        (comparison(950, copy=900), "inconclusive", "does not hold 1.0"),
        (comparison(950, shake=80), "inconclusive", "too wide"),
        (comparison(600, shake=80), "missed", "0.60"),
        (comparison(950, waiting=0.9), "inconclusive", "other processes"),
        (comparison(900, swing=50), "inconclusive", "holds the goal"),
    ],
    ids=["met", "missed", "copy differs", "copy shakes", "but less than it is missed by", "busy machine", "too close"],
)
def test_the_verdict_needs_an_interval_beyond_the_goal_and_a_copy_at_one(
    found: Comparison, verdict: str, reason: str
) -> None:
    word, reasons = proxy.judgement(result(found))
    assert word == verdict
    assert any(reason in text for text in reasons)


def test_a_slow_client_proves_nothing() -> None:
    slow = result(comparison(950))
    slow.client_times = 2.0
    assert proxy.judgement(slow)[0] == "inconclusive"


def test_a_gateway_that_did_not_do_its_work_is_wrong_however_fast() -> None:
    fast = result(comparison(9000))
    fast.problems.append("a request without a line")
    assert proxy.judgement(fast) == ("wrong", ["a request without a line"])


def test_answers_that_are_unmasked_changed_or_not_refused_are_faults() -> None:
    masked = calls.LIST_FUNCTIONS.answer.body.replace(calls.MARK.encode(), b"***")
    assert proxy.fault(calls.LIST_FUNCTIONS, masked) is None
    assert "masked" in str(proxy.fault(calls.LIST_FUNCTIONS, calls.LIST_FUNCTIONS.answer.body))
    assert proxy.fault(calls.GET_ITEM, calls.GET_ITEM.answer.body) is None
    assert "changed" in str(proxy.fault(calls.GET_ITEM, calls.GET_ITEM.answer.body + b" "))
    assert "refusal" in str(proxy.fault(calls.DELETE_TABLE, calls.DELETE_TABLE.answer.body))
    assert (
        proxy.fault(calls.DELETE_TABLE, b'{"__type":"com.amazon#AccessDeniedException","message":"sluicegate: no"}')
        is None
    )


def test_each_step_of_the_gateway_is_one_whose_cost_is_shown() -> None:
    steps = [type(step).__name__ for step in Gateway(SimpleNamespace()).addons]
    shown = [name for name in proxy.STEPS if name in steps]
    assert shown == [name for name in steps if name in proxy.STEPS]  # in the gateway's order
    # These are measured with the step that follows them; a new step must be shown, or be named here.
    assert set(steps) - set(shown) == {"Connections", "Approve", "Freeze", "Sign", "Record", "Arrival"}


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_short_run_verifies_a_real_gateway_and_prints_every_figure() -> None:
    scenarios = (SHORT, replace(SHORT, key="new", connections=proxy.NEW, blocks=1))
    steps = replace(SHORT, key="steps", connections=1, blocks=1)
    found = proxy.run(scenarios, steps, proxy.Progress(lambda *_: None, lambda: None), 150)
    assert found.problems == []
    assert found.judged == 2 * calls.DISTINCT
    assert found.counted > 3 * calls.DISTINCT
    shown = json.loads(json.dumps(report.as_json(found, 1.0)))
    assert shown["scenarios"]["c16"]["toMitmdump"]["gateway"]["rps"][0] > 0.05
    assert shown["scenarios"]["c16"]["toMitmdump"]["gateway"]["cpu"][0] > 0.05
    assert [step["step"] for step in shown["steps"]] == list(proxy.STEPS.values())
    assert shown["commit"]["id"]
    assert shown["versions"]["mitmproxy"]
