"""Event streams from the client: each operation is decided on by its head, and its events are read strictly."""

import base64
import gzip
import re
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cbor2
import pytest
from botocore.model import OperationModel, ServiceModel
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from addons import wire
from addons.wire import Decoded, HttpRequest, Undecodable, hosts, models
from addons.wire.inputevents import SIGNED, input_events, read_events, stream_member
from addons.wire.plain import Readers
from scripts.benchmarks.round_trip.capture import Client, frozen
from scripts.benchmarks.round_trip.parameters import Generator
from tests.wire.framing import DATE, encoded, event, pieces, signed
from tests.wire.requests import ask, decoded

STREAM = "application/vnd.amazon.eventstream"
HEAD = {"Content-Type": STREAM, "x-amz-content-sha256": SIGNED}


@cache
def speaking() -> list[str]:
    """The services whose models have an event stream, found without loading all models."""
    files = Path(models.DATA).glob("*/*/service-2.json.gz")
    found = {
        f.parent.parent.name for f in files if re.search(rb'"eventstream"\s*:\s*true', gzip.decompress(f.read_bytes()))
    }
    return sorted(found & models.services())


@cache
def operations(direction: str) -> list[tuple[str, str]]:
    """Every operation of botocore whose input or output is an event stream."""
    found = []
    for service in speaking():
        for name in sorted(models.operations(service)):
            model = models.operation_model(service, name)
            if model.get_event_stream_input() if direction == "in" else model.get_event_stream_output():
                found.append((service, name))
    return found


@cache
def head(service: str, operation: str) -> tuple[HttpRequest, dict[str, Any]]:
    """The head that an SDK sends, from botocore's serializer and endpoint rules, and its parameters."""
    model = models.operation_model(service, operation)
    params = Generator(model, True).parameters()
    params.pop(model.input_shape.event_stream_name, None)
    with frozen():
        made = create_serializer("rest-json", False).serialize_to_request(params, model)
    query = "&".join(f"{k}={v}" for k, values in made["query_string"].items() for v in _listed(values))
    target = made["url_path"] + ("?" + query if query else "")
    resolver = Client(service).client._ruleset_resolver
    endpoint = resolver.construct_endpoint(model, params, {"client_config": None, "signing": {}})
    host = (made.get("host_prefix") or "") + endpoint.url.removeprefix("https://")
    request = ask(host, "POST", target, headers={**made["headers"], **HEAD})
    return replace(request, body=None), params


def _listed(value: Any) -> list[str]:
    return [quote(str(item), safe="") for item in (value if isinstance(value, list) else [value])]


def events(service: str, operation: str, data: bytes, kind: str = SIGNED, size: int = 1 << 20) -> list[dict[str, Any]]:
    found = decoded(head(service, operation)[0])
    return list(input_events(found, (("x-amz-content-sha256", kind),), pieces(data, size)))


def refused(service: str, operation: str, data: bytes, kind: str = SIGNED) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        events(service, operation, data, kind)
    assert len(caught.value.reason) < 200
    return caught.value


@pytest.mark.timeout(120)
def test_every_operation_with_events_is_decided_on_before_its_body() -> None:
    both = operations("in")
    assert {service for service, _ in both} >= {
        "bedrock-runtime",
        "connecthealth",
        "lexv2-runtime",
        "polly",
        "qbusiness",
    }
    for service, operation in both:
        request, params = head(service, operation)
        found = wire.decode(request)
        assert (found.service, found.operation, found.region) == (service, operation, "us-east-1")
        assert {k: v for k, v in found.params.items() if v not in ([], {})} == {
            k: v for k, v in params.items() if v not in ([], {})
        }
        assert found.candidates == ((service, operation),)
        assert wire.has_streaming_input(found)
        assert wire.response_is_event_stream(found)
        assert stream_member(found) == models.operation_model(service, operation).input_shape.event_stream_name


@pytest.mark.timeout(120)
def test_every_answer_with_events_is_known_before_it_comes() -> None:
    found, both = operations("out"), operations("in")
    assert len(found) >= 25
    for service, operation in found:
        if (service, operation) in both:
            continue
        with frozen():
            request, _ = Client(service).request(
                operation, Generator(models.operation_model(service, operation), False).parameters()
            )
        call = wire.decode(request)
        assert (call.service, call.operation) == (service, operation)
        assert wire.response_is_event_stream(call)
        assert not wire.response_is_streaming_blob(call)


def test_transcribe_streaming_has_no_model_and_is_no_api_host() -> None:
    assert not any("transcribestreaming" in name or "transcribe-streaming" in name for name in models.services())
    assert wire.host_kind("transcribestreaming.us-east-1.amazonaws.com") == "opaque"
    assert not hosts.candidates("transcribestreaming.us-east-1.amazonaws.com")


@pytest.mark.parametrize(
    "more",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "aws-chunked", "x-amz-decoded-content-length": "1"},
        {"x-amz-trailer": "x-amz-checksum-crc32"},
        {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
        {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
        {"Content-Type": "application/json"},
    ],
)
def test_heads_that_say_something_else_too(more: dict[str, str]) -> None:
    request, _ = head("polly", "StartSpeechSynthesisStream")
    headers = {**dict(request.headers), **more}
    with pytest.raises(Undecodable):
        wire.decode(replace(request, headers=tuple(headers.items())))


CHUNK = {"bytes": base64.b64encode(b'{"event":{}}').decode()}
READ: list[tuple[str, str, list[bytes], list[dict[str, Any]]]] = [
    (
        "bedrock-runtime",
        "InvokeModelWithBidirectionalStream",
        [event("chunk", CHUNK)] * 2,
        [{"chunk": {"bytes": b'{"event":{}}'}}] * 2,
    ),
    (
        "connecthealth",
        "StartMedicalScribeListeningSession",
        [event("binaryAudioEvent", b"\0\xff"), event("sessionControlEvent", {"type": "END_OF_SESSION"})],
        [{"binaryAudioEvent": {"audioChunk": b"\0\xff"}}, {"sessionControlEvent": {"type": "END_OF_SESSION"}}],
    ),
    (
        "lexv2-runtime",
        "StartConversation",
        [
            event("ConfigurationEvent", {"responseContentType": "text/plain", "disablePlayback": True}),
            event("TextInputEvent", {"text": "hé", "eventId": "1", "clientTimestampMillis": 1767323045678}),
            event("DisconnectionEvent", {}),
        ],
        [
            {"ConfigurationEvent": {"responseContentType": "text/plain", "disablePlayback": True}},
            {"TextInputEvent": {"text": "hé", "eventId": "1", "clientTimestampMillis": 1767323045678}},
            {"DisconnectionEvent": {}},
        ],
    ),
    (
        "polly",
        "StartSpeechSynthesisStream",
        [
            event("TextEvent", {"Text": "a", "TextType": "text"}),
            encoded({":message-type": "event", ":event-type": "CloseStreamEvent"}),
        ],
        [{"TextEvent": {"Text": "a", "TextType": "text"}}, {"CloseStreamEvent": {}}],
    ),
    (
        "qbusiness",
        "Chat",
        [event("textEvent", {"userMessage": "?"}), event("endOfInputEvent", {})],
        [{"textEvent": {"userMessage": "?"}}, {"endOfInputEvent": {}}],
    ),
]


@pytest.mark.parametrize(("service", "operation", "sent", "expected"), READ, ids=[case[0] for case in READ])
def test_events(service: str, operation: str, sent: list[bytes], expected: list[dict[str, Any]]) -> None:
    for size in (1, 7, 1 << 20):
        assert events(service, operation, signed(*sent), size=size) == expected
        assert events(service, operation, b"".join(sent), "UNSIGNED-PAYLOAD", size) == expected
    whole = replace(head(service, operation)[0], body=signed(*sent))
    assert decoded(whole) == decoded(replace(whole, body=None))


TEXT = event("textEvent", {"userMessage": "?"})


def test_events_are_read_as_they_come() -> None:
    found = decoded(head("qbusiness", "Chat")[0])
    seen: list[int] = []

    def chunks() -> Any:
        for number in range(3):
            seen.append(number)
            yield signed(TEXT, end=number == 2)

    stream = input_events(found, tuple(HEAD.items()), chunks())
    assert not seen
    assert [next(stream), seen] == [{"textEvent": {"userMessage": "?"}}, [0]]
    assert [next(stream), seen] == [{"textEvent": {"userMessage": "?"}}, [0, 1]]
    assert len(list(stream)) == 1


JSON = {":content-type": "application/json"}
DEEP = b'{"attributeFilter":' + b'{"notFilter":' * 100_000
SIGNATURE = {":date": DATE, ":chunk-signature": bytes(32)}
BROKEN: dict[str, bytes] = {
    "no signature": TEXT,
    "some without": signed(TEXT, end=False) + TEXT,
    "no end": signed(TEXT, end=False),
    "after the end": signed(TEXT) + signed(TEXT),
    "two ends": signed(TEXT) + encoded(SIGNATURE),
    "two in one": signed(TEXT + TEXT),
    "half of one": signed(TEXT[:-1]),
    "signed twice": signed(signed(TEXT, end=False)),
    "no message inside": signed(b"text"),
    "a short signature": encoded(SIGNATURE | {":chunk-signature": b"x"}),
    "a signature in text": encoded(SIGNATURE | {":chunk-signature": "0" * 32}),
    "no date": encoded({":chunk-signature": bytes(32)}),
    "a header more": encoded(SIGNATURE | {":event-type": "textEvent"}),
    "an exception": signed(encoded({":message-type": "exception", ":exception-type": "a"})),
    "no message type": signed(encoded({":event-type": "textEvent"}, b"{}")),
    "no event type": signed(encoded({":message-type": "event"}, b"{}")),
    "an event type in bytes": signed(encoded({":message-type": "event", ":event-type": b"textEvent"}, b"{}")),
    "an unknown event": signed(event("noSuchEvent", {})),
    "another case": signed(event("TextEvent", {"userMessage": "?"})),
    "initial-request": signed(event("initial-request", {})),
    "an unknown header": signed(event("textEvent", {"userMessage": "?"}, a="b")),
    "a payload's member as header": signed(event("textEvent", {}, userMessage="?")),
    "another content type": signed(event("textEvent", {}, **{":content-type": "application/cbor"})),
    "a content type in bytes": signed(event("textEvent", {}, **{":content-type": b"application/json"})),
    "no JSON": signed(event("textEvent", b"{", **JSON)),
    "a key twice": signed(event("textEvent", b'{"userMessage":"a","userMessage":"b"}', **JSON)),
    "an unknown member": signed(event("textEvent", {"user": "?"})),
    "another type": signed(event("textEvent", {"userMessage": 1})),
    "no object": signed(event("textEvent", [])),
    "too deep": signed(event("configurationEvent", DEEP, **JSON)),
}  # fmt: skip


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_such_stream_is_refused(data: bytes) -> None:
    assert events("qbusiness", "Chat", signed(TEXT))
    refused("qbusiness", "Chat", data)
    request = replace(head("qbusiness", "Chat")[0], body=data)
    with pytest.raises(Undecodable):
        wire.decode(request)


def test_an_unknown_event_says_to_upgrade() -> None:
    assert "upgrade botocore" in refused("qbusiness", "Chat", signed(event("newEvent", {}))).hint


def test_signed_messages_where_the_head_announces_none() -> None:
    refused("qbusiness", "Chat", signed(TEXT), "UNSIGNED-PAYLOAD")


def test_an_operation_without_events() -> None:
    found = Decoded((("sts", "GetCallerIdentity"),), "sts", "GetCallerIdentity", "", "aws", {}, "query", "sts", "")
    assert stream_member(found) is None
    with pytest.raises(Undecodable):
        input_events(found, (), [])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_is_refused(data: st.DataObject) -> None:
    whole = bytearray(signed(TEXT, event("endOfInputEvent", {})))
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    whole[at] ^= 1 << bit
    refused("qbusiness", "Chat", bytes(whole))


@given(st.integers(0, 1_000))
@settings(max_examples=60, deadline=None)
def test_a_cut_stream_is_refused(size: int) -> None:
    whole = signed(TEXT, event("endOfInputEvent", {}))
    refused("qbusiness", "Chat", whole[: size % len(whole)])


# What the specification has and no operation of botocore's uses: a service of our own.


def model(protocol: str) -> OperationModel:
    shapes = {
        "Text": {"type": "string"},
        "Number": {"type": "integer"},
        "Flag": {"type": "boolean"},
        "Time": {"type": "timestamp"},
        "Blob": {"type": "blob"},
        "Inner": {"type": "structure", "members": {"Name": {"shape": "Text"}, "At": {"shape": "Time"}}},
        "Bound": {
            "type": "structure",
            "event": True,
            "members": {
                "Sequence": {"shape": "Number", "eventheader": True},
                "Last": {"shape": "Flag", "eventheader": True},
                "When": {"shape": "Time", "eventheader": True},
                "Mark": {"shape": "Blob", "eventheader": True},
                "Word": {"shape": "Text", "eventheader": True},
                "Rest": {"shape": "Text"},
            },
        },
        "Written": {
            "type": "structure",
            "event": True,
            "members": {"Payload": {"shape": "Text", "eventpayload": True}},
        },
        "Structured": {
            "type": "structure",
            "event": True,
            "members": {"Payload": {"shape": "Inner", "eventpayload": True}},
        },
        "Failed": {"type": "structure", "exception": True, "members": {}},
        "Events": {
            "type": "structure",
            "eventstream": True,
            "members": {name: {"shape": name} for name in ("Bound", "Written", "Structured", "Failed")},
        },
        "Input": {
            "type": "structure",
            "members": {"Name": {"shape": "Text"}, "At": {"shape": "Time"}, "Stream": {"shape": "Events"}},
        },
    }
    metadata = {"protocol": protocol, "endpointPrefix": "own", "serviceId": "own", "apiVersion": "1"}
    operation = {"name": "Talk", "http": {"method": "POST", "requestUri": "/"}, "input": {"shape": "Input"}}
    service = ServiceModel({"metadata": metadata, "operations": {"Talk": operation}, "shapes": shapes}, "own")
    return service.operation_model("Talk")


def talk(protocol: str, *data: bytes) -> list[dict[str, Any]]:
    cbor = protocol == "smithy-rpc-v2-cbor"
    return list(read_events(model(protocol), protocol, Readers(cbor), False, data))


def no_talk(protocol: str, *data: bytes) -> None:
    with pytest.raises(Undecodable):
        talk(protocol, *data)


def test_members_in_headers_and_payloads() -> None:
    headers = {"Sequence": 4, "Last": True, "When": DATE, "Mark": b"\1", "Word": "w"}
    assert talk("rest-json", event("Bound", {"Rest": "r"}, **headers)) == [{"Bound": headers | {"Rest": "r"}}]
    plain = {":content-type": "text/plain"}
    assert talk("rest-json", event("Written", "hé".encode(), **plain)) == [{"Written": {"Payload": "hé"}}]
    assert talk("rest-json", event("Structured", {"Name": "n"})) == [{"Structured": {"Payload": {"Name": "n"}}}]
    xml = {":content-type": "application/xml"}
    found = talk("rest-xml", event("Structured", b"<Inner><Name>n</Name></Inner>", **xml))
    assert found == [{"Structured": {"Payload": {"Name": "n"}}}]
    for wrong in (
        event("Bound", {}, Sequence="4"),
        event("Bound", {}, Sequence=True),
        event("Bound", {}, Last=1),
        event("Bound", {}, When=4),
        event("Bound", {}, Word=b"w"),
        event("Bound", {"Word": "w"}),
        event("Bound", {}, Rest="r"),
        event("Written", b"\xff", **plain),
        event("Written", b"a", **xml),
        event("Failed", {}),
    ):
        no_talk("rest-json", wrong)


@pytest.mark.parametrize("protocol", ["json", "smithy-rpc-v2-json", "smithy-rpc-v2-cbor"])
def test_rpc_protocols_begin_with_the_rest_of_the_input(protocol: str) -> None:
    at: datetime = DATE.replace(microsecond=0)
    seconds = int(at.timestamp())
    if protocol == "smithy-rpc-v2-cbor":
        media = {":content-type": "application/cbor"}
        first = event("initial-request", cbor2.dumps({"Name": "n", "At": cbor2.CBORTag(1, seconds)}), **media)
        then = event("Structured", cbor2.dumps({"Name": "m"}), **media)
        bad = event("Structured", b"\xbf", **media)
    else:
        first = event("initial-request", {"Name": "n", "At": seconds})
        then, bad = event("Structured", {"Name": "m"}), event("Structured", {"Name": None, "x": 1})
    expected = [{"initial-request": {"Name": "n", "At": at}}, {"Structured": {"Payload": {"Name": "m"}}}]
    assert talk(protocol, first, then) == expected
    assert talk(protocol, first) == expected[:1]
    for wrong in ((), (then,), (then, first), (first, first), (first, bad), (event("initial-request", {}, a="b"),)):
        no_talk(protocol, *wrong)
    if protocol != "smithy-rpc-v2-cbor":
        no_talk(protocol, event("initial-request", {"Stream": {"Written": {"Payload": "a"}}}))
        no_talk(protocol, event("initial-request", {"Other": 1}))
