"""What a run of the room `wire` found, for people and for machines."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmarks.report import COLOURS, heading
from scripts.benchmarks.wire import LOCALSTACK, Goal, Result

SHOWN = 10  # of what came out wrong


def as_json(found: Result, seconds: float) -> dict[str, Any]:
    """Every figure. Times in microseconds of CPU, the starts in seconds on the clock."""
    return heading("wire", found, seconds) | {
        "everyOperation": found.everything,
        "roundTrip": asdict(found.counted),
        "captured": asdict(found.captured),
        "us": found.speed,
        "localstack": {
            "version": LOCALSTACK,
            "us": found.localstack,
            "right": found.localstack_right,
            "of": found.localstack_asked,
            "notMeasured": found.without_localstack or None,
        },
        "startSeconds": {"cold": found.cold, "warm": found.warm},
        "memoryBytes": found.memory,
    }


def show(found: Result, console: Console, seconds: float) -> None:
    """The table and the verdict."""
    table = Table(box=None, header_style="dim")
    for name in ("", "here", "goal", "", "LocalStack"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for goal in found.goals:
        theirs = found.localstack.get(goal.name.partition(",")[0].partition(" of ")[0])
        table.add_row(
            goal.name,
            "-" if goal.value is None else f"{goal.value:,.{digits(goal)}f} {goal.unit}",
            f"{'>=' if goal.least else '<='} {goal.goal:,g} {goal.unit}",
            {True: "[green]met[/green]", False: "[red]missed[/red]", None: "[yellow]not measured[/yellow]"}[goal.met],
            f"{theirs:,.0f} us" if theirs else "",
        )
    console.print(table)
    what = "every operation" if found.everything else "a sample of services"
    console.print(
        f"Right: {found.counted.requests:,} requests of botocore's clients ({what}) and {found.captured.requests} "
        "captured of AWS CLI v2 and JavaScript. The explained-bytes check is part of reading: no time of its own."
    )
    if found.localstack_right is not None:
        right = f"{found.localstack_right} of {found.localstack_asked}"
        console.print(f"LocalStack's router finds service and operation of {right} of the timed and captured requests.")
    if found.without_localstack:
        console.print(found.without_localstack, markup=False)
    for wrong in found.counted.wrong[:SHOWN] + found.captured.wrong[:SHOWN]:
        console.print("  -", wrong[:200], markup=False)
    colour = COLOURS[found.verdict]
    console.print(f"[{colour}]{found.verdict}[/{colour}]  ({seconds:.0f} s)")


def digits(goal: Goal) -> int:
    """Decimals that tell something."""
    return {"%": 3, "s": 2, "x": 1}.get(goal.unit, 0)
