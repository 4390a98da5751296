"""The line has CloudTrail's own spelling. Expected values: the pages of AWS's documentation that each test names."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from addons.ledger import spelling
from addons.ledger.cloudtrail import line
from addons.ledger.encoding import encode
from tests.ledger.conftest import call


def words(text: str) -> set[str]:
    return set(text.split())


# The keys of the native line (a denied call has the two error keys).
TOP = words(
    "eventVersion eventTime eventID eventType eventCategory managementEvent readOnly eventSource eventName awsRegion"
    " recipientAccountId sourceIPAddress userAgent userIdentity errorCode errorMessage requestParameters"
    " responseElements requestID resources tlsDetails additionalEventData"
)
BLOCK = words(
    "v seq log sessionId subject issuer groups tokenId agentKey decision approval masked protocol start durationMs"
    " upstreamStatus bytesIn bytesOut sdkInvocation attempt flow bodySha256 traceparent"
)


def own(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = record["additionalEventData"]["sluicegate"]
    return found


def test_a_denied_call_has_every_key_and_looks_like_awss_own_denial() -> None:
    record = line(call(outcome="refused", effect="deny", error_code="AccessDenied", error_message="no", status=403))
    assert set(record) == TOP
    assert set(own(record)) >= BLOCK
    assert own(record)["v"] == 1
    assert (record["eventVersion"], record["eventType"]) == ("1.11", "AwsApiCall")
    assert (record["errorCode"], record["responseElements"]) == ("AccessDenied", None)
    assert {"effect", "policy", "policyHash", "rules", "actions", "context"} <= set(own(record)["decision"])


def test_a_success_has_no_error_keys() -> None:
    assert set(line(call())) == TOP - {"errorCode", "errorMessage"}


def test_event_time_is_when_the_call_was_completed_in_whole_seconds() -> None:
    # "CloudTrail record contents": eventTime, "The date and time the request was completed".
    record = line(call(started=1_795_000_000.9, ended=1_795_000_002.4))
    assert record["eventTime"] == datetime.fromtimestamp(1_795_000_002, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert own(record)["start"].endswith(".900000Z")
    assert own(record)["durationMs"] == 1500.0


@pytest.mark.parametrize(
    ("service", "operation", "source", "name"),
    [
        ("s3", "PutBucketLifecycleConfiguration", "s3", "PutBucketLifecycle"),  # "Amazon S3 CloudTrail events"
        ("s3", "GetPublicAccessBlock", "s3", "GetBucketPublicAccessBlock"),
        ("s3", "ListObjectsV2", "s3", "ListObjects"),
        ("lambda", "UpdateFunctionConfiguration", "lambda", "UpdateFunctionConfiguration20150331v2"),  # "Logging AWS
        ("lambda", "CreateFunction", "lambda", "CreateFunction20150331"),  # Lambda API calls using AWS CloudTrail"
        ("lambda", "Invoke", "lambda", "Invoke"),
        ("cloudwatch", "PutMetricAlarm", "monitoring", "PutMetricAlarm"),  # "Logging Amazon CloudWatch API ... calls"
        ("ses", "SendEmail", "ses", "SendEmail"),
        ("docdb", "CreateDBCluster", "rds", "CreateDBCluster"),
        ("elbv2", "CreateLoadBalancer", "elasticloadbalancing", "CreateLoadBalancer"),
    ],
)
def test_event_source_and_name(service: str, operation: str, source: str, name: str) -> None:
    from addons.wire import models

    signing = models.service_model(service).signing_name
    record = line(call(service=service, operation=operation, signing_name=signing, params={}))
    assert (record["eventSource"], record["eventName"]) == (f"{source}.amazonaws.com", name)


def test_every_renamed_operation_exists() -> None:
    from addons.wire import models

    for service, table in (("s3", spelling.S3_NAMES), ("lambda", spelling.LAMBDA_NAMES)):
        assert table.keys() <= set(models.service_model(service).operation_names)
    for service, names in spelling.DATA_EVENTS.items():
        known = set(models.service_model(service).operation_names)
        assert names - known <= {"InvokeAsync"}


@pytest.mark.parametrize(
    ("service", "operation", "expected"),
    [
        ("ec2", "DescribeInstances", True),
        ("s3", "HeadObject", True),
        ("ec2", "TerminateInstances", False),
        ("sts", "AssumeRole", True),
        ("kms", "Decrypt", True),
        ("sts", "GetFederationToken", False),
        ("cloudtrail", "LookupEvents", True),
        ("s3", "PutObject", False),
    ],
)
def test_read_only(service: str, operation: str, expected: bool) -> None:
    assert line(call(service=service, operation=operation, params=None))["readOnly"] is expected


def test_ec2_errors_have_their_prefix_and_its_denial_its_own_name() -> None:
    # "Troubleshoot CloudTrail / EC2": "Client.UnauthorizedOperation"; on the wire UnauthorizedOperation.
    denied = call(service="ec2", operation="RunInstances", params=None, error_code="AccessDenied", status=403)
    assert line(denied)["errorCode"] == "Client.UnauthorizedOperation"
    wrong = call(service="ec2", operation="RunInstances", params=None, error_code="InvalidAMIID.NotFound", status=400)
    assert line(wrong)["errorCode"] == "Client.InvalidAMIID.NotFound"
    down = call(service="ec2", operation="RunInstances", params=None, error_code="InternalError", status=500)
    assert line(down)["errorCode"] == "Server.InternalError"


def parameters(service: str, operation: str, params: dict[str, Any], host: str = "h") -> Any:
    return line(call(service=service, operation=operation, params=params, host=host))["requestParameters"]


def test_member_names_begin_small_and_the_agents_own_keys_stay() -> None:
    assert parameters("rds", "DeleteDBInstance", {"DBInstanceIdentifier": "x"}) == {"dBInstanceIdentifier": "x"}
    given = {"TableName": "t", "Key": {"Id": {"S": "v"}, "SK": {"N": "1"}}}
    assert parameters("dynamodb", "GetItem", given) == {"tableName": "t", "key": {"Id": {"s": "v"}, "SK": {"n": "1"}}}
    tags = parameters("lambda", "TagResource", {"Resource": "arn:x", "Tags": {"Owner": "Ada"}})
    assert tags == {"resource": "arn:x", "tags": {"Owner": "Ada"}}


def test_services_that_keep_their_capitals() -> None:
    assert parameters("ce", "GetCostAndUsage", {"Granularity": "DAILY"}) == {"Granularity": "DAILY"}


def test_s3_names_bucket_key_and_host() -> None:
    # The example of "Amazon S3 CloudTrail log file entries": requestParameters {"bucketName", "Host", "key"}.
    given = {"Bucket": "b", "Key": "k/1", "Body": b"secret content", "ServerSideEncryption": "aws:kms"}
    found = parameters("s3", "PutObject", given, "b.s3.us-east-1.amazonaws.com")
    assert found == {
        "bucketName": "b",
        "Host": "b.s3.us-east-1.amazonaws.com",
        "key": "k/1",
        "serverSideEncryption": "aws:kms",
    }


def test_no_parameters_are_null() -> None:
    assert parameters("sts", "GetCallerIdentity", {}) is None


def test_large_parameters_are_omitted_and_say_so() -> None:
    # "CloudTrail record contents": a field over its size (100 KB here) has `omitted`.
    params = {"Name": "n", "Description": "x" * 200_000}
    found = line(call(service="ssm", operation="PutParameter", params=params, bytes_in=200_100))["requestParameters"]
    assert found["omitted"] is True
    assert found["originalSize"] > 200_000


def test_large_parameters_of_a_compressed_body_are_omitted_too() -> None:
    params = {"Name": "n", "Description": "x" * 200_000}  # 217 bytes as gzip
    found = line(call(service="ssm", operation="PutParameter", params=params, bytes_in=217, compressed=True))
    assert found["requestParameters"]["omitted"] is True


def test_a_large_blob_is_its_hash_and_size() -> None:
    found = parameters("lambda", "UpdateFunctionCode", {"FunctionName": "f", "ZipFile": b"z" * 5_000})
    assert found["zipFile"].startswith("[5000 bytes, sha256 ")


def test_data_and_management_events() -> None:
    # "Logging data events": S3 object-level, DynamoDB item-level operations.
    data = line(call(service="dynamodb", operation="GetItem", params=None))
    assert (data["eventCategory"], data["managementEvent"]) == ("Data", False)
    plane = line(call())
    assert (plane["eventCategory"], plane["managementEvent"]) == ("Management", True)


def test_the_identity_is_the_one_that_aws_sees() -> None:
    identity = line(call())["userIdentity"]
    assert identity["type"] == "AssumedRole"
    assert identity["arn"] == "arn:aws:sts::111122223333:assumed-role/agents/gw-7f3c"
    context = identity["sessionContext"]
    assert context["sessionIssuer"]["arn"] == "arn:aws:iam::111122223333:role/agents"
    assert context["sourceIdentity"] == "agent/ada"
    assert context["webIdFederationData"]["federatedProvider"] == "https://idp.example.org"
    assert line(call(role=None))["userIdentity"]["type"] == "Unknown"


def test_a_call_that_nobody_could_read_has_a_line_all_the_same() -> None:
    record = line(
        call(
            service="",
            operation="",
            signing_name="",
            region="",
            params=None,
            items=(),
            role=None,
            effect=None,
            sid=None,
            outcome="refused",
            error_code="AccessDenied",
            error_message="can't read",
            host="dynamodb.us-east-1.amazonaws.com",
        )
    )
    assert set(record) == TOP
    assert (record["eventSource"], record["eventName"]) == ("dynamodb.amazonaws.com", "Unknown")


def test_what_agents_say_is_bounded() -> None:
    many = tuple(
        {
            "action": "s3:DeleteObject",
            "resource": f"arn:aws:s3:::b/{n:0900}",
            "state": "exact",
            "effect": "allow",
            "sid": "s",
        }
        for n in range(1_000)
    )
    record = line(
        call(
            user_agent="u" * 9_000,
            error_code="E",
            error_message="m" * 9_000,
            invocation="i" * 9_000,
            traceparent="t" * 9_000,
            items=many,
            context={f"req:{n}": "v" * 1_000 for n in range(100)},
        )
    )
    assert len(record["userAgent"]) <= 1_026
    assert len(record["errorMessage"]) <= 1_024
    assert len(json.dumps(own(record))) <= 28 << 10
    assert own(record)["decision"]["actionsOmitted"]["count"] > 900
    assert len(encode(record)) < 64 << 10


def test_policy_inputs_are_all_there() -> None:
    decision = own(line(call(context={"aws:RequestedRegion": "us-east-1"}, missing=("aws:SourceVpc",))))["decision"]
    assert decision["actions"][0]["action"] == "dynamodb:DeleteTable"
    assert decision["actions"][0]["resource"] == "arn:aws:dynamodb:us-east-1:111122223333:table/orders"
    assert decision["context"] == {"aws:RequestedRegion": "us-east-1"}
    assert decision["missing"] == ["aws:SourceVpc"]
