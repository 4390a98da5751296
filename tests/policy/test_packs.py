"""The shipped packs decide as their first paragraph says."""

import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from policy import table
from policy.model import Request
from policy.policies import PolicySet, load_policies
from policy.redaction import load_rules
from policy.strict import PACKS
from tests.policy.build import call

OBJECT = {"Bucket": "b", "Key": "k"}
CALLS: list[tuple[str, dict[str, Any], str, str]] = [  # call, parameters, agent-default, read-only
    ("sts.GetCallerIdentity", {}, "allow", "allow"),
    ("s3.ListBuckets", {}, "allow", "allow"),
    ("s3.GetObject", OBJECT, "allow", "allow"),
    ("s3.HeadObject", OBJECT, "allow", "allow"),
    ("s3.ListObjectsV2", {"Bucket": "b"}, "allow", "allow"),
    ("s3.PutObject", OBJECT, "approve", "deny"),
    ("s3.CopyObject", OBJECT | {"CopySource": "c/d"}, "approve", "deny"),
    ("s3.DeleteBucket", {"Bucket": "b"}, "approve", "deny"),
    ("s3.PutBucketPolicy", {"Bucket": "b"}, "approve", "deny"),
    ("s3.CreateSession", {"Bucket": "b"}, "deny", "deny"),
    ("dynamodb.GetItem", {"TableName": "t"}, "allow", "allow"),
    ("dynamodb.Query", {"TableName": "t"}, "allow", "allow"),
    ("dynamodb.BatchGetItem", {"RequestItems": {"t": {}}}, "allow", "allow"),
    ("dynamodb.TransactGetItems", {"TransactItems": [{"Get": {"TableName": "t"}}]}, "allow", "allow"),
    ("dynamodb.TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "t"}}]}, "approve", "deny"),
    ("dynamodb.DeleteTable", {"TableName": "t"}, "approve", "deny"),
    ("dynamodb.ExecuteStatement", {"Statement": "SELECT * FROM t"}, "deny", "deny"),
    ("ec2.DescribeInstances", {}, "allow", "allow"),
    ("ec2.TerminateInstances", {"InstanceIds": ["i-1"]}, "approve", "deny"),
    ("ec2.RunInstances", {"ImageId": "ami-1", "IamInstanceProfile": {"Name": "p"}}, "approve", "deny"),
    ("ec2.GetConsoleOutput", {"InstanceId": "i-1"}, "approve", "deny"),
    ("ec2.GetPasswordData", {"InstanceId": "i-1"}, "deny", "deny"),
    ("ec2.CreateKeyPair", {"KeyName": "k"}, "deny", "deny"),
    ("lambda.ListFunctions", {}, "allow", "allow"),
    ("lambda.GetFunction", {"FunctionName": "f"}, "allow", "allow"),
    ("lambda.Invoke", {"FunctionName": "f"}, "approve", "deny"),
    ("lambda.UpdateFunctionCode", {"FunctionName": "f"}, "approve", "deny"),
    ("iam.ListUsers", {}, "allow", "allow"),
    ("iam.GetRole", {"RoleName": "r"}, "allow", "allow"),
    ("iam.CreateUser", {"UserName": "u"}, "approve", "deny"),
    ("iam.AttachRolePolicy", {"RoleName": "r", "PolicyArn": "arn:aws:iam::aws:policy/X"}, "approve", "deny"),
    ("iam.CreateAccessKey", {"UserName": "u"}, "deny", "deny"),
    ("iam.CreateLoginProfile", {"UserName": "u"}, "deny", "deny"),
    ("sts.AssumeRole", {"RoleArn": "arn:aws:iam::111122223333:role/r"}, "deny", "deny"),
    ("sts.AssumeRoleWithWebIdentity", {"RoleArn": "arn:aws:iam::111122223333:role/r"}, "deny", "deny"),
    ("sts.GetSessionToken", {}, "deny", "deny"),
    ("sts.GetFederationToken", {"Name": "n"}, "deny", "deny"),
    ("secretsmanager.ListSecrets", {}, "allow", "allow"),
    ("secretsmanager.DescribeSecret", {"SecretId": "s"}, "allow", "allow"),
    ("secretsmanager.GetSecretValue", {"SecretId": "s"}, "deny", "deny"),
    ("secretsmanager.BatchGetSecretValue", {"SecretIdList": ["s"]}, "deny", "deny"),
    ("secretsmanager.PutSecretValue", {"SecretId": "s"}, "approve", "deny"),
    ("ssm.DescribeParameters", {}, "allow", "allow"),
    ("ssm.GetParameter", {"Name": "/p"}, "allow", "allow"),
    ("ssm.GetParameter", {"Name": "/p", "WithDecryption": False}, "allow", "allow"),
    ("ssm.GetParameter", {"Name": "/p", "WithDecryption": True}, "deny", "deny"),
    ("ssm.GetParametersByPath", {"Path": "/", "WithDecryption": True}, "deny", "deny"),
    ("ssm.GetParameter", {"Name": "/aws/reference/secretsmanager/s"}, "deny", "deny"),
    ("ssm.SendCommand", {"DocumentName": "AWS-RunShellScript"}, "approve", "deny"),
    ("ssm.StartSession", {"Target": "i-1"}, "deny", "deny"),
    ("kms.DescribeKey", {"KeyId": "k"}, "allow", "allow"),
    ("kms.Decrypt", {}, "deny", "deny"),
    ("kms.GenerateDataKey", {"KeyId": "k"}, "deny", "deny"),
    ("kms.Encrypt", {"KeyId": "k"}, "approve", "deny"),
    ("kms.ScheduleKeyDeletion", {"KeyId": "k"}, "approve", "deny"),
    ("sqs.ListQueues", {}, "allow", "allow"),
    ("sqs.ReceiveMessage", {"QueueUrl": "https://sqs/111122223333/q"}, "approve", "deny"),
    ("sqs.SendMessage", {"QueueUrl": "https://sqs/111122223333/q"}, "approve", "deny"),
    ("sns.Publish", {"TopicArn": "arn:aws:sns:eu-west-1:111122223333:t"}, "approve", "deny"),
    ("logs.FilterLogEvents", {"logGroupName": "g"}, "allow", "allow"),
    ("cloudwatch.GetMetricData", {}, "allow", "allow"),
    ("cloudformation.DescribeStacks", {}, "allow", "allow"),
    ("cloudformation.CreateStack", {"StackName": "s"}, "deny", "deny"),
    ("ecr.GetAuthorizationToken", {}, "deny", "deny"),
    ("ecr.DescribeRepositories", {}, "allow", "allow"),
    ("rds.DescribeDBInstances", {}, "allow", "allow"),
    ("rds.DownloadDBLogFilePortion", {"DBInstanceIdentifier": "d"}, "approve", "deny"),
    ("ecs.DescribeTaskDefinition", {"taskDefinition": "t"}, "allow", "allow"),
    ("ecs.DescribeDaemonTaskDefinition", {"daemonTaskDefinition": "t"}, "approve", "deny"),
    ("ssm.GetCommandInvocation", {"CommandId": "c", "InstanceId": "i-1"}, "approve", "deny"),
    ("stepfunctions.GetExecutionHistory", {"executionArn": "x"}, "approve", "deny"),
    ("eks.ListClusters", {}, "allow", "allow"),
    ("stepfunctions.ListStateMachines", {}, "allow", "allow"),
    ("stepfunctions.StartExecution", {"stateMachineArn": "x"}, "deny", "deny"),
    ("glue.GetJobs", {}, "deny", "deny"),
    ("bedrock-runtime.InvokeModel", {"modelId": "m"}, "deny", "deny"),
    ("sso.GetRoleCredentials", {"roleName": "r"}, "deny", "deny"),
]


def pack(name: str) -> PolicySet:
    return load_policies([PACKS / f"{name}.yaml"])


@pytest.fixture(scope="module")
def default() -> PolicySet:
    return pack("agent-default")


@pytest.fixture(scope="module")
def read_only() -> PolicySet:
    return pack("read-only")


def effect(loaded: PolicySet, request: Request) -> str:
    return loaded.decide(request, tuple(loaded.files)).effect


@pytest.mark.parametrize(("name", "params", "by_default", "when_reading"), CALLS)
def test_packs_decide_as_they_say(
    default: PolicySet, read_only: PolicySet, name: str, params: dict[str, Any], by_default: str, when_reading: str
) -> None:
    assert effect(default, call(name, params)) == by_default
    assert effect(read_only, call(name, params)) == when_reading


READING = re.compile(
    r"(Get|List|Describe|Head|BatchGet|BatchDescribe|BatchCheck|Query$|Scan$|Search|Filter|Test|Validate|Detect|Estimate"
    r"|Simulate|Check|Generate(Credential|Organizations|ServiceLast)|StartQuery$|StartExecutionPreview$|Converse|InvokeModel"
    r"|Select|TransactGet|ExportClientVpnClientCertificateRevocationList$)"
)


def test_only_operations_that_read_are_allowed_without_asking(default: PolicySet, read_only: PolicySet) -> None:
    """Over the whole table: what passes unasked is named like a read, and read-only allows exactly the same."""
    for service in table.services():
        for operation in table.rows(service):
            params = {"Delete": {"Objects": [{"Key": "k"}]}, "RequestItems": {"t": []}, "Resources": ["i-1"]}
            request = call(f"{service}.{operation}", params)
            verdict = effect(default, request)
            if verdict == "allow":
                assert READING.match(operation), f"{service}.{operation}"
            assert (effect(read_only, request) == "allow") is (verdict == "allow"), f"{service}.{operation}"


@pytest.mark.long
def test_environments_and_passwords_are_masked_or_not_allowed(default: PolicySet) -> None:
    """Where botocore's model marks such a member as sensitive, the pack `secrets` has a rule or a person is asked."""
    rules = load_rules(["secrets"])
    session = botocore.session.Session()

    def telling(shape: Any, seen: frozenset[str]) -> bool:
        if shape.name in seen:
            return False
        seen |= {shape.name}
        if shape.type_name == "structure":
            named = ((re.search("password|environment|secret", name, re.I), m) for name, m in shape.members.items())
            return any((found and m.metadata.get("sensitive")) or telling(m, seen) for found, m in named)
        inner = {"list": "member", "map": "value"}.get(shape.type_name)
        return bool(inner) and telling(getattr(shape, inner or ""), seen)

    for service in table.services():
        model = session.get_service_model(service)
        for operation in table.rows(service):
            output = model.operation_model(operation).output_shape
            if output is None or rules.for_operation(service, operation) or not telling(output, frozenset()):
                continue
            assert effect(default, call(f"{service}.{operation}")) != "allow", f"{service}.{operation}"


@pytest.mark.parametrize("operation", ["InvokeModel", "InvokeModelWithResponseStream", "Converse", "ConverseStream"])
def test_bedrock_invoke_allows_the_four_operations_of_any_model(operation: str) -> None:
    loaded = pack("bedrock-invoke")
    assert effect(loaded, call(f"bedrock-runtime.{operation}", {"modelId": "eu.anthropic.claude"})) == "allow"
    for other in ("bedrock-runtime.StartAsyncInvoke", "bedrock-runtime.ApplyGuardrail", "bedrock.ListFoundationModels"):
        assert effect(loaded, call(other)) == "deny"


@pytest.mark.parametrize("name", ["agent-default", "read-only", "bedrock-invoke"])
def test_a_pack_begins_with_what_it_permits(name: str) -> None:
    text = Path(PACKS / f"{name}.yaml").read_text()
    opening = text[: text.index("version: 1")]
    assert all(line.startswith("#") for line in opening.splitlines())
    assert len(opening.split()) > 40


def test_packs_can_be_bound_together() -> None:
    loaded = load_policies([PACKS / "agent-default.yaml", PACKS / "bedrock-invoke.yaml"])
    request = call("bedrock-runtime.ConverseStream", {"modelId": "m"})
    assert loaded.decide(request, tuple(loaded.files)).sid == "bedrock-invoke/invoke"
