"""An agent that has a person's yes, or a host of its own choice: what is sent must be what was decided on."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from addons import wire
from addons.approvals.tickets import Ticket, Tickets
from addons.approve import Approve
from addons.authorize import decide
from addons.call import Call
from addons.config import Limits
from addons.identity.session import Session
from addons.wire import HttpRequest
from policy.model import Decision, Item, ItemResult
from tests.wire.requests import S3, ask, json_ask

ACCOUNT = "111122223333"
TABLE = "arn:aws:dynamodb:us-east-1:{}:table/t"


def call(request: HttpRequest, resource: str = "arn:aws:s3:::b/k") -> Call:
    session = Session("0a", "https://idp", "agent/ada", ("dev",), "r", "l", "jti", 0, 2_000_000_000)
    allowed = ItemResult(Item("s3:PutObject", resource, "exact"), "approve", "p/a")
    decision = Decision("approve", (allowed,), "p/a", "held", "sha256:0")
    return Call("192.0.2.7", request=request, session=session, decoded=wire.decode(request), decision=decision)


@pytest.fixture
def approve() -> Approve:
    rules = SimpleNamespace(gateway=SimpleNamespace(config=SimpleNamespace(limits=Limits())))
    return Approve(
        cast(
            Any,
            SimpleNamespace(account=ACCOUNT, account_of=lambda session: ACCOUNT, tickets=Tickets(60.0), rules=rules),
        )
    )


def put(body: bytes) -> HttpRequest:
    return ask(S3, "PUT", "/b/k", body, {"amz-sdk-invocation-id": "one"})


def ticket(approve: Approve, request: HttpRequest) -> Ticket:
    return approve._ticket(call(request))


def test_a_yes_to_one_content_is_no_yes_to_another(approve: Approve) -> None:
    asked = ticket(approve, put(b"harmless"))
    approve.services.tickets.release(asked)
    assert approve.services.tickets.decide(asked, "approved", "ada")
    assert ticket(approve, put(b"harmless")) is asked  # its caller has gone: the same ask takes it over
    assert ticket(approve, put(b"harmful")) is not asked


@pytest.mark.parametrize(
    ("host", "table", "effect"),
    [
        ("dynamodb.us-east-1.amazonaws.com", TABLE.format(ACCOUNT), "allow"),
        (f"{ACCOUNT}.ddb.us-east-1.amazonaws.com", TABLE.format(ACCOUNT), "allow"),
        ("999988887777.ddb.us-east-1.amazonaws.com", TABLE.format("999988887777"), "allow"),  # as SDKs do
        ("999988887777.ddb.us-east-1.amazonaws.com", TABLE.format(ACCOUNT), "deny"),
    ],
)
def test_a_host_of_a_strangers_account_needs_the_strangers_arn(host: str, table: str, effect: str) -> None:
    allowed = ItemResult(Item("dynamodb:GetItem", table, "exact"), "allow", "p/a")
    decision = Decision("allow", (allowed,), "p/a", "allowed", "sha256:0")
    policies = SimpleNamespace(decide=lambda request, bound: decision)
    rules = SimpleNamespace(policies=policies, bound=lambda session, role: ())
    services = cast(
        Any, SimpleNamespace(account=ACCOUNT, account_of=lambda session: ACCOUNT, partition="aws", rules=rules)
    )
    body = b'{"TableName": "t", "Key": {"id": {"S": "1"}}}'
    assert decide(services, call(json_ask(body, host=host))).effect == effect


@pytest.mark.parametrize(
    ("host", "partition", "effect"),
    [
        ("dynamodb.us-east-1.amazonaws.com", "aws", "allow"),
        ("dynamodb.cn-north-1.amazonaws.com.cn", "aws", "deny"),
        ("dynamodb.us-gov-west-1.amazonaws.com", "aws", "deny"),
        ("dynamodb.cn-north-1.amazonaws.com.cn", "aws-cn", "allow"),
        ("dynamodb.us-east-1.amazonaws.com", "aws-cn", "deny"),
    ],
)
def test_a_signed_request_never_goes_to_another_partition(host: str, partition: str, effect: str) -> None:
    """Partitions share no accounts: what is sent there is only seen there, signature, parameters and all."""
    allowed = ItemResult(Item("dynamodb:GetItem", "*", "exact"), "allow", "p/a")
    decision = Decision("allow", (allowed,), "p/a", "allowed", "sha256:0")
    rules = SimpleNamespace(
        policies=SimpleNamespace(decide=lambda request, bound: decision), bound=lambda session, role: ()
    )
    services = cast(
        Any, SimpleNamespace(account=ACCOUNT, account_of=lambda session: ACCOUNT, partition=partition, rules=rules)
    )
    body = b'{"TableName": "t", "Key": {"id": {"S": "1"}}}'
    assert decide(services, call(json_ask(body, host=host))).effect == effect
