"""Answers of every protocol: outputs, errors, event streams; and what is none of them."""

import binascii
import json
import struct
from datetime import UTC, datetime
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.wire import HttpRequest, HttpResponse, Protocol, Undecodable, models, refusal
from addons.wire.answers import Answer, decode_answer, protocol_of

SMITHY = {"smithy-protocol": "rpc-v2-cbor"}
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def answer(body: bytes | str, status: int = 200, **headers: str) -> HttpResponse:
    raw = body.encode() if isinstance(body, str) else body
    return HttpResponse(status, tuple((name.replace("_", "-"), value) for name, value in headers.items()), raw)


def read(service: str, operation: str, protocol: Protocol, response: HttpResponse) -> Answer:
    first = decode_answer(service, operation, protocol, response)
    assert first == decode_answer(service, operation, protocol, response)
    return first


def refused(service: str, operation: str, protocol: Protocol, response: HttpResponse) -> str:
    with pytest.raises(Undecodable) as caught:
        decode_answer(service, operation, protocol, response)
    return caught.value.reason


def frame(payload: bytes, **headers: str) -> bytes:
    """One message of the event stream encoding, all headers text (type 7)."""
    block = b""
    for name, value in headers.items():
        key, text = f":{name.replace('_', '-')}".encode(), value.encode()
        block += bytes([len(key)]) + key + b"\x07" + struct.pack(">H", len(text)) + text
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    head = prelude + struct.pack(">I", binascii.crc32(prelude))
    return head + block + payload + struct.pack(">I", binascii.crc32(head + block + payload))


def event(name: str, value: Any) -> bytes:
    return frame(json.dumps(value).encode(), message_type="event", event_type=name)


IDENTITY = (
    "<GetCallerIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><GetCallerIdentityResult>"
    "<Account>1</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>"
    "</GetCallerIdentityResponse>"
)


@pytest.mark.parametrize(
    ("service", "operation", "protocol", "response", "output"),
    [
        ("sts", "GetCallerIdentity", "query", answer(IDENTITY), {"Account": "1"}),
        (
            "ec2",
            "DescribeRegions",
            "ec2",
            answer(
                "<DescribeRegionsResponse><regionInfo><item><regionName>a</regionName></item></regionInfo></DescribeRegionsResponse>"
            ),
            {"Regions": [{"RegionName": "a"}]},
        ),
        (
            "dynamodb",
            "GetItem",
            "json",
            answer('{"Item": {"b": {"B": "AP8="}, "n": {"N": "1.50"}}}'),
            {"Item": {"b": {"B": b"\x00\xff"}, "n": {"N": "1.50"}}},
        ),
        (
            "secretsmanager",
            "DescribeSecret",
            "json",
            answer('{"Name": "n", "CreatedDate": 1767323045.678901}'),
            {"Name": "n", "CreatedDate": MOMENT},
        ),
        (
            "lambda",
            "GetFunctionConfiguration",
            "rest-json",
            answer('{"FunctionName": "f", "Timeout": 3}'),
            {"FunctionName": "f", "Timeout": 3},
        ),
        (
            "route53",
            "GetHostedZoneCount",
            "rest-xml",
            answer("<GetHostedZoneCountResponse><HostedZoneCount>3</HostedZoneCount></GetHostedZoneCountResponse>"),
            {"HostedZoneCount": 3},
        ),
        (
            "cloudwatch",
            "ListMetrics",
            "smithy-rpc-v2-cbor",
            answer(cbor2.dumps({"Metrics": [{"Namespace": "n"}]}), smithy_protocol="rpc-v2-cbor"),
            {"Metrics": [{"Namespace": "n"}]},
        ),
        ("sqs", "GetQueueUrl", "json", answer('{"QueueUrl": "u"}'), {"QueueUrl": "u"}),
        ("s3", "DeleteObject", "rest-xml", answer("", 204, x_amz_version_id="v"), {"VersionId": "v"}),
        ("lambda", "DeleteFunction", "rest-json", answer("", 204), {"StatusCode": 204}),
    ],
)
def test_outputs(service: str, operation: str, protocol: Protocol, response: HttpResponse, output: Any) -> None:
    found = read(service, operation, protocol, response)
    assert found.output == output
    assert found.code is None


def test_the_request_decides_the_protocol_not_the_model() -> None:
    xml = "<ListMetricsResponse><ListMetricsResult><NextToken>n</NextToken></ListMetricsResult></ListMetricsResponse>"
    assert read("cloudwatch", "ListMetrics", "query", answer(xml)).output == {"NextToken": "n"}
    assert read("cloudwatch", "ListMetrics", "json", answer('{"NextToken": "n"}')).output == {"NextToken": "n"}
    cbor = answer(cbor2.dumps({"NextToken": "n"}))
    assert read("cloudwatch", "ListMetrics", "smithy-rpc-v2-cbor", cbor).output == {"NextToken": "n"}
    assert "not known" in refused("lambda", "ListFunctions", "query", answer(xml))


RECEIVED = (
    "<ReceiveMessageResponse xmlns='http://queue.amazonaws.com/doc/2012-11-05/'><ReceiveMessageResult><Message>"
    "<MessageId>1</MessageId><Body>a &amp; b</Body><Attribute><Name>SenderId</Name><Value>s</Value></Attribute>"
    "<MessageAttribute><Name>n</Name><Value><DataType>Binary</DataType><BinaryValue>AP8=</BinaryValue></Value>"
    "</MessageAttribute></Message><Message><MessageId>2</MessageId></Message></ReceiveMessageResult>"
    "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></ReceiveMessageResponse>"
)
SENT = (
    "<SendMessageBatchResponse><SendMessageBatchResult><SendMessageBatchResultEntry><Id>1</Id></SendMessageBatchResultEntry>"
    "<BatchResultErrorEntry><Id>2</Id><SenderFault>true</SenderFault></BatchResultErrorEntry></SendMessageBatchResult>"
    "</SendMessageBatchResponse>"
)


def result(operation: str, inside: str) -> str:
    return f"<{operation}Response><{operation}Result>{inside}</{operation}Result></{operation}Response>"


def test_sqs_answers_in_query_too() -> None:
    """Forms as in the SQS API reference's sample responses."""
    messages = [
        {
            "MessageId": "1",
            "Body": "a & b",
            "Attributes": {"SenderId": "s"},
            "MessageAttributes": {"n": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}},
        },
        {"MessageId": "2"},
    ]
    assert read("sqs", "ReceiveMessage", "query", answer(RECEIVED)).output == {"Messages": messages}
    batch = {"Successful": [{"Id": "1"}], "Failed": [{"Id": "2", "SenderFault": True}]}
    assert read("sqs", "SendMessageBatch", "query", answer(SENT)).output == batch
    urls = result("ListQueues", "<QueueUrl>u</QueueUrl><QueueUrl>v</QueueUrl>")
    assert read("sqs", "ListQueues", "query", answer(urls)).output == {"QueueUrls": ["u", "v"]}
    tags = result("ListQueueTags", "<Tag><Key>k</Key><Value>v</Value></Tag>")
    assert read("sqs", "ListQueueTags", "query", answer(tags)).output == {"Tags": {"k": "v"}}
    assert read("sqs", "DeleteMessage", "query", answer("<DeleteMessageResponse/>")).output == {}
    code = "AWS.SimpleQueueService.NonExistentQueue"
    error = f"<ErrorResponse><Error><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
    assert read("sqs", "DeleteMessage", "query", answer(error, 400)).code == code


def test_kinesis_answers_java_in_cbor() -> None:
    records = [{"Data": b"\xff", "ApproximateArrivalTimestamp": cbor2.CBORTag(1, 1767323045678)}]
    body = cbor2.dumps({"Records": records, "MillisBehindLatest": 0})
    found = read("kinesis", "GetRecords", "json", answer(body, content_type="application/x-amz-cbor-1.1"))
    moment = MOMENT.replace(microsecond=678000)
    assert found.output == {
        "Records": [{"Data": b"\xff", "ApproximateArrivalTimestamp": moment}],
        "MillisBehindLatest": 0,
    }
    error = cbor2.dumps({"__type": "ResourceNotFoundException", "message": "m"})
    found = read("kinesis", "GetRecords", "json", answer(error, 400, content_type="application/x-amz-cbor-1.1"))
    assert (found.code, found.message) == ("ResourceNotFoundException", "m")
    refused("kinesis", "GetRecords", "json", answer(b"\xbf", content_type="application/x-amz-cbor-1.1"))


def test_blob_payloads_are_bytes_whatever_they_hold() -> None:
    found = read("s3", "GetObject", "rest-xml", answer(b"\xff<!DOCTYPE", 206, Content_Range="bytes 0-1/2", Expires="-"))
    assert found.output == {"Body": b"\xff<!DOCTYPE", "ContentRange": "bytes 0-1/2", "Metadata": {}}
    assert read("lambda", "Invoke", "rest-json", answer(b"\x80")).output == {"StatusCode": 200, "Payload": b"\x80"}


def test_a_buckets_location_is_the_root_itself() -> None:
    body = "<LocationConstraint xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>eu-west-1</LocationConstraint>"
    found = read("s3", "GetBucketLocation", "rest-xml", answer(body))
    assert found.output == {"LocationConstraint": "eu-west-1"}


@pytest.mark.parametrize(
    ("service", "operation", "protocol", "response", "code", "message", "members"),
    [
        (
            "dynamodb",
            "PutItem",
            "json",
            answer('{"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "message": "no",'
                   ' "Item": {"a": {"S": "b"}}}', 400, x_amzn_RequestId="R"),
            "ConditionalCheckFailedException",
            "no",
            {"message": "no", "Item": {"a": {"S": "b"}}},
        ),
        (
            "lambda",
            "GetFunction",
            "rest-json",
            answer('{"Type": "User", "Message": "gone"}', 404, x_amzn_ErrorType="ResourceNotFoundException:http://x/"),
            "ResourceNotFoundException",
            "gone",
            {"Type": "User", "Message": "gone"},
        ),
        (
            "sts",
            "AssumeRole",
            "query",
            answer("<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>"
                   "<RequestId>r</RequestId></ErrorResponse>", 403),
            "AccessDenied",
            "no",
            {"Type": "Sender"},
        ),
        (
            "ec2",
            "RunInstances",
            "ec2",
            answer("<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors>"
                   "<RequestID>r</RequestID></Response>", 403),
            "UnauthorizedOperation",
            "no",
            {},
        ),
        (
            "s3",
            "GetObject",
            "rest-xml",
            answer("<Error><Code>NoSuchKey</Code><Message>none</Message><Key>k</Key></Error>", 404),
            "NoSuchKey",
            "none",
            {"Key": "k"},
        ),
        (
            "cloudwatch",
            "PutMetricData",
            "smithy-rpc-v2-cbor",
            answer(cbor2.dumps({"__type": "com.amazonaws.cloudwatch#LimitExceededFault", "message": "much"}), 400),
            "LimitExceededFault",
            "much",
            {"message": "much"},
        ),
        ("s3", "HeadObject", "rest-xml", answer("", 404), "404", "Not Found", {}),
        ("s3", "HeadObject", "rest-xml", answer("", 304), "304", "Not Modified", {}),
        ("dynamodb", "GetItem", "json", answer("<html>down</html>", 503), "503", "Service Unavailable", {}),
        ("sts", "AssumeRole", "query", answer("<!DOCTYPE html><html></html>", 502), "502", "Bad Gateway", {}),
        ("lambda", "Invoke", "rest-json", answer("", 500), "500", "Internal Server Error", {}),
        ("dynamodb", "GetItem", "json", answer('{"__type": 7, "message": []}', 400), "400", "Bad Request", {}),
    ],
)  # fmt: skip
def test_errors(
    service: str,
    operation: str,
    protocol: Protocol,
    response: HttpResponse,
    code: str,
    message: str,
    members: dict[str, Any],
) -> None:
    found = read(service, operation, protocol, response)
    assert (found.output, found.code, found.message) == (None, code, message)
    assert {k.lower(): v for k, v in found.members.items() if k.lower() != "message"} == {
        k.lower(): v for k, v in members.items() if k.lower() != "message"
    }


def test_s3_says_200_before_it_fails() -> None:
    body = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InternalError</Code><Message>m</Message></Error>'
    found = read("s3", "CopyObject", "rest-xml", answer(body))
    assert (found.status, found.output, found.code) == (200, None, "InternalError")
    assert read("s3", "GetObject", "rest-xml", answer(body)).output["Body"] == body.encode()  # type: ignore[index]


@pytest.mark.parametrize(
    ("target", "headers", "protocol", "service", "operation"),
    [
        ("/", {"X-Amz-Target": "DynamoDB_20120810.GetItem"}, "json", "dynamodb", "GetItem"),
        ("/2015-03-31/functions", {}, "rest-json", "lambda", "ListFunctions"),
        ("/service/x/operation/A", SMITHY, "smithy-rpc-v2-cbor", "cloudwatch", "ListMetrics"),
        ("/?Action=GetCallerIdentity", {}, "query", "sts", "GetCallerIdentity"),
    ],
)  # fmt: skip
def test_our_own_refusals_are_read(
    target: str, headers: dict, protocol: Protocol, service: str, operation: str
) -> None:
    request = HttpRequest("POST", f"{service}.us-east-1.amazonaws.com", target, tuple(headers.items()))
    found = read(service, operation, protocol, refusal(request, "AccessDenied", "because", request_id="id-1"))
    assert found.code in ("AccessDenied", "AccessDeniedException")
    assert (found.message, found.request_id, found.status) == ("because", "id-1", 403)


def test_event_streams_are_lists_of_events() -> None:
    body = event("messageStart", {"role": "assistant"}) + event("messageStop", {"stopReason": "end_turn"})
    found = read("bedrock-runtime", "ConverseStream", "rest-json", answer(body))
    assert found.output == {
        "stream": [{"messageStart": {"role": "assistant"}}, {"messageStop": {"stopReason": "end_turn"}}]
    }
    records = frame(b"a,b\n\xff", message_type="event", event_type="Records") + frame(
        b"", message_type="event", event_type="End"
    )
    found = read("s3", "SelectObjectContent", "rest-xml", answer(records))
    assert found.output == {"Payload": [{"Records": {"Payload": b"a,b\n\xff"}}, {"End": {}}]}


def test_event_streams_of_json_begin_with_the_initial_response() -> None:
    first = frame(b"{}", message_type="event", event_type="initial-response")
    body = first + event("sessionStart", {"requestId": "r", "sessionId": "s"})
    found = read("logs", "StartLiveTail", "json", answer(body))
    assert found.output == {"responseStream": [{"sessionStart": {"requestId": "r", "sessionId": "s"}}]}
    assert "not what the model says" in refused("logs", "StartLiveTail", "json", answer(event("sessionStart", {})))


def test_an_event_stream_that_ends_with_an_error_has_events_and_code() -> None:
    error = frame(b'{"message": "slow"}', message_type="exception", exception_type="throttlingException")
    body = event("messageStart", {"role": "assistant"}) + error
    found = read("bedrock-runtime", "ConverseStream", "rest-json", answer(body))
    assert found.output == {"stream": [{"messageStart": {"role": "assistant"}}]}
    assert (found.code, found.message) == ("throttlingException", "slow")


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b + b"\0\0\0\0", lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_broken_event_streams_are_refused(spoil: Any) -> None:
    whole = event("messageStart", {"role": "assistant"}) * 2
    refused("bedrock-runtime", "ConverseStream", "rest-json", answer(spoil(whole)))


@pytest.mark.parametrize(
    ("service", "operation", "protocol", "body"),
    [
        ("dynamodb", "GetItem", "json", b"not json"),
        ("dynamodb", "GetItem", "json", b"[]"),
        ("dynamodb", "GetItem", "json", b'{"Item": {}, "Item": {}}'),
        ("dynamodb", "GetItem", "json", b'{"Item": ' + b'{"a":{"M":' * 40_000),
        ("dynamodb", "GetItem", "json", b'{"Item": ' + b'{"a":{"M":' * 20_000 + b"1" + b"}}" * 20_000 + b"}"),
        ("dynamodb", "GetItem", "json", b'{"Item": {"b": {"B": "?"}}}'),
        ("secretsmanager", "DescribeSecret", "json", b'{"CreatedDate": "' + b"1" * 100_000 + b'"}'),
        ("secretsmanager", "DescribeSecret", "json", b'{"CreatedDate": 1e300}'),
        ("lambda", "GetPolicy", "rest-json", b"{"),
        ("sts", "GetCallerIdentity", "query", b""),
        ("sts", "GetCallerIdentity", "query", b"<a>"),
        ("sts", "GetCallerIdentity", "query", b"<GetCallerIdentityResponse/>"),
        ("route53", "GetHostedZoneCount", "rest-xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
        ("route53", "GetHostedZoneCount", "rest-xml", "<a/>".encode("utf-16")),
        ("route53", "GetHostedZoneCount", "rest-xml", b"<a><HostedZoneCount>x</HostedZoneCount></a>"),
        ("cloudwatch", "ListMetrics", "smithy-rpc-v2-cbor", b"\xbf\x61a"),
        ("cloudwatch", "ListMetrics", "smithy-rpc-v2-cbor", b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"),
        ("cloudwatch", "ListMetrics", "smithy-rpc-v2-cbor", b"\x81" * 100_000),
        ("no-such", "Thing", "json", b"{}"),
        ("s3", "NoSuchThing", "rest-xml", b""),
    ],
    ids=range(20),
)
def test_what_is_no_such_answer_is_refused(service: str, operation: str, protocol: Protocol, body: bytes) -> None:
    assert len(refused(service, operation, protocol, answer(body))) < 200


def test_deep_xml_that_a_shape_follows_is_refused_or_read_in_bounds() -> None:
    body = "<a>" + "<b>" * 50_000 + "</b>" * 50_000 + "</a>"
    assert read("route53", "GetHostedZoneCount", "rest-xml", answer(body)).output == {}


def test_many_small_events_take_linear_time() -> None:
    one = frame(b"", message_type="event", event_type="Cont")
    found = read("s3", "SelectObjectContent", "rest-xml", answer(one * 20_000))
    assert found.output
    assert len(found.output["Payload"]) == 20_000


@pytest.mark.parametrize(
    ("service", "headers", "protocol"),
    [
        ("cloudwatch", {"smithy-protocol": "rpc-v2-cbor"}, "smithy-rpc-v2-cbor"),
        ("cloudwatch", {"content-type": "text/xml;charset=utf-8"}, "query"),
        ("cloudwatch", {"content-type": "application/x-amz-json-1.0"}, "json"),
        ("s3", {}, "rest-xml"),
        ("lambda", {"content-type": "text/xml"}, "rest-json"),
    ],
)
def test_the_protocol_of_an_answer_alone(service: str, headers: dict[str, str], protocol: str) -> None:
    assert protocol_of(service, HttpResponse(200, tuple(headers.items()), b"")) == protocol
    with pytest.raises(Undecodable):
        protocol_of("no-such", HttpResponse(200, (), b""))


PAIRS = [
    ("sts", "AssumeRole", "query"),
    ("ec2", "DescribeInstances", "ec2"),
    ("dynamodb", "Query", "json"),
    ("lambda", "ListFunctions", "rest-json"),
    ("s3", "ListObjectsV2", "rest-xml"),
    ("bedrock-runtime", "ConverseStream", "rest-json"),
    ("logs", "StartLiveTail", "json"),
    ("cloudwatch", "GetMetricData", "smithy-rpc-v2-cbor"),
]
PIECES = st.sampled_from(
    [
        b"<a>",
        b"</a>",
        b"{",
        b"}",
        b'"Items":',
        b"[",
        b"]",
        b"\xbf",
        b"\xff",
        b"\0\0\0\x10",
        b'"__type":',
        b"null",
        b"<Error>",
    ]
)


@given(
    st.sampled_from(PAIRS),
    st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=20).map(b"".join)),
    st.sampled_from([200, 204, 301, 400, 403, 500, 503, 999]),
    st.dictionaries(st.sampled_from(["x-amzn-errortype", "x-amzn-query-error", "content-type"]), st.text(max_size=20)),
)
@settings(max_examples=300, deadline=None)
def test_nothing_but_undecodable_is_raised(pair: Any, body: bytes, status: int, headers: dict[str, str]) -> None:
    try:
        found = decode_answer(*pair, HttpResponse(status, tuple(headers.items()), body))
    except Undecodable:
        return
    assert found.output is not None or found.code
    assert models.operation_model(*pair[:2])
