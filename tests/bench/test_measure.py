"""What a process used, seen from outside."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from scripts.benchmarks.measure import Meter, Unmeasurable, counting, counts, cpu_seconds, parse, pin

SPIN = "import sys, threading, time\nprint('on', flush=True)\nend = time.time() + 60\nwhile time.time() < end: pass"
SLEEP = "import time\nprint('on', flush=True)\ntime.sleep(60)"


def child(program: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    yield process.pid
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def spinning() -> Iterator[int]:
    yield from child(SPIN)


@pytest.fixture
def sleeping() -> Iterator[int]:
    yield from child(SLEEP)


def test_cpu_time_grows_with_work_and_not_with_time(spinning: int, sleeping: int) -> None:
    before = cpu_seconds(spinning), cpu_seconds(sleeping)
    time.sleep(0.4)
    worked, waited = cpu_seconds(spinning) - before[0], cpu_seconds(sleeping) - before[1]
    assert 0.02 < worked < 0.5
    assert waited < 0.01


def test_cpu_time_is_that_of_the_kernels_own_clock_of_the_process(spinning: int) -> None:
    time.sleep(0.2)
    clock = time.clock_gettime((~spinning << 3) | 2)  # CPUCLOCK_SCHED of a process, as clock_getcpuclockid(3) makes it
    assert cpu_seconds(spinning) == pytest.approx(clock, abs=0.1)


def test_a_process_that_is_gone_cannot_be_measured() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(Unmeasurable, match="CPU time"):
        cpu_seconds(process.pid)


def test_a_process_that_shares_its_core_is_seen_to_wait_for_it(spinning: int) -> None:
    core = max(os.sched_getaffinity(0))
    pin(spinning, core)
    other = subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.DEVNULL)
    try:
        pin(other.pid, core)
        with Meter().measure(spinning) as usage:
            time.sleep(0.5)
    finally:
        other.kill()
        other.wait()
    assert usage.waiting > 0.2
    assert 0 < usage.cpu < 0.45


def test_a_process_that_sleeps_waits_for_no_core(sleeping: int) -> None:
    with Meter().measure(sleeping) as usage:
        time.sleep(0.1)
    assert usage.waiting == pytest.approx(0.0, abs=0.01)


def test_pinning_keeps_all_threads_of_a_process_on_one_core(sleeping: int) -> None:
    core = min(os.sched_getaffinity(0))
    pin(sleeping, core)
    assert os.sched_getaffinity(sleeping) == {core}


def test_perf_output_is_read_and_what_perf_cannot_count_is_no_count() -> None:
    assert parse("1234567,,instructions,5000,100.00,,\n", "instructions") == 1234567
    assert parse("1234567,,instructions:u,5000,100.00,,\n", "instructions") == 1234567
    assert parse("<not supported>,,instructions,0,100.00,,\n", "instructions") is None
    assert parse("<not counted>,,instructions,0,0.00,,\n", "instructions") is None
    assert parse("", "instructions") is None


def test_perf_counts_only_between_the_two_ends_of_the_block(spinning: int) -> None:
    if shutil.which("perf") is None or not counts("task-clock"):
        pytest.skip("perf stat does not work here")
    before = cpu_seconds(spinning)
    with counting(spinning, "task-clock") as counted:
        time.sleep(0.3)
    used = cpu_seconds(spinning) - before
    assert counted[0] is not None
    assert counted[0] / 1e3 == pytest.approx(used, abs=0.15)  # task-clock in milliseconds
    assert counted[0] > 10
