"""`sluicegate session`: the sessions that a gateway has seen, and the end of one for good."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from addons.state.stops import Stops
from addons.state.store import MOST_SESSIONS, Seen
from addons.text import one_line
from scripts.cli.common import ConfigOption, load_config
from scripts.cli.operating import JsonOption, ReasonOption, chosen, place, shared, when

app = typer.Typer(no_args_is_help=True, help="List sessions, and revoke them.")


@app.command("list")
def list_(
    config_file: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_SESSIONS, help="How many, the latest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show the sessions seen last. Calls, and when the last one came, are up to a minute old."""
    gateway = load_config(config_file)
    with shared(gateway) as store:
        found = store.sessions(limit)
        stops = Stops(store.stops()[1])
    if as_json:
        print(json.dumps([described(seen, stops) for seen in found], indent=2))
    elif not found:
        print("No session has been seen.")
    else:
        Console(soft_wrap=False).print(table(found, stops))


def described(seen: Seen, stops: Stops) -> dict[str, object]:
    """A session for a machine: moments in seconds since the epoch; `state` is active, frozen or revoked."""
    return asdict(seen) | {"state": state(seen, stops)}


def state(seen: Seen, stops: Stops) -> str:
    """Whether the session's calls are served. A later sign-in may outlive the revocation of a subject."""
    stop = stops.of(seen.id, seen.subject, seen.first)
    if stop and stop.kind == "revoke" and stop.scope == "subject" and seen.last > stop.at + 1:
        return "active"  # it could not have been seen since
    return "active" if stop is None else {"freeze": "frozen", "revoke": "revoked"}[stop.kind]


def table(found: tuple[Seen, ...], stops: Stops) -> Table:
    """Sessions for a terminal: the agents' words as words, never as markup or escapes."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("session", "subject", "groups", "role", "first seen", "last seen", "calls", ""):
        made.add_column(
            name, no_wrap=name == "session", overflow="fold", justify="right" if name == "calls" else "left"
        )
    for seen in found:
        role = seen.role.rpartition(":role/")[2]
        stopped = state(seen, stops)
        words = (seen.id, seen.subject, ", ".join(seen.groups), role)
        made.add_row(
            *(Text(one_line(word, 200)) for word in words),
            when(seen.first),
            when(seen.last),
            str(seen.calls),
            Text("" if stopped == "active" else stopped, "bold red"),
        )
    return made


@app.command()
def revoke(
    session: Annotated[str | None, typer.Argument(help="The session's id, from `list`.", metavar="SESSION")] = None,
    config_file: ConfigOption = None,
    subject: Annotated[
        str | None, typer.Option(help="Instead: everything that was issued to this subject until now.")
    ] = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Refuse a session from now on, also its web identity token; what is held or streams of it ends within a second."""
    gateway = load_config(config_file)
    place(gateway, "revoke", chosen(session, subject), reason, as_json)
