"""Error codes as each protocol writes them (Smithy's protocol pages) and as botocore's own parsers read them."""

import cbor2
import pytest
from botocore.parsers import create_parser

from addons.ledger import answers

CASES = [
    (
        "json",
        400,
        {"content-type": "application/x-amz-json-1.0"},
        b'{"__type":"com.amazonaws.dynamodb#ResourceNotFoundException","message":"m"}',
    ),
    (
        "rest-json",
        404,
        {"x-amzn-errortype": "ResourceNotFoundException:http://internal.amazon.com/"},
        b'{"message":"m"}',
    ),
    (
        "query",
        403,
        {},
        b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>m</Message></Error></ErrorResponse>",
    ),
    ("rest-xml", 404, {}, b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>m</Message></Error>"),
    (
        "ec2",
        400,
        {},
        b"<Response><Errors><Error><Code>InvalidAMIID.NotFound</Code><Message>m</Message></Error></Errors></Response>",
    ),
    (
        "smithy-rpc-v2-cbor",
        400,
        {"content-type": "application/cbor"},
        cbor2.dumps({"__type": "aws#ThrottlingException", "message": "m"}),
    ),
]


@pytest.mark.parametrize(("protocol", "status", "headers", "body"), CASES)
def test_error_codes_are_what_botocore_reads(protocol: str, status: int, headers: dict[str, str], body: bytes) -> None:
    expected = create_parser(protocol).parse({"status_code": status, "headers": headers, "body": body}, None)["Error"]
    assert answers.error(status, tuple(headers.items()), body) == (expected["Code"], expected["Message"])


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[1]", b'{"__type":7}', b"{" * 100_000])
def test_an_answer_that_can_not_be_read_has_the_code_of_its_status(body: bytes) -> None:
    assert answers.error(404, (), body) == ("NotFound", "")


def test_a_success_has_none() -> None:
    assert answers.error(200, (), b'{"__type":"x"}') is None


def test_request_ids_come_from_the_service() -> None:
    assert answers.request_id((("x-amzn-RequestId", "R1"),), b"") == "R1"
    assert answers.request_id((("x-amz-request-id", "R2"),), b"") == "R2"
    assert answers.request_id((), b"<R><ResponseMetadata><RequestId>r-3</RequestId></ResponseMetadata></R>") == "r-3"
    assert answers.request_id((), b"{}") is None
