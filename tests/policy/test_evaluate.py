"""The evaluator: three effects and their order, unknown parts, twins, errors, and the sentence that explains."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.policies import PolicySet
from tests.policy.build import call, decide, policies

GET = call("s3.GetObject", {"Bucket": "b", "Key": "k"})
ALLOW = '{sid: a, effect: allow, actions: ["s3:GetObject"], resources: ["arn:aws:s3:::b/*"]}'
APPROVE = '{sid: h, effect: approve, actions: ["s3:Get*"], resources: ["arn:aws:s3:::b/*"]}'
DENY = '{sid: d, effect: deny, actions: ["*"], resources: ["arn:aws:s3:::b/k"]}'


@pytest.mark.parametrize("order", list(itertools.permutations([ALLOW, APPROVE, DENY])))
def test_deny_beats_approve_beats_allow_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    """IAM User Guide, Policy evaluation logic: an explicit deny overrides; without an allow it is an implicit deny."""
    text = "\n".join(order)
    assert decide(tmp_path, text, GET).effect == "deny"
    assert decide(tmp_path, text, GET).sid == "p/d"
    held = decide(tmp_path, text.replace(DENY, "").replace("\n\n", "\n"), GET)
    assert (held.effect, held.sid) == ("approve", "p/h")
    assert decide(tmp_path, ALLOW, GET).effect == "allow"


def test_what_no_statement_allows_is_denied_with_the_reason(tmp_path: Path) -> None:
    decision = decide(tmp_path, ALLOW, call("s3.PutObject", {"Bucket": "b", "Key": "k"}))
    assert (decision.effect, decision.sid) == ("deny", None)
    assert decision.why == "no statement allows s3:PutObject on arn:aws:s3:::b/k"
    assert decision.policies == ("p",)
    assert decision.policy_hash.startswith("sha256:")


def test_the_sentence_names_the_rule(tmp_path: Path) -> None:
    assert decide(tmp_path, ALLOW, GET).why == "p/a allows s3:GetObject on arn:aws:s3:::b/k"
    assert decide(tmp_path, APPROVE, GET).why == "p/h holds s3:GetObject on arn:aws:s3:::b/k for approval"
    assert decide(tmp_path, ALLOW + "\n" + DENY, GET).why == "p/d denies s3:GetObject on arn:aws:s3:::b/k"
    long = decide(tmp_path, ALLOW, call("s3.PutObject", {"Bucket": "b", "Key": "k" * 1000}))
    assert len(long.why) < 400


TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table"
NAMED = call("ec2.TerminateInstances", {})  # an unknown instance: arn:...:instance/*


@pytest.mark.parametrize(
    ("effect", "resource", "expected"),
    [
        # facts: an Allow matches an unknown part only when its pattern covers the whole request pattern
        ("allow", "arn:aws:ec2:eu-west-1:111122223333:instance/*", "allow"),
        ("allow", "arn:aws:ec2:*:*:*", "allow"),
        ("allow", "*", "allow"),
        ("allow", "arn:aws:ec2:eu-west-1:111122223333:instance/i-1", "deny"),
        ("allow", "arn:aws:ec2:eu-west-1:111122223333:instance/i-*", "deny"),
        # a Deny when the patterns can overlap
        ("deny", "arn:aws:ec2:eu-west-1:111122223333:instance/i-1", "deny"),
        ("deny", "arn:aws:ec2:*:*:instance/i-*", "deny"),
        ("deny", "arn:aws:ec2:us-east-1:*:instance/*", "allow"),
        ("deny", "arn:aws:ec2:*:*:volume/*", "allow"),
        # approve holds like a Deny
        ("approve", "arn:aws:ec2:*:*:instance/i-1", "approve"),
        ("approve", "arn:aws:ec2:*:*:volume/*", "allow"),
    ],
)
def test_unknown_parts_are_three_valued(tmp_path: Path, effect: str, resource: str, expected: str) -> None:
    text = f'{{sid: s, effect: {effect}, actions: ["ec2:TerminateInstances"], resources: ["{resource}"]}}'
    if effect != "allow":
        text += '\n{sid: a, effect: allow, actions: ["ec2:*"], resources: ["*"]}'
    assert decide(tmp_path, text, NAMED).effect == expected


def test_an_approve_grants_only_where_it_covers(tmp_path: Path) -> None:
    scoped = '{sid: h, effect: approve, actions: ["ec2:*"], resources: ["arn:aws:ec2:*:*:instance/i-1"]}'
    decision = decide(tmp_path, scoped, NAMED)
    assert decision.effect == "deny"
    assert "p/h reaches only a part" in decision.why
    assert decide(tmp_path, scoped, call("ec2.TerminateInstances", {"InstanceIds": ["i-1"]})).effect == "approve"


def test_an_action_without_resource_is_not_an_unknown_resource(tmp_path: Path) -> None:
    text = ALLOW.replace('"s3:GetObject"', '"s3:*"').replace("arn:aws:s3:::b/*", "*")
    deny = '{sid: d, effect: deny, actions: ["s3:*"], resources: ["arn:aws:s3:::secret*"]}'
    assert decide(tmp_path, f"{text}\n{deny}", call("s3.ListBuckets")).effect == "allow"
    assert decide(tmp_path, f"{text}\n{deny}", call("s3.HeadBucket", {"Bucket": "secret"})).effect == "deny"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('effect: allow, actions: ["glue:GetJob"], resources: ["*"]', "allow"),
        ('effect: allow, actions: ["GLUE:getjob"], resources: ["*"]', "allow"),
        ('effect: allow, actions: ["glue:GetJo?"], resources: ["*"]', "deny"),
        ('effect: allow, actions: ["glue:*"], resources: ["*"]', "deny"),
        ('effect: allow, actions: ["*"], resources: ["*"]', "deny"),
        ('effect: allow, actions: ["glue:GetJob"], resources: ["arn:aws:glue:*:*:job/j"]', "deny"),
        ('effect: allow, actions: ["glue:GetJob"], resources: ["arn:aws:glue:*:*:*"]', "deny"),
        ('effect: approve, actions: ["glue:GetJob"], resources: ["*"]', "approve"),
        ('effect: approve, actions: ["glue:*"], resources: ["*"]', "deny"),
    ],
)
def test_an_unknown_operation_is_granted_by_its_very_name_only(tmp_path: Path, statement: str, expected: str) -> None:
    decision = decide(tmp_path, f"{{sid: s, {statement}}}", call("glue.GetJob", {"JobName": "j"}))
    assert decision.effect == expected
    if expected == "deny":
        assert 'only this very name on the resource "*" would allow it' in decision.why


@pytest.mark.parametrize(("effect", "expected"), [("deny", "deny"), ("approve", "approve")])
@pytest.mark.parametrize("actions", ["*", "glue:Get*", "*:Get*"])
@pytest.mark.parametrize("resource", ["*", "arn:aws:glue:*:*:job/other"])
def test_wildcards_of_deny_and_approve_reach_an_unknown_operation(
    tmp_path: Path, effect: str, expected: str, actions: str, resource: str
) -> None:
    text = f'{{sid: s, effect: {effect}, actions: ["{actions}"], resources: ["{resource}"]}}\n'
    text += '{sid: a, effect: allow, actions: ["glue:GetJob"], resources: ["*"]}'
    assert decide(tmp_path, text, call("glue.GetJob", {"JobName": "j"})).effect == expected


def test_the_worst_item_decides(tmp_path: Path) -> None:
    text = """
    {sid: a, effect: allow, actions: ["s3:*"], resources: ["arn:aws:s3:::b/*"]}
    {sid: h, effect: approve, actions: ["s3:GetObject"], resources: ["arn:aws:s3:::held/*"]}
    """
    copy = {"Bucket": "b", "Key": "k"}
    assert decide(tmp_path, text, call("s3.CopyObject", copy | {"CopySource": "b/x"})).effect == "allow"
    held = decide(tmp_path, text, call("s3.CopyObject", copy | {"CopySource": "held/x"}))
    assert [result.effect for result in held.items] == ["allow", "approve"]
    assert held.effect == "approve"
    denied = decide(tmp_path, text, call("s3.CopyObject", copy | {"CopySource": "secret/x"}))
    assert denied.why == "no statement allows s3:GetObject on arn:aws:s3:::secret/x"
    keys = {"Delete": {"Objects": [{"Key": str(n)} for n in range(5)]}}
    many = decide(tmp_path, text, call("s3.DeleteObjects", keys | {"Bucket": "other"}))
    assert many.why.endswith("(and 4 more like it)")


def test_every_candidate_must_pass(tmp_path: Path) -> None:
    text = '{sid: a, effect: allow, actions: ["s3:ListBucket"], resources: ["*"]}'
    alone = call("s3.ListObjects", {"Bucket": "b"})
    assert decide(tmp_path, text, alone).effect == "allow"
    twins = (("s3", "ListObjects"), ("s3", "GetBucketAcl"))
    twin = decide(tmp_path, text, call("s3.ListObjects", {"Bucket": "b"}, candidates=twins))
    assert twin.effect == "deny"
    assert "s3:GetBucketAcl" in twin.why
    only_other = call("s3.GetBucketAcl", {"Bucket": "b"}, candidates=(("s3", "ListObjects"),))
    assert decide(tmp_path, text, only_other).effect == "deny"  # the call itself counts even if it is not listed


LIMIT = """conditions: {NumericLessThanEquals: {"req:MaxCount": "2"}}"""


@pytest.mark.parametrize("effect", ["allow", "approve", "deny"])
@pytest.mark.parametrize("value", ["many", [1], {"a": 1}, True])
def test_an_error_in_a_condition_refuses_whatever_the_effect(tmp_path: Path, effect: str, value: Any) -> None:
    text = '{sid: a, effect: allow, actions: ["ec2:*", "iam:PassRole"], resources: ["*"]}\n'
    text += f'{{sid: e, effect: {effect}, actions: ["ec2:RunInstances"], resources: ["*"], {LIMIT}}}'
    decision = decide(tmp_path, text, call("ec2.RunInstances", {"MaxCount": value}))
    assert (decision.effect, decision.sid) == ("deny", "p/e")
    assert "req:MaxCount is not a number" in decision.why
    fine = decide(tmp_path, text, call("ec2.RunInstances", {"MaxCount": 3}))
    assert fine.effect == "allow"


def test_an_error_in_a_statement_that_cannot_match_is_no_matter(tmp_path: Path) -> None:
    text = '{sid: a, effect: allow, actions: ["s3:GetObject"], resources: ["*"]}\n'
    text += '{sid: e, effect: deny, actions: ["s3:GetObject"], resources: ["arn:aws:s3:::other/*"], '
    text += 'conditions: {NumericEquals: {"req:Key": "1"}}}'
    assert decide(tmp_path, text, GET).effect == "allow"


def test_a_key_that_the_gateway_should_know_and_does_not_refuses(tmp_path: Path) -> None:
    text = ALLOW[:-1] + ', conditions: {StringNotEquals: {"aws:SourceIp": "10.0.0.1"}}}'
    assert decide(tmp_path, text, GET).effect == "allow"
    unknown = decide(tmp_path, text, call("s3.GetObject", {"Bucket": "b", "Key": "k"}, context={}))
    assert unknown.effect == "deny"
    assert unknown.missing == ("aws:SourceIp",)
    region = ALLOW[:-1] + ', conditions: {StringNotEquals: {"aws:RequestedRegion": us-east-1}}}'
    assert decide(tmp_path, region, GET).effect == "allow"
    assert decide(tmp_path, region, call("s3.GetObject", {"Bucket": "b", "Key": "k"}, region="")).effect == "deny"


def test_keys_that_were_read_are_told(tmp_path: Path) -> None:
    text = ALLOW[:-1] + ', conditions: {StringEquals: {"gate:subject": agent/ada}, "Null": {"req:VersionId": "true"}}}'
    decision = decide(tmp_path, text, GET)
    assert decision.effect == "allow"
    assert decision.keys == {"gate:subject": "agent/ada"}
    assert decision.missing == ("req:VersionId",)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("s3.DeleteObjects", {"Bucket": "b"}),
        ("s3.DeleteObjects", {"Bucket": "b", "Delete": "x"}),
        ("s3.DeleteObjects", {"Bucket": "b", "Delete": {"Objects": [None]}}),
        ("dynamodb.TransactWriteItems", {"TransactItems": ["x"]}),
        ("dynamodb.TransactWriteItems", {"TransactItems": [{"Put": None}]}),
        ("dynamodb.BatchGetItem", {"RequestItems": 5}),
        ("ec2.RunInstances", {"NetworkInterfaces": "x"}),
        ("ec2.RunInstances", {"LaunchTemplate": "x"}),
        ("ec2.CreateTags", {}),
        ("lambda.CreateFunction", {"FunctionName": "f", "Code": "x"}),
    ],
)
def test_parameters_of_the_wrong_shape_refuse(tmp_path: Path, name: str, params: dict[str, Any]) -> None:
    text = '{sid: a, effect: allow, actions: ["*"], resources: ["*"]}'
    decision = decide(tmp_path, text, call(name, params))
    assert decision.effect == "deny"
    assert "parameters can't be read" in decision.why


def test_only_bound_files_count(tmp_path: Path) -> None:
    loaded = policies(tmp_path, ALLOW)
    (file,) = loaded.files
    assert loaded.decide(GET, ()).effect == "deny"
    assert loaded.decide(GET, (file, file)).effect == "allow"
    missing = loaded.decide(GET, (file, "other.yaml"))
    assert missing.effect == "deny"
    assert "other.yaml is not loaded" in missing.why


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.sampled_from(["*", "arn:aws:s3:::b"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    "s3.GetObject",
    "s3.CopyObject",
    "s3.DeleteObjects",
    "dynamodb.Query",
    "dynamodb.TransactWriteItems",
    "lambda.Invoke",
    "ec2.RunInstances",
    "ssm.GetParameters",
    "iam.CreateRole",
    "sqs.SendMessage",
    "glue.StartJobRun",
]
MEMBERS = [
    "Bucket",
    "Key",
    "CopySource",
    "Delete",
    "TableName",
    "IndexName",
    "TransactItems",
    "FunctionName",
    "Names",
    "Resources",
    "LaunchTemplate",
    "Path",
    "RoleName",
    "QueueUrl",
]


@pytest.fixture(scope="module")
def scoped(tmp_path_factory: pytest.TempPathFactory) -> PolicySet:
    return policies(
        tmp_path_factory.mktemp("scoped"),
        """
        {sid: a, effect: allow, actions: ["*"], resources: ["arn:aws:s3:::mine/*", "arn:aws:dynamodb:*:*:table/mine"]}
        {sid: h, effect: approve, actions: ["lambda:*"], resources: ["arn:aws:lambda:*:*:function:mine"]}
        """,
    )


@given(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=5))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_no_parameters_reach_beyond_the_scope(scoped: PolicySet, name: str, params: dict[str, Any]) -> None:
    """Whatever the parameters are: what passes names only what the statements name, and nothing raises."""
    decision = scoped.decide(call(name, params), tuple(scoped.files))
    if decision.effect != "deny":
        assert all("mine" in result.item.resource for result in decision.items)
        assert all(result.item.state == "exact" for result in decision.items)


REGIONAL = 'conditions: {StringEquals: {"aws:RequestedRegion": "eu-west-1"}}'
ELSEWHERE = 'conditions: {StringNotEquals: {"aws:RequestedRegion": "eu-west-1"}}'
REQUEST = 'conditions: {StringEquals: {"req:Bucket": "b"}}'
OTHER = 'conditions: {StringEquals: {"req:Bucket": "other"}}'
ANY = 'actions: ["s3:*"], resources: ["*"]'


@pytest.mark.parametrize(
    ("statements", "effect", "conditional"),
    [
        (f"{{sid: a, effect: allow, {ANY}}}", "allow", False),
        (f"{{sid: a, effect: allow, {ANY}, {REQUEST}}}", "allow", True),
        (f"{{sid: a, effect: allow, {ANY}, {REGIONAL}}}", "allow", True),
        (f"{{sid: a, effect: allow, {ANY}, {REQUEST}}}\n{{sid: b, effect: allow, {ANY}}}", "allow", False),
        (f"{{sid: a, effect: approve, {ANY}}}", "approve", False),
        (f"{{sid: a, effect: approve, {ANY}, {REQUEST}}}", "approve", True),
        (f"{{sid: a, effect: allow, {ANY}}}\n{{sid: d, effect: deny, {ANY}, {OTHER}}}", "allow", True),
        (f"{{sid: a, effect: allow, {ANY}}}\n{{sid: d, effect: approve, {ANY}, {OTHER}}}", "allow", True),
        (f"{{sid: a, effect: allow, {ANY}}}\n{{sid: d, effect: deny, {ANY}, {ELSEWHERE}}}", "allow", False),
        (
            f"{{sid: a, effect: allow, {ANY}}}\n"
            f'{{sid: d, effect: deny, actions: ["s3:*"], resources: ["arn:aws:s3:::x/*"], {OTHER}}}',
            "allow",
            False,
        ),
    ],
)
def test_a_result_says_whether_a_parameter_could_change_it(
    tmp_path: Path, statements: str, effect: str, conditional: bool
) -> None:
    decision = decide(tmp_path, statements, GET)
    assert decision.effect == effect
    assert [result.conditional for result in decision.items] == [conditional]
