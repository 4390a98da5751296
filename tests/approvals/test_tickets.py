"""Tickets: asked once, spent once, whatever the callers do."""

import asyncio

import pytest

from addons.approvals.tickets import OPEN, Ticket, Tickets, TooMany, ask_hash

SUMMARY = {"sessionId": "s1", "operation": "dynamodb:DeleteTable"}


def test_the_same_ask_has_the_same_hash_whatever_the_order_of_its_parameters() -> None:
    one = ask_hash("s", "1", "us-east-1", "sqs", "SendMessage", {"a": 1, "b": b"\0"})
    assert one == ask_hash("s", "1", "us-east-1", "sqs", "SendMessage", {"b": b"\0", "a": 1})
    assert one != ask_hash("s", "1", "us-east-1", "sqs", "SendMessage", {"a": 1, "b": b"\1"})
    assert one != ask_hash("t", "1", "us-east-1", "sqs", "SendMessage", {"a": 1, "b": b"\0"})


async def held(tickets: Tickets, ticket: Ticket) -> asyncio.Task[str]:
    task = asyncio.ensure_future(tickets.wait(ticket))
    await asyncio.sleep(0)
    return task


async def test_a_retry_joins_its_ticket_and_supersedes_the_earlier_attempt() -> None:
    tickets = Tickets(60)
    first = tickets.take("ask", "inv", SUMMARY)
    earlier = await held(tickets, first)
    assert tickets.take("ask", "inv", SUMMARY) is first
    later = await held(tickets, first)
    assert tickets.waiting() == [first]
    assert await earlier == "superseded"
    assert tickets.decide(first, "approved", "ada")
    assert await later == "approved"


async def test_two_callers_that_both_wait_have_tickets_of_their_own() -> None:
    tickets = Tickets(60)
    first = tickets.take("ask", "one", SUMMARY)
    waiting = await held(tickets, first)
    assert tickets.take("ask", "two", SUMMARY) is not first
    waiting.cancel()


async def test_a_later_call_takes_over_the_ticket_of_a_caller_that_has_gone() -> None:
    tickets = Tickets(60)
    ticket = tickets.take("ask", "one", SUMMARY)
    first = await held(tickets, ticket)
    tickets.gone(ticket)
    assert await first == "gone"
    assert tickets.decide(ticket, "approved", "ada"), "a person may answer while nobody waits"
    assert tickets.take("ask", "two", SUMMARY) is ticket
    assert await tickets.wait(ticket) == "approved"


def test_an_approved_ticket_is_spent_once() -> None:
    tickets = Tickets(60)
    ticket = tickets.take("ask", "inv", SUMMARY)
    assert not tickets.spend(ticket), "nobody has approved it"
    tickets.decide(ticket, "approved", "ada")
    assert tickets.spend(ticket)
    assert not tickets.spend(ticket)
    assert tickets.take("ask", "inv", SUMMARY) is ticket, "a retry of what was sent finds the spent ticket"
    assert tickets.take("ask", "other", SUMMARY) is not ticket, "a new call of the same ask asks anew"


def test_an_answer_stands_and_can_not_be_changed() -> None:
    tickets = Tickets(60)
    ticket = tickets.take("ask", "inv", SUMMARY)
    assert tickets.decide(ticket, "denied", "ada", "no")
    assert not tickets.decide(ticket, "approved", "bob")
    assert (ticket.state, ticket.by, ticket.reason) == ("denied", "ada", "no")


async def test_time_runs_out_for_the_caller_and_for_the_answer() -> None:
    tickets = Tickets(0.05)
    ticket = tickets.take("ask", "inv", SUMMARY)
    assert await tickets.wait(ticket) == "timed out"
    assert not tickets.decide(ticket, "approved", "ada")
    assert tickets.waiting() == []


async def test_closing_ends_every_wait_and_lets_no_new_one_begin() -> None:
    tickets = Tickets(60)
    ticket = tickets.take("ask", "inv", SUMMARY)
    waiting = await held(tickets, ticket)
    tickets.close()
    assert await waiting == "shutting down"
    assert await tickets.wait(tickets.take("new", "inv", SUMMARY)) == "shutting down"


def test_a_session_can_not_flood_the_list() -> None:
    tickets = Tickets(60)
    for number in range(OPEN):
        tickets.take(f"ask{number}", None, SUMMARY)
    with pytest.raises(TooMany):
        tickets.take("one more", None, SUMMARY)
    with pytest.raises(TooMany):
        tickets.take("of another", None, SUMMARY | {"sessionId": "s2"}, held=OPEN)
    assert tickets.take("another session's", None, SUMMARY | {"sessionId": "s2"})


async def test_two_calls_that_ask_the_same_at_once_both_wait() -> None:
    """Between its question and its wait a call writes to the ledger: nobody takes its ticket away meanwhile."""
    tickets = Tickets(60)
    first, second = tickets.take("ask", "one", SUMMARY), tickets.take("ask", "two", SUMMARY)
    assert first is not second
    tickets.release(first)
    assert tickets.take("ask", "three", SUMMARY) is first


def test_what_is_forgotten_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addons.approvals.tickets.KEPT", 100)
    tickets = Tickets(60)
    for number in range(500):
        tickets.decide(tickets.take(f"ask{number}", None, SUMMARY), "denied", "ada")
    assert len(tickets.all) <= 101
    assert sum(map(len, tickets.asks.values())) == len(tickets.all)
    assert not tickets.waiting()
