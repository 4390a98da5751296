"""boto3, both AWS CLIs and the JavaScript SDK, unmodified, under `sluicegate run`: allowed, masked, refused, held.

Whatever is let through was signed with the real key, as `aws.py` checks each signature.
"""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.agents import Agent, later
from tests.end_to_end.aws import METRICS, SECRET, Aws
from tests.end_to_end.conftest import ACCESS
from tests.harness import ACCOUNT, REAL_KEY, ROLE, Gateway

pytestmark = pytest.mark.timeout(300)

ODD_KEY = " a b/ü+c~!*'().txt "
QUEUE = f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/work"
ITEM = {"id": {"S": "1"}}
DENIED_CODES = {"AccessDenied", "AccessDeniedException"}  # the XML protocols' and the JSON ones'
READS: list[tuple[str, str, dict[str, Any], Any]] = [  # service, operation, parameters, what the answer must hold
    ("sts", "GetCallerIdentity", {}, lambda v: v["Account"] == ACCOUNT),
    ("ec2", "DescribeVpcs", {}, lambda v: len(v["Vpcs"]) == 1),
    ("lambda", "ListFunctions", {}, lambda v: v["Functions"] == []),
    ("dynamodb", "GetItem", {"TableName": "orders", "Key": ITEM}, lambda v: v["Item"]["total"]["N"] == "42"),
    ("sqs", "SendMessage", {"QueueUrl": QUEUE, "MessageBody": "hello"}, lambda v: v["MessageId"]),
    ("cloudwatch", "ListMetrics", {"Namespace": "sluice"}, lambda v: v["Metrics"][0]["MetricName"] == "flow"),
]


def attempts(gate: Gateway, before: int, operation: str) -> list[dict[str, Any]]:
    """The ledger's lines of an operation, after the first `before` lines. CloudTrail adds a date to Lambda's names."""
    return [line for line in gate.calls()[before:] if line["eventName"] in (operation, f"{operation}20150331")]


def block(line: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = line["additionalEventData"]["sluicegate"]
    return found


def ticket(gate: Gateway, seconds: float = 30) -> dict[str, Any]:
    """The one call that waits, as a person sees it in a terminal."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if waiting := json.loads(gate.cli("approvals", "list", "--json").stdout):
            assert len(waiting) == 1
            found: dict[str, Any] = waiting[0]
            return found
    raise AssertionError("nothing is held")


@pytest.mark.parametrize(("service", "operation", "params", "holds"), READS, ids=[f"{s}:{o}" for s, o, _, _ in READS])
def test_an_allowed_call_is_signed_and_answered(
    agent: Agent,
    gate: Gateway,
    service: str,
    operation: str,
    params: dict[str, Any],
    holds: Any,
) -> None:
    before = len(gate.calls())
    answer = agent.call(service, operation, **params)
    assert answer.ok, answer
    assert holds(answer.value), answer
    (line,) = attempts(gate, before, operation)
    assert (block(line)["outcome"], block(line)["decision"]["effect"]) == ("answered", "allow")
    assert line["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == ROLE
    assert "errorCode" not in line


def test_it_signs_in_at_the_gateway_and_never_upstream(agent: Agent, gate: Gateway, aws: Aws) -> None:
    agent.call("sts", "GetCallerIdentity")
    signed_in = [line for line in gate.calls() if line["eventName"] == "AssumeRoleWithWebIdentity"]
    assert signed_in
    assert all(block(line)["outcome"] == "local" for line in signed_in)
    assert not aws.named("AssumeRoleWithWebIdentity")
    mine = [line for line in gate.calls() if line["eventName"] == "GetCallerIdentity"][-1]
    assert block(mine)["agentKey"].startswith("ASIA")
    assert all(REAL_KEY in asked.headers["authorization"] for asked in aws.asked)


def test_each_attempt_of_a_retried_call_has_its_own_line(agent: Agent, gate: Gateway, aws: Aws) -> None:
    before, aws.failures = len(gate.calls()), 1
    answer = agent.call("sts", "GetCallerIdentity")
    assert answer.ok, answer
    lines = attempts(gate, before, "GetCallerIdentity")
    assert [block(line)["upstreamStatus"] for line in lines] == [503, 200]
    assert ["errorCode" in line for line in lines] == [True, False]


def test_objects_with_odd_names_go_in_come_out_and_are_listed(agent: Agent, aws: Aws) -> None:
    content = f"wörld from {agent.kind}"
    for answer in (
        agent.call("s3", "PutObject", Bucket="reports", Key=ODD_KEY, Body=content),
        got := agent.call("s3", "GetObject", Bucket="reports", Key=ODD_KEY),
        listed := agent.call("s3", "ListObjectsV2", Bucket="reports", Prefix=" a"),
    ):
        assert answer.ok, answer
    assert got.value["Body"] == content
    assert [item["Key"] for item in listed.value["Contents"]] == [ODD_KEY]
    stored = aws.owner("s3").get_object(Bucket="reports", Key=ODD_KEY)["Body"].read()
    assert stored.decode() == content


def test_a_large_file_goes_up_in_parts(agent: Agent, gate: Gateway, aws: Aws, tmp_path: Path) -> None:
    if agent.kind == "javascript":
        pytest.skip("NOT TESTED: the JavaScript SDK cuts files in a package of its own")
    content = random.Random(agent.kind).randbytes(9 << 20)  # both clients cut from 8 MiB on
    (tmp_path / "large").write_bytes(content)
    before = len(gate.calls())
    where = {"Bucket": "reports", "Key": f"large-{agent.kind}"}
    answer = agent.call("s3", "upload_file", Filename=str(tmp_path / "large"), **where)
    assert answer.ok, answer
    names = [line["eventName"] for line in gate.calls()[before:]]
    assert sorted(names) == ["CompleteMultipartUpload", "CreateMultipartUpload", "UploadPart", "UploadPart"]
    assert aws.owner("s3").get_object(**where)["Body"].read() == content


def test_a_secret_is_masked_in_what_the_client_prints_and_in_every_file(agent: Agent, gate: Gateway) -> None:
    before = len(gate.calls())
    answer = agent.call("secretsmanager", "GetSecretValue", SecretId="db")
    assert answer.ok, answer
    assert answer.value["Name"] == "db"
    assert answer.value["SecretString"].startswith("sluicegate-redacted:")
    assert SECRET not in answer.text + agent.printed()
    (line,) = attempts(gate, before, "GetSecretValue")
    assert block(line)["masked"]
    files = [path for path in gate.directory.rglob("*") if path.is_file()]
    assert {"audit", "sessions", "state"} <= {path.relative_to(gate.directory).parts[0] for path in files}
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_a_denied_call_raises_the_clients_own_error_after_one_attempt(agent: Agent, gate: Gateway, aws: Aws) -> None:
    before, sent = len(gate.calls()), len(aws.asked)
    answer = agent.call("s3", "DeleteBucket", Bucket="reports")
    assert (answer.ok, answer.code) == (False, "AccessDenied"), answer
    assert "sluicegate" in answer.message
    assert "agent/never-delete-buckets" in answer.message
    assert ACCESS in answer.message
    (line,) = attempts(gate, before, "DeleteBucket")
    assert (line["errorCode"], block(line)["outcome"]) == ("AccessDenied", "refused")
    assert len(aws.asked) == sent


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("dynamodb", "DeleteItem", {"TableName": "orders", "Key": ITEM}),
        ("lambda", "DeleteFunction", {"FunctionName": "f"}),
        ("sqs", "PurgeQueue", {"QueueUrl": QUEUE}),
        ("ec2", "TerminateInstances", {"InstanceIds": ["i-0123456789abcdef0"]}),
        ("sts", "GetSessionToken", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_rule_allows_is_refused_in_each_protocol_after_one_attempt(
    agent: Agent,
    gate: Gateway,
    aws: Aws,
    service: str,
    operation: str,
    params: dict[str, Any],
) -> None:
    before, sent = len(gate.calls()), len(aws.asked)
    answer = agent.call(service, operation, **params)
    assert not answer.ok
    assert answer.code in ({"UnauthorizedOperation"} if service == "ec2" else DENIED_CODES), answer
    assert f"{service}:{operation}" in answer.message
    assert ACCESS in answer.message
    assert len(attempts(gate, before, operation)) == 1
    assert len(aws.asked) == sent


def test_a_held_call_approved_from_the_terminal_is_sent_once(agent: Agent, gate: Gateway, aws: Aws) -> None:
    table, before, sent = aws.table(f"scratch-{agent.kind}"), len(gate.calls()), len(aws.named("DeleteTable"))
    waiting = later(agent, "dynamodb", "DeleteTable", TableName=table)
    held = ticket(gate)
    assert held["operation"] == "dynamodb:DeleteTable"
    assert held["params"] == {"TableName": table}
    assert len(aws.named("DeleteTable")) == sent
    gate.cli("approvals", "approve", held["id"])
    answer = waiting.result()
    assert answer.ok, answer
    assert answer.value["TableDescription"]["TableName"] == table
    assert len(aws.named("DeleteTable")) == sent + 1
    assert table not in aws.owner("dynamodb").list_tables()["TableNames"]
    (line,) = attempts(gate, before, "DeleteTable")
    assert (block(line)["approval"]["verdict"], block(line)["outcome"]) == ("approved", "answered")


def test_a_held_call_denied_in_the_terminal_is_refused_with_the_reason(agent: Agent, gate: Gateway, aws: Aws) -> None:
    before, sent = len(gate.calls()), len(aws.asked)
    waiting = later(agent, "dynamodb", "DeleteTable", TableName="orders")
    gate.cli("approvals", "deny", ticket(gate)["id"], "--reason", "orders are live data")
    answer = waiting.result()
    assert (answer.ok, answer.code) == (False, "AccessDeniedException"), answer
    assert "orders are live data" in answer.message
    (line,) = attempts(gate, before, "DeleteTable")
    assert (block(line)["approval"]["verdict"], block(line)["outcome"]) == ("denied", "refused")
    assert len(aws.asked) == sent


@pytest.mark.parametrize("agent", ["javascript"], indirect=True)
def test_cloudwatch_speaks_cbor(agent: Agent, gate: Gateway) -> None:
    before = len(gate.calls())
    answer = agent.call("cloudwatch-cbor", "ListMetrics", Namespace="sluice")
    assert answer.ok, answer
    assert answer.value["Metrics"] == METRICS["Metrics"]
    refused = agent.call("cloudwatch-cbor", "DeleteAlarms", AlarmNames=["a"])
    assert (refused.ok, refused.code) == (False, "AccessDeniedException"), refused
    assert ACCESS in refused.message
    lines = gate.calls()[before:]
    assert [block(line)["protocol"] for line in lines if line["eventName"] == "ListMetrics"] == ["smithy-rpc-v2-cbor"]
    assert len([line for line in lines if line["eventName"] == "DeleteAlarms"]) == 1
