"""What a run of the room `identity` found, for people and for machines."""

from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmarks.identity import FORMS, Result
from scripts.benchmarks.report import COLOURS, heading


def as_json(found: Result, seconds: float) -> dict[str, Any]:
    """Every figure. Times in microseconds of CPU, rates in 10^6 bytes a second of CPU."""
    return heading("identity", found, seconds) | {
        "us": found.ours,
        "usFirstCall": found.first,
        "usBotocoreSigner": found.botocore,
        "chunksMBs": found.chunks,
        "sha256MBs": found.hashing,
    }


def show(found: Result, console: Console, seconds: float) -> None:
    """The table and the verdict."""
    goals = {goal.name: goal for goal in found.goals}
    table = Table(box=None, header_style="dim")
    for name in ("", "here", "goal", "", "first call", "botocore signs"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for form in FORMS:
        goal = goals.get(form.name)
        table.add_row(
            form.name,
            microseconds(found.ours.get(form.name)),
            f"<= {goal.goal:g} us" if goal else "",
            met(goal.met) if goal else "",
            microseconds(found.first.get(form.name)),
            microseconds(found.botocore.get(form.name)),
        )
    for size, rate in found.chunks.items():
        goal = goals.get(f"chunks of {size}")
        limit = f">= {goal.goal:g} MB/s" if goal else ""
        table.add_row(f"chunks of {size}", f"{rate:,.0f} MB/s", limit, met(goal.met) if goal else "", "", "")
    console.print(table)
    console.print(
        "CPU time to parse, open the sealed token, verify and sign anew; a body's chunks verified and signed anew. "
        f"SHA-256 alone does {found.hashing:,.0f} MB/s here.",
        highlight=False,
    )
    colour = COLOURS[found.verdict]
    console.print(f"[{colour}]{found.verdict}[/{colour}]  ({seconds:.0f} s)")


def microseconds(value: float | None) -> str:
    """A time for people."""
    return "-" if value is None else f"{value:,.1f} us"


def met(reached: bool | None) -> str:
    """Whether a goal is reached, in colour."""
    return {True: "[green]met[/green]", False: "[red]missed[/red]", None: "[yellow]not measured[/yellow]"}[reached]
