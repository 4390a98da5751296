"""JSON answers. Bodies follow the examples on AWS's API reference pages."""

import base64
import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.redaction import Unredactable, effects, redact
from addons.redaction.masks import Masker
from addons.redaction.plain import dumps, loads
from addons.wire.message import Protocol

from .conftest import KEY, Case, answer

JSON = "application/x-amz-json-1.1"


def mask_of(value: str) -> str:
    return Masker(KEY).text(value.encode())


def test_only_the_secret_changes() -> None:
    # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
    body = {
        "ARN": "arn:aws:secretsmanager:us-west-2:123456789012:secret:MyTestDatabaseSecret-a1b2c3",
        "CreatedDate": 1.523477145713e9,
        "Name": "MyTestDatabaseSecret",
        "SecretString": '{"username":"david","password":"EXAMPLE-PASSWORD"}',
        "VersionId": "EXAMPLE1-90ab-cdef-fedc-ba987SECRET1",
        "VersionStages": ["AWSPREVIOUS"],
    }
    case = Case("secretsmanager", "GetSecretValue", "json", "[SecretString, SecretBinary]")
    raw = answer(json.dumps(body).encode(), JSON)
    out = redact(case.rules, case.decoded, raw, KEY)
    assert b"EXAMPLE-PASSWORD" not in out.response.body
    assert case.parse(out.response) == case.parse(raw) | {"SecretString": mask_of(body["SecretString"])}
    assert out.response.get("content-length") == str(len(out.response.body))
    (masked,) = out.masked
    assert (masked.rule, masked.locations) == ("secretsmanager:GetSecretValue:[SecretString, SecretBinary]", 1)
    assert masked.fingerprint in mask_of(body["SecretString"])


def test_a_blob_stays_base64() -> None:
    # https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
    secret = b"\x00\xffplaintext data key"
    body = {"KeyId": "arn:aws:kms:us-west-2:111122223333:key/1", "Plaintext": base64.b64encode(secret).decode()}
    case = Case("kms", "Decrypt", "json", "Plaintext")
    out = redact(case.rules, case.decoded, answer(json.dumps(body).encode(), JSON), KEY)
    assert case.parse(out.response)["Plaintext"] == Masker(KEY).text(secret).encode()


def test_rpc_v2_json_is_json_and_nothing_else() -> None:
    # https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html, with JSON where CBOR is
    case = Case("secretsmanager", "GetSecretValue", "smithy-rpc-v2-json", "SecretString")
    body = b'{"Name": "n", "SecretString": "EXAMPLE-PASSWORD"}'
    out = redact(case.rules, case.decoded, answer(body, "application/json"), KEY)
    assert json.loads(out.response.body) == {"Name": "n", "SecretString": mask_of("EXAMPLE-PASSWORD")}
    for kind, other in (("application/cbor", body), ("application/xml", body), ("application/json", b"\xa0")):
        with pytest.raises(Unredactable):
            redact(case.rules, case.decoded, answer(other, kind), KEY)


def test_every_protocol_has_a_family_of_content_types() -> None:
    assert set(get_args(Protocol)) == effects._FAMILY.keys()


def test_a_map_is_masked_at_its_leaves() -> None:
    # https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConfiguration.html
    body = {"FunctionName": "f", "Timeout": 3, "Environment": {"Variables": {"DB": "hunter22", "MODE": "prod"}}}
    case = Case("lambda", "GetFunctionConfiguration", "rest-json", "Environment.Variables")
    out = redact(case.rules, case.decoded, answer(json.dumps(body).encode(), "application/json"), KEY)
    expected = body | {"Environment": {"Variables": {"DB": mask_of("hunter22"), "MODE": mask_of("prod")}}}
    assert json.loads(out.response.body) == expected
    assert out.masked[0].locations == 2


def test_each_type_keeps_its_type() -> None:
    # Types of https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html
    table = {
        "TableName": "t",
        "ItemCount": 42,
        "CreationDateTime": 1.36372808007e9,
        "DeletionProtectionEnabled": True,
        "Later": {"Inner": [True, 1.5, "words", None]},
    }
    case = Case("dynamodb", "DescribeTable", "json", "Table")
    out = redact(case.rules, case.decoded, answer(json.dumps({"Table": table}).encode(), JSON), KEY)
    seen = json.loads(out.response.body)["Table"]
    assert seen == {
        "TableName": mask_of("t"),
        "ItemCount": 0,
        "CreationDateTime": 0,
        "Later": {"Inner": [0, mask_of("words"), None]},
    }
    assert case.parse(out.response)["Table"]["CreationDateTime"].year == 1970


def test_drop_removes_the_member() -> None:
    body = b'{"Parameters":[{"Name":"a","Value":"one"},{"Name":"b","Value":"two"}]}'
    case = Case("ssm", "GetParameters", "json", "Parameters[].Value", mask="drop")
    out = redact(case.rules, case.decoded, answer(body, JSON), KEY)
    assert out.response.body == b'{"Parameters":[{"Name":"a"},{"Name":"b"}]}'


def test_dropped_elements_do_not_shift_each_other() -> None:
    body = b'{"VersionStages":["AWSCURRENT","AWSPREVIOUS","mine"]}'
    case = Case("secretsmanager", "GetSecretValue", "json", "VersionStages[0]", "VersionStages[-1]", mask="drop")
    assert (
        redact(case.rules, case.decoded, answer(body, JSON), KEY).response.body == b'{"VersionStages":["AWSPREVIOUS"]}'
    )


@pytest.mark.parametrize("body", [b'{"Name":  "x", "CreatedDate": 1.50}', b"{}", b"", b'{"SecretString":null}'])
def test_nothing_located_is_the_same_answer(body: bytes) -> None:
    case = Case("secretsmanager", "GetSecretValue", "json", "SecretString")
    raw = answer(body, JSON)
    assert redact(case.rules, case.decoded, raw, KEY).response is raw


def test_no_rule_is_the_same_answer_even_when_undecodable() -> None:
    case = Case("secretsmanager", "GetSecretValue", "json", "SecretString")
    other = Case("secretsmanager", "ListSecrets", "json")
    raw = answer(b"\xff{", JSON)
    assert redact(case.rules, other.decoded, raw, KEY).response is raw


def test_lists_of_lists_are_flattened_as_jmespath_does() -> None:
    # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetQueryResults.html
    body = {
        "results": [[{"field": "@message", "value": "s1"}], [{"field": "@ptr", "value": "s2"}]],
        "status": "Complete",
    }
    for path in ("results[][].value", "results[].value", "results[*][*].value"):
        case = Case("logs", "GetQueryResults", "json", path)
        out = redact(case.rules, case.decoded, answer(json.dumps(body).encode(), JSON), KEY)
        assert out.masked[0].locations == 2
        assert b'"s1"' not in out.response.body
        assert b"@ptr" in out.response.body


def test_overlapping_rules_mask_once_and_in_any_order() -> None:
    body = b'{"Environment":{"Variables":{"A":"one"}},"Code":{"Location":"u"}}'
    paths = ["Environment", "Environment.Variables.A", "Environment.Variables.*"]
    outs = []
    for order in (paths, paths[::-1]):
        case = Case("lambda", "GetFunctionConfiguration", "rest-json", *order)
        out = redact(case.rules, case.decoded, answer(body, "application/json"), KEY)
        outs.append(out.response.body)
        assert sum(masked.locations for masked in out.masked) == 1
    assert outs[0] == outs[1]
    assert json.loads(outs[0])["Environment"]["Variables"]["A"] == mask_of("one")


def test_a_modelled_error_member_is_masked() -> None:
    # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html
    body = {
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
        "Item": {"ssn": {"S": "078-05-1120"}},
    }
    case = Case("dynamodb", "PutItem", "json", "Item.*.S")
    raw = answer(json.dumps(body).encode(), "application/x-amz-json-1.0", status=400)
    out = redact(case.rules, case.decoded, raw, KEY)
    assert b"078-05-1120" not in out.response.body
    assert json.loads(out.response.body)["message"] == body["message"]


def test_an_error_that_no_rule_reaches_is_the_same_answer() -> None:
    case = Case("secretsmanager", "GetSecretValue", "json", "SecretString")
    raw = answer(b"<html>503</html>", "text/html", status=503)
    assert redact(case.rules, case.decoded, raw, KEY).response is raw


@pytest.mark.parametrize(
    "body",
    [
        b'{"SecretString":"one","SecretString":"two"}',
        b'{"SecretString":"one"} {}',
        b'{"SecretString":"one"',
        b'\xef\xbb\xbf{"SecretString":"one"}',
        b'{"SecretString":"\xff"}',
        b'{"SecretString":"one","CreatedDate":NaN}',
        b'["SecretString"]',
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'"SecretString"',
    ],
)
def test_what_is_not_exactly_one_json_object_is_refused(body: bytes) -> None:
    case = Case("secretsmanager", "GetSecretValue", "json", "SecretString")
    with pytest.raises(Unredactable) as caught:
        redact(case.rules, case.decoded, answer(body, JSON), KEY)
    assert caught.value.__context__ is None
    assert "one" not in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_json_round_trips(value: object) -> None:
    for ascii_only in (True, False):
        body = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")).encode("utf-8", "surrogatepass")
        try:
            tree, numbers = loads(body)
        except UnicodeDecodeError:
            continue  # a raw surrogate, which is no UTF-8
        assert dumps(tree, ascii_only, numbers) == body


@pytest.mark.parametrize(
    "text", ["1.50", "1.5E9", "1e400", "-1.0e-400", "3.14159265358979323846264338327950288", "-0.0"]
)
def test_floats_keep_their_spelling(text: str) -> None:
    body = f'{{"a":[{text},{{"b":{text}}}],"c":"é"}}'.encode()
    tree, numbers = loads(body)
    assert dumps(tree, False, numbers) == body


def test_a_lone_surrogate_stays_an_escape() -> None:
    body = b'{"a":"\\ud800","b":1.50}'
    tree, numbers = loads(body)
    assert dumps(tree, False, numbers) == body
