"""What the commands share with which an operator works a gateway through its state directory, running or not."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from addons import config
from addons.state import sqlite
from addons.state.store import MOST_SESSIONS, Kind, Scope, Stop, Store, StoreUnavailable
from addons.text import one_line
from scripts.cli.common import fail, operator

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
ReasonOption = Annotated[str, typer.Option(help="Told to the agent, and written to the audit log.")]
LONGEST = 500  # characters of a reason
DONE: dict[Kind, str] = {"freeze": "Frozen", "revoke": "Revoked"}


def reason_of(given: str) -> str:
    """A reason as it can be shown anywhere."""
    return one_line(given.strip(), LONGEST)


def opened(state: Path) -> sqlite.SqliteStore:
    """The store of a state directory, or the end of the command. The directory is made where there is none yet."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if state.stat().st_mode & 0o077:
            fail(f"others can look into {state}: chmod 700 {state}", 1)
        return sqlite.SqliteStore(state / sqlite.FILE)
    except (OSError, ValueError, StoreUnavailable) as error:
        fail(str(error), 1)


@contextmanager
def shared(gateway: config.Gateway) -> Iterator[sqlite.SqliteStore]:
    """The store of a configuration for a block; where it fails, the command ends."""
    store = opened(gateway.state)
    try:
        yield store
    except StoreUnavailable as error:
        fail(f"{error}. Where calls must stop at once, end the gateway's process", 1)
    finally:
        store.close()


def note(gateway: config.Gateway, kind: str, **fields: Any) -> None:
    """Write an event with the operator's name to the audit log. What is done already stands if that fails."""
    from addons.ledger.log import Ledger, LedgerUnavailable  # here: a kill switch must not wait for its import

    async def write() -> None:
        ledger = Ledger(gateway.audit, reserve=0)
        await ledger.start()
        try:
            await ledger.event(kind, by=operator(), **fields)
        finally:
            await ledger.close()

    try:
        asyncio.run(write())
    except LedgerUnavailable as error:
        print(f"sluicegate: done, but not in the audit log, which can't be written: {error}", file=sys.stderr)


def place(gateway: config.Gateway, kind: Kind, whom: tuple[Scope, str], given: str, as_json: bool) -> None:
    """Stop somebody, write it to the audit log and say it. `given`: the reason, as it was typed."""
    scope, target = whom
    stop = Stop(kind, scope, target, time.time(), operator(), reason_of(given))
    with shared(gateway) as store:
        store.stop(stop)
        warning = unknown(store, scope, target)
    note(gateway, kind, scope=scope, target=target, reason=stop.reason)
    if as_json:
        print(json.dumps(asdict(stop)))
    else:
        print(f"{DONE[kind]}: {named(scope, target)}, at the gateway of {gateway.file}.")
    if warning:
        print(f"sluicegate: {warning}", file=sys.stderr)


def chosen(session: str | None, subject: str | None, everything: bool = False) -> tuple[Scope, str]:
    """Whom the options of a command name; exactly one must be given."""
    if (session is not None) + (subject is not None) + everything != 1 or "" in (session, subject):
        fail("say whom: --session ID, --subject NAME or --all, and only one of them")
    if session is not None:
        return "session", session
    return ("subject", subject) if subject is not None else ("all", "")


def unknown(store: Store, scope: Scope, target: str) -> str:
    """A warning where nobody was seen whom a stop is about: it may be a slip of the pen. Else ""."""
    seen = scope == "all" or any(target in (s.id, s.subject) for s in store.sessions(MOST_SESSIONS))
    return "" if seen else f"no {scope} of that name was seen yet: is it as `sluicegate session list` shows it?"


def named(scope: Scope, target: str) -> str:
    """Whom a stop is about, for a line of a screen."""
    return "every call" if scope == "all" else f"{scope} {one_line(target, 200)}"


def when(seconds: float) -> str:
    """A moment for a person."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
