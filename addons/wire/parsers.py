"""botocore's parsers of answers, for every protocol, with what Smithy says and they lack.

Times are read to the microsecond in every form that a service sends; base64 is checked; null, NaN and lists in headers
are what Smithy's protocols say. Built once for each protocol: they hold no state of an answer.
"""

import base64
import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.model import Shape
from botocore.parsers import (
    BaseEventStreamParser,
    EC2QueryParser,
    EventStreamCBORParser,
    EventStreamJSONParser,
    EventStreamXMLParser,
    JSONParser,
    QueryParser,
    ResponseParser,
    RestJSONParser,
    RestXMLParser,
    RpcV2CBORParser,
)
from botocore.utils import parse_timestamp

from addons.wire import rest, scalars
from addons.wire.scalars import deny

KINESIS = "kinesis-cbor"  # CBOR 1.1, which no model lists: the Java SDKs' own
_LONGEST_TIME = 64  # characters; the parser of dates takes its time over long text
_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)


def moment(value: Any) -> datetime:
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
    """Kinesis' tag 1, which holds milliseconds: see `plain.kinesis_value`."""
    if type(value) is int:
        return scalars.milliseconds(value)
    if type(value) is not float:
        deny("a timestamp is not a number")
    return scalars.epoch(value / 1000)


def _blob(value: str) -> bytes:
    """base64, which XML may break into lines."""
    return base64.b64decode("".join(value.split()), validate=True)


class _Nulls:
    """null where a dense list or map may not hold it."""

    def _parse_shape(self, shape: Shape, node: Any) -> Any:
        return None if node is None else super()._parse_shape(shape, node)  # type: ignore[misc]


class _Numbers(_Nulls):
    """Smithy's NaN and infinities, which JSON writes as texts."""

    def _handle_float(self, shape: Shape, value: Any) -> Any:
        return scalars.SPECIAL.get(value, value) if isinstance(value, str) else value

    _handle_double = _handle_float


class _Json(_Numbers, JSONParser):  # type: ignore[misc]  # botocore has no annotations
    """botocore's."""


class _EventJson(_Numbers, EventStreamJSONParser):  # type: ignore[misc]  # botocore has no annotations
    """Likewise."""


class _RestJson(_Nulls, RestJSONParser):  # type: ignore[misc]  # botocore has no annotations
    """botocore's, with header lists split where Smithy's httpHeader trait says."""

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
def parser(protocol: str) -> ResponseParser:
    """The parser of answers in a protocol, or in `KINESIS`."""
    if protocol == KINESIS:
        return RpcV2CBORParser(timestamp_parser=_milliseconds)
    return _PARSERS[protocol](timestamp_parser=moment, blob_parser=_blob)


@cache
def event_parser(protocol: str) -> BaseEventStreamParser:
    """The parser of the events inside such an answer."""
    if protocol == KINESIS:
        return EventStreamCBORParser(timestamp_parser=_milliseconds)
    made = {"rest-xml": EventStreamXMLParser, "smithy-rpc-v2-cbor": EventStreamCBORParser}.get(protocol, _EventJson)
    return made(timestamp_parser=moment, blob_parser=_blob)
