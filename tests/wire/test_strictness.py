"""Whatever two readers could read differently is refused; beside each refusal stands the plain request that passes."""

import gzip
import json

import cbor2
import pytest

from tests.wire.requests import (
    CBOR,
    DYNAMODB,
    IAM,
    LAMBDA,
    S3,
    ask,
    cbor_ask,
    decoded,
    form_ask,
    json_ask,
    read,
    refused,
    xml_ask,
)

ITEM = b'{"TableName": "t", "Key": {"id": {"S": "1"}}}'
USER = "Action=GetUser&Version=2010-05-08"
SCOPE = "AWS4-HMAC-SHA256 Credential=AKIA/20260102/{}/aws4_request, SignedHeaders=host, Signature=0"
TAGGING = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"


class TestForms:
    def test_plain(self) -> None:
        assert read(form_ask(USER + "&UserName=a+b%2Bc")) == ("iam:GetUser", {"UserName": "a b+c"})

    def test_lists_are_numbered_from_one(self) -> None:
        ask_ = "Action=ListPoliciesGrantingServiceAccess&Version=2010-05-08&Arn=a&ServiceNamespaces.member."
        assert read(form_ask(ask_ + "2=y&" + ask_.split("&")[3] + "1=x"))[1]["ServiceNamespaces"] == ["x", "y"]

    @pytest.mark.parametrize(
        "keys",
        [
            ("1", "3"),  # a gap
            ("0", "1"),
            ("01",),
            ("1", "01"),
            ("+1",),
            ("１",),
            ("-1",),
            ("2",),
            ("",),
        ],
    )
    def test_lists_numbered_otherwise_are_refused(self, keys: tuple[str, ...]) -> None:
        fields = "".join(f"&ServiceNamespaces.member.{key}=x" for key in keys)
        refused(form_ask("Action=ListPoliciesGrantingServiceAccess&Version=2010-05-08&Arn=a" + fields))

    def test_an_empty_list_is_an_empty_value(self) -> None:
        fields = "Action=ListPoliciesGrantingServiceAccess&Version=2010-05-08&Arn=a&ServiceNamespaces="
        assert read(form_ask(fields))[1]["ServiceNamespaces"] == []

    @pytest.mark.parametrize(
        "body",
        [
            USER + "&Action=DeleteUser",
            USER + "&UserName=a&UserName=b",
            USER + "&UserName=a&UserName.x=b",  # leaf and prefix
            USER + "&UserName.x=b&UserName=a",
            USER + "&username=a",  # another case
            USER + "&Unknown=a",
            USER + ";UserName=a",
            USER + "&UserName=%zz",
            USER + "&UserName=%ff",
            USER + "&UserName=é",
            USER + "&&UserName=a",
            USER + "&=a",
            "Action=GetUser",
            "Version=2010-05-08",
            "Action=GetUser&Version=2010-05-09",
            "Action=getuser&Version=2010-05-08",
            "Action=Nothing&Version=2010-05-08",
            "",
        ],
    )
    def test_refused(self, body: str) -> None:
        refused(form_ask(body))

    def test_action_in_query_string_and_body(self) -> None:
        refused(form_ask(USER, target="/?Action=DeleteUser"))
        refused(form_ask(USER, target="/?UserName=a"))
        refused(form_ask(USER, target="/path"))

    def test_action_in_the_query_string_of_a_get(self) -> None:
        assert read(ask(IAM, "GET", f"/?{USER}&UserName=a")) == ("iam:GetUser", {"UserName": "a"})
        refused(ask(IAM, "GET", f"/?{USER}&UserName=a&UserName=b"))
        refused(ask(IAM, "GET", f"/?{USER}", b"UserName=b"))

    def test_target_with_action(self) -> None:
        refused(form_ask(USER, X_Amz_Target="AWSIdentityManagementV20100508.GetUser"))

    def test_content_type_of_another_protocol(self) -> None:
        refused(ask(IAM, "POST", "/", USER.encode(), {"Content-Type": "application/json"}))
        refused(
            ask(IAM, "POST", "/", USER.encode(), {"Content-Type": "application/x-www-form-urlencoded; charset=utf-16"})
        )

    @pytest.mark.parametrize("number", ["1_0", " 5", "+5", "007", "٥", "²", "5.0", "1e2", "-0", "99999999999"])
    def test_numbers_outside_the_grammar(self, number: str) -> None:
        fields = "Action=ListUsers&Version=2010-05-08&MaxItems="
        assert read(form_ask(fields + "5"))[1] == {"MaxItems": 5}
        from urllib.parse import quote

        refused(form_ask(fields + quote(number)))

    @pytest.mark.parametrize("value", ["True", "1", "yes", "", "TRUE"])
    def test_booleans_outside_the_grammar(self, value: str) -> None:
        refused(form_ask(f"Action=UpdateAccountPasswordPolicy&Version=2010-05-08&RequireSymbols={value}"))

    def test_floods_are_refused_at_once(self) -> None:
        refused(form_ask(USER + "&" * 8_000_000))
        refused(form_ask(USER + "&" + "a." * 1_000_000 + "b=1"))


class TestJson:
    def test_plain(self) -> None:
        assert read(json_ask(ITEM)) == ("dynamodb:GetItem", {"TableName": "t", "Key": {"id": {"S": "1"}}})

    @pytest.mark.parametrize(
        "body",
        [
            b'{"TableName": "t", "TableName": "u", "Key": {}}',
            b'{"tableName": "t"}',
            b'{"TableName": "t", "Unknown": 1}',
            b'{"TableName": 5}',
            b'{"TableName": ["t"]}',
            b'{"ConsistentRead": 1}',
            b'{"ConsistentRead": "true"}',
            b'{"Key": []}',
            b'{"Key": {"id": {"B": "not base64"}}}',
            b'{"Key": {"id": {"B": "YR=="}}}',  # not canonical
            b'{"TableName": "\\ud800"}',
            b"\xef\xbb\xbf{}",
            '{"TableName": "t"}'.encode("utf-16"),
            b'{"TableName": "\xff"}',
            b"{} {}",
            b"{}x",
            b"[]",
            b"null",
            b"",
            b'{"AttributesToGet": [NaN]}',
            b'{"TableName": "t",}',
            b"{'TableName': 't'}",
        ],
    )
    def test_refused(self, body: bytes) -> None:
        refused(json_ask(body))

    @pytest.mark.parametrize("number", ["5.0", '"5"', "true", "1e2", "99999999999", "-99999999999", "9" * 5000])
    def test_integers(self, number: str) -> None:
        target = "DynamoDB_20120810.ListTables"
        assert read(json_ask(b'{"Limit": 5}', target))[1] == {"Limit": 5}
        refused(json_ask(f'{{"Limit": {number}}}'.encode(), target))

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"5"', '"nan"', "true"])
    def test_floats(self, number: str) -> None:
        host = "monitoring.us-east-1.amazonaws.com"
        target = "GraniteServiceVersion20100801.PutMetricAlarm"

        def asked(value: str) -> bytes:
            return f'{{"AlarmName": "a", "Threshold": {value}}}'.encode()

        assert read(json_ask(asked("2.5"), target, host))[1]["Threshold"] == 2.5
        assert str(read(json_ask(asked('"NaN"'), target, host))[1]["Threshold"]) == "nan"
        refused(json_ask(asked(number), target, host))

    def test_depth(self) -> None:
        nested = b'{"L": [' * 100_000 + b"]}" * 100_000
        refused(json_ask(b'{"TableName": "t", "Key": {"id": ' + nested + b"}}"))
        shallow = b'{"L": [' * 20 + b'{"S": "x"}' + b"]}" * 20
        assert read(json_ask(b'{"TableName": "t", "Key": {"id": ' + shallow + b"}}"))
        deep = b'{"L": [' * 40 + b'{"S": "x"}' + b"]}" * 40
        refused(json_ask(b'{"TableName": "t", "Key": {"id": ' + deep + b"}}"))

    @pytest.mark.parametrize(
        "target",
        [
            "DynamoDB_20120810.getitem",
            "dynamodb_20120810.GetItem",
            "DynamoDB_20111205.GetItem",
            "x.DynamoDB_20120810.GetItem",
            "DynamoDB_20120810..GetItem",
            "GetItem",
            "",
            "AWSSecurityTokenServiceV20110615.GetCallerIdentity",
            "DynamoDB_20120810.GetItem ",
        ],
    )
    def test_targets_are_compared_whole(self, target: str) -> None:
        refused(json_ask(ITEM, target))

    def test_target_prefixes_may_hold_dots(self) -> None:
        target = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.ListTrails"
        given = ask(
            "cloudtrail.us-east-1.amazonaws.com",
            "POST",
            "/",
            b"{}",
            {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"},
        )
        assert read(given)[0] == "cloudtrail:ListTrails"

    def test_two_targets(self) -> None:
        refused(json_ask(ITEM, x_amz_target="DynamoDB_20120810.DeleteTable"))

    @pytest.mark.parametrize(
        "kind", ["application/x-amz-json-1.1", "application/json", "application/cbor", "", "text/plain"]
    )
    def test_content_type_of_another_protocol(self, kind: str) -> None:
        refused(ask(DYNAMODB, "POST", "/", ITEM, {"X-Amz-Target": "DynamoDB_20120810.GetItem", "Content-Type": kind}))

    def test_only_a_post_to_the_root(self) -> None:
        head = {"X-Amz-Target": "DynamoDB_20120810.GetItem", "Content-Type": "application/x-amz-json-1.0"}
        for method, target in (("GET", "/"), ("PUT", "/"), ("POST", "/x"), ("POST", "/?a=b"), ("POST", "//")):
            refused(ask(DYNAMODB, method, target, ITEM, head))

    def test_an_unknown_member_says_to_upgrade(self) -> None:
        assert "upgrade botocore" in refused(json_ask(b'{"BrandNew": 1}')).hint
        assert "upgrade botocore" in refused(json_ask(b"{}", "DynamoDB_20120810.BrandNew")).hint

    def test_timestamps_keep_microseconds(self) -> None:
        given = ask(
            "logs.us-east-1.amazonaws.com".replace("logs", "kinesis"),
            "POST",
            "/",
            b'{"StreamName": "s", "StreamCreationTimestamp": 1700000000.123457}',
            {"X-Amz-Target": "Kinesis_20131202.ListShards", "Content-Type": "application/x-amz-json-1.1"},
        )
        assert read(given)[1]["StreamCreationTimestamp"].isoformat() == "2023-11-14T22:13:20.123457+00:00"


class TestCbor:
    def test_plain(self) -> None:
        assert read(cbor_ask(cbor2.dumps({"Namespace": "n"}))) == ("cloudwatch:ListMetrics", {"Namespace": "n"})

    def test_indefinite_lengths_are_legal(self) -> None:
        body = bytes.fromhex("bf694e616d657370616365616eff")
        assert read(cbor_ask(body))[1] == {"Namespace": "n"}

    @pytest.mark.parametrize(
        "body",
        [
            "a2694e616d657370616365616e694e616d657370616365616f",  # duplicate keys
            "a1694e616d657370616365c0616e",  # tag 0
            "a1694e616d657370616365c24101",  # tag 2
            "d81ca1694e616d657370616365616e",  # tag 28, shared
            "d9d9f7a1694e616d657370616365616e",  # tag 55799, self-described
            "a1694e616d657370616365c1616e",  # tag 1 over text
            "a1694e616d657370616365f7",  # undefined
            "a10101",  # a key that is no text
            "a1694e616d657370616365616e00",  # trailing
            "a1694e616d657370616365",  # cut off
            "a1694e616d65737061636561ff",  # not UTF-8
            "a1676e6f7468696e67616e",  # unknown
            "80",
            "f6",
            "81" * 100_000,
        ],
    )
    def test_refused(self, body: str) -> None:
        refused(cbor_ask(bytes.fromhex(body)))

    def test_marks_of_other_protocols(self) -> None:
        body = cbor2.dumps({})
        refused(cbor_ask(body, X_Amz_Target="GraniteServiceVersion20100801.ListMetrics"))
        refused(cbor_ask(body, smithy_protocol="rpc-v2-json"))
        refused(
            ask(
                CBOR,
                "POST",
                "/service/GraniteServiceVersion20100801/operation/ListMetrics",
                body,
                {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/json"},
            )
        )
        refused(
            ask(
                CBOR,
                "POST",
                "/service/GraniteServiceVersion20100801/operation/ListMetrics?a=b",
                body,
                {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"},
            )
        )
        refused(cbor_ask(body, "listmetrics"))

    def test_timestamps_stand_under_tag_1(self) -> None:
        body = cbor2.dumps({"AlarmName": "a", "StartDate": cbor2.CBORTag(1, 1700000000.5)})
        assert (
            read(cbor_ask(body, "DescribeAlarmHistory"))[1]["StartDate"].isoformat()
            == "2023-11-14T22:13:20.500000+00:00"
        )
        refused(cbor_ask(cbor2.dumps({"AlarmName": "a", "StartDate": 1700000000}), "DescribeAlarmHistory"))


class TestXml:
    def test_plain(self) -> None:
        operation, params = read(xml_ask(TAGGING))
        assert operation == "s3:PutBucketTagging"
        assert params == {"Bucket": "example-bucket", "Tagging": {"TagSet": [{"Key": "k", "Value": "v"}]}}

    def test_with_its_namespace(self) -> None:
        xmlns = '<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        assert read(xml_ask(TAGGING.replace("<Tagging>", xmlns)))[1] == read(xml_ask(TAGGING))[1]

    @pytest.mark.parametrize(
        "body",
        [
            "<!DOCTYPE x>" + TAGGING,
            '<!DOCTYPE x [<!ENTITY e "v">]>' + TAGGING.replace("<Value>v", "<Value>&e;"),
            "<!--c-->" + TAGGING,
            TAGGING.replace("<Value>v", "<Value>a<!--c-->b"),
            TAGGING.replace("<Value>v", "<Value>a<?p i?>b"),
            TAGGING.replace("<Value>v", "<Value><a/>v"),
            TAGGING.replace("<Key>", "<key>").replace("</Key>", "</key>"),
            TAGGING.replace("<Tag>", "<Tag><Unknown/>"),
            TAGGING.replace("<Tag>", "<Tag><Key>other</Key>"),
            TAGGING.replace("<Tag>", '<Tag x="y">'),
            TAGGING.replace("<Tag>", "<Tag>text"),
            TAGGING.replace("<Tag>", '<Tag xmlns="urn:x">'),
            TAGGING.replace("<Tagging>", '<Tagging xmlns="urn:x">'),
            TAGGING.replace("Tagging", "Tag"),
            TAGGING + TAGGING,
            TAGGING[:-3],
            TAGGING.encode("utf-16"),
            ('<?xml version="1.0" encoding="UTF-16"?>' + TAGGING).encode("utf-16"),
            ('<?xml version="1.0" encoding="ISO-8859-1"?>' + TAGGING).encode(),
            "<a>" * 100_000,
            "x",
        ],
    )
    def test_refused(self, body: str | bytes) -> None:
        refused(xml_ask(body))


class TestRest:
    def test_plain(self) -> None:
        assert read(ask(LAMBDA, "GET", "/2015-03-31/functions/f%3A1?Qualifier=q")) == (
            "lambda:GetFunction",
            {"FunctionName": "f:1", "Qualifier": "q"},
        )

    def test_a_trailing_slash_of_the_model_may_be_left_out(self) -> None:
        assert read(ask(LAMBDA, "GET", "/2015-03-31/functions"))[0] == "lambda:ListFunctions"

    @pytest.mark.parametrize(
        "target",
        [
            "/2015-03-31/functions/../functions/f",
            "/2015-03-31/functions/./f",
            "/2015-03-31/functions/%2e%2e",
            "/2015-03-31/functions/a%2F..%2Fb",
            "/2015-03-31//functions/f",
            "//2015-03-31/functions/f",
            "/2015-03-31/functions/f/",
            "/2015-03-31/functions/f%2Fpolicy",  # read as a slash, it would be GetPolicy
            "/2015-03-31/functions/f;x",
            "/2015-03-31/functions/f%5",
            "/2015-03-31/functions/%ff",
            "/2015-03-31/functions/%66",
            "/2015-03-31/functions\\f",
            "/2015-03-31/functions/f#x",
            "/2015-03-31/functions/f?Qualifier=q&Qualifier=r",
            "/2015-03-31/functions/f?qualifier=q",
            "/2015-03-31/functions/f?Unknown=q",
            "/2015-03-31/functions/f?Qualifier",
            "/2015-03-31/functions/f?Qualifier=a;b=c",
            "/2015-03-31/functions/f?Qualifier=a+b",
            "/2015-03-31/functions/f?x-id=DeleteFunction",
            "http://lambda.us-east-1.amazonaws.com/2015-03-31/functions/f",
            "/2015-03-31/functions/é",
        ],
    )
    def test_refused(self, target: str) -> None:
        refused(ask(LAMBDA, "GET", target))

    def test_the_javascript_sdk_names_the_operation(self) -> None:
        assert read(ask(S3, "GET", "/b/k?x-id=GetObject"))[0] == "s3:GetObject"
        refused(ask(S3, "GET", "/b/k?x-id=PutObject"))

    def test_bodies(self) -> None:
        json_type = {"Content-Type": "application/json"}
        refused(ask(LAMBDA, "GET", "/2015-03-31/functions/f", b"{}", json_type))
        path = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af"
        assert read(ask(LAMBDA, "POST", path, b'{"Tags": {"a": "b"}}', json_type))[0] == "lambda:TagResource"
        for body in (b'{"Tags": {"a": "b"}, "Resource": "x"}', b'{"tags": {}}', b"[]", b'{"Tags": {"a": 1}}'):
            refused(ask(LAMBDA, "POST", path, body, json_type))
        for kind in ("application/x-amz-json-1.1", "text/plain", "application/xml", ""):
            refused(ask(LAMBDA, "POST", path, b'{"Tags": {"a": "b"}}', {"Content-Type": kind}))

    def test_method_tricks(self) -> None:
        refused(ask(LAMBDA, "get", "/2015-03-31/functions/f"))
        refused(ask(LAMBDA, "POST", "/2015-03-31/functions/f"))
        refused(ask(LAMBDA, "GET", "/2015-03-31/functions/f", headers={"X-HTTP-Method-Override": "DELETE"}))

    @pytest.mark.parametrize(
        "name", ["X-Forwarded-For", "x-amzn-source-account", "X-Amz-Invented", "X-Original-URL", "Cookie"]
    )
    def test_unmodelled_headers(self, name: str) -> None:
        assert name.lower() in refused(ask(LAMBDA, "GET", "/2015-03-31/functions/f", headers={name: "x"})).reason
        refused(json_ask(ITEM, **{name.replace("-", "_"): "x"}))
        refused(form_ask(USER, **{name.replace("-", "_"): "x"}))

    def test_duplicate_headers(self) -> None:
        refused(ask(LAMBDA, "GET", "/2015-03-31/functions/f", headers={"Date": "a", "date": "b"}))


class TestS3:
    @pytest.mark.parametrize(
        ("target", "bucket", "key"),
        [
            ("/public/../private/key", "public", "../private/key"),
            ("/public//key", "public", "/key"),
            ("/public/a%2Fb", "public", "a/b"),
            ("/public/a%2Bb%20c/", "public", "a+b c/"),
            ("/public/%E2%98%83", "public", "☃"),
            ("/public/a%2520b", "public", "a%20b"),
        ],
    )
    def test_keys_are_the_exact_rest(self, target: str, bucket: str, key: str) -> None:
        assert read(ask(S3, "GET", target)) == ("s3:GetObject", {"Bucket": bucket, "Key": key})

    def test_the_host_wins_over_the_path(self) -> None:
        given = ask("one.s3.us-east-1.amazonaws.com", "GET", "/two/key")
        assert read(given) == ("s3:GetObject", {"Bucket": "one", "Key": "two/key"})
        assert read(ask("one.s3.us-east-1.amazonaws.com", "GET", "/")) == ("s3:ListObjects", {"Bucket": "one"})
        assert read(ask(S3, "GET", "/"))[0] == "s3:ListBuckets"

    @pytest.mark.parametrize(
        "target",
        ["//private/key", "/b?tagging&policy", "/b?acl&policy", "/b?policy=x", "/b?Policy", "/b/%41", "/../b/k"],
    )
    def test_refused(self, target: str) -> None:
        refused(ask(S3, "GET", target))

    def test_subresources(self) -> None:
        assert read(ask(S3, "GET", "/b?policy"))[0] == "s3:GetBucketPolicy"
        assert read(ask(S3, "GET", "/b?policy="))[0] == "s3:GetBucketPolicy"
        assert read(ask(S3, "GET", "/b?list-type=2&prefix=a%2Fb"))[1] == {"Bucket": "b", "Prefix": "a/b"}

    def test_a_copy_is_no_put(self) -> None:
        given = ask(S3, "PUT", "/b/k", headers={"x-amz-copy-source": "/secret/key"})
        assert read(given) == ("s3:CopyObject", {"Bucket": "b", "Key": "k", "CopySource": "/secret/key"})
        part = ask(S3, "PUT", "/b/k?partNumber=1&uploadId=u", headers={"x-amz-copy-source": "/secret/key"})
        assert read(part)[0] == "s3:UploadPartCopy"

    def test_a_deprecated_operation_and_its_successor_are_one_class(self) -> None:
        found = decoded(ask(S3, "GET", "/b?lifecycle"))
        assert found.operation == "GetBucketLifecycleConfiguration"
        assert set(found.candidates) == {("s3", "GetBucketLifecycleConfiguration"), ("s3", "GetBucketLifecycle")}


class TestNames:
    @pytest.mark.parametrize(
        "host",
        [
            "s3.us-east-1.amazonaws.com.",
            "S3.us-east-1.amazonaws.com",
            "s3.us-east-1.amazonaws.com:443",
            "s3.us-east-1..amazonaws.com",
            "s3.us-east-1.amazonaws.com.evil.com",
            "evils3.us-east-1.amazonaws.com.cn.",
            "",
            "127.0.0.1",
            "localhost",
            "é.s3.amazonaws.com",
        ],
    )
    def test_hosts_that_are_not_plain(self, host: str) -> None:
        refused(ask(host, "GET", "/"))

    def test_a_region_belongs_to_its_partition(self) -> None:
        assert read(ask("s3.cn-north-1.amazonaws.com.cn", "GET", "/"))[0] == "s3:ListBuckets"
        refused(ask("s3.cn-north-1.amazonaws.com", "GET", "/"))
        refused(ask("dynamodb.cn-north-1.amazonaws.com", "POST", "/"))

    @pytest.mark.parametrize("scope", ["us-west-2/dynamodb", "us-east-1/s3", "us-east-1/DynamoDB"])
    def test_a_scope_that_differs_from_the_host(self, scope: str) -> None:
        assert read(json_ask(ITEM, Authorization=SCOPE.format("us-east-1/dynamodb")))
        refused(json_ask(ITEM, Authorization=SCOPE.format(scope)))

    @pytest.mark.parametrize(
        "value",
        [
            "AWS4-ECDSA-P256-SHA256 Credential=AKIA/20260102/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
            "AWS AKIA:x",
            "Basic eDp5",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=AKIA/x/us-east-1/dynamodb/aws4_request, a",
        ],
    )
    def test_other_signatures(self, value: str) -> None:
        refused(json_ask(ITEM, Authorization=value))

    def test_a_global_service_has_its_rules_region(self) -> None:
        found = decoded(form_ask(USER, Authorization=SCOPE.format("us-east-1/iam")))
        assert (found.region, found.signing_region, found.host_region) == ("us-east-1", "us-east-1", None)
        refused(form_ask(USER, Authorization=SCOPE.format("eu-west-1/iam")))

    def test_a_presigned_query_is_checked_and_left_out(self) -> None:
        signed = (
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260102%2F{}%2Faws4_request"
            f"&X-Amz-Date=20260102T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature={'0' * 64}"
        )
        assert read(ask(S3, "GET", "/b/k?" + signed.format("us-east-1%2Fs3")))[1] == {"Bucket": "b", "Key": "k"}
        refused(ask(S3, "GET", "/b/k?" + signed.format("us-west-2%2Fs3")))
        sts = ask(
            "sts.amazonaws.com",
            "GET",
            "/?Action=GetCallerIdentity&Version=2011-06-15&" + signed.format("us-east-1%2Fsts"),
        )
        assert read(sts)[0] == "sts:GetCallerIdentity"
        refused(
            ask(
                S3,
                "GET",
                "/b/k?" + signed.format("us-east-1%2Fs3"),
                headers={"Authorization": SCOPE.format("us-east-1/s3")},
            )
        )

    def test_an_unsigned_request_is_read_all_the_same(self) -> None:
        body = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=r&RoleSessionName=s&WebIdentityToken=t"
        found = decoded(form_ask(body, host="sts.eu-west-1.amazonaws.com"))
        assert (found.operation, found.region, found.params["WebIdentityToken"]) == (
            "AssumeRoleWithWebIdentity",
            "eu-west-1",
            "t",
        )


METRIC = "Action=PutMetricData&Version=2010-08-01&Namespace=n"
GZIP = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}


class TestBodies:
    def compressed(self, body: bytes) -> object:
        return ask(CBOR, "POST", "/", body, GZIP)

    def test_gzip_where_the_operation_takes_it(self) -> None:
        assert read(self.compressed(gzip.compress(METRIC.encode())))[1] == {"Namespace": "n"}
        refused(self.compressed(gzip.compress(METRIC.replace("PutMetricData", "ListMetrics").encode())))
        refused(ask(IAM, "POST", "/", gzip.compress(USER.encode()), GZIP))
        refused(json_ask(gzip.compress(ITEM), Content_Encoding="gzip"))

    def test_bad_gzip(self) -> None:
        good = gzip.compress(METRIC.encode())
        bomb = gzip.compress(METRIC.encode() + b"&" * 40_000_000)
        for body in (b"garbage", good + good, good + b"x", good[:-1], METRIC.encode(), bomb):
            refused(self.compressed(body))
        for coding in ("gzip, gzip", "deflate", "br", "aws-chunked", "identity"):
            refused(ask(CBOR, "POST", "/", good, GZIP | {"Content-Encoding": coding}))

    def test_too_large(self) -> None:
        refused(json_ask(b" " * (32 * 1024 * 1024 + 1)))

    def test_a_head_alone_is_enough_where_the_body_streams(self) -> None:
        put = ask(S3, "PUT", "/b/k", None)
        assert read(put) == ("s3:PutObject", {"Bucket": "b", "Key": "k"})
        refused(xml_ask(b"").__class__("PUT", S3, "/b?tagging", (("Host", S3),), None))
        refused(json_ask(None))

    def test_json_that_the_model_does_not_know_stays_out_of_reasons(self) -> None:
        long = "x" * 5000
        assert long not in refused(json_ask(json.dumps({long: 1}).encode())).reason


class TestChunked:
    CRC = "FStgqA=="  # CRC-32 of "hello world", big-endian, by `python -c 'import zlib'` and RFC 1952's polynomial

    def put(self, body: bytes, **headers: str) -> object:
        given = {
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-decoded-content-length": "11",
            "x-amz-trailer": "x-amz-checksum-crc32",
            "content-encoding": "aws-chunked",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(S3, "PUT", "/b/k", body, {k: v for k, v in given.items() if v})

    def body(
        self, chunks: bytes = b"5\r\nhello\r\n6\r\n world\r\n", trailer: str = "x-amz-checksum-crc32:DUoRhQ=="
    ) -> bytes:
        return chunks + b"0\r\n" + trailer.encode() + b"\r\n\r\n"

    def test_plain(self) -> None:
        import base64
        import zlib

        assert base64.b64encode(zlib.crc32(b"hello world").to_bytes(4)) == b"DUoRhQ=="
        assert read(self.put(self.body()))[1] == {"Bucket": "b", "Key": "k"}

    def test_other_codings_are_the_objects_own(self) -> None:
        found = read(self.put(self.body(), content_encoding="gzip,aws-chunked"))[1]
        assert found["ContentEncoding"] == "gzip"

    def test_refused(self) -> None:
        for body in (
            self.body(b"5\r\nhello\r\n"),  # shorter than it says
            self.body(b"b\r\nhello world\r\n1\r\nx\r\n"),
            self.body(b"c\r\nhello world\r\n"),
            self.body(b"+5\r\nhello\r\n6\r\n world\r\n"),
            self.body(b"5;x=y\r\nhello\r\n6\r\n world\r\n"),
            self.body(trailer="x-amz-checksum-crc32:AAAAAA=="),
            self.body(trailer="x-amz-checksum-sha1:DUoRhQ=="),
            self.body(trailer="x-amz-checksum-crc32:DUoRhQ==\r\nx-amz-meta-a:b"),
            self.body(trailer=""),
            b"hello world",
            b"",
        ):
            refused(self.put(body))
        refused(self.put(self.body(), x_amz_decoded_content_length=""))
        refused(self.put(self.body(), x_amz_decoded_content_length="+11"))
        refused(self.put(self.body(), x_amz_trailer=""))
        refused(self.put(self.body(), x_amz_content_sha256="STREAMING-NEW"))
        refused(self.put(self.body(), x_amz_content_sha256="UNSIGNED-PAYLOAD"))
        refused(
            xml_ask(
                self.body(),
                x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                x_amz_decoded_content_length="11",
                x_amz_trailer="x-amz-checksum-crc32",
            )
        )
