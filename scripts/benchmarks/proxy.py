"""The room `proxy`: the whole gateway beside bare `mitmdump -q`, and what each step of it costs.

Measured is what `sluicegate up` runs with everything on: decoded, decided, signed, masked, durably written down and
recorded. Before anything is timed, botocore judges every signature and the ledger is counted; afterwards it is counted
again over all timed requests. A second copy of bare mitmdump runs in every scenario: it must come out as 1.0.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from scripts.benchmarks import calls, judge
from scripts.benchmarks.calls import Call, Keys
from scripts.benchmarks.compare import Comparison, Sample, compare
from scripts.benchmarks.load import Client, Load, Target, Work, connect, connecting, read
from scripts.benchmarks.measure import Cores, Meter, memory
from scripts.benchmarks.stand import Stand, filesystem, stand

GOAL = 0.9  # of bare mitmdump's requests a second, with everything on
GOAL_SCENARIO = "c16"
BASE, COPY, GATEWAY = "mitmdump", "mitmdump-copy", "gateway"
TOLERANCE = {"rps": 0.05, "cpu": 0.05, "instructions": 0.02}  # half an A/A interval, above which it tells nothing
CLIENT_LEAST = 5.0  # how many times faster than any proxy the client must be
PATIENCE = 1.25  # of a scenario's own time, until noisy blocks are not run again
NEW = 0  # connections: a new one for each request

# The last step of a partial gateway -> what it adds to the one before. Approve and Bounds do next to nothing here.
STEPS = {
    "None": "dispatcher and screen",
    "Connect": "connect",
    "Authenticate": "authenticate",
    "Decode": "decode",
    "Authorize": "authorize",
    "Journal": "journal (durable)",
    "Bounds": "sign",
    "Redact": "redact",
    "Line": "record (durable line)",
    GATEWAY: "record (session copy)",
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to load the proxies."""

    key: str
    title: str
    call: Call
    connections: int
    blocks: int
    seconds: float  # of one load


# Many short blocks: what disturbs a machine for a second then falls into one block and not on one member.
FULL = (
    Scenario("c16", "GetItem, 16 connections", calls.GET_ITEM, 16, 14, 0.3),
    Scenario("c1", "GetItem, 1 connection", calls.GET_ITEM, 1, 12, 0.25),
    Scenario("denied", "DeleteTable, denied, 16 connections", calls.DELETE_TABLE, 16, 8, 0.25),
    Scenario(
        "json93k",
        "ListFunctions, 93 KB of which 308 values are masked, 16 connections",
        calls.LIST_FUNCTIONS,
        16,
        8,
        0.3,
    ),
    Scenario("new", "GetItem, a new connection for each", calls.GET_ITEM, NEW, 8, 0.3),
)
FULL_STEPS = Scenario("steps", "GetItem, 1 connection, step by step", calls.GET_ITEM, 1, 7, 0.2)
LIMIT, QUICK_LIMIT = 215.0, 50.0  # seconds for everything, on a busy machine too
QUICK = tuple(replace(full, blocks=blocks, seconds=0.15) for full, blocks in zip(FULL, (8, 5, 3, 3, 3), strict=True))


@dataclass(slots=True)
class Result:
    """Everything that one run found."""

    problems: list[str] = field(default_factory=list)  # of correctness: the gateway did not do its work
    judged: int = 0  # requests whose signature botocore found right
    counted: int = 0  # requests sent to the gateway, each with its line
    client: float = 0.0  # requests a second without any proxy
    client_times: float = 0.0  # how many times the fastest proxy's
    perf: bool = False
    cores: Cores | None = None
    audit_on: str = ""  # file system of the audit directory
    scenarios: dict[str, tuple[Scenario, Comparison]] = field(default_factory=dict)
    steps: Comparison | None = None
    memory: dict[str, int] = field(default_factory=dict)  # bytes, after everything
    verdict: str = ""  # "met", "missed", "inconclusive", "wrong"
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Progress:
    """Told what happens: a phase with its number of blocks, and each block that is done."""

    phase: Callable[[str, int], None]
    step: Callable[[], None]


class Run:
    """One run: the processes and what was sent to the gateway."""

    def __init__(self, found: Result, here: Stand, progress: Progress, seconds: float) -> None:
        self.found, self.here, self.progress = found, here, progress
        self.until = time.monotonic() + seconds  # no block begins later
        progress.phase("starting the upstream, two copies of mitmdump and the gateway", 0)
        self.starting = here.gateway(GATEWAY)
        self.targets = {name: here.stock(name) for name in (BASE, COPY)}
        self.targets[GATEWAY] = self.starting.target()
        self.keys: Keys = self.starting.sign_in(self.targets[GATEWAY])
        self.meter = Meter()
        self.sent = 0  # to the gateway, since the sign-in
        self.signed_in = len(judge.lines(self.audit))
        found.perf, found.cores, found.audit_on = self.meter.perf, here.cores, filesystem(self.audit)

    @property
    def audit(self) -> Path:
        """The gateway's ledger."""
        return self.starting.home / "audit"

    def work(self, call: Call, target: Target) -> Work:
        """Requests of a call, signed now, with the statuses that this target should answer."""
        refused = call.denied and target.name == GATEWAY
        return Work(call.host, calls.signed(call, self.keys), frozenset({b"400", b"403"} if refused else {b"200"}))

    def scenario(self, scenario: Scenario, targets: dict[str, Target]) -> Comparison:
        """Compare targets, the first of which is the base."""
        self.progress.phase(scenario.title, scenario.blocks)
        works = {name: self.work(scenario.call, target) for name, target in targets.items()}
        clients: dict[str, Client] = {}
        if scenario.connections != NEW:
            clients = {n: Client(target, works[n], scenario.connections) for n, target in targets.items()}

        def load(name: str) -> Sample:
            target = targets[name]
            with self.meter.measure(target.pid) as usage:
                if scenario.connections == NEW:
                    found = connecting(target, works[name], scenario.seconds)
                else:
                    found = clients[name].run(scenario.seconds)
            if name == GATEWAY and scenario.connections == NEW:
                self.sent += len(found.latencies)
            return sample(found, usage.cpu, usage.instructions, usage.waiting)

        try:
            within = PATIENCE * 2 * len(targets) * scenario.blocks * scenario.seconds
            within = min(within, self.until - time.monotonic())
            return compare(list(targets), load, blocks=scenario.blocks, within=within, on_block=self.progress.step)
        finally:
            for client in clients.values():
                client.close()
            if GATEWAY in clients:
                self.sent += clients[GATEWAY].sent

    def correctness(self) -> None:
        """Send every request once, with the upstream as the judge; then count the ledger and the recordings."""
        self.progress.phase("correctness: botocore judges, the ledger is counted", len(calls.CALLS))
        gateway, problems, allowed = self.targets[GATEWAY], self.found.problems, 0
        self.here.control("/judge")
        for call in calls.CALLS:
            work, answers = self.work(call, gateway), []
            with connect(gateway, call.host, gateway.context()) as stream:
                for request in work.requests:
                    stream.sendall(request)
                    answers.append(read(gateway, work, stream).partition(b"\r\n\r\n")[2])
            self.sent += len(answers)
            allowed += 0 if call.denied else len(answers)
            problems += sorted({problem for answer in answers if (problem := fault(call, answer))})
            self.progress.step()
        right, wrong = self.here.control("/report")
        self.here.control("/trust")
        self.found.judged = right
        problems += [f"{count} requests reached the upstream wrongly signed: {text}" for text, count in wrong.items()]
        if right + sum(wrong.values()) != allowed:
            problems.append(
                f"{right + sum(wrong.values())} requests reached the upstream, where {allowed} were allowed"
            )
        self.count()
        if (flows := judge.recorded(self.starting.home / "sessions")) != self.sent:
            problems.append(f"the session recordings hold {flows} flows of {self.sent} requests")

    def count(self) -> None:
        """Compare the ledger with what was sent to the gateway."""
        ids = judge.lines(self.audit)
        self.found.counted = len(ids) - self.signed_in
        if self.found.counted != self.sent or len(set(ids)) != len(ids):
            text = f"{self.found.counted} lines of {len(set(ids)) - self.signed_in} calls for {self.sent} requests"
            self.found.problems.append(f"the ledger has {text}")

    def client_alone(self, seconds: float) -> None:
        """How fast the client is without any proxy: it must not be what limits."""
        self.progress.phase("the client alone", 1)
        client = Client(self.here.upstream, self.work(calls.GET_ITEM, self.here.upstream), 16)
        loads = [client.run(seconds) for _ in range(3)]
        client.close()
        self.found.client = statistics.median(len(load.latencies) / load.seconds for load in loads)
        self.progress.step()

    def steps(self, scenario: Scenario) -> Comparison:
        """Compare gateways that end after each step. They share the gateway's keys, so the same requests are right."""
        self.progress.phase("starting a gateway for each step", 0)
        state = self.starting.home / "state"
        command = ("scripts.benchmarks.partial",)
        starting = [self.here.gateway(f"upto-{n}", (*command, n), state) for n in STEPS if n != GATEWAY]
        targets = {BASE: self.targets[BASE]}
        targets |= {name: start.target() for name, start in zip(STEPS, starting, strict=False)}
        return self.scenario(scenario, targets | {GATEWAY: self.targets[GATEWAY]})


def run(scenarios: tuple[Scenario, ...], steps: Scenario | None, progress: Progress, seconds: float) -> Result:
    """Measure everything, in about so many seconds.

    Raises `Failed` where something does not work, `Unmeasurable` where it can't be measured.
    """
    found = Result()
    with stand(Cores.choose()) as here:
        bench = Run(found, here, progress, seconds)
        bench.correctness()
        if not found.problems:
            bench.client_alone(0.3)
            for scenario in scenarios:
                found.scenarios[scenario.key] = scenario, bench.scenario(scenario, bench.targets)
            if steps:
                found.steps = bench.steps(steps)
            found.memory = {name: memory(target.pid) for name, target in bench.targets.items()}
            bench.count()
            fastest = max(c.absolute(n)["rps"] or 0.0 for _, c in found.scenarios.values() for n in bench.targets)
            found.client_times = found.client / fastest
    found.verdict, found.reasons = judgement(found)
    return found


def judgement(found: Result) -> tuple[str, list[str]]:
    """The verdict, "met", "missed", "inconclusive" or "wrong" (the gateway did not do its work), with its reasons."""
    if found.problems:
        return "wrong", list(found.problems)
    _, comparison = found.scenarios[GOAL_SCENARIO]
    rate = comparison.figures(GATEWAY)["rps"]
    assert rate
    # A wide A/A still tells what is further from the goal than the A/A is wide.
    doubts = untrusted(comparison, max(rate.low - GOAL, GOAL - rate.high))
    if found.client_times < CLIENT_LEAST:
        doubts.append(f"the client is only {found.client_times:.1f} times as fast as what it measures")
    shown = f"{rate.median:.2f} [{rate.low:.2f}..{rate.high:.2f}] of bare mitmdump's requests a second"
    if doubts:
        return "inconclusive", [*doubts, shown]
    if rate.low >= GOAL:
        return "met", [shown]
    if rate.high < GOAL:
        return "missed", [shown]
    return "inconclusive", [f"{shown}: the interval holds the goal of {GOAL}"]


def untrusted(comparison: Comparison, claim: float = 0.0) -> list[str]:
    """Why nothing may be concluded from a comparison: empty where the copy of mitmdump came out as 1.0.

    The copy's interval must be narrower than the claim that is made, which is at least `TOLERANCE`.
    """
    if comparison.noisy:
        return [f"other processes had the cores: only {comparison.kept} of {len(comparison.blocks)} blocks were quiet"]
    doubts = []
    for name, tolerance in TOLERANCE.items():
        found = comparison.figures(COPY)[name]
        if found is None:
            continue
        if not found.holds(1.0):
            doubts.append(f"A/A of {name} is [{found.low:.3f}..{found.high:.3f}], which does not hold 1.0")
        elif (found.high - found.low) / 2 > max(tolerance, claim):
            doubts.append(f"A/A of {name} is [{found.low:.3f}..{found.high:.3f}], too wide to tell {tolerance:.0%}")
    return doubts


def fault(call: Call, answer: bytes) -> str | None:
    """What is wrong with the answer that an agent got, as far as one can see."""
    if call.denied:
        return (
            None
            if b"AccessDenied" in answer or b"sluicegate" in answer
            else f"{call.name}: no refusal of the gateway's"
        )
    if calls.MARK.encode() in call.answer.body:
        if calls.MARK.encode() in answer:
            return f"{call.name}: a value came through that should be masked"
        same = len(json.loads(answer)["Functions"]) == len(json.loads(call.answer.body)["Functions"])
        return None if same else f"{call.name}: the masked answer is not the upstream's"
    return None if answer == call.answer.body else f"{call.name}: an answer without secrets was changed"


def sample(load: Load, cpu: float, instructions: int | None, waiting: float) -> Sample:
    """A load and what it used."""
    return Sample(
        len(load.latencies), load.seconds, load.quantile(0.5), load.quantile(0.99), cpu, instructions, waiting
    )
