"""Members of a newer SDK: refused by default; named and left out where the caller asks for it; nothing else gets by."""

from dataclasses import replace

import botocore.session
import cbor2
import pytest
from botocore.config import Config

from addons import wire
from addons.wire import HttpRequest, Undecodable
from tests.wire.requests import IAM, LAMBDA, ask, cbor_ask, form_ask, json_ask, xml_ask

JSON = b'{"TableName": "t", "Key": {}, "Extra": %s}'
SQS = "sqs.us-east-1.amazonaws.com"
EC2 = "ec2.us-east-1.amazonaws.com"
FUNCTION = "/2015-03-31/functions/f/configuration"


def invoke(body: bytes) -> HttpRequest:
    return ask(LAMBDA, "PUT", FUNCTION, body, {"Content-Type": "application/json"})


CASES = {
    "json": (json_ask(JSON % b'{"a": [1, null]}'), {"TableName": "t", "Key": {}}, ("GetItemInput.Extra",)),
    "json, deep": (
        json_ask(b'{"TableName": "t", "Key": {"id": {"S": "1"}}, "ExpressionAttributeNames": {}, "Extra": null}'),
        {"TableName": "t", "Key": {"id": {"S": "1"}}, "ExpressionAttributeNames": {}},
        ("GetItemInput.Extra",),
    ),
    "json, new variant of a union-like structure": (
        json_ask(b'{"TableName": "t", "Key": {"id": {"S": "1", "Vector": [1]}}}'),
        {"TableName": "t", "Key": {"id": {"S": "1"}}},
        ("AttributeValue.Vector",),
    ),
    "cbor": (
        cbor_ask(cbor2.dumps({"Namespace": "n", "Dimensions": [{"Name": "d", "Extra": b"\0"}]})),
        {"Namespace": "n", "Dimensions": [{"Name": "d"}]},
        ("DimensionFilter.Extra",),
    ),
    "query": (
        form_ask("Action=ListUsers&Version=2010-05-08&PathPrefix=%2F&Extra.member.1=a&Extra.member.2=b"),
        {"PathPrefix": "/"},
        ("ListUsersRequest.Extra",),
    ),
    "query of old SQS": (
        form_ask("Action=ListQueues&Version=2012-11-05&QueueNamePrefix=a&Extra=1", host=SQS),
        {"QueueNamePrefix": "a"},
        ("ListQueuesRequest.Extra",),
    ),
    "ec2, deep": (
        form_ask("Action=DescribeVpcs&Version=2016-11-15&Filter.1.Name=n&Filter.1.Extra=x", host=EC2),
        {"Filters": [{"Name": "n"}]},
        ("Filter.Extra",),
    ),
    "rest-json": (
        invoke(b'{"Timeout": 3, "Extra": {"x": 1}, "VpcConfig": {"Extra": true}}'),
        {"FunctionName": "f", "Timeout": 3, "VpcConfig": {}},
        ("UpdateFunctionConfigurationRequest.Extra", "VpcConfig.Extra"),
    ),
    "rest-xml": (
        xml_ask("<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value><Extra><a>1</a></Extra></Tag></TagSet></Tagging>"),
        {"Bucket": "example-bucket", "Tagging": {"TagSet": [{"Key": "k", "Value": "v"}]}},
        ("Tag.Extra",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_unknown_members_are_refused_or_named_and_left_out(case: str) -> None:
    request, params, unknown = CASES[case]
    with pytest.raises(Undecodable, match="unknown") as refused:
        wire.decode(request)
    assert "upgrade botocore" in refused.value.hint
    found = wire.decode(request, unknown=True)
    assert (found.params, found.unknown) == (params, unknown)
    with pytest.raises(Undecodable):  # asking for it once changes nothing for the next
        wire.decode(request)


def test_what_is_known_is_read_alike() -> None:
    for request in (json_ask(b'{"TableName": "t", "Key": {}}'), form_ask("Action=ListUsers&Version=2010-05-08")):
        assert wire.decode(request, unknown=True) == wire.decode(request)
        assert wire.decode(request).unknown == ()


def test_at_most_twenty_are_named() -> None:
    extra = b", ".join(b'"Extra%d": 1' % number for number in range(30))
    found = wire.decode(json_ask(b'{"TableName": "t", "Key": {}, %s}' % extra), unknown=True)
    assert found.unknown == tuple(f"GetItemInput.Extra{number}" for number in range(20))


STRICT = {
    "a known name in another case": json_ask(b'{"TableName": "dev", "Key": {}, "tablename": "prod"}'),
    "a known name with a separator": json_ask(b'{"TableName": "dev", "Key": {}, "table_name": "prod"}'),
    "a name that is none": json_ask(b'{"TableName": "dev", "Key": {}, "TableName ": "prod"}'),
    "a name of letters that fold": json_ask('{"TableName": "dev", "Key": {}, "\u212aey": {}}'.encode()),
    "a type of the protocol": json_ask(b'{"TableName": "dev", "Key": {}, "__type": "Other"}'),
    "a path parameter in the body": invoke(b'{"FunctionName": "other"}'),
    "a duplicate": json_ask(b'{"TableName": "t", "Key": {}, "Extra": 1, "Extra": 2}'),
    "a duplicate within": json_ask(JSON % b'{"a": 1, "a": 2}'),
    "depth": json_ask(JSON % (b"[" * 80 + b"]" * 80)),
    "depth of XML": xml_ask("<Tagging><TagSet/>" + "<E>" * 80 + "</E>" * 80 + "</Tagging>"),
    "a key of CBOR that is no string": cbor_ask(cbor2.dumps({"Extra": {1: 2}})),
    "a body that is another type": json_ask(JSON.replace(b'"t"', b"1") % b"1"),
    "a form's duplicate": form_ask("Action=ListUsers&Version=2010-05-08&Extra=1&Extra=2"),
    "a form's answer in JSON": form_ask("Action=ListUsers&Version=2010-05-08&ContentType=JSON"),
    "another action": form_ask("Action=ListUsers&Version=2010-05-08&action=DeleteUser"),
    "keys of the agent's own": form_ask("Action=ListUsers&Version=2010-05-08&AWSAccessKeyId=AKIA&Signature=0"),
    "a signature in the form": form_ask("Action=ListUsers&Version=2010-05-08&X-Amz-Signature=0"),
    "an unknown attribute": xml_ask('<Tagging><TagSet/><Extra a="1"/></Tagging>'),
    "a comment within": xml_ask("<Tagging><TagSet/><Extra><!-- c --></Extra></Tagging>"),
    "another namespace within": xml_ask('<Tagging><TagSet/><Extra><a xmlns="urn:b"/></Extra></Tagging>'),
    "mixed content within": xml_ask("<Tagging><TagSet/><Extra>text<a/></Extra></Tagging>"),
    "a query's parameter": ask(IAM, "GET", "/?Action=ListUsers&Version=2010-05-08&Extra=1"),
    "a query key": ask(LAMBDA, "GET", "/2015-03-31/functions?extra=1"),
    "a header": ask(LAMBDA, "GET", "/2015-03-31/functions", headers={"X-Extra": "1"}),
    "a target": json_ask(b"{}", target="DynamoDB_20120810.GetItems"),
    "an action": form_ask("Action=ListUserss&Version=2010-05-08"),
}


@pytest.mark.parametrize("case", STRICT)
def test_everything_else_stays_refused(case: str) -> None:
    with pytest.raises(Undecodable):
        wire.decode(STRICT[case], unknown=True)


@pytest.mark.parametrize(("operation", "method"), [("get_object", "GET"), ("put_object", "PUT")])
@pytest.mark.parametrize("token", [None, "a/token+"])
def test_a_presigned_url_of_botocore_is_read_as_its_call(operation: str, method: str, token: str | None) -> None:
    """The gateway takes no signature in a query; `sluicegate decode` reads what the URL asks for."""
    session = botocore.session.Session()
    session.set_credentials("AKIAIOSFODNN7EXAMPLE", "secret", token)
    client = session.create_client("s3", "us-east-1", config=Config(signature_version="s3v4"))
    url = client.generate_presigned_url(operation, {"Bucket": "b-1", "Key": "a/k"})
    _, _, host, target = url.split("/", 3)
    for scope, other in (("us-east-1", None), ("us-east-1", "eu-west-1")):
        request = ask(host, method, "/" + (target.replace(scope, other) if other else target))
        if other:
            with pytest.raises(Undecodable, match="credential scope"):
                wire.decode(request)
        else:
            found = wire.decode(replace(request, body=b""))
            assert (found.operation, found.params) == (
                operation.title().replace("_", ""),
                {"Bucket": "b-1", "Key": "a/k"},
            )


def test_a_presigned_sts_query_of_botocore_is_read_as_its_call() -> None:
    session = botocore.session.Session()
    session.set_credentials("AKIAIOSFODNN7EXAMPLE", "secret", "a/token+")
    client = session.create_client("sts", "eu-west-1")
    url = client.generate_presigned_url("get_caller_identity", {}, HttpMethod="GET")
    _, _, host, target = url.split("/", 3)
    found = wire.decode(ask(host, "GET", "/" + target))
    assert (found.service, found.operation, found.params) == ("sts", "GetCallerIdentity", {})
    with pytest.raises(Undecodable, match="credential scope"):
        wire.decode(ask(host, "GET", "/" + target.replace("%2Fsts%2F", "%2Fiam%2F")))
