"""`sluicegate approvals`, as a person at a terminal uses it, against a running gateway."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests import agent
from tests.harness import Gateway, Upstream, gateway, prepare


@pytest.fixture(scope="module")
def gate(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway"), upstream.url) as made:
        yield made


def listing(gate: Gateway) -> str:
    done = gate.cli("approvals", "list", "--json", check=False)
    assert done.returncode == 0, done.stderr + gate.log.read_text()
    return done.stdout


def held(gate: Gateway, table: str) -> tuple[threading.Thread, list[Any], str]:
    """A call that waits: its thread, its result once there is one, its ticket."""
    results: list[Any] = []
    client = agent.client(gate, "dynamodb")

    def call() -> None:
        try:
            results.append(client.delete_table(TableName=table))
        except ClientError as error:
            results.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for ticket in json.loads(listing(gate)):
            if ticket["params"] == {"TableName": table}:
                return thread, results, ticket["id"]
    raise AssertionError("nothing was held")


@pytest.mark.long
def test_list_approve_and_deny(gate: Gateway, upstream: Upstream) -> None:
    thread, results, ticket = held(gate, "one")
    listed = gate.cli("approvals", "list").stdout
    for part in (ticket, "agent/ada", "dynamodb:DeleteTable", "table/one", "agent/writes", '{"TableName": "one"}'):
        assert part in listed
    assert gate.cli("approvals", "approve", ticket).stdout.startswith(f"Approved {ticket}: dynamodb:DeleteTable")
    thread.join(20)
    assert results[0]["ResponseMetadata"]["HTTPStatusCode"] == 200
    again = gate.cli("approvals", "approve", ticket, check=False)
    assert again.returncode == 1
    assert "can't be answered any more: it is spent by local-operator" in again.stderr

    thread, results, ticket = held(gate, "two")
    denied = json.loads(gate.cli("approvals", "deny", ticket, "--reason", "live data", "--json").stdout)
    assert (denied["state"], denied["by"]) == ("denied", "local-operator")
    thread.join(20)
    assert "live data" in str(results[0])
    assert sum(b"TableName" in seen.body for seen in upstream.seen) == 1
    assert gate.cli("approvals", "list").stdout == "Nothing waits.\n"


@pytest.mark.long
@pytest.mark.parametrize("ticket", ["deadbeef", "no-such ticket", "../../options"])
def test_an_unknown_ticket_is_said_to_be_none(gate: Gateway, ticket: str) -> None:
    done = gate.cli("approvals", "approve", ticket, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("sluicegate: there is no ticket")
    assert done.stdout == ""


@pytest.mark.long
def test_without_a_gateway_it_says_how_to_start_one(tmp_path: Path, gate: Gateway) -> None:
    config = prepare(tmp_path, "http://127.0.0.1:9")
    done = gate.cli("approvals", "list", "--config", str(config), check=False)
    assert done.returncode == 1
    assert "no gateway of" in done.stderr
    assert f"sluicegate up --config {config}" in done.stderr
