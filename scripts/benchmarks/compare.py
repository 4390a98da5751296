"""Comparing by mirrored blocks, so that a drift of the machine falls on all alike.

A block loads each member once in a random order, then once in the reverse order (A-B-B-A, for any number of members),
and gives one ratio to the base. The figure is the median of the blocks' ratios with a 95 % interval by bootstrap. One
member is a second copy of the base: where its interval does not hold 1.0, the machine could not tell, and says so.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

NOISY = 0.15  # share of its runnable time that the base may be without a core
LEAST = 3  # quiet blocks, below which nothing is concluded


@dataclass(frozen=True, slots=True)
class Sample:
    """One load of one member. Times in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    cpu: float  # of the member's process, all threads
    instructions: int | None  # user and kernel; None where the processor's counters can't be read
    waiting: float  # share of its runnable time that the member's first thread had no core

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_each(self) -> float:
        """Seconds of CPU a request."""
        return self.cpu / self.requests

    @property
    def instructions_each(self) -> float | None:
        """Instructions a request."""
        return None if self.instructions is None else self.instructions / self.requests


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with its 95 % interval."""

    median: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the interval contains a value."""
        return self.low <= value <= self.high


RATIOS: dict[str, Callable[[Sample], float | None]] = {
    "rps": lambda s: s.rate,
    "cpu": lambda s: s.cpu_each,
    "instructions": lambda s: s.instructions_each,
}
DIFFERENCES: dict[str, Callable[[Sample], float]] = {
    "added_p50": lambda s: s.p50,
    "added_p99": lambda s: s.p99,
    "added_cpu": lambda s: s.cpu_each,
}


@dataclass(slots=True)
class Comparison:
    """What the blocks of one scenario gave: for each block, each member's two samples."""

    base: str
    blocks: list[dict[str, list[Sample]]] = field(default_factory=list)
    dropped: int = 0  # blocks that were too noisy
    kept: int = 0  # quiet ones

    @property
    def noisy(self) -> bool:
        """Too few blocks were quiet: `blocks` holds the others too, and nothing may be concluded."""
        return self.kept < LEAST

    def figures(self, member: str) -> dict[str, Interval | None]:
        """Ratios to the base (rps, cpu and instructions a request) and differences from it, in seconds."""
        found: dict[str, Interval | None] = {}
        for name, ratio in RATIOS.items():
            pairs = [(_mean(ratio, block[member]), _mean(ratio, block[self.base])) for block in self.blocks]
            found[name] = interval([a / b for a, b in pairs if a is not None and b])
        for name in DIFFERENCES:
            found[name] = self.added(name, member, self.base)
        return found

    def added(self, name: str, member: str, to: str) -> Interval | None:
        """How much more than member `to` a member takes, in seconds. `name` is one of `DIFFERENCES`."""
        value = DIFFERENCES[name]
        means = [(_mean(value, block[member]), _mean(value, block[to])) for block in self.blocks]
        return interval([a - b for a, b in means if a is not None and b is not None])

    def absolute(self, member: str) -> dict[str, float | None]:
        """Medians of a member's own values: of this machine, and no claim."""
        samples = [sample for block in self.blocks for sample in block[member]]
        instructions = [s.instructions_each for s in samples if s.instructions_each is not None]
        return {
            "rps": statistics.median(s.rate for s in samples),
            "cpu": statistics.median(s.cpu_each for s in samples),
            "instructions": statistics.median(instructions) if instructions else None,
            "p50": statistics.median(s.p50 for s in samples),
            "p99": statistics.median(s.p99 for s in samples),
        }


def compare(
    members: Sequence[str],
    load: Callable[[str], Sample],
    *,
    blocks: int,
    within: float = math.inf,
    on_block: Callable[[], None] = lambda: None,
) -> Comparison:
    """Run `blocks` mirrored blocks; the first member is the base.

    Noisy blocks are run again, at most twice as many, and for `within` seconds in all.
    """
    found, noisy, started = Comparison(members[0]), [], time.monotonic()
    for number in range(3 * blocks):
        order = random.Random(number).sample(list(members), len(members))  # noqa: S311  an order, no secret
        block: dict[str, list[Sample]] = {member: [] for member in members}
        for member in (*order, *reversed(order)):
            block[member].append(load(member))
        # The base alone tells how quiet the machine is: a member's threads may well wait for one another.
        if statistics.fmean(sample.waiting for sample in block[found.base]) > NOISY:
            found.dropped += 1
            noisy.append(block)
        else:
            found.kept += 1
            found.blocks.append(block)
            on_block()
        if found.kept == blocks or time.monotonic() - started > within:
            break
    if found.noisy:
        found.blocks += noisy
    return found


def interval(values: Sequence[float], draws: int = 2000) -> Interval | None:
    """The median and its 95 % interval by bootstrap (percentile method); None where there are no values."""
    if not values:
        return None
    source = random.Random(0)  # noqa: S311  the same data must give the same interval
    drawn = sorted(statistics.median(source.choices(values, k=len(values))) for _ in range(draws))
    return Interval(statistics.median(values), drawn[draws // 40], drawn[-(draws // 40) - 1])


def _mean(value: Callable[[Sample], float | None], samples: Sequence[Sample]) -> float | None:
    found = [number for sample in samples if (number := value(sample)) is not None]
    return statistics.fmean(found) if len(found) == len(samples) else None
