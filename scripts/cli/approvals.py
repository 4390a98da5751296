"""`sluicegate approvals`: answer held calls from a terminal, through the running gateway's screen."""

import json
from typing import Annotated, Any

import typer
import urllib3
from rich.console import Console
from rich.table import Table

from addons.approvals.operators import FILE
from addons.text import one_line
from scripts.cli.common import STATE_FILE, ConfigOption, fail, load_config

app = typer.Typer(no_args_is_help=True, help="List, approve and deny held calls.")


def ask(config_file: Any, method: str, path: str, **fields: str) -> dict[str, Any]:
    """Call the running gateway as its operator."""
    gateway = load_config(config_file)
    try:
        token = (gateway.state / FILE).read_text()
        web = json.loads((gateway.state / STATE_FILE).read_text())["web"]
    except OSError as error:
        fail(f"no gateway of this configuration seems to run, or it is not yours: {error}", 1)
    try:
        answer = urllib3.request(
            method, web + path, headers={"Authorization": f"Bearer {token}"}, fields=fields or None, timeout=10, retries=False
        )
    except urllib3.exceptions.HTTPError as error:
        fail(f"the gateway at {web} does not answer: {error}", 1)
    if answer.status != 200:
        fail(answer.data.decode(errors="replace")[:500] or f"status {answer.status}", 1)
    found: dict[str, Any] = json.loads(answer.data)
    return found


@app.command("list")
def list_(
    config_file: ConfigOption = None, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """Show the calls that wait for a person."""
    tickets = ask(config_file, "GET", "sluicegate/tickets")["tickets"]
    if as_json:
        print(json.dumps(tickets, indent=2))
        return
    if not tickets:
        print("Nothing waits.")
        return
    table = Table("ticket", "who", "operation", "on", "rule", "parameters")
    for t in tickets:
        shown = json.dumps(t["params"], ensure_ascii=False, default=str)
        table.add_row(*map(cell, (t["id"], t["subject"], t["operation"], "\n".join(t["resources"][:5]), t["rule"], shown)))
    Console().print(table)


def cell(value: object) -> str:
    """A table cell: the agent's words as words, never as markup or escapes."""
    return "\n".join(one_line(line, 200) for line in str(value or "").split("\n")).replace("[", "\\[")


@app.command()
def approve(ticket: str, config_file: ConfigOption = None) -> None:
    """Let one held call through."""
    ask(config_file, "POST", f"sluicegate/tickets/{ticket}/approve")
    print(f"Approved {ticket}.")


@app.command()
def deny(
    ticket: str,
    config_file: ConfigOption = None,
    reason: Annotated[str, typer.Option(help="Told to the agent.")] = "",
) -> None:
    """Refuse one held call."""
    ask(config_file, "POST", f"sluicegate/tickets/{ticket}/deny", reason=reason)
    print(f"Denied {ticket}.")


@app.command()
def link(config_file: ConfigOption = None) -> None:
    """Print a new one-time link to the screen."""
    token = ask(config_file, "POST", "sluicegate/link")["token"]
    web = json.loads((load_config(config_file).state / STATE_FILE).read_text())["web"]
    print(f"{web}?token={token}")
