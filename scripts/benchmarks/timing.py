"""How long one call of a function takes. Standard library alone: it also runs in LocalStack's environment."""

import statistics
import time
from collections.abc import Callable

BLOCKS, BLOCK_SECONDS = 15, 0.02


def median_us(call: Callable[[], object], blocks: int = BLOCKS) -> float:
    """Microseconds of this thread's CPU time for one call: the median of short blocks, after a warm-up."""
    began = time.perf_counter()
    calls = 0
    while calls < 20 or time.perf_counter() - began < BLOCK_SECONDS:
        call()
        calls += 1
    times = []
    for _ in range(blocks):
        start = time.thread_time_ns()
        for _ in range(calls):
            call()
        times.append((time.thread_time_ns() - start) / calls / 1e3)
    return statistics.median(times)
