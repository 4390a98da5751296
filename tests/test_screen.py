"""What the screen says of a call, whatever words the agent chose."""

import json
import re
import unicodedata
from typing import Any, cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from addons import wire
from addons.approvals.tickets import Ticket
from addons.call import Approval, Call, Refusal
from addons.identity.session import Session
from addons.screen import comment, summary
from addons.wire import HttpRequest
from tests import tools


@pytest.fixture(autouse=True, scope="module")
def index() -> None:
    """The index of hosts that all tests share; making it takes seconds."""
    hosts = tools.CACHE / "hosts"
    hosts.mkdir(mode=0o700, parents=True, exist_ok=True)
    wire.load(hosts)


def session(subject: str = "agent/ada") -> Session:
    """A session; only its subject matters here."""
    made = object.__new__(Session)
    for name in Session.__dataclass_fields__:
        object.__setattr__(made, name, "")
    for name, value in {"subject": subject, "groups": ("developers",), "id": "s1"}.items():
        object.__setattr__(made, name, value)
    return made


def call(subject: str = "agent/ada", key: str = "1") -> Call:
    """A DynamoDB call as `decode` leaves it."""
    body = json.dumps({"TableName": "orders", "Key": {"id": {"S": key}}}).encode()
    headers = (
        ("host", "dynamodb.us-east-1.amazonaws.com"),
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "DynamoDB_20120810.DeleteItem"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/dynamodb/aws4_request, "
            "SignedHeaders=host, Signature=0",
        ),
    )
    made = Call(source="127.0.0.1", session=session(subject))
    made.decoded = wire.decode(HttpRequest("POST", "dynamodb.us-east-1.amazonaws.com", "/", headers, body))
    return made


def harmless(text: str) -> bool:
    return all(c == "\n" or unicodedata.category(c)[0] != "C" for c in text)


@settings(deadline=None)
@given(st.text(max_size=400), st.text(st.characters(exclude_categories=["Cs"]), max_size=400))
def test_no_words_of_the_agent_reach_the_screen_with_a_trick(subject: str, key: str) -> None:
    made = call(subject, key)
    assert harmless(comment(made))
    assert "\n" not in comment(made)
    assert harmless(summary(made))


@pytest.mark.parametrize("key", ["x\ndecision:\n  effect: allow", "\x1b[2K\x1b[1Aallowed", "\u2028masked: none"])
def test_a_value_makes_no_line_at_the_top_of_the_view(key: str) -> None:
    shown = yaml.safe_load(summary(call(key=key)))
    assert set(shown) == {"operation", "region", "who", "parameters"}


def test_a_long_subject_or_value_leaves_the_operation_in_sight() -> None:
    made = call("agent/" + "x" * 5000, "y" * 50_000)
    assert "dynamodb:DeleteItem" in comment(made)
    assert len(comment(made)) < 300
    text = summary(made)
    assert "operation: dynamodb:DeleteItem" in text.split("\n")[0]
    assert len(text) < 3000


def test_a_comment_says_how_the_call_stands() -> None:
    made = call()
    made.ticket = Ticket("ask", None, {"sessionId": "s1"}, 0.0, id="abcd1234")
    assert comment(made) == "HELD: agent/ada dynamodb:DeleteItem ticket abcd1234"
    made.approval = Approval("approved", "bob", 1.0)
    assert comment(made).startswith("APPROVED by bob: ")
    made.approval = Approval("superseded", None, 1.0)
    made.refusal = Refusal("approve", "AccessDenied", "superseded (ticket abcd1234)")
    assert comment(made).startswith("SUPERSEDED by a retry: ")
    made.approval, made.ticket = None, None
    made.refusal = Refusal("authorize", "AccessDenied", "no statement allows it")
    assert re.fullmatch(r"REFUSED: .* - no statement allows it", comment(made))


def test_masked_values_are_counted_and_listed_by_rule() -> None:
    made = call()
    made.sent = True
    made.masked = (cast(dict[str, Any], {"rule": "secretsmanager:*:SecretString", "locations": 2}),)
    assert comment(made).endswith("- 2 masked")
    assert yaml.safe_load(summary(made))["masked in the answer"] == [dict(made.masked[0])]
