"""Which heads are enough to decide on a call: those of streaming blobs whose signature does not need the body."""

import pytest

from addons import wire
from addons.wire import HttpRequest

S3 = "bucket.s3.us-east-1.amazonaws.com"
SHA = "0" * 64


def streams(host: str, service: str, method: str, target: str, payload: str | None, **headers: str) -> bool:
    scope = f"A/20260101/us-east-1/{service}/aws4_request"
    given = {"host": host, "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    given |= {"x-amz-content-sha256": payload} if payload else {}
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return wire.streams(HttpRequest(method, host, target, tuple((given | more).items()), None))


@pytest.mark.parametrize("payload", [SHA, "UNSIGNED-PAYLOAD"])
@pytest.mark.parametrize("target", ["/key", "/key?partNumber=1&uploadId=u"], ids=["PutObject", "UploadPart"])
def test_an_object_streams(target: str, payload: str) -> None:
    assert streams(S3, "s3", "PUT", target, payload)


@pytest.mark.parametrize("kind", ["STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"])
def test_an_object_in_chunks_streams(kind: str) -> None:
    trailer = {"x_amz_trailer": "x-amz-checksum-crc32"} if kind.endswith("TRAILER") else {}
    more = {"content_encoding": "aws-chunked", "x_amz_decoded_content_length": "5"} | trailer
    assert streams(S3, "s3", "PUT", "/key", kind, **more)


@pytest.mark.parametrize(("method", "target"), [("POST", "/?delete"), ("PUT", "/?acl"), ("PUT", "/key?tagging")])
def test_what_has_parameters_in_its_body_does_not(method: str, target: str) -> None:
    assert not streams(S3, "s3", method, target, SHA)


def test_what_can_be_no_call_of_s3_whatever_its_body_needs_no_body() -> None:
    assert streams(S3, "s3", "PUT", "/key?unknown=1", SHA)
    assert streams(S3, "s3", "PUT", "/key", SHA, x_amz_unknown="1")


def test_outside_s3_only_an_unsigned_body_streams() -> None:
    host, target = "ebs.us-east-1.amazonaws.com", "/snapshots/snap-1/blocks/1"
    headers = {
        "x_amz_Data_Length": "5",
        "x_amz_Checksum": "AAAA",
        "x_amz_Checksum_Algorithm": "SHA256",
    }
    assert streams(host, "ebs", "PUT", target, "UNSIGNED-PAYLOAD", **headers)
    assert not streams(host, "ebs", "PUT", target, SHA, **headers)
    lambda_host, path = "lambda.us-east-1.amazonaws.com", "/2014-11-13/functions/f/invoke-async"
    assert not streams(lambda_host, "lambda", "POST", path, None)


@pytest.mark.parametrize("host", ["dynamodb.us-east-1.amazonaws.com", "lambda.us-east-1.amazonaws.com", "example.com"])
def test_json_and_strangers_do_not(host: str) -> None:
    target = {"x_amz_target": "DynamoDB_20120810.PutItem", "content_type": "application/x-amz-json-1.0"}
    assert not streams(host, host.partition(".")[0], "POST", "/", None, **target)
