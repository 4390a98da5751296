"""Session policies: as close to the gateway's policies as IAM and its limits let them be, and never narrower."""

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy import models, table
from policy.conditions import compile_condition
from policy.evaluate import Evaluator, Statement
from policy.model import Item
from policy.patterns import Resource, segments
from policy.policies import load_policies
from policy.session_policy import LIMIT, SHARED, SessionPolicy, named_accounts, of_items, of_statements
from tests.policy.build import ACCOUNT, call, policies
from tests.policy.iam import allowed

PACKS = Path(__file__).parent.parent.parent / "policy" / "packs"
STRANGER, FRIEND = "999999999999", "444455556666"


def compiled(folder: Path, statements: str, *accounts: str) -> tuple[SessionPolicy, ...]:
    loaded = policies(folder, statements)
    return of_statements(loaded.statements(tuple(loaded.files)), accounts or (ACCOUNT,))


def document(folder: Path, statements: str, *accounts: str) -> Any:
    return json.loads(compiled(folder, statements, *accounts)[0].text)["Statement"]


def test_statements_become_iams_own(tmp_path: Path) -> None:
    found = document(
        tmp_path,
        """
        {sid: a, effect: allow, actions: ["s3:GetObject", "s3:PutObject"], resources: ["arn:aws:s3:::data/*"]}
        {sid: b, effect: approve, actions: ["s3:DeleteObject"], resources: ["arn:aws:s3:::data/*"]}
        {sid: c, effect: deny, actions: ["s3:PutObject"], resources: ["arn:aws:s3:::data/locked/*"]}
        {sid: d, effect: allow, actions: ["ec2:Describe*"], resources: ["*"], conditions: REGIONS}
        """.replace("REGIONS", '{StringEquals: {"aws:RequestedRegion": [eu-west-1, eu-central-1]}}'),
    )
    data, describe, deny, behalf, wall = found
    actions = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]  # an approval is given by the gateway
    assert data == {"Effect": "Allow", "Action": actions, "Resource": ["arn:aws:s3:::data/*"]}
    assert describe["Condition"] == {"StringEquals": {"aws:RequestedRegion": ["eu-west-1", "eu-central-1"]}}
    assert deny["Resource"] == ["arn:aws:s3:::data/locked/*"]
    assert deny["Condition"] == {"Bool": {"aws:ViaAWSService": "false"}}
    assert behalf["Condition"] == {"Bool": {"aws:ViaAWSService": "true"}}
    assert wall["NotResource"] == list(SHARED)
    assert wall["Condition"]["StringNotEquals"] == {"aws:ResourceAccount": [ACCOUNT]}


def test_what_iam_can_not_say_widens_an_allow_and_drops_a_deny(tmp_path: Path) -> None:
    (text,) = {
        compiled(
            tmp_path,
            """
            {sid: a, effect: allow, actions: ["ec2:Run*"], resources: ["*"], conditions: {Bool: {"req:DryRun": "true"}}}
            {sid: b, effect: deny, actions: ["ec2:Run*"], resources: ["*"], conditions: {Bool: {"req:DryRun": "false"}}}
            {sid: c, effect: deny, actions: ["s3:*"], resources: ["*"], conditions: {StringEquals: {"gate:subject": x}}}
            {sid: d, effect: deny, actions: ["*:Delete*"], resources: ["*"]}
            """,
        )[0].text
    }
    assert allowed(text, "ec2:RunInstances", f"arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/*")
    assert not allowed(text, "ec2:StopInstances", f"arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/*")
    assert "req:" not in text
    assert text.count('"Deny"') == 1  # the wall


def test_an_action_that_iam_may_call_otherwise_is_its_service(tmp_path: Path) -> None:
    text = compiled(
        tmp_path,
        """
        {sid: a, effect: allow, actions: ["apigateway:GetRestApis", "cloudcontrolapi:GetResource"], resources: ["*"]}
        {sid: b, effect: allow, actions: ["dynamodb:ExecuteStatement"], resources: ["*"]}
        """,
    )[0].text
    assert allowed(text, "apigateway:GET", "arn:aws:apigateway:eu-west-1::/restapis")
    assert allowed(text, "cloudformation:GetResource", "*")  # Cloud Control's actions are CloudFormation's
    assert allowed(text, "dynamodb:PartiQLSelect", f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/t")
    assert not allowed(text, "s3:GetObject", "arn:aws:s3:::b/k")


def test_what_aws_asks_about_in_place_of_the_gateways_resource_is_allowed_too(tmp_path: Path) -> None:
    place = f"arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/app"
    point = f"arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint/p"
    text = compiled(
        tmp_path,
        f"""
        {{sid: a, effect: allow, actions: ["ssm:GetParametersByPath"], resources: ["{place}/*"]}}
        {{sid: b, effect: allow, actions: ["s3:GetObject"], resources: ["{point}/object/*"]}}
        """,
    )[0].text
    assert allowed(text, "ssm:GetParametersByPath", place)
    assert not allowed(text, "ssm:GetParametersByPath", f"arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/other")
    assert allowed(text, "s3:GetObject", f"{point}/object/k")
    assert allowed(text, "s3:GetObject", "arn:aws:s3:::behind/k")
    assert not allowed(text, "s3:PutObject", "arn:aws:s3:::behind/k")


RESOURCES = [  # account that the resource is of, resource, whether a session may reach it
    (ACCOUNT, f"arn:aws:sqs:eu-west-1:{ACCOUNT}:q", True),
    (STRANGER, f"arn:aws:sqs:eu-west-1:{STRANGER}:q", False),
    (STRANGER, "arn:aws:s3:::strangers/k", False),
    (FRIEND, "arn:aws:s3:::friends/k", True),
    ("555555555555", "arn:aws:dynamodb:eu-west-1:555555555555:table/t", True),  # named by a statement
    (STRANGER, "arn:aws:ec2:eu-west-1::image/ami-1", True),  # public images are strangers'
    ("137112412989", "arn:aws:ssm:eu-west-1::parameter/aws/service/ami", True),
    ("aws", "arn:aws:iam::aws:policy/ReadOnlyAccess", True),
    (STRANGER, f"arn:aws:ec2:eu-west-1:{STRANGER}:instance/i-1", False),
    (None, "*", True),  # an action without a resource has no aws:ResourceAccount
]


@pytest.mark.parametrize(("owner", "resource", "reached"), RESOURCES, ids=[str(case[1]) for case in RESOURCES])
@pytest.mark.parametrize("via", ["false", "true"], ids=["itself", "through a service"])
def test_resources_of_strangers_are_denied_in_every_form(
    tmp_path: Path, owner: str | None, resource: str, reached: bool, via: str
) -> None:
    statements = """
        {sid: a, effect: allow, actions: ["*"], resources: ["*"]}
        {sid: b, effect: allow, actions: ["dynamodb:GetItem"], resources: ["arn:aws:dynamodb:*:555555555555:table/t"]}
    """
    forms = compiled(tmp_path, statements, ACCOUNT, FRIEND)
    assert [made.form for made in forms] == ["statements", "verbs", "grants", "services", "accounts"]
    context = {"aws:ViaAWSService": via} | ({"aws:ResourceAccount": owner} if owner else {})
    assert [allowed(made.text, "x:Y", resource, context) for made in forms] == [reached] * 5


def test_what_a_service_does_for_the_caller_is_not_the_policys(tmp_path: Path) -> None:
    text = compiled(
        tmp_path,
        """
        {sid: a, effect: allow, actions: ["s3:GetObject"], resources: ["*"]}
        {sid: b, effect: deny, actions: ["kms:Decrypt"], resources: ["*"]}
        """,
    )[0].text
    key = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/k"
    assert allowed(text, "kms:Decrypt", key, {"aws:ViaAWSService": "true"})  # S3 does it for an encrypted object
    assert not allowed(text, "kms:Decrypt", key)


@functools.cache
def pack(name: str) -> tuple[Evaluator, tuple[SessionPolicy, ...]]:
    loaded = load_policies([PACKS / f"{name}.yaml"])
    statements = loaded.statements(tuple(loaded.files))
    return Evaluator(statements, (), ""), of_statements(statements, [ACCOUNT])


@pytest.mark.parametrize("name", ["read-only", "agent-default", "bedrock-invoke"])
def test_a_shipped_pack_fits_and_lets_all_through_that_the_gateway_does(name: str) -> None:
    evaluator, forms = pack(name)
    assert all(len(made.text) <= LIMIT for made in forms)
    passed = 0
    for service in (*table.services(), "bedrock-runtime"):
        for operation in models.operations(service):
            decision = evaluator.decide(call(f"{service}.{operation}"))
            if decision.effect != "deny":
                passed += 1
                for item in (result.item for result in decision.items):
                    own = of_items([result.item for result in decision.items], [ACCOUNT])
                    resource = ":".join(segments(item.resource) or ["*"])
                    assert all(allowed(made.text, item.action, resource) for made in (*forms, *own)), item
    assert passed > (1 if name == "bedrock-invoke" else 400)


def test_read_only_stays_read_only_in_its_session_policy() -> None:
    finest = pack("read-only")[1][0]
    for action in ("s3:PutObject", "s3:DeleteBucket", "dynamodb:DeleteTable", "ec2:RunInstances", "iam:CreateUser"):
        assert not allowed(finest.text, action, "*")


ACTIONS = """\
* s3:* s3:Get* s3:GetObject s3:GetObjec? s3:PutObject s3:DeleteObject* *:Delete* sqs:SendMessage sqs:*
dynamodb:GetItem dynamodb:ExecuteStatement glue:GetTables ssm:GetParametersByPath"""
PLACES = f"""\
* arn:aws:s3:::a/* arn:aws:s3:::a* arn:aws:s3:::a/k arn:*:s3:::?/k arn:aws:*:*:*:* arn:aws:sqs
arn:aws:sqs:eu-west-1:{ACCOUNT}:q arn:aws:ssm:*:{ACCOUNT}:parameter/p/* arn:aws:dynamodb:*:{ACCOUNT}:table/t"""
CONDITIONS = st.sampled_from(
    [
        ("StringEquals", "aws:RequestedRegion", "eu-west-1"),
        ("StringNotLike", "aws:RequestedRegion", "us-*"),
        ("StringLike", "aws:requestedregion", "us-*"),
        ("StringEquals", "gate:subject", "agent/ada"),
        ("StringNotEqualsIfExists", "req:Key", "k"),
        ("Null", "req:Key", "false"),
        ("Bool", "req:X", "true"),
    ]
)


@st.composite
def statements(draw: st.DrawFn) -> list[Statement]:
    found = []
    for number in range(draw(st.integers(1, 6))):
        tests = tuple(compile_condition(o, k, [v]) for o, k, v in draw(st.lists(CONDITIONS, max_size=2, unique=True)))
        actions, places = (
            draw(st.lists(st.sampled_from(ACTIONS.split()), min_size=1, max_size=3)),
            draw(st.lists(st.sampled_from(PLACES.split()), min_size=1, max_size=2)),
        )
        effect: Any = draw(st.sampled_from(["allow", "allow", "approve", "deny"]))
        found.append(Statement(f"p/{number}", effect, tuple(actions), tuple(map(Resource.of, places)), tests))
    return found


CALLS = [
    call("s3.GetObject", {"Bucket": "a", "Key": "k"}),
    call("s3.GetObject", {"Bucket": "a", "Key": "${aws:username} é* 日本"}),
    call("s3.PutObject", {"Bucket": "a", "Key": "k"}, region="us-east-1"),
    call("s3.DeleteObjects", {"Bucket": "a", "Delete": {"Objects": [{"Key": "k"}, {"Key": "l", "VersionId": "1"}]}}),
    call("s3.CopyObject", {"Bucket": "a", "Key": "k", "CopySource": "b/k"}),
    call("sqs.SendMessage", {"QueueUrl": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/q"}),
    call("dynamodb.GetItem", {"TableName": "t"}),
    call("dynamodb.ExecuteStatement", {"Statement": "SELECT"}),
    call("glue.GetTables", {}),
    call("ssm.GetParametersByPath", {"Path": "/p"}),
]


@pytest.mark.long
@given(statements(), st.sampled_from(CALLS))
@settings(max_examples=600, deadline=None)
def test_no_form_is_narrower_than_the_gateway(written: list[Statement], request: Any) -> None:
    decision = Evaluator(tuple(written), (), "").decide(request)
    if decision.effect == "deny":
        return
    context = {"aws:RequestedRegion": request.region}
    forms = of_statements(written, [ACCOUNT]) + of_items([result.item for result in decision.items], [ACCOUNT])
    for item in (result.item for result in decision.items):
        action = {"dynamodb:ExecuteStatement": "dynamodb:PartiQLSelect"}.get(item.action, item.action)
        resource = item.resource.removesuffix("/*") if item.action.endswith("ByPath") else item.resource
        for made in forms:
            assert len(made.text) <= LIMIT
            assert allowed(made.text, action, resource, context), (item, made.text)


def test_a_call_gets_its_own_actions_on_its_own_resources() -> None:
    items = [
        Item("s3:PutObject", "arn:aws:s3:::a/k", "exact"),
        Item("s3:PutObjectTagging", "arn:aws:s3:::a/k", "exact"),
        Item("s3:GetObject", "arn:aws:s3:::b/k", "exact"),
    ]
    text = of_items(items, [ACCOUNT])[0].text
    assert allowed(text, "s3:PutObject", "arn:aws:s3:::a/k")
    assert allowed(text, "s3:PutObjectTagging", "arn:aws:s3:::a/k")
    assert allowed(text, "s3:GetObject", "arn:aws:s3:::b/k")
    for action, place in (("s3:PutObject", "a/other"), ("s3:GetObject", "a/k"), ("s3:DeleteObject", "a/k")):
        assert not allowed(text, action, f"arn:aws:s3:::{place}")


def test_a_key_can_not_write_into_the_policy() -> None:
    """An S3 key may hold quotes, policy variables, and characters that the parameter may not have."""
    key = 'k"},{"Effect":"Allow${aws:username}\\日本\x00'
    text = of_items([Item("s3:GetObject", f"arn:aws:s3:::a/{key}", "exact")], [ACCOUNT])[0].text
    assert re.fullmatch("[\t\n\r -\xff]+", text)  # the pattern of AssumeRole's Policy
    assert [s["Effect"] for s in json.loads(text)["Statement"]] == ["Allow", "Allow", "Deny"]
    assert allowed(text, "s3:GetObject", f"arn:aws:s3:::a/{key}")
    assert not allowed(text, "s3:GetObject", "arn:aws:s3:::a/other")


def test_a_call_of_many_resources_gets_its_actions() -> None:
    items = [Item("s3:DeleteObject", f"arn:aws:s3:::a/{number:050}", "exact") for number in range(1000)]
    forms = of_items(items, [ACCOUNT])
    assert [made.form for made in forms] == ["actions", "accounts"]
    assert allowed(forms[0].text, "s3:DeleteObject", items[0].resource)
    assert not allowed(forms[0].text, "s3:PutObject", items[0].resource)


def test_a_wildcard_names_no_account(tmp_path: Path) -> None:
    loaded = policies(
        tmp_path,
        f"""
        {{sid: a, effect: allow, actions: ["sqs:*"], resources: ["arn:aws:sqs:*:{FRIEND}:q", "arn:aws:sqs:*:*:r"]}}
        {{sid: b, effect: deny, actions: ["sqs:*"], resources: ["arn:aws:sqs:*:{STRANGER}:q"]}}
        """,
    )
    assert named_accounts(loaded.statements(tuple(loaded.files))) == {FRIEND}


def test_more_accounts_than_fit_leave_the_wall_out(tmp_path: Path) -> None:
    accounts: Sequence[str] = [f"{number:012}" for number in range(50)]
    forms = compiled(tmp_path, '{sid: a, effect: allow, actions: ["s3:GetObject"], resources: ["*"]}', *accounts)
    assert forms[0].form == "statements"
    assert "ResourceAccount" not in forms[0].text
