"""An agent that looks for a secret by another road than the one that is masked or held."""

import json

import pytest

from addons import wire
from addons.redaction import Unredactable, redact
from addons.wire import Decoded, HttpResponse
from policy.policies import load_policies
from policy.redaction import load_rules
from policy.strict import PACKS
from tests.policy.build import call
from tests.wire.requests import IAM, form_ask, json_ask

KEY = b"k" * 32
RULES = load_rules(["secrets"])
SECRET = "canary-7f3a"


def answered(decoded: Decoded, body: bytes, kind: str, *headers: tuple[str, str]) -> bytes:
    answer = HttpResponse(200, (("content-type", kind), ("content-length", str(len(body))), *headers), body)
    return redact(RULES, decoded, answer, KEY).response.body


@pytest.mark.parametrize(
    "operation", ["GetAutomationExecution", "DescribeAutomationExecutions", "DescribeAutomationStepExecutions"]
)
def test_parameters_and_outputs_of_automations_are_held_as_those_of_commands(operation: str) -> None:
    for pack, effect in (("agent-default", "approve"), ("read-only", "deny")):
        file = PACKS / f"{pack}.yaml"
        decision = load_policies([file]).decide(call(f"ssm.{operation}", {"AutomationExecutionId": "1"}), (str(file),))
        assert decision.effect == effect


def test_the_key_of_an_api_that_a_rule_calls() -> None:
    given = json_ask(b'{"Rule": "r"}', "AWSEvents.ListTargetsByRule", "events.us-east-1.amazonaws.com")
    decoded = wire.decode(_json_1_1(given))
    target = {"Id": "1", "Arn": "a", "HttpParameters": {"HeaderParameters": {"x-api-key": SECRET}}}
    body = answered(decoded, json.dumps({"Targets": [target]}).encode(), "application/x-amz-json-1.1")
    assert SECRET.encode() not in body
    assert json.loads(body)["Targets"][0]["Arn"] == "a"


def _json_1_1(given: wire.HttpRequest) -> wire.HttpRequest:
    headers = tuple((k, "application/x-amz-json-1.1" if k == "Content-Type" else v) for k, v in given.headers)
    return wire.HttpRequest(given.method, given.host, given.target, headers, given.body)


CREATE = "Action=CreateAccessKey&Version=2010-05-08"
XML = f"<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><SecretAccessKey>{SECRET}</SecretAccessKey>"
XML += "</AccessKey></CreateAccessKeyResult></CreateAccessKeyResponse>"


@pytest.mark.parametrize(
    ("body", "kind", "headers"),
    [
        (json.dumps({"CreateAccessKeyResponse": {"SecretAccessKey": SECRET}}).encode(), "application/json", ()),
        (json.dumps({"CreateAccessKeyResponse": {"SecretAccessKey": SECRET}}).encode(), "text/xml", ()),
        (XML.encode(), "text/xml", (("content-encoding", "br"),)),
        (XML.encode(), "text/xml", (("content-encoding", "gzip"),)),
        (XML.encode("utf-16"), "text/xml", ()),
        (XML.encode(), "multipart/mixed; boundary=x", ()),
        (f'<!DOCTYPE a [<!ENTITY s "{SECRET}">]>{XML}'.encode(), "text/xml", ()),
        (XML.replace("CreateAccessKeyResult", "Other").encode(), "text/xml", ()),
    ],
)
def test_an_answer_in_another_form_is_withheld(body: bytes, kind: str, headers: tuple[tuple[str, str], ...]) -> None:
    decoded = wire.decode(form_ask(CREATE, host=IAM))
    with pytest.raises(Unredactable):
        answered(decoded, body, kind, *headers)
    plain = answered(decoded, XML.encode(), "text/xml")
    assert SECRET.encode() not in plain
    assert b"<SecretAccessKey>" in plain
