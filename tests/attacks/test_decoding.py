"""An agent that knows the decoder: requests that AWS would read otherwise than we do. Beside each, one that passes."""

import pytest

from addons import wire
from tests.wire.requests import IAM, S3, ask, cbor_ask, form_ask, json_ask, read, refused

APIGATEWAY = "apigateway.us-east-1.amazonaws.com"
COPY = "/public/copy"


@pytest.mark.parametrize("target", ["/public/my+secret", "/a+b/key"])
def test_s3_reads_a_plus_in_a_path_as_a_space_and_we_as_a_plus(target: str) -> None:
    refused(ask(S3, "GET", target))
    refused(ask("one.s3.us-east-1.amazonaws.com", "GET", target))
    assert read(ask(S3, "GET", target.replace("+", "%20")))[0] == "s3:GetObject"
    assert read(ask(S3, "GET", target.replace("+", "%2B")))[0] == "s3:GetObject"


def test_a_plus_in_another_services_path_is_refused_too() -> None:
    host = "lambda.us-east-1.amazonaws.com"
    refused(ask(host, "GET", "/2015-03-31/functions/a+b"))
    assert read(ask(host, "GET", "/2015-03-31/functions/a%20b"))[1] == {"FunctionName": "a b"}


@pytest.mark.parametrize("value", ["/b/public\r\n ?versionId=1", "/b/k\rX-Amz-Acl: public-read", "/b/k\0", "/b/\x7f"])
def test_folded_lines_and_control_characters_in_headers_are_refused(value: str) -> None:
    refused(ask(S3, "PUT", COPY, headers={"x-amz-copy-source": value}))
    assert read(ask(S3, "PUT", COPY, headers={"x-amz-copy-source": "/b/k"}))[0] == "s3:CopyObject"


@pytest.mark.parametrize("accept", ["application/hal+json", "*/*", "application/json, application/hal+json", None])
def test_api_gateways_other_form_of_answer_in_which_no_rule_finds_the_keys_is_refused(accept: str | None) -> None:
    headers = {"Accept": accept} if accept else {}
    refused(ask(APIGATEWAY, "GET", "/apikeys?includeValues=true", headers=headers))
    given = ask(APIGATEWAY, "GET", "/apikeys?includeValues=true", headers={"Accept": "application/json"})
    assert read(given)[0] == "apigateway:GetApiKeys"


def test_a_query_service_is_not_asked_for_json() -> None:
    body = "Action=GetUser&Version=2010-05-08"
    refused(form_ask(body, host=IAM, Accept="application/json"))
    refused(form_ask(body, host=IAM, Accept="text/html, application/json; q=.1, */*; q=.2"))
    for accept in ("*/*", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"):  # curl, Java
        assert read(form_ask(body, host=IAM, Accept=accept))[0] == "iam:GetUser"


def test_accept_may_be_what_sdks_send_and_what_a_model_names() -> None:
    assert read(cbor_ask(b"\xa0", Accept="application/cbor"))[0] == "cloudwatch:ListMetrics"
    given = ask(
        "bedrock-runtime.us-east-1.amazonaws.com",
        "POST",
        "/model/m/invoke",
        b"{}",
        {"Accept": "image/png", "Content-Type": "application/json"},
    )
    assert read(given)[1]["accept"] == "image/png"


def test_another_version_of_an_api_is_refused() -> None:
    body = b'{"TableName": "t", "Key": {"id": {"S": "1"}}}'
    refused(json_ask(body, x_amz_api_version="2011-12-05"))
    assert read(json_ask(body, x_amz_api_version="2012-08-10"))[0] == "dynamodb:GetItem"
    glacier = "glacier.us-east-1.amazonaws.com"
    refused(ask(glacier, "GET", "/-/vaults", headers={"x-amz-glacier-version": "2009-01-01"}))
    assert read(ask(glacier, "GET", "/-/vaults", headers={"x-amz-glacier-version": "2012-06-01"}))


def test_a_trailer_is_a_checksum_and_no_header_of_the_object() -> None:
    def upload(trailer: str, value: str) -> bytes:
        return f"3\r\nabc\r\n0\r\n{trailer}:{value}\r\n\r\n".encode()

    headers = {
        "Content-Encoding": "aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": "3",
    }
    for trailer, value in (("x-amz-acl", "public-read"), ("x-amz-tagging", "a=b"), ("content-type", "text/html")):
        given = headers | {"x-amz-trailer": trailer}
        refused(ask(S3, "PUT", "/b/k", upload(trailer, value), given))
    given = headers | {"x-amz-trailer": "x-amz-checksum-crc32"}
    assert read(ask(S3, "PUT", "/b/k", upload("x-amz-checksum-crc32", "NSRBwg=="), given))[0] == "s3:PutObject"


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t", "\0"])
def test_a_form_with_white_space_that_a_reader_may_trim_is_refused(end: str) -> None:
    body = "Action=GetUser&Version=2010-05-08&UserName=admin"
    refused(form_ask(body + end))
    assert read(form_ask(body)) == ("iam:GetUser", {"UserName": "admin"})


def test_the_account_in_a_host_is_told() -> None:
    item = b'{"TableName": "t", "Key": {"id": {"S": "1"}}}'
    assert wire.decode(json_ask(item, host="999988887777.ddb.us-east-1.amazonaws.com")).host_account == "999988887777"
    assert wire.decode(json_ask(item)).host_account is None
    bucket = ask("999988887777.s3.us-east-1.amazonaws.com", "GET", "/k")
    assert wire.decode(bucket).host_account is None
