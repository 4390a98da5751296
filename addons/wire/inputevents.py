"""The events that a client sends: the body of an operation whose input is an event stream, one event at a time.

    signed message {:date, :chunk-signature} ─ holds ─▶ message {:message-type, :event-type, ...} ─▶ {"Event": {...}}

A request of this kind is decided on by its head; this reads what comes after it, as strictly: what the model does not
know is refused. Signatures are taken off, not checked. Sources: https://smithy.io/2.0/aws/amazon-eventstream.html; for
the signed messages and the empty one that ends them,
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from botocore.model import OperationModel, Shape

from addons.wire import frames, models, plain, scalars, xmlbody
from addons.wire.frames import HeaderValue, Message
from addons.wire.message import Decoded, Headers
from addons.wire.plain import Readers
from addons.wire.scalars import UPGRADE, deny, shown

SIGNED = "STREAMING-AWS4-HMAC-SHA256-EVENTS"  # x-amz-content-sha256
MAX_EVENTS = 1_000_000
INITIAL = "initial-request"
_SIGNATURE = 32  # bytes: HMAC-SHA256
_RPC = frozenset({"json", "smithy-rpc-v2-cbor", "smithy-rpc-v2-json"})
_MEDIA = {  # :content-type of what is no blob and no text
    "json": {"application/json", "application/x-amz-json-1.0", "application/x-amz-json-1.1"},
    "rest-json": {"application/json"},
    "rest-xml": {"application/xml", "text/xml"},
    "smithy-rpc-v2-cbor": {"application/cbor"},
    "smithy-rpc-v2-json": {"application/json"},
}
_INTEGERS = frozenset({"byte", "short", "integer", "long"})
_HEADER_TYPES: dict[str, type] = {"boolean": bool, "blob": bytes, "string": str, "timestamp": datetime}


def stream_member(decoded: Decoded) -> str | None:
    """The name of the input member that is an event stream; None where the operation has none.

    Raises KeyError for a call that no model has.
    """
    shape = models.operation_model(decoded.service, decoded.operation).input_shape
    name: str | None = shape.event_stream_name if shape else None
    return name


def input_events(decoded: Decoded, headers: Headers, chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The events of a request's body, each {"EventName": {...}} with values as in `Decoded.params`, as they come.

    In protocols that are no REST the first is {"initial-request": {...}}, all of the input but the stream itself.
    `headers`: the request's, which say whether messages are signed; `chunks`: the body, in pieces of any size. Raises
    `Undecodable`, here or from the iterator: no more of the body can be read. KeyError: no model has this call.
    """
    model = models.operation_model(decoded.service, decoded.operation)
    kinds = [value for name, value in headers if name.lower() == "x-amz-content-sha256"]
    readers = plain.readers(decoded.service, decoded.protocol == "smithy-rpc-v2-cbor")
    return read_events(model, decoded.protocol, readers, SIGNED in kinds, chunks)


def read_events(
    model: OperationModel, protocol: str, readers: Readers, signed: bool, chunks: Iterable[bytes]
) -> Iterator[dict[str, Any]]:
    """The same for an operation's model itself. `readers`: its service's, for CBOR where that is the protocol."""
    union = model.get_event_stream_input()
    if union is None or protocol not in _MEDIA:
        deny("the operation takes no event stream")
    found = frames.messages(chunks)
    return _events(model.input_shape, union, protocol, readers, _unwrapped(found) if signed else found)


def _events(
    shape: Shape, union: Shape, protocol: str, readers: Readers, found: Iterator[Message]
) -> Iterator[dict[str, Any]]:
    if protocol in _RPC:
        first = next(found, None)
        if first is None:
            deny("the event stream has no initial-request")
        yield {INITIAL: _initial(shape, protocol, readers, first)}
    for count, message in enumerate(found):
        if count == MAX_EVENTS:
            deny(f"the event stream holds more than {MAX_EVENTS} events")
        yield _event(union, protocol, readers, message)


def _unwrapped(found: Iterator[Message]) -> Iterator[Message]:
    """The messages inside signed ones. The last signed one is empty; without it, the end may have been cut off."""
    for outer in found:
        date, signature = outer.headers.get(":date"), outer.headers.get(":chunk-signature")
        if len(outer.headers) != 2 or type(date) is not datetime or type(signature) is not bytes:
            deny("a message of the event stream is not signed")
        if len(signature) != _SIGNATURE:
            deny("a message's signature is not as long as SigV4's")
        if not outer.payload:
            break
        inner = frames.messages((outer.payload,))
        message = next(inner)  # a payload that is not empty holds one, or is refused
        if next(inner, None) is not None:
            deny("a signed message holds more than one")
        yield message
    else:
        deny("the event stream ends without its last, empty message")
    if next(found, None) is not None:
        deny("the event stream goes on after its end")


def _initial(shape: Shape, protocol: str, readers: Readers, message: Message) -> dict[str, Any]:
    name, rest = _named(message)
    if name != INITIAL or rest:
        deny("the event stream does not begin with an initial-request")
    made = _document(shape, protocol, readers, message)
    if shape.event_stream_name in made:
        deny("the initial-request holds the event stream itself")
    return made


def _event(union: Shape, protocol: str, readers: Readers, message: Message) -> dict[str, Any]:
    name, rest = _named(message)
    shape = union.members.get(name)
    if shape is None or shape.metadata.get("exception"):
        deny(f"unknown event {shown(name)}", UPGRADE)
    members = shape.members
    bound = {key for key, member in members.items() if member.serialization.get("eventheader")}
    made: dict[str, Any] = {}
    for key, value in rest.items():
        if key not in bound:
            deny(f"unknown header {shown(key)} of an event", UPGRADE)
        made[key] = _header(value, members[key].type_name)
    payload = next((key for key, member in members.items() if member.serialization.get("eventpayload")), None)
    if payload is None:
        body = _document(shape, protocol, readers, message)
        if not bound.isdisjoint(body):
            deny("an event's payload holds a member that belongs into its headers")
        return {name: made | body}
    kind = members[payload].type_name
    if kind == "blob":
        made[payload] = message.payload  # whatever its media type
    elif kind == "string":
        _check_media(message, {"text/plain"})
        try:
            made[payload] = message.payload.decode()
        except UnicodeDecodeError:
            deny("an event's text is not UTF-8")
    elif message.payload:
        made[payload] = _document(members[payload], protocol, readers, message)
    return {name: made}


def _named(message: Message) -> tuple[str, dict[str, HeaderValue]]:
    """An event's name, and its headers beside those that every event has."""
    headers = dict(message.headers)
    if headers.pop(":message-type", None) != "event":
        deny("a message of the event stream is no event")
    name, media = headers.pop(":event-type", None), headers.pop(":content-type", "")
    if type(name) is not str or type(media) is not str:
        deny("an event's type is no text")
    return name, headers


def _header(value: HeaderValue, kind: str) -> HeaderValue:
    if kind in _INTEGERS and type(value) is int:
        return scalars.in_range(value, kind)
    if type(value) is not _HEADER_TYPES.get(kind):
        deny("an event's header is of another type than the model's")
    return value


def _document(shape: Shape, protocol: str, readers: Readers, message: Message) -> dict[str, Any]:
    """A structure in the protocol's own form; an empty payload is one without members."""
    _check_media(message, _MEDIA[protocol])
    if not message.payload:
        return {}
    if protocol == "rest-xml":
        return dict(xmlbody.read(message.payload, shape, shape.serialization.get("name", shape.name)))
    value = plain.cbor_value(message.payload) if readers.cbor else plain.json_value(message.payload)
    return dict(readers.reader(shape)(value, 1))


def _check_media(message: Message, known: set[str]) -> None:
    media = message.headers.get(":content-type")
    if media is not None and str(media).partition(";")[0].strip().lower() not in known:
        deny("an event's content type is not the protocol's")
