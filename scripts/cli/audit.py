"""`sluicegate audit`: read and search the log of every call."""

import json
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from addons.ledger import reading
from addons.ledger.reading import Record
from addons.text import one_line
from scripts.cli.common import ConfigOption, fail, load_config

app = typer.Typer(no_args_is_help=True, help="Read and search the audit log.")
POLL = 0.25  # seconds between looks for new lines
BLOCK = 50  # rows of one table: a search of a large log shows what it has found so far

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON record a line.")]


@app.command()
def tail(
    config_file: ConfigOption = None,
    count: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the newest.")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the newest records."""
    directory = log_directory(config_file)
    follower = reading.Follower(directory) if follow else None
    found = reading.newest(directory, count)
    show(found, as_json)
    if not found and not follow:
        print("sluicegate: the audit log is empty", file=sys.stderr)
    try:
        while follower:
            time.sleep(POLL)
            show(follower.poll(), as_json, head=False)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command()
def search(
    config_file: ConfigOption = None,
    who: Annotated[str, typer.Option(help="Part of the subject, the group or the role.")] = "",
    action: Annotated[str, typer.Option(help="Part of service:Operation, or a pattern such as s3:Delete*.")] = "",
    resource: Annotated[str, typer.Option(help="Part of a resource's ARN.")] = "",
    denied: Annotated[bool, typer.Option("--denied", help="Only what the gateway refused.")] = False,
    held: Annotated[bool, typer.Option("--held", help="Only what waited for a person.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Only what ended with an error.")] = False,
    since: Annotated[str | None, typer.Option(help="30m, 1h, 7d, a date or a time (UTC).")] = None,
    session: Annotated[str, typer.Option(help="A session's id, or its beginning.")] = "",
    text: Annotated[str, typer.Option(help="Anything in the record.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Find records; every option given must match. Exit 1 if nothing does."""
    directory = log_directory(config_file)
    try:
        start = reading.moment(since, datetime.now(UTC)) if since else None
    except ValueError as error:
        fail(str(error))
    wanted = reading.Search(who, action, resource, text, session, denied, held, errors, start)
    found = 0
    rows: list[Record] = []
    for record in reading.records(directory, start.astimezone(UTC) if start else None):
        if wanted.matches(record):
            rows.append(record)
            if as_json or len(rows) == BLOCK:
                show(rows, as_json, head=found < BLOCK)
                found, rows = found + len(rows), []
    show(rows, as_json, head=found < BLOCK)
    if not found + len(rows):
        fail("nothing in the audit log matches", 1)


def log_directory(config_file: Path | None) -> Path:
    """Where the log is, or an end with what is wrong."""
    directory = load_config(config_file).audit
    try:
        reading.files(directory)
    except FileNotFoundError:
        fail(f"there is no audit log in {directory} yet: it begins with the first `sluicegate up`", 1)
    except OSError as error:
        fail(f"can't read the audit log in {directory}: {error.strerror}; it belongs to who runs the gateway", 1)
    return directory


def show(records: Iterable[Record], as_json: bool, head: bool = True) -> None:
    """Print records, as a table or as JSON lines."""
    found = list(records)
    if as_json:
        for record in found:
            print(json.dumps(record), flush=True)
        return
    if not found:
        return
    table = Table(show_header=head, box=None, pad_edge=False)
    # The same least widths in every block, so that what comes later stands under what came before.
    for name, width, fixed in (("time", 14, True), ("result", 8, False), ("who", 8, False), ("operation", 18, False)):
        table.add_column(name, min_width=width, no_wrap=fixed, overflow="fold")
    table.add_column("on", min_width=10, overflow="fold")
    table.add_column("rule", min_width=5, overflow="fold")
    for record in found:
        table.add_row(*row(record))
    Console().print(table)


def row(record: Record) -> list[Text]:
    """One record's cells: the time, how it ended, who, what, on what, by which rule."""
    decision = reading.block(record).get("decision") or {}
    on = [short(arn) for arn in reading.targets(record)]
    target = ", ".join(on[:2]) + (f" and {len(on) - 2} more" if len(on) > 2 else "")
    rule = ", ".join(map(str, decision.get("rules") or ()))
    when = str(record.get("eventTime") or "").rstrip("Z").replace("T", " ")[5:]  # the year is in --json
    result = reading.result(record).removesuffix(": AccessDenied").removesuffix(": Client.UnauthorizedOperation")
    cells = [Text(word(cell)) for cell in (when, reading.who(record), reading.operation(record), target, rule)]
    return [cells[0], Text(word(result), style=colour(record)), *cells[1:]]


def short(arn: str) -> str:
    """The part of an ARN that tells resources apart; the whole one is in --json."""
    parts = arn.split(":", 5)
    return parts[5] if len(parts) == 6 and parts[0] == "arn" and parts[5] else arn


def word(value: str) -> str:
    """The agent's words as words: no escapes, no length that pushes the rest out of sight."""
    return one_line(value, 200)


def colour(record: Record) -> str:
    """Red for what was refused, yellow for what nobody knows or what failed, green for the rest."""
    ended = reading.block(record).get("outcome")
    if ended == "refused":
        return "red"
    if ended in ("unknown", "failed") or record.get("errorCode"):
        return "yellow"
    return "green" if ended else "dim"
