"""A call with members that no model knows: they pass only where no condition had a say, and never by another's yes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from mitmproxy.test import tflow

from addons import wire
from addons.approvals.tickets import Ticket, Tickets
from addons.approve import Approve
from addons.authorize import decide
from addons.call import Call, attach
from addons.config import Limits, Wire
from addons.decode import Decode
from addons.identity.session import Session
from addons.record import request_to_keep
from addons.screen import summary
from tests.policy.build import policies
from tests.wire.requests import json_ask

ACCOUNT = "111122223333"
ANY = 'actions: ["dynamodb:GetItem"], resources: ["*"]'
WHERE = 'conditions: {StringEquals: {"req:TableName": "t"}}'


def call(extra: str = "1") -> Call:
    request = json_ask(b'{"TableName": "t", "Key": {"id": {"S": "1"}}, "Extra": %s}' % extra.encode())
    session = Session("0a", "https://idp", "agent/ada", ("dev",), "r", "l", "jti", 0, 2_000_000_000)
    return Call("192.0.2.7", request=request, session=session, decoded=wire.decode(request, unknown=True))


def services(folder: Path, statements: str) -> Any:
    loaded = policies(folder, statements)
    gateway = SimpleNamespace(config=SimpleNamespace(limits=Limits(), wire=Wire("allow")))
    rules = SimpleNamespace(policies=loaded, bound=lambda session, role: tuple(loaded.files), gateway=gateway)
    return SimpleNamespace(
        account=ACCOUNT, account_of=lambda session: ACCOUNT, partition="aws", rules=rules, tickets=Tickets(60.0)
    )


@pytest.mark.parametrize("effect", ["allow", "approve"])
def test_without_conditions_it_passes_and_the_reason_names_the_members(tmp_path: Path, effect: str) -> None:
    made = call()
    made.decision = decide(services(tmp_path, f"{{sid: a, effect: {effect}, {ANY}}}"), made)
    assert made.decision.effect == effect
    assert made.decision.why.endswith(", with members that are not known (GetItemInput.Extra)")
    assert yaml.safe_load(summary(made))["members that are not known"] == ["GetItemInput.Extra"]


@pytest.mark.parametrize("effect", ["allow", "approve"])
def test_where_a_condition_decides_it_is_refused_with_what_to_do(tmp_path: Path, effect: str) -> None:
    decision = decide(services(tmp_path, f"{{sid: a, effect: {effect}, {ANY}, {WHERE}}}"), call())
    assert (decision.effect, decision.sid) == ("deny", None)
    assert "GetItemInput.Extra" in decision.why
    assert "upgrade the gateway's botocore" in decision.why


def test_one_that_was_held_is_refused_where_the_setting_has_changed_since(tmp_path: Path) -> None:
    made = services(tmp_path, f"{{sid: a, effect: approve, {ANY}}}")
    made.rules.gateway.config.wire = Wire("deny")
    decision = decide(made, call())
    assert decision.effect == "deny"
    assert "upgrade the gateway's botocore" in decision.why


def test_a_policy_that_denies_says_so_itself(tmp_path: Path) -> None:
    assert decide(services(tmp_path, f"{{sid: d, effect: deny, {ANY}}}"), call()).sid == "p/d"


def test_a_yes_to_one_unknown_value_is_no_yes_to_another(tmp_path: Path) -> None:
    made = services(tmp_path, f"{{sid: a, effect: approve, {ANY}}}")
    approve = Approve(made)

    def ticket(extra: str) -> Ticket:
        asking = call(extra)
        asking.decision = decide(made, asking)
        return approve._ticket(asking)

    asked = ticket("1")
    assert "GetItemInput.Extra" in str(asked.summary)
    made.tickets.release(asked)
    assert made.tickets.decide(asked, "approved", "ada")
    assert ticket("1") is asked
    assert ticket("2") is not asked


def test_a_recording_keeps_no_value_that_nobody_could_tell_for_a_secret() -> None:
    made = call('"hunter2"')
    assert b"hunter2" not in request_to_keep(made, {"TableName": "t"})[0]
    known = Call("192.0.2.7", request=made.request, decoded=wire.decode(json_ask(b'{"TableName": "t", "Key": {}}')))
    assert b"hunter2" in request_to_keep(known, {"TableName": "t"})[0]  # what the check above keeps out


@pytest.mark.parametrize(("setting", "refused"), [("deny", True), ("allow", False)])
def test_the_setting_decides_whether_it_is_read(tmp_path: Path, setting: Any, refused: bool) -> None:
    made = services(tmp_path, f"{{sid: a, effect: allow, {ANY}}}")
    made.rules.gateway.config.wire = Wire(unknown_members=setting)
    flow, asking = tflow.tflow(), call()
    attach(flow, asking)
    asking.decoded = None
    Decode(made).aws_call(flow)
    if refused:
        assert asking.refusal
        assert asking.decoded is None
        assert "'Extra'" in asking.refusal.message
        assert "upgrade botocore" in asking.refusal.message
    else:
        assert asking.decoded
        assert asking.decoded.unknown == ("GetItemInput.Extra",)
