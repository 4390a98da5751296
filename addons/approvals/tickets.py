"""Tickets: one question to a person, about one sending of one ask. It knows no proxy and no screen.

A held call waits for its ticket. An SDK's retry (same invocation id) joins the ticket that is there, and so does the
same ask made anew once its first caller has gone, so a person is asked once; a ticket is spent by one sending.
"""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "approved", "denied", "expired", "spent", "closed"]
Verdict = Literal["approved", "denied", "timed out", "gone", "superseded", "shutting down"]
KEPT = 10_000  # tickets remembered, the oldest finished ones forgotten first
OPEN = 500  # questions that one session may have open at once
HELD = 2_000  # questions that all sessions may have open at once


class TooMany(Exception):
    """There are more questions open than people could answer."""


def ask_hash(session: str, account: str, region: str, service: str, operation: str, params: Mapping[str, Any]) -> str:
    """What is being asked, as a hash: two calls with one hash are the same question."""

    def plain(value: object) -> str:
        return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else str(value)

    ask = json.dumps([session, account, region, service, operation, params], sort_keys=True, default=plain)
    return hashlib.sha256(ask.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(slots=True)
class Ticket:
    """One question. `caller` is who waits now: None once the client has gone."""

    ask: str
    invocation: str | None  # the SDK's amz-sdk-invocation-id
    summary: Mapping[str, Any]  # who, operation, target, rule: for screens, secrets already hidden
    deadline: float  # time.monotonic()
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    asked: float = field(default_factory=time.time)
    state: State = "waiting"
    by: str | None = None
    reason: str = ""
    outcome: str = ""  # what came of the sending, once it is known
    caller: asyncio.Future[Verdict] | None = None
    claimed: bool = False  # by a call that is about to wait

    @property
    def open(self) -> bool:
        """Whether it waits for an answer, or for its caller to use the one that it has."""
        return self.state in ("waiting", "approved") and time.monotonic() < self.deadline


class Tickets:
    """The tickets of one gateway, in memory: a restart refuses what was held."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.all: dict[str, Ticket] = {}
        self.asks: dict[str, list[Ticket]] = {}  # by ask hash, oldest first
        self.unfinished: dict[str, Ticket] = {}  # all that are open are among them
        self.closed = False

    def waiting(self) -> list[Ticket]:
        """The questions that still need an answer, oldest first."""
        return [t for t in self.unfinished.values() if t.state == "waiting" and t.open]

    def find(self, ask: str, invocation: str | None) -> Ticket | None:
        """The ticket that a call belongs to, if it is not a new question."""
        for ticket in reversed(self.asks.get(ask, ())):
            retry = invocation is not None and ticket.invocation == invocation
            if ticket.state == "spent" and retry:
                return ticket
            if ticket.open and (retry or (ticket.caller is None and not ticket.claimed)):
                return ticket
            if ticket.state == "denied" and retry:
                return ticket
        return None

    def take(
        self, ask: str, invocation: str | None, summary: Mapping[str, Any], *, held: int = HELD, held_each: int = OPEN
    ) -> Ticket:
        """The ticket of a call: the one it retries or takes over, or a new one. It is the call's until it has waited.

        `held`, `held_each`: how many may be open in all, and of one session. Raises `TooMany`.
        """
        ticket = self.find(ask, invocation)
        if ticket is None:
            self.unfinished = {name: t for name, t in self.unfinished.items() if t.open}
            mine = sum(t.summary["sessionId"] == summary["sessionId"] for t in self.unfinished.values())
            if len(self.unfinished) >= held or mine >= held_each:
                raise TooMany
            ticket = Ticket(ask, invocation, summary, time.monotonic() + self.timeout)
            self.all[ticket.id] = self.unfinished[ticket.id] = ticket
            self.asks.setdefault(ask, []).append(ticket)
            self._forget()
        elif invocation is not None and ticket.state == "waiting":
            ticket.invocation = invocation
        ticket.claimed = ticket.open
        return ticket

    def release(self, ticket: Ticket) -> None:
        """The call that took it waits no more: another one may take it over."""
        ticket.claimed = False

    async def wait(self, ticket: Ticket) -> Verdict:
        """Wait as the ticket's caller until a person decides, the time is up, or somebody ends the wait."""
        if self.closed:
            return "shutting down"
        if ticket.state == "approved":
            return "approved"
        if ticket.caller and not ticket.caller.done():
            ticket.caller.set_result("superseded")
        mine: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        ticket.caller = mine
        try:
            async with asyncio.timeout(max(0.0, ticket.deadline - time.monotonic())):
                return await mine
        except TimeoutError:
            ticket.state = "expired"
            return "timed out"
        finally:
            if ticket.caller is mine:
                ticket.caller = None
                ticket.claimed = mine.done() and not mine.cancelled() and mine.result() == "approved"  # to be spent

    def decide(self, ticket: Ticket, verdict: Literal["approved", "denied"], by: str, reason: str = "") -> bool:
        """Record a person's decision; False if the ticket no longer waits."""
        if ticket.state != "waiting" or time.monotonic() >= ticket.deadline:
            return False
        ticket.state, ticket.by, ticket.reason = verdict, by, reason
        if ticket.caller and not ticket.caller.done():
            ticket.caller.set_result(verdict)
        return True

    def gone(self, ticket: Ticket) -> None:
        """The client that waits has left: its call is never sent; a retry may take the ticket over."""
        if ticket.caller and not ticket.caller.done():
            ticket.caller.set_result("gone")

    def spend(self, ticket: Ticket) -> bool:
        """Use an approved ticket for one sending; False if it is not there to be used."""
        if ticket.state != "approved":
            return False
        ticket.state = "spent"
        return True

    def close(self) -> None:
        """Refuse everything held: the gateway stops."""
        self.closed = True
        for ticket in self.unfinished.values():
            if ticket.state == "waiting":
                ticket.state = "closed"
                if ticket.caller and not ticket.caller.done():
                    ticket.caller.set_result("shutting down")

    def _forget(self) -> None:
        if len(self.all) > KEPT:
            for ticket in [t for t in self.all.values() if not t.open and t.caller is None][: KEPT // 10]:
                del self.all[ticket.id]
                self.asks[ticket.ask].remove(ticket)
                if not self.asks[ticket.ask]:
                    del self.asks[ticket.ask]
