"""What a run found, for people and for machines."""

import platform
import ssl
import subprocess
import time
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmarks.compare import Comparison, Interval
from scripts.benchmarks.proxy import BASE, COPY, GATEWAY, GOAL, GOAL_SCENARIO, STEPS, Result, Scenario, untrusted
from scripts.benchmarks.stand import ROOT

COLOURS = {"met": "green", "missed": "red", "inconclusive": "yellow", "wrong": "bold red"}
MICRO = 1e6


def as_json(found: Result, seconds: float) -> dict[str, Any]:
    """Every figure. Ratios are to bare mitmdump; times in microseconds; intervals are 95 %."""
    return {
        "bench": "proxy",
        "v": 1,
        "verdict": found.verdict,
        "reasons": found.reasons,
        "goal": {"scenario": GOAL_SCENARIO, "metric": "rps", "least": GOAL},
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(seconds, 1),
        "commit": commit(),
        "versions": versions(),
        "machine": machine(found),
        "correctness": {"problems": found.problems, "judged": found.judged, "ledgerLines": found.counted},
        "client": {"rps": found.client, "timesFastestProxy": found.client_times},
        "scenarios": {key: scenario(s.title, c) for key, (s, c) in found.scenarios.items()},
        "steps": steps(found.steps) if found.steps else None,
        "memoryBytes": found.memory,
    }


def scenario(title: str, comparison: Comparison) -> dict[str, Any]:
    """One scenario: figures, absolute values of this machine, and each sample."""
    members = [member for member in (COPY, GATEWAY) if comparison.blocks and member in comparison.blocks[0]]
    return {
        "title": title,
        "doubts": untrusted(comparison),
        "blocks": comparison.kept,
        "droppedBlocks": comparison.dropped,
        "toMitmdump": {member: figures(comparison, member) for member in members},
        "absolute": {member: absolute(comparison, member) for member in (BASE, *members)},
        "samples": [{m: [asdict(s) for s in samples] for m, samples in block.items()} for block in comparison.blocks],
    }


def figures(comparison: Comparison, member: str) -> dict[str, Any]:
    """A member's figures; differences in microseconds."""
    found = {}
    for name, value in comparison.figures(member).items():
        added = name.startswith("added_")
        found[f"{name}_us" if added else name] = spread(value, MICRO if added else 1.0)
    return found


def spread(value: Interval | None, factor: float = 1.0) -> list[float] | None:
    """[median, low, high]."""
    return [round(v * factor, 4) for v in (value.median, value.low, value.high)] if value else None


def absolute(comparison: Comparison, member: str) -> dict[str, float | None]:
    """A member's own medians; times in microseconds."""
    found = comparison.absolute(member)
    return {
        "rps": found["rps"],
        "cpu_us": (found["cpu"] or 0.0) * MICRO,
        "instructions": found["instructions"],
        "p50_us": (found["p50"] or 0.0) * MICRO,
        "p99_us": (found["p99"] or 0.0) * MICRO,
    }


def steps(comparison: Comparison) -> list[dict[str, Any]]:
    """What each step adds to the one before it, and all up to it to bare mitmdump."""
    found, previous = [], BASE
    for name, title in STEPS.items():
        found.append(
            {
                "step": title,
                "adds_cpu_us": spread(comparison.added("added_cpu", name, previous), MICRO),
                "adds_p50_us": spread(comparison.added("added_p50", name, previous), MICRO),
                "toMitmdump": figures(comparison, name),
            }
        )
        previous = name
    return found


def heading(bench: str, found: Any, seconds: float) -> dict[str, Any]:
    """What stands first in every room's JSON. `found` has a verdict, and goals."""
    return {
        "bench": bench,
        "v": 1,
        "verdict": found.verdict,
        "goals": [asdict(goal) | {"met": goal.met} for goal in found.goals],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(seconds, 1),
        "commit": commit(),
        "versions": versions(),
    }


def commit() -> dict[str, Any]:
    """What was measured."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return {"id": git("rev-parse", "HEAD") or None, "changed": bool(git("status", "--porcelain"))}


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    packages = {name: version(name) for name in ("mitmproxy", "botocore", "cryptography", "sluicegate")}
    return packages | {
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "kernel": platform.release(),
    }


def machine(found: Result) -> dict[str, Any]:
    """Where it was measured."""
    cores = asdict(found.cores) if found.cores else None
    with open("/proc/loadavg") as file:
        load = [float(value) for value in file.read().split()[:3]]
    return {
        "cores": cores,
        "loadAverage": load,
        "auditOn": found.audit_on,
        "instructions": "perf" if found.perf else "not counted: perf stat can't count them here",
        "architecture": platform.machine(),
    }


def show(found: Result, console: Console, seconds: float) -> None:
    """The tables and the verdict."""
    if not found.problems:
        console.print(correctness(found))
        console.print(client(found))
        console.print("Beside bare mitmdump: medians of mirrored blocks, 95 % intervals.")
        for shape, comparison in found.scenarios.values():
            console.print()
            console.print(ratios(shape, comparison))
        console.print()
        if found.steps:
            console.print(cost(found.steps))
        console.print(notes(found))
    colour = COLOURS[found.verdict]
    goal = f"goal: at least {GOAL} of bare mitmdump at 16 connections, with everything on"
    console.print(f"[{colour}]{found.verdict}[/{colour}]  ({goal}; {seconds:.0f} s)")
    for reason in found.reasons:
        console.print("  -", reason, markup=False)


def correctness(found: Result) -> str:
    """The line of the pass before."""
    return (
        f"Correct: {found.judged} re-signed requests verified by botocore; {found.counted} requests to the gateway in "
        "all, each with one line in the ledger."
    )


def client(found: Result) -> str:
    """The proof that the client does not limit."""
    return (
        f"Client and upstream alone: {found.client:,.0f} requests/s, {found.client_times:.0f} times the fastest proxy."
    )


def ratios(shape: Scenario, comparison: Comparison) -> Table:
    """One scenario: bare mitmdump's own figures, then its copy and the gateway beside them. Fits into 80 columns."""
    doubt = " [yellow]?[/yellow]" if untrusted(comparison) else ""
    table = Table(title=f"[bold]{shape.title}[/bold]{doubt}", title_justify="left", box=None, header_style="dim")
    for name, width in (("", 20), ("mitmdump", 9), ("A/A: its copy", 20), ("sluicegate", 22)):
        table.add_column(name, justify="right" if name else "left", no_wrap=True, min_width=width)
    base, copy, gateway = comparison.absolute(BASE), comparison.figures(COPY), comparison.figures(GATEWAY)
    if base["instructions"]:
        rows = (ratio(copy["instructions"]), ratio(gateway["instructions"]))
        table.add_row("instructions/request", f"{base['instructions'] / 1e6:.1f} M", *rows)
    table.add_row("CPU/request", f"{ms(base['cpu'])} ms", ratio(copy["cpu"]), ratio(gateway["cpu"]))
    table.add_row("requests/s", f"{base['rps']:,.0f}", ratio(copy["rps"]), ratio(gateway["rps"]))
    for name in ("p50", "p99"):
        added = (difference(copy[f"added_{name}"]), difference(gateway[f"added_{name}"]))
        table.add_row(f"{name}, added ms", f"{ms(base[name])} ms", *added)
    return table


def cost(comparison: Comparison) -> Table:
    """What each step adds."""
    title = "[bold]What each step adds to the one before it[/bold] (1 connection, microseconds)"
    table = Table(title=title, title_justify="left", box=None, header_style="dim")
    for name in ("", "CPU/request", "p50", "CPU so far"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    previous = BASE
    for name, title in STEPS.items():
        cpu, p50 = comparison.added("added_cpu", name, previous), comparison.added("added_p50", name, previous)
        so_far = comparison.figures(name)["cpu"]
        table.add_row(title, micro(cpu), micro(p50), f"{so_far.median:.2f}" if so_far else "-")
        previous = name
    return table


def notes(found: Result) -> str:
    """What a reader of the figures must know."""
    lines = [] if found.perf else ["Instructions are not counted: `perf stat` can't count them on this machine."]
    for shape, comparison in found.scenarios.values():
        lines += [f"? {shape.title}: {doubt}" for doubt in untrusted(comparison)]
    if found.audit_on in ("tmpfs", "ramfs"):
        lines.append("The audit log was in memory: durable writes cost nothing here.")
    sizes = ", ".join(f"{name} {size / 2**20:.0f} MB" for name, size in found.memory.items())
    return "\n".join([*lines, f"Resident after everything: {sizes}."])


def ms(value: float | None) -> str:
    """Seconds as milliseconds."""
    return f"{(value or 0.0) * 1e3:.2f}"


def ratio(value: Interval | None) -> str:
    """A ratio with its interval."""
    return f"{value.median:.2f} \\[{value.low:.2f}..{value.high:.2f}]" if value else "-"


def difference(value: Interval | None) -> str:
    """A difference in milliseconds with its interval."""
    if not value:
        return "-"
    digits = 2 if max(abs(value.low), abs(value.high)) < 0.01 else 1 if abs(value.high) < 0.1 else 0
    median, low, high = (f"{number * 1e3:+.{digits}f}" for number in (value.median, value.low, value.high))
    return f"{median} \\[{low}..{high}]"


def micro(value: Interval | None) -> str:
    """A difference in microseconds with its interval."""
    return f"{value.median * MICRO:+.0f} \\[{value.low * MICRO:+.0f}..{value.high * MICRO:+.0f}]" if value else "-"
