"""The policy language: what is refused, with file, line and hint, all at once; names, files and the hash."""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.policies import load_policies
from policy.problems import Invalid
from policy.strict import LOADER, PACKS, resolve
from tests.policy.build import call

GOOD = """\
version: 1
policies:
- name: readers
  statements:
  - sid: look
    effect: allow
    actions: ["s3:GetObject"]
    resources: ["arn:aws:s3:::b/*"]
    conditions: {StringEquals: {"aws:RequestedRegion": [eu-west-1]}}
"""


def problems(folder: Path, text: str) -> list[str]:
    file = folder / "p.yaml"
    file.write_text(text)
    with pytest.raises(Invalid) as caught:
        load_policies([file])
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_names_are_packs_and_everything_else_is_a_path(tmp_path: Path) -> None:
    assert resolve("read-only", tmp_path) == PACKS / "read-only.yaml"
    assert resolve("./read-only", tmp_path) == tmp_path / "read-only"
    assert resolve("policies/dev.yaml", tmp_path) == tmp_path / "policies/dev.yaml"
    assert resolve("dev.yaml", tmp_path) == tmp_path / "dev.yaml"
    assert resolve("../dev.yaml", tmp_path / "a") == tmp_path / "dev.yaml"
    assert resolve("..", tmp_path / "a") == tmp_path
    assert resolve("/etc/policy.yaml", tmp_path) == Path("/etc/policy.yaml")


def test_every_problem_of_every_file_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    one, two, three = tmp_path / "one.yaml", tmp_path / "two.yaml", tmp_path / "three.yaml"
    one.write_text(GOOD.replace("s3:GetObject", "s3:GetObjet"))
    two.write_text(GOOD.replace("effect: allow", "efect: allow"))
    three.write_text(GOOD.replace("StringEquals", "StringEqual").replace("arn:aws:s3:::b/*", "b/*"))
    with pytest.raises(Invalid) as caught:
        load_policies([one, two, three, tmp_path / "four.yaml"])
    told = [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert told[0] == "one.yaml:7: there is no action 's3:GetObjet' (did you mean s3:GetObject?)"
    assert told[1].startswith("two.yaml:6: unknown key 'efect'")
    assert "did you mean effect?" in told[1]
    assert any(t.startswith("three.yaml:8: 'b/*' is no resource pattern: it is no ARN") for t in told)
    assert any(t == "three.yaml:9: unknown condition operator 'StringEqual' (did you mean StringEquals?)" for t in told)
    assert any(t.startswith("three.yaml:3: there are two policies named 'readers' (the other is at ") for t in told)
    assert told[-1] == "four.yaml: No such file or directory"


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ("version: 1", "version: 2", "p.yaml:1: version is '2'"),
        ("version: 1", "version: '2012-10-17'", "p.yaml:1: version is"),
        ("version: 1\n", "", "lacks the key 'version'"),
        ("name: readers", "name: 'a b'", "p.yaml:3: 'a b' is no name"),
        ("sid: look", "sid: a/b", "p.yaml:5: 'a/b' is no name"),
        ("effect: allow", "effect: Allow", "p.yaml:6: policies[0].statements[0].effect is 'Allow'"),
        ("    effect: allow\n", "", "lacks the key 'effect'"),
        ('actions: ["s3:GetObject"]', "actions: []", "p.yaml:7: actions is empty"),
        (
            'actions: ["s3:GetObject"]',
            "actions: s3:GetObject",
            "p.yaml:7: policies[0].statements[0].actions must be a list",
        ),
        ('["s3:GetObject"]', '["s3:Get:Object"]', "is no action pattern"),
        ('["s3:GetObject"]', '["s*:GetObject"]', "is no action pattern"),
        ('["s3:GetObject"]', '["s3:"]', "is no action pattern"),
        ('["s3:GetObject"]', '["s3: GetObject"]', "is no action pattern"),
        ('["s3:GetObject"]', '["GetObject"]', "is no action pattern"),
        ('["s3:GetObject"]', '["s3:GetObjct*"]', "there is no action 's3:GetObjct*'"),
        ('["s3:GetObject"]', '["s4:GetObject"]', "no service has the prefix 's4'"),
        ('["s3:GetObject"]', '["dynamo:GetItem"]', "did you mean dynamodb?"),
        ('["s3:GetObject"]', '["*:Delte*"]', "there is no action '*:Delte*'"),
        ('["s3:GetObject"]', '["s3:HeadObject2"]', "there is no action"),
        ('["s3:GetObject"]', '["s3:HeadObject"]', "is an operation, not an action (IAM asks about s3:GetObject)"),
        ('["s3:GetObject"]', '["s3:Head*"]', "there is no action 's3:Head*'"),
        ('["s3:GetObject"]', '["lambda:Invoke"]', "IAM asks about lambda:InvokeFunction"),
        ('["s3:GetObject"]', '["bedrock:Converse"]', "IAM asks about bedrock:InvokeModel"),
        ('["s3:GetObject"]', '["dynamodb:TransactWriteItems"]', "IAM asks about dynamodb:PutItem"),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::${gate:subject}/*", "policy variables are not supported"),
        ("arn:aws:s3:::b/*", "arn:amazon:s3:::b/*", "no partition"),
        ("arn:aws:s3:::b/*", "arn:aws:S3:::b/*", "no service"),
        ("arn:aws:s3:::b/*", "arn:aws:s3:eu-west-1::b/*", "neither region nor account"),
        ("arn:aws:s3:::b/*", "arn:aws:s3::111122223333:b/*", "neither region nor account"),
        ("arn:aws:s3:::b/*", "arn:aws:iam:us-east-1:111122223333:role/x", "IAM has no regions"),
        ("arn:aws:s3:::b/*", "arn:aws:sqs:eu-west-1:11112222333:q", "no account"),
        ("arn:aws:s3:::b/*", "arn:aws:sqs:eu west:111122223333:q", "no region"),
        ("arn:aws:s3:::b/*", "arn:aws:sqs:eu-west-1:111122223333:", "ends before the resource"),
        ('["arn:aws:s3:::b/*"]', "[]", "resources is empty"),
        ('"aws:RequestedRegion"', '"aws:RequestRegion"', "did you mean aws:RequestedRegion?"),
        ('"aws:RequestedRegion"', '"req:Bukcet"', "has the parameter 'Bukcet' (did you mean Bucket?)"),
        ('"aws:RequestedRegion"', '"req:Bucket.Name"', "has the parameter 'Bucket.Name'"),
        ("[eu-west-1]", "[]", "has no value"),
        ("[eu-west-1]", "[true]", "not text"),
        ("[eu-west-1]", "{a: b}", "p.yaml:9"),
        ('StringEquals: {"aws:RequestedRegion"', 'NumericEquals: {"req:MaxKeys"', "is not a number"),
        ("StringEquals: {", "'Null': {", "takes true or false"),
        (
            'conditions: {StringEquals: {"aws:RequestedRegion": [eu-west-1]}}',
            "conditions: {StringEquals: {}}",
            "tests no key",
        ),
        ("    conditions", "    not_resources", "unknown key 'not_resources'"),
        ("    conditions", "    when", "unknown key 'when'"),
        ("- name: readers", "- name: readers\n  limits: {}", "unknown key 'limits'"),
        ("version: 1", "version: 1\nsubjects: []", "unknown key 'subjects'"),
        ("sid: look", "sid: look\n    sid: again", "stands twice"),
    ],
)
def test_a_slip_is_a_problem_with_its_place(tmp_path: Path, written: str, instead: str, said: str) -> None:
    assert written in GOOD
    told = problems(tmp_path, GOOD.replace(written, instead))
    assert any(said in problem for problem in told), told


def test_sids_are_unique_in_a_policy_and_names_over_all_files(tmp_path: Path) -> None:
    statement = GOOD[GOOD.index("  - sid") :]
    assert any("p.yaml:10: the sid 'look' stands twice" in p for p in problems(tmp_path, GOOD + statement))
    other = GOOD[GOOD.index("- name") :]
    assert any("p.yaml:10: there are two policies named" in p for p in problems(tmp_path, GOOD + other))


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "arn:aws:s3:::b",
        "arn:*:s3:::b",
        "arn:aws:sqs",
        "arn:aws:sqs:*:111122223333:q?",
        "arn:aws:iam::aws:policy/*",
        "arn:aws:s3:eu-west-1:111122223333:accesspoint/x",
        "arn:aws-us-gov:ec2:*:*:instance/*",
        "arn:aws:iam:*:*:*",
    ],
)
def test_resource_patterns_that_can_match_are_taken(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "p.yaml").write_text(GOOD.replace("arn:aws:s3:::b/*", pattern))
    assert load_policies([tmp_path / "p.yaml"])


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "s3:*",
        "S3:getobject",
        "*:Delete*",
        "iam:PassRole",
        "s3:GetObjectVersion",
        "glue:StartJobRun",
        "*:PurgeQueue",
    ],
)
def test_action_patterns_that_name_something_are_taken(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "p.yaml").write_text(GOOD.replace("s3:GetObject", pattern))
    assert load_policies([tmp_path / "p.yaml"])


def test_the_hash_is_of_what_the_files_say(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(GOOD)
    two.write_text(GOOD.replace("readers", "others"))
    first = load_policies([one, two]).hash
    assert load_policies([two, one, one]).hash == first
    one.write_text("# a comment\n" + GOOD.replace("[eu-west-1]", "[ eu-west-1 ]"))
    assert load_policies([one, two]).hash == first
    one.write_text(GOOD.replace("effect: allow", "effect: deny"))
    assert load_policies([one, two]).hash != first


def test_the_same_file_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(GOOD)
    loaded = load_policies([tmp_path / "p.yaml", tmp_path / "p.yaml"])
    assert list(loaded.files) == [os.fspath(tmp_path / "p.yaml")]


FORBIDDEN = call("iam.DeleteRole", {"RoleName": "admin"})


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_broken_file_is_never_an_allow(tmp_path: Path, data: st.DataObject) -> None:
    """Cut, double or overwrite parts of a good file: it is refused, or still says no more than it did."""
    text = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        size = data.draw(st.integers(0, 6))
        insert = data.draw(
            st.sampled_from(["", "*", "'", '"', ":", "\n", "- ", "{", "]", "&a ", "*a", "!!", "\t", "\0", "é", "null"])
        )
        text = text[:at] + insert + text[at + size :]
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    try:
        loaded = load_policies([file])
    except Invalid:
        return
    assert loaded.decide(FORBIDDEN, tuple(loaded.files)).effect == "deny"
    assert isinstance(yaml.load(text, LOADER), dict)  # the same: libyaml takes a tab that PyYAML itself refuses
