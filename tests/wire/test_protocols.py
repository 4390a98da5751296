"""Protocols that few clients speak, hosts that are no API, and what can be decided before the body is there."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import cbor2
import pytest

from addons import wire
from addons.wire import HttpResponse, Undecodable, models
from addons.wire.answers import decode_answer
from addons.wire.errors import refusal
from scripts.benchmarks.round_trip.canonical import streams
from scripts.benchmarks.round_trip.capture import Client, frozen, operations
from scripts.benchmarks.round_trip.parameters import Generator
from tests.wire.requests import CBOR, DYNAMODB, LAMBDA, ask, cbor_ask, decoded, read, refused

KINESIS = "kinesis.us-east-1.amazonaws.com"
CBOR_1_1 = "application/x-amz-cbor-1.1"
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"


def kinesis(operation: str, body: Any, **more: str) -> wire.HttpRequest:
    head = {"X-Amz-Target": f"Kinesis_20131202.{operation}", "Content-Type": CBOR_1_1} | more
    return ask(KINESIS, "POST", "/", cbor2.dumps(body), head)


class TestKinesisInCbor:
    """The AWS SDKs for Java: JSON 1.1's target with a CBOR body; blobs are byte strings, tag 1 holds milliseconds."""

    def test_records(self) -> None:
        body = {"StreamName": "orders", "Records": [{"Data": b"\x00\xff", "PartitionKey": "1"}]}
        assert read(kinesis("PutRecords", body)) == ("kinesis:PutRecords", body)

    def test_instants(self) -> None:
        at = cbor2.CBORTag(1, 1_700_000_000_123)
        body = {"StreamARN": STREAM, "ShardId": "s", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": at}
        found = decoded(kinesis("GetShardIterator", body))
        assert found.params["Timestamp"] == datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)
        for value in (1.5, "1700000000", cbor2.CBORTag(1, 1.5), cbor2.CBORTag(0, "2023-11-14T22:13:20Z"), 10**13):
            refused(kinesis("GetShardIterator", body | {"Timestamp": value}))

    def test_milliseconds_as_the_sdks_write_and_read_them(self) -> None:
        """`writeTag(1); writeNumber(instant.toEpochMilli())` in SdkCborGenerator: c1, then a 64-bit integer."""
        at, moment = bytes.fromhex("c11b0000018bcfe5687b"), datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)
        arn = bytes([0x78, len(STREAM)]) + STREAM.encode()
        body = b"\xa4\x69StreamARN" + arn + b"\x67ShardId\x61s\x69Timestamp" + at
        body += b"\x71ShardIteratorType\x6cAT_TIMESTAMP"
        request = replace(kinesis("GetShardIterator", {}), body=body)
        assert decoded(request).params["Timestamp"] == moment
        answer = b"\xa1\x67Records\x81\xa1\x78\x1bApproximateArrivalTimestamp" + at
        found = decode_answer("kinesis", "GetRecords", "json", HttpResponse(200, (("Content-Type", CBOR_1_1),), answer))
        assert found.output == {"Records": [{"ApproximateArrivalTimestamp": moment}]}

    @pytest.mark.parametrize("body", [{"StreamName": 1}, {"streamName": "a"}, {"StreamName": b"a"}, [], "a"])
    def test_refused(self, body: Any) -> None:
        assert read(kinesis("DescribeStreamSummary", {"StreamName": "a"}))
        refused(kinesis("DescribeStreamSummary", body))

    def test_only_at_kinesis(self) -> None:
        head = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": CBOR_1_1}
        refused(ask(DYNAMODB, "POST", "/", cbor2.dumps({}), head))
        refused(kinesis("ListStreams", {}, **{"smithy-protocol": "rpc-v2-cbor"}))
        refused(kinesis("ListStreams", {}, **{"Content-Type": "application/cbor"}))

    def test_a_refusal_is_in_cbor_too(self) -> None:
        request = kinesis("ListStreams", {})
        answer = refusal(request, "AccessDenied", "no", request_id="r", decoded=decoded(request))
        assert answer.get("content-type") == CBOR_1_1
        assert cbor2.loads(answer.body)["message"] == "no"


class TestRpcV2Json:
    """Read where a service's model lists it; no model does yet."""

    @staticmethod
    def request(body: bytes, **more: str) -> wire.HttpRequest:
        head = {"smithy-protocol": "rpc-v2-json", "Content-Type": "application/json"} | more
        return ask(CBOR, "POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", body, head)

    def test_no_model_lists_it(self) -> None:
        refused(self.request(b"{}"))
        assert not any("rpc-v2-json" in p for s in ("cloudwatch", "sqs", "kinesis") for p in models.protocols(s))

    def test_where_a_model_lists_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(models, "protocols", lambda service: ("smithy-rpc-v2-json",))
        found = decoded(self.request(b'{"Namespace": "n"}'))
        assert (found.operation, found.params, found.protocol) == (
            "ListMetrics",
            {"Namespace": "n"},
            "smithy-rpc-v2-json",
        )
        answer = refusal(self.request(b"{}"), "AccessDenied", "no", request_id="r", decoded=found)
        assert (answer.get("content-type"), answer.get("smithy-protocol")) == ("application/json", "rpc-v2-json")
        for body in (b'{"namespace": "n"}', b'{"Namespace": 1}', b'{"Namespace": "n", "Namespace": "n"}', b"\xa0"):
            refused(self.request(body))
        refused(self.request(b"{}", **{"Content-Type": "application/cbor"}))
        refused(cbor_ask(b"\xa0"))


class TestHosts:
    """Which host is an API: https://docs.aws.amazon.com/vpc/latest/privatelink/ and the API Gateway developer guide."""

    def test_a_stage_is_somebodys_own_api(self) -> None:
        """An execute-api host serves what a customer has put there; `/@connections` is one path of it among others,
        and a stage may bear any name. So it is AWS's, but no API that is read: let through only when it is named."""
        host = "abc123.execute-api.us-east-1.amazonaws.com"
        assert wire.host_kind(host) == "opaque"
        refused(ask(host, "POST", "/prod/@connections/c1", b"hi"))
        assert read(ask("execute-api.us-east-1.amazonaws.com", "GET", "/@connections/c1"))[0].endswith(":GetConnection")

    @pytest.mark.parametrize(
        ("host", "service", "bucket"),
        [
            ("vpce-0a1b-2c3d.dynamodb.us-east-1.vpce.amazonaws.com", "dynamodb", None),
            ("vpce-0a1b-2c3d-us-east-1a.lambda.us-east-1.vpce.amazonaws.com", "lambda", None),
            ("vpce-0a1b-2c3d.monitoring.us-east-1.vpce.amazonaws.com", "cloudwatch", None),
            ("b-1.bucket.vpce-0a1b-2c3d.s3.us-east-1.vpce.amazonaws.com", "s3", "b-1"),
            ("bucket.vpce-0a1b-2c3d.s3.us-east-1.vpce.amazonaws.com", "s3", None),
        ],
    )
    def test_vpc_endpoints(self, host: str, service: str, bucket: str | None) -> None:
        (found,) = [c for c in wire.hosts.candidates(host) if c.service == service]
        assert (found.region, found.bucket, found.signing_region) == ("us-east-1", bucket, "us-east-1")

    @pytest.mark.parametrize(
        "host",
        [
            "vpce-0a1b-2c3d.nothing.us-east-1.vpce.amazonaws.com",
            "vpce-0a1b-2c3d.s3.us-east-1.vpce.amazonaws.com.evil.com",
            "x.vpce-0a1b-2c3d.s3.us-east-1.vpce.amazonaws.com",
            "vpce-.vpce.amazonaws.com",
        ],
    )
    def test_other_vpc_endpoints(self, host: str) -> None:
        assert wire.host_kind(host) != "api"


def heads() -> dict[str, list[str]]:
    """The operations whose payload is a streaming blob or an event stream, by service."""
    found: dict[str, list[str]] = {}
    for service in sorted(models.services()):
        model = models.service_model(service)
        if names := [name for name in model.operation_names if streams(models.operation_model(service, name))]:
            found[service] = names
    return found


@pytest.mark.timeout(300)
def test_every_streamed_body_is_decided_on_by_its_head() -> None:
    """All 19 (14 blobs, 5 event streams): what is read with the body is read without it."""
    count = 0
    with frozen():
        for service, names in heads().items():
            client = Client(service)
            offered = operations(client)
            for name in names:
                model = models.operation_model(service, name)
                count += 1
                if name not in offered:  # event streams both ways, over HTTP/2: no client of botocore's has them
                    assert model.has_event_stream_input
                    continue
                request, _ = client.request(name, Generator(model, True).parameters())
                found = wire.decode(request)
                assert (found.service, found.operation) == (service, name)
                assert wire.decode(replace(request, body=None)) == found
                assert wire.has_streaming_input(found)
    assert count == 19


@pytest.mark.parametrize(
    ("host", "target", "call", "params"),
    [
        (
            "runtime-v2-lex",
            "/bots/b/botAliases/a/botLocales/en_US/sessions/s/conversation",
            "lexv2-runtime:StartConversation",
            {"botId": "b", "botAliasId": "a", "localeId": "en_US", "sessionId": "s"},
        ),
        (
            "bedrock-runtime",
            "/model/m/invoke-with-bidirectional-stream",
            "bedrock-runtime:InvokeModelWithBidirectionalStream",
            {"modelId": "m"},
        ),
    ],
)
def test_event_streams_from_the_client_are_decided_on_by_their_head(
    host: str, target: str, call: str, params: dict[str, Any]
) -> None:
    """Over HTTP/2 alone, both ways at once, and removed from botocore's clients: the head still says what they are."""
    head = {
        "Content-Type": "application/vnd.amazon.eventstream",
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-EVENTS",
    }
    request = replace(ask(f"{host}.us-east-1.amazonaws.com", "POST", target, headers=head), body=None)
    found = wire.decode(request)
    assert (f"{found.service}:{found.operation}", found.params) == (call, params)
    assert wire.has_streaming_input(found)


def test_without_a_body_nothing_else_is_decided() -> None:
    for request in (
        cbor_ask(b"\xa0"),
        ask(LAMBDA, "POST", "/2015-03-31/functions", b"{}", {"Content-Type": "application/json"}),
        ask(LAMBDA, "POST", "/2015-03-31/functions/f/invocations", b"{}"),
    ):
        with pytest.raises(Undecodable, match="in the body, which is not there"):
            wire.decode(replace(request, body=None))
