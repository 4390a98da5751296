"""`sluicegate doctor`: what is wrong with a set-up, on one screen, and how to mend each thing."""

import json
import os
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from scripts.cli.common import ConfigOption, named
from scripts.client import checks

MARKS = {"ok": "[green]ok[/green]  ", "warning": "[yellow]note[/yellow]", "wrong": "[red]BAD[/red] "}


def doctor(
    config_file: ConfigOption = None, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """Check this machine and a configuration, with one real call through a gateway; exit 1 if something is wrong."""
    console = Console(highlight=False, soft_wrap=True)
    found: list[checks.Check] = []
    for check in checks.run(named(config_file), dict(os.environ)):
        found.append(check)
        if not as_json:
            show(console, check)
    wrong = sum(check.state == "wrong" for check in found)
    if as_json:
        print(json.dumps({"ok": not wrong, "checks": [asdict(check) for check in found]}, indent=2))
    elif wrong:
        console.print(f"\n{wrong} thing{'s' if wrong > 1 else ''} to mend.", style="bold")
    else:
        console.print("\nAll is well.", style="bold")
    sys.exit(1 if wrong else 0)


def show(console: Console, check: checks.Check) -> None:
    """One check: its mark, what was found, and under it how to mend it."""
    console.print(f"{MARKS[check.state]} {check.name:<13}", end=" ")
    console.print(check.found, markup=False)
    if check.mend:
        console.print(f"                   -> {check.mend}", markup=False, style="bold")
