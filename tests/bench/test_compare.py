"""Comparing by mirrored blocks: drift cancels, noise is thrown away, doubt is said."""

import itertools
from collections.abc import Callable

import pytest

from scripts.benchmarks.compare import Sample, compare, interval


def sample(rate: float, *, cpu: float = 0.5, waiting: float = 0.0, instructions: int | None = None) -> Sample:
    return Sample(
        requests=round(rate),
        seconds=1.0,
        p50=1 / rate,
        p99=2 / rate,
        cpu=cpu,
        instructions=instructions,
        waiting=waiting,
    )


def drifting(rates: dict[str, float]) -> Callable[[str], Sample]:
    """A machine that gets slower with every load, by one thousandth of what it could do at first."""
    loads = itertools.count()
    return lambda member: sample(rates[member] * (1 - next(loads) / 1000))


def test_a_drift_of_the_machine_falls_on_all_members_alike() -> None:
    rates = {"base": 100_000.0, "copy": 100_000.0, "half": 50_000.0}
    found = compare(list(rates), drifting(rates), blocks=12)
    copy, half = found.figures("copy")["rps"], found.figures("half")["rps"]
    assert copy
    assert copy.median == pytest.approx(1.0, abs=0.001)
    assert half
    assert half.median == pytest.approx(0.5, abs=0.001)


def test_each_block_loads_every_member_twice_in_mirrored_order() -> None:
    order: list[str] = []

    def load(member: str) -> Sample:
        order.append(member)
        return sample(1000)

    compare(["a", "b", "c"], load, blocks=4)
    blocks = list(itertools.batched(order, 6))
    assert len(blocks) == 4
    assert all(block == block[::-1] and sorted(block[:3]) == ["a", "b", "c"] for block in blocks)
    assert len({block[:3] for block in blocks}) > 1


def test_differences_are_in_seconds_to_the_base_and_to_any_member() -> None:
    rates = {"base": 1000.0, "first": 500.0, "second": 250.0}
    found = compare(list(rates), lambda member: sample(rates[member]), blocks=3)
    assert found.figures("second")["added_p50"].median == pytest.approx(0.003)  # type: ignore[union-attr]
    assert found.added("added_p50", "second", "first").median == pytest.approx(0.002)  # type: ignore[union-attr]
    assert found.added("added_cpu", "second", "first").median == pytest.approx(0.001)  # type: ignore[union-attr]


def test_noisy_blocks_are_run_again_and_do_not_count() -> None:
    loads = itertools.count()

    def load(member: str) -> Sample:
        noisy = next(loads) < 8  # the first two blocks
        return sample(10 if noisy and member == "b" else 1000, waiting=0.9 if noisy else 0.0)

    found = compare(["a", "b"], load, blocks=5)
    assert (found.kept, found.dropped, found.noisy) == (5, 2, False)
    assert found.figures("b")["rps"].low == 1.0  # type: ignore[union-attr]


def test_a_machine_that_is_never_quiet_gives_figures_but_no_conclusion() -> None:
    found = compare(["a", "b"], lambda _: sample(1000, waiting=0.9), blocks=2, within=0.0)
    assert found.noisy
    assert found.figures("b")["rps"] is not None


def test_instructions_are_a_ratio_where_they_were_counted_and_absent_where_not() -> None:
    found = compare(["a", "b"], lambda m: sample(100, instructions=1000 if m == "a" else 700), blocks=3)
    assert found.figures("b")["instructions"].median == pytest.approx(0.7)  # type: ignore[union-attr]
    assert compare(["a", "b"], lambda _: sample(100), blocks=3).figures("b")["instructions"] is None


def test_the_interval_holds_the_median_narrows_with_agreement_and_is_the_same_each_time() -> None:
    wide, narrow = interval([0.5, 0.8, 1.0, 1.2, 1.5]), interval([0.99, 1.0, 1.0, 1.0, 1.01])
    assert wide
    assert narrow
    assert wide.low <= wide.median == 1.0 <= wide.high
    assert narrow.high - narrow.low < wide.high - wide.low
    assert interval([0.5, 0.8, 1.0, 1.2, 1.5]) == wide
    assert interval([]) is None
