"""`./scripts/demo`: moto as AWS, the built-in issuer, the gateway, and an agent that must not know any of it.

Exit 0 only if each call did what it should, and AWS afterwards holds what it should; else 1, with what went wrong.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from addons.text import one_line
from scripts.demonstration import stage
from scripts.demonstration.agent import STEPS
from scripts.demonstration.replay import replay, say
from scripts.demonstration.stage import SECRET, Failed

EXPECTED = {  # what a step shows: what the gate does
    "allow": "passes",
    "mask": "passes, masked",
    "deny": "refused",
    "approve": "held, approved",
    "refuse": "held, denied",
}
REASON = "orders are live data"
console = Console(highlight=False)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(
        prog="./scripts/demo", description="Show allow, deny, mask, hold, audit and replay, with no AWS account."
    )
    parser.add_argument(
        "--interactive",
        action="store_true",
        help="you decide about the held calls, in a browser; the gateway stays up until you press Enter",
    )
    interactive = parser.parse_args().interactive
    started = time.monotonic()
    try:
        wrong = show(interactive, started)
    except Failed as failure:
        wrong = [str(failure)]
    except KeyboardInterrupt:
        wrong = ["interrupted"]
    if wrong:
        console.print("[bold red]NOT as it should be:[/bold red]")
        for problem in wrong:
            console.print(f"- {problem}", markup=False)
        sys.exit(1)


def show(interactive: bool, started: float) -> list[str]:
    """All acts of the demo; what went wrong."""
    with tempfile.TemporaryDirectory(prefix="sluicegate-demo-") as name, contextlib.ExitStack() as stack:
        here = Path(name)
        with console.status("starting moto as AWS, and the gateway in front of it"):
            endpoint = stack.enter_context(stage.pretend_aws())
            stage.configure(here, endpoint)
            wait = stack.enter_context(stage.gateway(here))
            stage.furnish(endpoint)
            wait()
        console.rule("the policy")
        console.print(stage.POLICY, markup=False, style="cyan")
        console.rule("the agent: unmodified boto3 under `sluicegate run`")
        results = agent(here, interactive)
        console.print()
        console.rule("what the gate did")
        wrong = report(results, interactive) + afterwards(endpoint, results)
        console.print()
        console.rule("the audit log")
        audit(here)
        console.print()
        wrong += replay(here, console)
        console.print()
        if not wrong:
            seconds = time.monotonic() - started
            console.print(f"[bold green]Every call did what it should[/bold green] ({seconds:.0f} s).")
        if interactive:
            console.print(f"The gateway stays up: {stage.operator(here, 'link')}", soft_wrap=True, markup=False)
            console.print("[bold]Press Enter to end it.[/bold]")
            sys.stdin.readline()
        return wrong


def agent(here: Path, interactive: bool) -> list[dict[str, Any]]:
    """The agent in a child process, and beside it the person who decides; what the agent saw of each call."""
    words = ["--config", str(here / "gateway.yaml"), "--ready-file", str(here / "ready.json")]
    say(console, "sluicegate run -- python agent.py")
    complaints = here / "agent.log"
    with complaints.open("w") as errors:
        child = subprocess.Popen(
            [*stage.cli(), "run", *words, "--", sys.executable, "-m", "scripts.demonstration.agent"],
            env=stage.environment(**stage.KEYS),  # the operator's keys, which the agent does not get
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    results = []
    try:
        assert child.stdout
        for line in child.stdout:
            said = json.loads(line)
            if not said["ends"]:
                if said["shows"] in ("approve", "refuse"):
                    decide(here, said["shows"], interactive)
                continue
            results.append(said)
            mark = "[green]✓[/green]" if said["ok"] else "[yellow]✗[/yellow]"
            console.print(f"  {mark}", end=" ")
            line = f"{said['call']:32} {seen(said)}"
            console.print(line, markup=False, no_wrap=True, overflow="ellipsis", width=console.width - 4)
        child.wait(60)
    finally:
        child.kill()
    if len(results) != len(STEPS):
        raise Failed(f"the agent ended after {len(results)} of {len(STEPS)} calls:\n{complaints.read_text()}")
    return results


def decide(here: Path, shows: str, interactive: bool) -> None:
    """The person: approves deleting the scratch table, denies deleting the orders; or the one at the keyboard."""
    ticket = stage.waiting(here)
    console.print(f"  [yellow]held[/yellow] {one_line(ticket['operation'], 60)}", end=" ")
    console.print(f"on {one_line(', '.join(ticket['resources']), 120)}", markup=False, soft_wrap=True)
    if interactive:
        console.print("  Open this, choose the held call, press [bold]Approve[/bold] or [bold]Deny[/bold]:")
        console.print(f"  {stage.operator(here, 'link')}", markup=False, soft_wrap=True)
        return
    if shows == "approve":
        say(console, f"sluicegate approvals approve {ticket['id']}")
        stage.operator(here, "approve", ticket["id"])
    else:
        say(console, f'sluicegate approvals deny {ticket["id"]} --reason "{REASON}"')
        stage.operator(here, "deny", ticket["id"], "--reason", REASON)


def seen(said: dict[str, Any]) -> str:
    """What the agent got, on one line."""
    return one_line(said["text"] if said["ok"] else f"{said['code']}: {said['text']}", 300)


def as_it_should(said: dict[str, Any], interactive: bool) -> bool:
    """Whether the agent saw what the step is to show."""
    refused = not said["ok"] and said["code"].startswith("AccessDenied") and said["tries"] == 1
    if interactive and said["shows"] in ("approve", "refuse"):
        return bool(said["ok"] or (refused and "refused by" in said["text"]))
    return bool(
        {
            "allow": said["ok"],
            "mask": said["ok"] and SECRET not in said["text"] and "redacted" in said["text"],
            "deny": refused,
            "approve": said["ok"],
            "refuse": refused and REASON in said["text"],
        }[said["shows"]]
    )


def report(results: list[dict[str, Any]], interactive: bool) -> list[str]:
    """Print the table of calls; return what went otherwise than it should."""
    wrong = []
    table = Table("", "call", "the gate", "what the agent sees", expand=True)
    for said in results:
        if good := as_it_should(said, interactive):
            mark, gate = "[green]✓[/green]", EXPECTED[said["shows"]]
        else:
            mark, gate = "[red]✗[/red]", f"[red]should be: {EXPECTED[said['shows']]}[/red]"
        if interactive and good and said["shows"] in ("approve", "refuse"):
            gate = "held, approved" if said["ok"] else "held, denied"
        table.add_row(mark, said["call"], gate, seen(said).replace("[", "\\["))
        if not good:
            wrong.append(f"{said['call']} should be {EXPECTED[said['shows']]}: {seen(said)}")
        if SECRET in json.dumps(said):
            wrong.append(f"the secret came through in {said['call']}")
    console.print(table)
    return wrong


def afterwards(endpoint: str, results: list[dict[str, Any]]) -> list[str]:
    """What AWS itself holds now, asked around the gateway: what was refused did not happen."""
    tables = set(stage.owner(endpoint, "dynamodb").list_tables()["TableNames"])
    deleted = {
        step.arguments["TableName"]
        for step, said in zip(STEPS, results, strict=True)
        if said["ok"] and step.call == "dynamodb:delete_table"
    }
    buckets = [b["Name"] for b in stage.owner(endpoint, "s3").list_buckets()["Buckets"]]
    users = [u["UserName"] for u in stage.owner(endpoint, "iam").list_users()["Users"]]
    console.print(f"AWS afterwards: tables {', '.join(tables)}; buckets {', '.join(buckets)}; {len(users)} users")
    wrong = []
    if tables != {"orders", "scratch"} - deleted:
        wrong.append(f"the tables are {', '.join(tables)}, though the agent was told that {deleted} are deleted")
    if buckets != ["reports"] or users:
        wrong.append(f"a refused call was carried out: buckets {buckets}, users {users}")
    return wrong


def audit(here: Path) -> None:
    """The audit lines, as the command prints them."""
    say(console, "sluicegate audit tail")
    command = [*stage.cli(), "audit", "tail", "--config", str(here / "gateway.yaml"), "-n", "40"]
    done = subprocess.run(
        command, env=stage.environment(COLUMNS=str(console.width)), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise Failed("sluicegate audit tail failed")
    print(done.stdout, end="", flush=True)


if __name__ == "__main__":
    main()
