"""Questions made to tire, to deceive or to exhaust: the approver sees what matters, and the gateway keeps little."""

import functools
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from addons.approvals.tickets import Tickets
from addons.approve import Approve
from addons.config import Limits
from addons.screen import summary
from addons.text import one_line, short
from tests.attacks.test_approving import ACCOUNT, call
from tests.fail_closed.conftest import Background, Screen, standing, until
from tests.wire.requests import json_ask


def nested(width: int, depth: int) -> dict[str, Any]:
    return {"L": [nested(width, depth - 1) for _ in range(width)]} if depth else {"S": "x" * 300}


def request(value: dict[str, Any]) -> Any:
    item = {"id": {"S": "1"}, "v": value}
    return json_ask(json.dumps({"TableName": "t", "Item": item}).encode(), "DynamoDB_20120810.PutItem")


def test_a_question_keeps_no_more_than_a_screen_shows() -> None:
    """500 questions with 32 MB each, from an agent that hangs up at once, would be 16 GB for a quarter of an hour."""
    rules = SimpleNamespace(gateway=SimpleNamespace(config=SimpleNamespace(limits=Limits())))
    approve = Approve(
        cast(
            Any,
            SimpleNamespace(account=ACCOUNT, account_of=lambda session: ACCOUNT, tickets=Tickets(60.0), rules=rules),
        )
    )
    for value in ({"S": "x" * 300_000}, nested(20, 3), {"B": "eHh4" * 100_000}):
        kept = approve._ticket(call(request(value))).summary
        assert len(json.dumps(kept, default=str)) < 500_000
        assert kept["operation"] == "dynamodb:PutItem"
        assert kept["params"]["TableName"] == "t"


def test_parameters_made_of_lists_in_lists_are_shown_at_once() -> None:
    asked = call(request(nested(20, 3)))
    started = time.process_time()
    text = summary(asked)
    assert time.process_time() - started < 1
    assert "dynamodb:PutItem" in text


def test_a_cut_is_always_marked() -> None:
    shown = json.dumps(short([[["x"] * 50] * 50] * 50), ensure_ascii=False)
    assert "…" in shown
    assert shown.count("x") <= 1_000
    assert short({"a": [1, "b", None]}) == {"a": [1, "b", None]}


def test_all_sessions_together_ask_no_more_than_people_can_answer(tmp_path: Path) -> None:
    with standing(tmp_path, limits="{held: 3}") as stand:
        screen = Screen(stand.gateway)
        bodies = [json.dumps({"TableName": f"t-{n}"}).encode() for n in range(3)]
        calls = [Background(functools.partial(stand.raw().call, "DeleteTable", body)) for body in bodies]
        until(lambda: len(screen.tickets()) == 3, "the held calls")
        with stand.nothing_passes():
            found = stand.raw().call("DeleteTable", b'{"TableName":"one-more"}')
        assert (found.status, b"too many calls wait" in found.body) == (403, True)
        for ticket in screen.tickets():
            screen.decide(ticket["id"], "deny")
        assert [made.done().status for made in calls] == [403] * 3


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("prod-d\u0430ta", "prod-d\\u0430ta"),  # Cyrillic a
        ("\u0440rod", "\\u0440rod"),  # Cyrillic er
        ("pr\u03bfd", "pr\\u03bfd"),  # Greek omicron
        ("\uff50rod", "\\uff50rod"),  # a fullwidth p
        ("\U0001d429rod", "\\U0001d429rod"),  # a mathematical p
        ("prod\u2215data", "prod\\u2215data"),  # a slash that divides nothing
        ("данные/файл", "данные/файл"),
        ("Grüße-naïve-Ærø", "Grüße-naïve-Ærø"),
        ("報告書 2026.pdf", "報告書 2026.pdf"),
        ("δεδομένα", "δεδομένα"),
    ],
)
def test_letters_that_pass_for_others_are_shown_for_what_they_are(text: str, seen: str) -> None:
    """Unicode Technical Standard 39, 5: one script in a word. A word wholly of another one is what it looks like."""
    assert one_line(text) == seen
