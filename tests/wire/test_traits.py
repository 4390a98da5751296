"""What is hidden, what identifies an ask, which bodies stream: by operations whose models and documentation say so."""

import base64
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.model import ServiceModel, Shape
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.wire import hidden, models, traits
from addons.wire.message import Decoded
from addons.wire.traits import HIDDEN, ask_params, hide_sensitive_input


def call(service: str, operation: str, params: dict[str, Any], *twins: tuple[str, str]) -> Decoded:
    return Decoded(
        candidates=((service, operation), *twins), service=service, operation=operation, region="us-east-1",
        partition="aws", params=params, protocol="json", signing_name=service, signing_region="us-east-1",
    )  # fmt: skip


SECRET = "hunter2"
SHOWN_AND_HIDDEN: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    # marked in the models
    ("secretsmanager", "CreateSecret", {"Name": "n", "SecretString": SECRET}, {"Name": "n", "SecretString": HIDDEN}),
    ("secretsmanager", "PutSecretValue", {"SecretId": "n", "SecretBinary": SECRET.encode()},
     {"SecretId": "n", "SecretBinary": HIDDEN}),
    ("iam", "CreateLoginProfile", {"UserName": "u", "Password": SECRET}, {"UserName": "u", "Password": HIDDEN}),
    ("iam", "ChangePassword", {"OldPassword": SECRET, "NewPassword": SECRET},
     {"OldPassword": HIDDEN, "NewPassword": HIDDEN}),
    ("lambda", "CreateFunction", {"FunctionName": "f", "Environment": {"Variables": {"K": SECRET}}},
     {"FunctionName": "f", "Environment": {"Variables": HIDDEN}}),
    ("ssm", "PutParameter", {"Name": "/a", "Value": SECRET, "Type": "SecureString"},
     {"Name": "/a", "Value": HIDDEN, "Type": "SecureString"}),
    ("s3", "GetObject", {"Bucket": "b", "Key": "k", "SSECustomerKey": SECRET},
     {"Bucket": "b", "Key": "k", "SSECustomerKey": HIDDEN}),
    ("s3", "CopyObject", {"Bucket": "b", "Key": "k", "CopySource": "b/k", "CopySourceSSECustomerKey": SECRET},
     {"Bucket": "b", "Key": "k", "CopySource": "b/k", "CopySourceSSECustomerKey": HIDDEN}),
    # by our own table
    ("ec2", "RunInstances", {"ImageId": "ami-1", "UserData": SECRET}, {"ImageId": "ami-1", "UserData": HIDDEN}),
    ("ec2", "ModifyInstanceAttribute", {"InstanceId": "i-1", "UserData": {"Value": SECRET.encode()}},
     {"InstanceId": "i-1", "UserData": HIDDEN}),
    ("ec2", "CreateLaunchTemplate", {"LaunchTemplateName": "t", "LaunchTemplateData": {"UserData": SECRET}},
     {"LaunchTemplateName": "t", "LaunchTemplateData": {"UserData": HIDDEN}}),
    ("sts", "AssumeRoleWithWebIdentity", {"RoleArn": "r", "WebIdentityToken": SECRET},
     {"RoleArn": "r", "WebIdentityToken": HIDDEN}),
    ("sts", "AssumeRoleWithSAML", {"RoleArn": "r", "SAMLAssertion": SECRET}, {"RoleArn": "r", "SAMLAssertion": HIDDEN}),
    ("sts", "GetSessionToken", {"SerialNumber": "m", "TokenCode": "123456"},
     {"SerialNumber": "m", "TokenCode": HIDDEN}),
    ("ecs", "RegisterTaskDefinition",
     {"family": "f", "containerDefinitions": [{"name": "c", "environment": [{"name": "K", "value": SECRET}]}]},
     {"family": "f", "containerDefinitions": [{"name": "c", "environment": HIDDEN}]}),
    ("batch", "SubmitJob", {"jobName": "j", "containerOverrides": {"environment": [{"name": "K", "value": SECRET}]}},
     {"jobName": "j", "containerOverrides": {"environment": [{"name": "K", "value": HIDDEN}]}}),
    ("cloudformation", "CreateStack",
     {"StackName": "s", "Parameters": [{"ParameterKey": "Password", "ParameterValue": SECRET}]},
     {"StackName": "s", "Parameters": [{"ParameterKey": "Password", "ParameterValue": HIDDEN}]}),
    # no secrets: shown
    ("logs", "PutLogEvents", {"logEvents": [{"timestamp": 1, "message": "text"}]},
     {"logEvents": [{"timestamp": 1, "message": "text"}]}),
    ("dynamodb", "PutItem", {"TableName": "t", "Item": {"id": {"S": "x"}, "n": {"N": "1"}, "b": {"B": b"\x00"}}},
     {"TableName": "t", "Item": {"id": {"S": "x"}, "n": {"N": "1"}, "b": {"B": {"base64": "AA=="}}}}),
]  # fmt: skip


@pytest.mark.parametrize(("service", "operation", "params", "shown"), SHOWN_AND_HIDDEN)
def test_secrets_are_hidden_and_the_rest_is_shown(
    service: str, operation: str, params: dict[str, Any], shown: dict[str, Any]
) -> None:
    assert hide_sensitive_input(call(service, operation, params)) == shown


def test_a_member_that_one_twin_marks_is_hidden_for_all() -> None:
    params = {"DBClusterIdentifier": "c", "MasterUserPassword": SECRET}
    for first, second in (("rds", "docdb"), ("docdb", "rds")):
        shown = hide_sensitive_input(call(first, "CreateDBCluster", params, (second, "CreateDBCluster")))
        assert shown == {"DBClusterIdentifier": "c", "MasterUserPassword": HIDDEN}


def test_what_the_model_does_not_know_is_hidden() -> None:
    assert hide_sensitive_input(call("sts", "GetCallerIdentity", {"New": SECRET})) == {"New": HIDDEN}
    assert hide_sensitive_input(call("nothing", "Nothing", {"New": SECRET})) == {"New": HIDDEN}
    assert hide_sensitive_input(call("s3", "NoSuch", {"New": SECRET})) == {"New": HIDDEN}
    assert hide_sensitive_input(call("sqs", "SendMessageBatch", {"Entries": SECRET})) == {"Entries": HIDDEN}


def test_long_strings_and_blobs_are_cut_and_say_how_long_they_were() -> None:
    body = hide_sensitive_input(call("sqs", "SendMessage", {"MessageBody": "x" * 5000}))["MessageBody"]
    assert body.startswith("x" * 2000 + "… (5000 characters")
    assert len(body) < 2060
    exact = hide_sensitive_input(call("sqs", "SendMessage", {"MessageBody": "x" * 2000}))["MessageBody"]
    assert exact == "x" * 2000
    shown = hide_sensitive_input(call("lambda", "Invoke", {"FunctionName": "f", "ClientContext": "c"}))
    assert shown == {"FunctionName": "f", "ClientContext": "c"}
    blob = hide_sensitive_input(call("kinesis", "PutRecord", {"Data": b"a" * 5000}))["Data"]
    if blob != HIDDEN:
        assert blob == {"base64": base64.b64encode(b"a" * 1500).decode(), "length": 5000}


def test_two_long_keys_with_one_beginning_both_stay() -> None:
    attributes = {"k" * 3000 + end: {"DataType": "String", "StringValue": end} for end in "ab"}
    shown = hide_sensitive_input(call("sqs", "SendMessage", {"MessageAttributes": attributes}))
    assert [value["StringValue"] for value in shown["MessageAttributes"].values()] == ["a", "b"]


def test_values_that_json_has_not_become_text() -> None:
    moment = datetime(2026, 3, 1, 13, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
    metric = {"MetricName": "m", "Timestamp": moment, "Value": math.nan, "Values": [math.inf, -math.inf, 0.1, 1]}
    decoded = call("cloudwatch", "PutMetricData", {"Namespace": "n", "MetricData": [metric]})
    wanted = {
        "MetricName": "m", "Timestamp": "2026-03-01T12:00:00.250000Z", "Value": "NaN",
        "Values": ["Infinity", "-Infinity", 0.1, 1],
    }  # fmt: skip
    assert hide_sensitive_input(decoded)["MetricData"] == [wanted]
    assert ask_params(decoded)["MetricData"] == [wanted]


def test_an_ask_has_no_idempotency_tokens_and_keeps_everything_else_whole() -> None:
    params = {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1, "UserData": "x" * 5000}
    with_token = call("ec2", "RunInstances", params | {"ClientToken": "one"})
    assert ask_params(with_token) == params
    assert ask_params(with_token) == ask_params(call("ec2", "RunInstances", params | {"ClientToken": "two"}))
    assert ask_params(with_token) != ask_params(call("ec2", "RunInstances", params | {"UserData": "x" * 4999 + "y"}))


def test_an_ask_has_no_idempotency_token_at_any_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a model made for this: botocore's have tokens at the top only, today."""
    text, token = {"shape": "Text"}, {"shape": "Text", "idempotencyToken": True}
    shapes = {
        "Text": {"type": "string"},
        "Inner": {"type": "structure", "members": {"Token": token, "Name": text}},
        "Inners": {"type": "list", "member": {"shape": "Inner"}},
        "ByName": {"type": "map", "key": text, "value": {"shape": "Inner"}},
        "Input": {"type": "structure", "members": {"List": {"shape": "Inners"}, "Map": {"shape": "ByName"}}},
    }
    operation = {"name": "Do", "http": {}, "input": {"shape": "Input"}}
    model = ServiceModel({"metadata": {}, "operations": {"Do": operation}, "shapes": shapes})
    monkeypatch.setattr(models, "operation_model", lambda service, name: model.operation_model(name))
    inner = {"Token": "t", "Name": "n"}
    asked = ask_params(call("made", "Do", {"List": [inner, inner], "Map": {"Token": inner}}))
    assert asked == {"List": [{"Name": "n"}, {"Name": "n"}], "Map": {"Token": {"Name": "n"}}}


def test_equal_parameters_make_equal_asks_in_whatever_order_and_zone() -> None:
    utc = datetime(2026, 3, 1, 12, tzinfo=UTC)
    one = {"Namespace": "n", "MetricData": [{"MetricName": "m", "Timestamp": utc, "Value": 1.0}]}
    two = {
        "MetricData": [{"Value": 1.0, "Timestamp": utc.astimezone(timezone(timedelta(hours=-5))), "MetricName": "m"}],
        "Namespace": "n",
    }
    asks = [json.dumps(ask_params(call("cloudwatch", "PutMetricData", params))) for params in (one, two)]
    assert asks[0] == asks[1]


DOCUMENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(max_size=8), DOCUMENT, max_size=3))
def test_documents_and_strange_keys_stay_json(document: dict[str, Any]) -> None:
    params = {"modelId": "m", "additionalModelRequestFields": document}
    decoded = call("bedrock-runtime", "Converse", params)
    for found in (hide_sensitive_input(decoded), ask_params(decoded)):
        json.dumps(found, allow_nan=False)
    json.dumps(hide_sensitive_input(decoded), ensure_ascii=False).encode()  # no lone surrogates on screens


@pytest.mark.parametrize(
    ("service", "operation", "streams"),
    [
        ("s3", "PutObject", True),
        ("s3", "UploadPart", True),
        ("ebs", "PutSnapshotBlock", True),
        ("bedrock-runtime", "InvokeModelWithBidirectionalStream", True),
        ("lambda", "Invoke", False),
        ("s3", "PutBucketPolicy", False),
        ("s3", "GetObject", False),
        ("dynamodb", "PutItem", False),
        ("sts", "GetCallerIdentity", False),
        ("no-such", "Operation", False),
    ],
)
def test_streaming_inputs(service: str, operation: str, streams: bool) -> None:
    assert traits.has_streaming_input(call(service, operation, {})) is streams


@pytest.mark.parametrize(
    ("service", "operation", "event_stream", "blob"),
    [
        ("s3", "GetObject", False, True),
        ("s3", "SelectObjectContent", True, False),
        ("lambda", "InvokeWithResponseStream", True, False),
        ("lambda", "Invoke", False, False),  # raw bytes, but no `streaming` trait: buffered and masked
        ("kinesis", "SubscribeToShard", True, False),
        ("logs", "StartLiveTail", True, False),
        ("bedrock-runtime", "ConverseStream", True, False),
        ("bedrock-runtime", "Converse", False, False),
        ("polly", "SynthesizeSpeech", False, True),
        ("s3", "DeleteBucket", False, False),
        ("no-such", "Operation", False, False),
    ],
)
def test_streaming_answers(service: str, operation: str, event_stream: bool, blob: bool) -> None:
    decoded = call(service, operation, {})
    assert traits.response_is_event_stream(decoded) is event_stream
    assert traits.response_is_streaming_blob(decoded) is blob


def test_every_row_of_the_table_names_members_that_exist() -> None:
    for service, operation, member, why in hidden.ROWS:
        model = models.service_model(service)
        names = list(model.operation_names) if operation == "*" else [operation]
        ending = tuple(member.split("."))
        shapes = (model.operation_model(name).input_shape for name in names)
        assert any(has_path(shape, ending) for shape in shapes if shape is not None), (service, operation, member)
        assert why


def has_path(
    shape: Shape, ending: tuple[str, ...], path: tuple[str, ...] = (), seen: frozenset[str] = frozenset()
) -> bool:
    if path[-len(ending) :] == ending:
        return True
    if shape.type_name == "structure":
        below = [] if shape.name in seen else shape.members.items()
        return any(has_path(m, ending, (*path, name), seen | {shape.name}) for name, m in below)
    if shape.type_name == "list":
        return has_path(shape.member, ending, path, seen)
    return shape.type_name == "map" and has_path(shape.value, ending, path, seen)
