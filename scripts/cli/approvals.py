"""`sluicegate approvals`: answer held calls from a terminal, through the running gateway's screen."""

import json
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
import urllib3
from rich.console import Console
from rich.text import Text

from addons.approvals.operators import FILE
from addons.state import private_file
from addons.text import one_line
from scripts.cli.common import ConfigOption, fail, load_config
from scripts.client.defaults import STATE_FILE

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
Ticket = Annotated[str, typer.Argument(help="The ticket's id, from `list`.", metavar="TICKET")]

app = typer.Typer(no_args_is_help=True, help="List, approve and deny held calls.")


def ask(config_file: Path | None, method: str, path: str, **fields: str) -> dict[str, Any]:
    """Call the running gateway as its operator; ends with a clear message where it can't."""
    gateway = load_config(config_file)
    try:
        # No link is followed: a configuration that an agent wrote could lead from our token to a screen of its own.
        token = private_file.read(gateway.state / FILE).decode()
        web = str(json.loads((gateway.state / STATE_FILE).read_text())["web"])
    except FileNotFoundError:
        fail(f"no gateway of {gateway.file} runs: start it with `sluicegate up --config {gateway.file}`", 1)
    except (OSError, ValueError) as error:
        fail(f"the gateway of {gateway.file} is not yours to work: {error}", 1)
    try:
        answer = urllib3.request(
            method,
            web + path,
            headers={"Authorization": f"Bearer {token}"},
            fields=fields or None,
            timeout=10,
            retries=False,
        )
    except (urllib3.exceptions.HTTPError, OSError):
        fail(f"the gateway at {web} does not answer: has it ended?", 1)
    if answer.status == 403:
        fail(f"what answers at {web} does not know this operator: is it another gateway?", 1)
    if answer.status != 200:
        fail(one_line(answer.data.decode(errors="replace")) or f"the gateway answers with status {answer.status}", 1)
    found: dict[str, Any] = json.loads(answer.data)
    return found | {"web": web}


@app.command("list")
def list_(config_file: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the calls that wait for a person."""
    tickets = ask(config_file, "GET", "sluicegate/tickets")["tickets"]
    if as_json:
        print(json.dumps(tickets, indent=2))
    elif not tickets:
        print("Nothing waits.")
    else:
        Console(soft_wrap=False).print(Text("\n\n").join(map(described, tickets)))


def described(ticket: dict[str, Any]) -> Text:
    """A ticket for a terminal: the agent's words as words, never as markup or escapes."""
    where = ticket["resources"]
    rows = [
        ("who", ticket["subject"]),
        *(("as", role) for role in ticket.get("assumed", [])[-1:]),
        *(("on", resource) for resource in where[:5]),
        *([("", f"and {len(where) - 5} more")] if len(where) > 5 else []),
        ("rule", ticket["rule"]),
        ("params", json.dumps(ticket["params"], ensure_ascii=False, default=str)),
    ]
    shown = Text.assemble(
        (ticket["id"], "bold yellow"),
        "  ",
        (one_line(str(ticket["operation"]), 100), "bold"),
        f"  {one_line(str(ticket['region']), 40)}, {since(ticket['asked'])}",
    )
    for name, value in rows:
        shown.append(f"\n  {name:7}", "dim").append(one_line(str(value), 400))
    return shown


def since(asked: float) -> str:
    """How long a call has waited."""
    seconds = max(0, int(time.time() - asked))
    return f"waits for {seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"waits for {seconds} s"


def answer(config_file: Path | None, ticket: str, verdict: str, as_json: bool, **fields: str) -> None:
    """Answer one question, and say so."""
    found = ask(config_file, "POST", f"sluicegate/tickets/{quote(ticket, safe='')}/{verdict}", **fields)["ticket"]
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        words = f"{found['operation']} on {', '.join(found['resources'][:3])}, asked by {found['subject']}"
        print(f"{found['state'].capitalize()} {found['id']}: {one_line(words)}")


@app.command()
def approve(ticket: Ticket, config_file: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Let one held call through."""
    answer(config_file, ticket, "approve", as_json)


@app.command()
def deny(
    ticket: Ticket,
    config_file: ConfigOption = None,
    reason: Annotated[str, typer.Option(help="Told to the agent.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Refuse one held call."""
    answer(config_file, ticket, "deny", as_json, reason=reason)


@app.command()
def link(config_file: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print a new one-time link to the screen."""
    made = ask(config_file, "POST", "sluicegate/link")
    url = f"{made['web']}?token={made['token']}"
    print(json.dumps({"url": url}) if as_json else url)
