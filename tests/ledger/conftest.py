"""What the ledger's tests share: ledgers that are closed again, their lines, and calls as records."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from addons.ledger.cloudtrail import CallRecord, line
from addons.ledger.log import Ledger

ROLE = "arn:aws:iam::111122223333:role/agents"


def lines(directory: Path) -> list[dict[str, Any]]:
    """Every record under a directory; a torn one fails the test."""
    return [json.loads(text) for path in sorted(directory.rglob("*.jsonl")) for text in path.read_bytes().splitlines()]


def calls(directory: Path) -> list[dict[str, Any]]:
    return [record for record in lines(directory) if record["eventType"] == "AwsApiCall"]


def call(event_id: str = "0193-1", **changes: Any) -> CallRecord:
    """A call that AWS answered."""
    values: dict[str, Any] = {
        "id": event_id,
        "started": 1_795_000_000.25,
        "ended": 1_795_000_000.75,
        "outcome": "answered",
        "host": "dynamodb.us-east-1.amazonaws.com",
        "source": "10.0.0.9",
        "user_agent": "Boto3/1.44.5",
        "account": "111122223333",
        "service": "dynamodb",
        "operation": "DeleteTable",
        "signing_name": "dynamodb",
        "region": "us-east-1",
        "protocol": "json",
        "params": {"TableName": "orders"},
        "role": ROLE,
        "label": "gw-7f3c",
        "session": "7f3c",
        "subject": "agent/ada",
        "issuer": "https://idp.example.org",
        "groups": ("dev",),
        "effect": "allow",
        "sid": "dev/tables",
        "policy_hash": "sha256:1f",
        "items": (
            {
                "action": "dynamodb:DeleteTable",
                "resource": "arn:aws:dynamodb:us-east-1:111122223333:table/orders",
                "state": "exact",
                "effect": "allow",
                "sid": "dev/tables",
            },
        ),
        "upstream_status": 200,
        "status": 200,
    }
    return CallRecord(**(values | changes))


def outcome(event_id: str, **changes: Any) -> dict[str, Any]:
    return line(call(event_id, **changes))


def intent(event_id: str) -> dict[str, Any]:
    return {
        "eventID": event_id,
        "time": 1_795_000_000.25,
        "session": "7f3c",
        "subject": "agent/ada",
        "service": "dynamodb",
        "operation": "DeleteTable",
        "region": "us-east-1",
        "bodySha256": "00",
        "sid": "dev/tables",
        "policyHash": "sha256:1f",
    }


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    """Open a ledger that the test's end closes."""
    found: list[Ledger] = []

    async def start(directory: Path, reserve: int = 1 << 20) -> Ledger:
        ledger = Ledger(directory, reserve)
        await ledger.start()
        found.append(ledger)
        return ledger

    yield start
    for ledger in found:
        await ledger.close()
