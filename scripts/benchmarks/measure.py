"""What a process used: instructions, CPU time, and how long it waited for a core. Linux only.

In order of trust: instructions (`perf stat`, user and kernel), which a busy machine hardly changes; CPU nanoseconds of
every thread (`/proc/PID/task/*/schedstat`, field 1, Documentation/scheduler/sched-stats.rst); then the clock. Field 2,
the time that a thread was ready to run and had no core, says how much the machine was disturbed.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EVENT = "instructions"


class Unmeasurable(Exception):
    """This machine can't be measured on. The message says what is missing."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process: all its threads, user and kernel. Raises `Unmeasurable`."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
                total += int((task / "schedstat").read_text().split()[0])
    except OSError as error:
        raise Unmeasurable(f"the CPU time of process {pid} can't be read: {error}") from error
    return total / 1e9


def scheduled(pid: int) -> tuple[float, float]:
    """Seconds that a process's first thread ran, and that it was ready but had no core."""
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pin(pid: int, core: int | None) -> None:
    """Keep a process, with all threads that it has or makes, on one core."""
    if core is None:
        return
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), {core})


@dataclass(frozen=True, slots=True)
class Cores:
    """Where everything runs: what is measured on one core, the client and the upstream on another."""

    proxy: int | None  # None: the machine has a single core, nothing is pinned
    load: int | None

    @classmethod
    def choose(cls) -> "Cores":
        """The last two cores that this process may use; the first one has most of the machine's interrupts."""
        if not hasattr(os, "sched_getaffinity"):
            raise Unmeasurable("benchmarks need Linux: CPU time is read from /proc.")
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[-1], usable[-2]) if len(usable) > 1 else cls(None, None)


@dataclass(slots=True)
class Usage:
    """What was used between the two ends of a `Meter.measure` block."""

    cpu: float = 0.0  # seconds, of all threads
    instructions: int | None = None
    waiting: float = 0.0  # share of its runnable time that the first thread had no core


class Meter:
    """Measures one process at a time."""

    def __init__(self, event: str = EVENT) -> None:
        self.event = event
        self.perf = counts(event)  # whether instructions can be counted here

    @contextlib.contextmanager
    def measure(self, pid: int) -> Iterator[Usage]:
        """Fill in a `Usage` with what the block used."""
        usage = Usage()
        with counting(pid, self.event) if self.perf else contextlib.nullcontext([None]) as counted:
            ran, waited = scheduled(pid)
            cpu = cpu_seconds(pid)
            yield usage
            usage.cpu = cpu_seconds(pid) - cpu
            ran, waited = scheduled(pid)[0] - ran, scheduled(pid)[1] - waited
            usage.waiting = waited / (ran + waited) if waited else 0.0
        usage.instructions = counted[0]


def counts(event: str = EVENT) -> bool:
    """Whether `perf stat` can count an event here: many virtual machines and containers don't allow it."""
    if shutil.which("perf") is None:
        return False
    command = ["perf", "stat", "-x,", "-e", event, "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and parse(done.stderr, event) is not None


def parse(text: str, event: str) -> int | None:
    """The count in `perf stat -x,` output: its first field; None for "<not supported>" and "<not counted>"."""
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2].split(":")[0] == event:
            try:
                return round(float(fields[0]))
            except ValueError:
                return None
    return None


@contextlib.contextmanager
def counting(pid: int, event: str) -> Iterator[list[int | None]]:
    """Count an event of a process between the two ends of the block; the result is in the list afterwards."""
    counted: list[int | None] = [None]
    control_read, control = os.pipe()
    answers, answer_write = os.pipe()
    command = ["perf", "stat", "-x,", "-e", event, "-p", str(pid), "-D", "-1", "--control"]
    process = subprocess.Popen(
        [*command, f"fd:{control_read},{answer_write}"],
        pass_fds=(control_read, answer_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(control_read)
    os.close(answer_write)
    try:
        _tell(control, answers, b"enable\n")
        yield counted
        _tell(control, answers, b"disable\n")
        process.send_signal(2)
        counted[0] = parse(process.communicate(timeout=10)[1], event)
    finally:
        os.close(control)
        os.close(answers)
        if process.poll() is None:
            process.kill()
            process.wait()


def _tell(control: int, answers: int, command: bytes) -> None:
    """Give perf a command and wait until it has acted on it: it says "ack"."""
    os.write(control, command)
    if not os.read(answers, 16).startswith(b"ack"):
        raise Unmeasurable("perf stat ended before it could count")
