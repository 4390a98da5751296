"""An exception in any hook of any step: nothing is sent, nothing unmasked comes back, and the ledger says so.

The cases are taken from the gateway's own list of steps, so a new step or hook is in here by itself.
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any, cast

import pytest

from addons.gateway import Gateway
from tests.agent import JSON
from tests.fail_closed.conftest import SECRET, Screen, Stand, standing, until, wild
from tests.fail_closed.launcher import RAISES, hooks

CASES = [(type(step).__name__, hook) for step in Gateway(cast("Any", None)).addons for hook in hooks(step)]
RARE = {"AddonHalt", "OptionsError"}  # mitmproxy's own, which no step raises
BEFORE_SENDING = {"http_connect", "tls_clienthello", "requestheaders", "request", "aws_call"}
BEFORE_SENDING |= {"server_connect", "server_connected"}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("gateway"), launcher=True, other_hosts="{tunnel: all}") as made:
        yield made


class Fault:
    """One hook, broken for the length of a block."""

    def __init__(self, stand: Stand, step: str, hook: str, raises: str, when: str) -> None:
        self.file = stand.gateway.directory / "fault.json"
        self.plan = json.dumps({"step": step, "hook": hook, "raises": raises, "when": when})

    def __enter__(self) -> "Fault":
        self.file.with_suffix(".fired").unlink(missing_ok=True)
        self.file.with_suffix(".new").write_text(self.plan)
        self.file.with_suffix(".new").rename(self.file)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.unlink()

    @property
    def fired(self) -> bool:
        return self.file.with_suffix(".fired").exists()


def test_the_gateway_serves_while_nothing_is_broken(stand: Stand) -> None:
    found = stand.secret()
    assert found.status == 200
    assert SECRET.encode() not in found.body
    assert SECRET.encode() not in Screen(stand.gateway).request("GET", "flows").body


@pytest.mark.parametrize(
    "raises", [pytest.param(kind, marks=pytest.mark.long if kind in RARE else ()) for kind in RAISES]
)
@pytest.mark.parametrize(("step", "hook"), CASES, ids=[f"{step}.{hook}" for step, hook in CASES])
def test_a_hook_that_raises_closes_the_gate(stand: Stand, step: str, hook: str, raises: str) -> None:
    for when in ("before", "after"):
        with Fault(stand, step, hook, raises, when) as fault:
            check = caller_leaves if hook == "client_disconnected" else refused_or_withheld
            check(stand, step, hook, fault)
    assert stand.call().status == 200  # and it is open again for what is right


def refused_or_withheld(stand: Stand, step: str, hook: str, fault: Fault) -> None:
    """A call whose answer holds a secret, with one hook broken on its way."""
    seen, before = len(stand.upstream.seen), stand.count()
    if hook == "error":
        with wild(stand.upstream, lambda connection: connection.close()):
            found = stand.secret()
    elif hook == "server_connect_error":
        found = stand.raw(host="localhost").send("GET", "/", [("Host", "localhost")])
    else:
        found = stand.secret()
    until(lambda: fault.fired, f"{step}.{hook} runs in no case of this test: give it one")
    until(lambda: stand.count() > before, "a line in the ledger")
    assert found.status in (0, 403, 500, 502, 503)
    assert SECRET.encode() not in found.body
    shown = Screen(stand.gateway).request("GET", "flows").body
    assert SECRET.encode() not in shown
    if hook in BEFORE_SENDING:
        assert len(stand.upstream.seen) == seen
    if hook in ("request", "aws_call"):
        assert stand.last_call()["additionalEventData"]["sluicegate"]["outcome"] == "refused"


def caller_leaves(stand: Stand, step: str, hook: str, fault: Fault) -> None:
    """A held call whose caller leaves: not even a yes sends it."""
    screen = Screen(stand.gateway)
    body = json.dumps({"TableName": uuid.uuid4().hex}).encode()  # a question of its own: an old yes is not taken over
    with stand.nothing_passes():
        raw = stand.raw()
        headers = raw.signed("POST", "/", JSON | {"x-amz-target": "DynamoDB_20120810.DeleteTable"}, body)
        with raw.tunnel() as connection:
            head = "".join(f"{name}: {value}\r\n" for name, value in headers)
            connection.sendall(f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body)
            (ticket,) = until(screen.tickets, "the held call")
        until(lambda: fault.fired, f"{step}.{hook} does not run when a client leaves")
        screen.decide(ticket["id"])
        until(lambda: not screen.tickets() and not screen.held(), "the end of the hold")
