"""AWS's answers, as output or error: every protocol, event streams included.

botocore's own parsers read them, so that what is understood here is what an SDK understands. Around them stand what
they lack: bounds, a check that the body is whole and means one thing, and one kind of failure. An answer is read in
the protocol of its *request*, which need not be the model's first choice.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any, cast

from botocore.awsrequest import HeadersDict
from botocore.eventstream import EventStream
from botocore.exceptions import EventStreamError
from botocore.model import OperationModel, Shape
from botocore.parsers import (
    EC2QueryParser,
    JSONParser,
    QueryParser,
    ResponseParser,
    RestJSONParser,
    RestXMLParser,
    RpcV2CBORParser,
)
from botocore.utils import parse_timestamp

from addons.wire import models, plain, rest, scalars, sqsanswers, sqsquery
from addons.wire.message import HttpResponse, Protocol, Undecodable
from addons.wire.scalars import deny

MAX_BODY = 64 << 20  # bytes of an answer that is parsed; a payload that is a blob is not
MAX_EVENTS = 1_000_000
MAX_CODE, MAX_MESSAGE = 256, 16_384  # characters of an error's code and message
_LONGEST_TIME = 64  # characters; the parser of dates takes its time over long text
_LEAST_FRAME = 16  # bytes: prelude and checksum (event stream encoding)
_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_KINESIS_CBOR, _KINESIS = "application/x-amz-cbor-1.1", "kinesis-cbor"
_XML = ("query", "ec2", "rest-xml")


@dataclass(frozen=True, slots=True)
class Answer:
    """What AWS said. An output, or an error with its code; an event stream that broke off with an error has both.

    `output` holds Python values of the output shape: blobs are bytes, timestamps aware datetimes in UTC, an event
    stream the list of its events, each {"EventName": {...}}. Text that AWS encoded a second time (IAM's policies,
    EC2's console output) is as it was on the wire.
    """

    status: int
    request_id: str | None
    output: dict[str, Any] | None = None
    code: str | None = None  # "NoSuchKey"; the status, "404", where the answer names none
    message: str | None = None
    members: dict[str, Any] = field(default_factory=dict)  # of the error: modelled ones, and those beside its code


def decode_answer(service: str, operation: str, protocol: Protocol, response: HttpResponse) -> Answer:
    """Read one answer. `response.body` is without transfer and content codings.

    Raises `Undecodable`, and nothing else: the answer can't be read as what the model says of this operation.
    """
    old_sqs = (service, protocol) == (sqsquery.SERVICE, "query")
    try:
        model = sqsanswers.operation_model(operation) if old_sqs else models.operation_model(service, operation)
    except KeyError:
        raise Undecodable("no model has this operation") from None
    try:
        return _decode(service, model, protocol, response)
    except Undecodable:
        raise
    except RecursionError:
        raise Undecodable("the answer is nested too deeply") from None
    except Exception:  # whatever botocore's parsers stumble over; its text may quote the answer
        raise Undecodable("the answer is not what the model says") from None


def protocol_of(service: str, response: HttpResponse) -> Protocol:
    """What an answer speaks, where its request is not known: by its marks, among what the service's model lists.

    Raises `Undecodable` for a service that botocore has not.
    """
    try:
        spoken = models.protocols(service)
        first = models.service_model(service).resolved_protocol
    except KeyError:
        raise Undecodable("no model has this service") from None
    except Exception:  # botocore's own for a service whose protocols it has no parser for
        raise Undecodable("the service's protocol is not known") from None
    kind = (response.get("content-type") or "").partition(";")[0].strip().lower()
    if response.get("smithy-protocol") == "rpc-v2-cbor" or kind == "application/cbor":
        wanted: tuple[str, ...] = ("smithy-rpc-v2-cbor",)
    elif kind.startswith("application/x-amz-json"):
        wanted = ("json",)
    elif kind in ("text/xml", "application/xml"):
        wanted = _XML
    else:
        wanted = ()
    return cast(Protocol, next((p for p in spoken if p in wanted), first))


def _decode(service: str, model: OperationModel, protocol: str, response: HttpResponse) -> Answer:
    if protocol not in models.protocols(service) and (service, protocol) != (sqsquery.SERVICE, "query"):
        deny(f"answers of {service} in {protocol} are not known")
    headers = HeadersDict()
    for name, value in response.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if service == "kinesis" and headers.get("content-type", "").lower().startswith(_KINESIS_CBOR):
        protocol = _KINESIS  # the Java SDKs' own: JSON 1.1's operations with CBOR bodies
    if response.status >= 300:
        return _error(model, protocol, response.status, headers, response.body)
    if service == "s3" and _is_error(model, response.body):
        return _error(model, protocol, 500, headers, response.body, status=response.status)
    return _output(service, model, protocol, response.status, headers, response.body)


def _output(
    service: str, model: OperationModel, protocol: str, status: int, headers: HeadersDict, body: bytes
) -> Answer:
    shape = model.output_shape
    payload = _payload(shape)
    blob = payload is not None and payload.type_name == "blob"
    given: Any = body
    if blob or model.has_event_stream_output:
        given = _Whole(body)
    elif payload is None or payload.type_name != "string":
        _check_body(protocol, body)
    if service == "s3" and not _is_time(headers.get("expires")):
        headers = HeadersDict({name: value for name, value in headers.items() if name.lower() != "expires"})
    if not body and protocol in ("query", "ec2") and not (shape and shape.members):
        return Answer(status, _request_id({}, headers), {})
    answer = {"status_code": status, "headers": headers, "body": given, "context": {"operation_name": model.name}}
    parsed = _parser(protocol).parse(answer, shape)
    if not isinstance(parsed, dict):
        deny("the answer is no structure")
    request_id = _request_id(parsed, headers)
    error: dict[str, Any] = {}
    for name, value in parsed.items():
        if isinstance(value, EventStream):
            parsed[name], error = _events(value)
        elif isinstance(value, _Whole):
            parsed[name] = value.body
    if (service, model.name) == ("s3", "GetBucketLocation"):
        parsed["LocationConstraint"] = _text(protocol, body)  # the root itself holds the region; no model says so
    if error:
        return Answer(status, request_id, parsed, _code(error, status), _message(error), _beside(error))
    return Answer(status, request_id, parsed)


def _error(
    model: OperationModel,
    protocol: str,
    read_as: int,
    headers: HeadersDict,
    body: bytes,
    *,
    status: int | None = None,
) -> Answer:
    """An error. `status` is the answer's own where it is read as another."""
    status = status or read_as
    answer = {"status_code": max(read_as, 301), "headers": headers, "body": body, "context": {}}
    parser = _parser(protocol)
    named = _named(protocol, headers, body)
    try:
        _check_body(protocol, body)
        parsed = parser.parse(answer, None)
        error = dict(parsed["Error"])
        if named:
            error |= {"Code": named} if body else {"Code": named, "Message": ""}
    except Exception:
        # A proxy's page, or none at all. A header may name the code nonetheless.
        phrase = HTTPStatus(status).phrase if status in HTTPStatus and not named else ""
        parsed, error = {}, {"Code": named, "Message": phrase}
    modelled = model.service_model.shape_for_error_code(error["Code"]) if isinstance(error["Code"], str) else None
    members = _beside(error)
    if modelled is not None and parsed:
        found = {k: v for k, v in parser.parse(answer, modelled).items() if k not in ("Error", "ResponseMetadata")}
        message = found.pop("message", found.pop("Message", None))
        if not error.get("Message") and isinstance(message, str):
            error["Message"] = message
        members |= found
    return Answer(status, _request_id(parsed, headers), None, _code(error, status), _message(error), members)


def _named(protocol: str, headers: HeadersDict, body: bytes) -> str | None:
    """The code where botocore does not look for it in every JSON protocol: Smithy's AWS JSON and REST JSON protocols,
    "operation error serialization": the header X-Amzn-Errortype, else the body's `code`; a URI after ":" and a
    namespace before "#" are no part of it. None where there is neither, or the code of a former query service counts.
    """
    if protocol not in ("json", "rest-json") or "x-amzn-query-error" in headers:
        return None
    found: Any = headers.get("x-amzn-errortype")
    if found is None and body[:1] == b"{" and len(body) <= MAX_BODY:
        try:
            members = plain.json_value(body)
        except Undecodable:
            return None
        found = None if "__type" in members else members.get("code", members.get("Code"))
    return found.partition(":")[0].rpartition("#")[2] if isinstance(found, str) else None


def _events(stream: EventStream) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All the events of a stream, and the error that ended it."""
    events: list[dict[str, Any]] = []
    try:
        for event in stream:
            if len(events) == MAX_EVENTS:
                deny("the event stream holds too many events")
            events.append(event)
    except EventStreamError as error:
        return events, dict(error.response["Error"])
    return events, {}


class _Whole:
    """A body that is there already, for parsers that expect a stream: one frame at a time, so that time is linear."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def stream(self) -> Iterator[bytes]:
        """The frames of an event stream. Each says its length first; its checksums are for the parser to see to."""
        at = 0
        while at < len(self.body):
            length = int.from_bytes(self.body[at : at + 4], "big")
            if length < _LEAST_FRAME or at + length > len(self.body):
                deny("the event stream breaks off inside a frame")
            yield self.body[at : at + length]
            at += length

    def close(self) -> None:
        """Nothing to close."""


def _payload(shape: Shape | None) -> Shape | None:
    if shape is None or "payload" not in shape.serialization:
        return None
    found: Shape = shape.members[shape.serialization["payload"]]
    return found


def _check_body(protocol: str, body: bytes) -> None:
    """Refuse what parsers read leniently, or at any cost: text that is no JSON, duplicate keys, bombs, DTDs."""
    if len(body) > MAX_BODY:
        deny("the answer is too large")
    if not body:
        return
    if protocol in _XML:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            deny("the answer is not UTF-8")
        if "<!DOCTYPE" in text or "\0" in text:
            deny("the answer holds a document type")
    elif protocol == "smithy-rpc-v2-cbor":
        plain.cbor_value(body)
    elif protocol == _KINESIS:
        plain.kinesis_value(body)
    else:
        plain.json_value(body)


def _is_error(model: OperationModel, body: bytes) -> bool:
    """S3 says 200 before it knows; CopyObject and its like then put an error into the body (S3 API reference)."""
    payload = _payload(model.output_shape)
    if payload is not None and (payload.type_name in ("blob", "string") or model.has_event_stream_output):
        return False
    return re.match(rb"\s*(?:<\?xml[^>]{0,200}\?>\s*)?<Error[\s>]", body[:1_024]) is not None


def _text(protocol: str, body: bytes) -> str:
    """The text of an XML document's root."""
    return str(_parser(protocol)._parse_xml_string_to_dom(body).text or "")


def _code(error: dict[str, Any], status: int) -> str:
    return str(error.get("Code") or status)[:MAX_CODE]


def _message(error: dict[str, Any]) -> str:
    return str(error.get("Message") or error.get("message") or "")[:MAX_MESSAGE]


def _beside(error: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in error.items() if name not in ("Code", "Message", "message")}


def _request_id(parsed: dict[str, Any], headers: HeadersDict) -> str | None:
    metadata = parsed.pop("ResponseMetadata", None)
    names = ("x-amzn-requestid", "x-amz-request-id")
    found = next((headers[name] for name in names if name in headers), None) or (metadata or {}).get("RequestId")
    return str(found)[:MAX_CODE] if found else None


def _moment(value: Any) -> datetime:
    """A timestamp, to the microsecond, in whichever of Smithy's forms the service sends."""
    if type(value) in (int, float):
        return scalars.epoch(value)
    if not isinstance(value, str) or len(value) > _LONGEST_TIME:
        deny("a timestamp is neither a number nor a date")
    if _NUMBER.fullmatch(value):
        return scalars.epoch(float(value) if re.search("[.eE]", value) else int(value))
    try:
        found: datetime = parse_timestamp(value)
    except (ValueError, OverflowError, RuntimeError):
        deny("a timestamp names no time")
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _milliseconds(value: Any) -> datetime:
    """Kinesis' tag 1, which holds milliseconds (AWS SDK for Java)."""
    if type(value) not in (int, float):
        deny("a timestamp is not a number")
    return scalars.epoch(value / 1000)


def _blob(value: str) -> bytes:
    """base64, which XML may break into lines."""
    return base64.b64decode("".join(value.split()), validate=True)


def _is_time(value: str | None) -> bool:
    """Whether S3's Expires, which may be any text that was put there, is a date."""
    try:
        return value is None or bool(_moment(value))
    except Undecodable:
        return False


class _Json(JSONParser):  # type: ignore[misc]  # botocore has no annotations
    """botocore's, with Smithy's NaN and infinities, and null where a dense list or map may not hold it."""

    def _parse_shape(self, shape: Shape, node: Any) -> Any:
        return None if node is None else super()._parse_shape(shape, node)

    def _handle_float(self, shape: Shape, value: Any) -> Any:
        return scalars.SPECIAL.get(value, value) if isinstance(value, str) else value

    _handle_double = _handle_float


class _RestJson(RestJSONParser):  # type: ignore[misc]  # botocore has no annotations
    """botocore's, with header lists split where Smithy's httpHeader trait says."""

    def _parse_shape(self, shape: Shape, node: Any) -> Any:
        return None if node is None else super()._parse_shape(shape, node)

    def _handle_list(self, shape: Shape, node: Any) -> Any:
        return super()._handle_list(shape, _header_list(shape, node))


class _RestXml(RestXMLParser):  # type: ignore[misc]  # botocore has no annotations
    """Likewise."""

    def _handle_list(self, shape: Shape, node: Any) -> Any:
        return super()._handle_list(shape, _header_list(shape, node))


def _header_list(shape: Shape, node: Any) -> Any:
    if shape.serialization.get("location") == "header" and isinstance(node, str):
        return rest.header_items(node, shape.member)
    return node


_PARSERS: dict[str, type[ResponseParser]] = {
    "query": QueryParser,
    "ec2": EC2QueryParser,
    "json": _Json,
    "rest-json": _RestJson,
    "rest-xml": _RestXml,
    "smithy-rpc-v2-cbor": RpcV2CBORParser,
    "smithy-rpc-v2-json": _Json,
}


@cache
def _parser(protocol: str) -> ResponseParser:
    if protocol == _KINESIS:
        return RpcV2CBORParser(timestamp_parser=_milliseconds)
    return _PARSERS[protocol](timestamp_parser=_moment, blob_parser=_blob)
