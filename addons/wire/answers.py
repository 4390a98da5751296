"""AWS's answers, as output or error: every protocol, event streams included.

botocore's own parsers read them, so that what is understood here is what an SDK understands. Around them stand what
they lack: bounds, a check that the body is whole and means one thing, and one kind of failure. An answer is read in
the protocol of its *request*, which need not be the model's first choice.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from itertools import chain, islice
from typing import Any, cast

from botocore.awsrequest import HeadersDict
from botocore.model import OperationModel, Shape

from addons.wire import frames, models, outputevents, parsers, plain, sqsanswers, sqsquery
from addons.wire.message import HttpResponse, Protocol, Undecodable
from addons.wire.outputevents import StreamError
from addons.wire.scalars import deny

MAX_BODY = 64 << 20  # bytes of an answer that is parsed; a payload that is a blob is not
MAX_EVENTS = 1_000_000  # of an answer that is read as a whole
MAX_CODE, MAX_MESSAGE = 256, 16_384  # characters of an error's code and message
_KINESIS_CBOR = "application/x-amz-cbor-1.1"
_XML = ("query", "ec2", "rest-xml")


@dataclass(frozen=True, slots=True)
class Answer:
    """What AWS said. An output, or an error with its code; an event stream that broke off with an error has both.

    `output` holds Python values of the output shape: blobs are bytes, timestamps aware datetimes in UTC, an event
    stream the list of its events, each {"EventName": {...}}, or, from `decode_stream`, an iterator over them. Text that
    AWS encoded a second time (IAM's policies, EC2's console output) is as it was on the wire.
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
    answer = _read(service, operation, protocol, response, (response.body,))
    for name, value in (answer.output or {}).items():
        if isinstance(value, Iterator):
            return _collected(answer, name, value)
    return answer


def decode_stream(
    service: str, operation: str, protocol: Protocol, head: HttpResponse, chunks: Iterable[bytes]
) -> Answer:
    """Read an answer that is an event stream while it comes: one event is kept at a time, for as long as it lasts.

    `head.body` is not looked at; `chunks` is the body, in pieces of any size. In protocols that are no REST this takes
    the first message from it, which holds the rest of the output. The iterator in `output` raises `Undecodable` where
    the stream is broken, and `StreamError` where AWS says that it ends with an error. Raises `Undecodable`: this is no
    event stream, or none that can be read; an error with a status of its own is for `decode_answer`.
    """
    answer = _read(service, operation, protocol, replace(head, body=b""), chunks)
    if not any(isinstance(value, Iterator) for value in (answer.output or {}).values()):
        deny("the answer is no event stream")
    return answer


def _collected(answer: Answer, name: str, events: Iterator[dict[str, Any]]) -> Answer:
    """The same answer with the list of its events, and the error that ended them."""
    found: list[dict[str, Any]] = []
    output = {**(answer.output or {}), name: found}
    try:
        found += islice(events, MAX_EVENTS)
        if next(events, None) is not None:
            deny("the event stream holds too many events")
    except StreamError as error:
        code, message = error.code[:MAX_CODE] or str(answer.status), error.message[:MAX_MESSAGE]
        return replace(answer, output=output, code=code, message=message, members=error.members)
    return replace(answer, output=output)


def _read(service: str, operation: str, protocol: Protocol, response: HttpResponse, chunks: Iterable[bytes]) -> Answer:
    old_sqs = (service, protocol) == (sqsquery.SERVICE, "query")
    try:
        model = sqsanswers.operation_model(operation) if old_sqs else models.operation_model(service, operation)
    except KeyError:
        raise Undecodable("no model has this operation") from None
    try:
        return _decode(service, model, protocol, response, chunks)
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


def _decode(
    service: str, model: OperationModel, protocol: str, response: HttpResponse, chunks: Iterable[bytes]
) -> Answer:
    if protocol not in models.protocols(service) and (service, protocol) != (sqsquery.SERVICE, "query"):
        deny(f"answers of {service} in {protocol} are not known")
    headers = HeadersDict()
    for name, value in response.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if service == "kinesis" and headers.get("content-type", "").lower().startswith(_KINESIS_CBOR):
        protocol = parsers.KINESIS  # the Java SDKs' own: JSON 1.1's operations with CBOR bodies
    if response.status >= 300:
        return _error(model, protocol, response.status, headers, response.body)
    if service == "s3" and _is_error(model, response.body):
        return _error(model, protocol, 500, headers, response.body, status=response.status)
    if model.has_event_stream_output:
        return _stream(model, protocol, response.status, headers, chunks)
    return _output(service, model, protocol, response.status, headers, response.body)


def _output(
    service: str, model: OperationModel, protocol: str, status: int, headers: HeadersDict, body: bytes
) -> Answer:
    shape = model.output_shape
    payload = _payload(shape)
    blob = payload is not None and payload.type_name == "blob"
    given: Any = body
    if blob:
        given = _Whole(body)
    elif payload is None or payload.type_name != "string":
        _check_body(protocol, body)
    if service == "s3" and not _is_time(headers.get("expires")):
        headers = HeadersDict({name: value for name, value in headers.items() if name.lower() != "expires"})
    if not body and protocol in ("query", "ec2") and not (shape and shape.members):
        return Answer(status, _request_id({}, headers), {})
    answer = {"status_code": status, "headers": headers, "body": given, "context": {"operation_name": model.name}}
    parsed = parsers.parser(protocol).parse(answer, shape)
    if not isinstance(parsed, dict):
        deny("the answer is no structure")
    request_id = _request_id(parsed, headers)
    for name, value in parsed.items():
        if isinstance(value, _Whole):
            parsed[name] = value.body
    if (service, model.name) == ("s3", "GetBucketLocation"):
        parsed["LocationConstraint"] = _text(protocol, body)  # the root itself holds the region; no model says so
    return Answer(status, request_id, parsed)


def _stream(model: OperationModel, protocol: str, status: int, headers: HeadersDict, chunks: Iterable[bytes]) -> Answer:
    """An output whose event stream is an iterator; what stands beside it is in the headers, or in the first message."""
    shape, source = model.output_shape, frames.frames(chunks)
    first = () if protocol.startswith("rest-") else tuple(islice(source, 1))
    opening = [frames.message(frame) for frame in first]
    if any(map(outputevents.is_error, opening)):
        parsed, source = {}, chain(first, source)
    else:
        for message in opening:
            _check_body(protocol, message.payload)
        context = {"operation_name": model.name}
        answer = {"status_code": status, "headers": headers, "body": _Whole(b"".join(first)), "context": context}
        parsed = parsers.parser(protocol).parse(answer, shape)
    request_id = _request_id(parsed, headers)
    check, read = partial(_check_body, protocol), map(frames.message, source)
    events = outputevents.events(model.get_event_stream_output(), parsers.event_parser(protocol), check, read)
    return Answer(status, request_id, parsed | {shape.event_stream_name: events})


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
    parser = parsers.parser(protocol)
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


class _Whole:
    """A body that is there already, for parsers that expect a stream."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def stream(self) -> Iterator[bytes]:
        """All of it."""
        return iter((self.body,))


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
    elif protocol == parsers.KINESIS:
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
    return str(parsers.parser(protocol)._parse_xml_string_to_dom(body).text or "")


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


def _is_time(value: str | None) -> bool:
    """Whether S3's Expires, which may be any text that was put there, is a date."""
    try:
        return value is None or bool(parsers.moment(value))
    except Undecodable:
        return False
