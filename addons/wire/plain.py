"""JSON and CBOR bodies against an input shape.

The two share their data model: maps, lists, strings, numbers. They differ in how bytes are read, and in three leaves:
CBOR carries blobs as byte strings, timestamps under tag 1, and NaN as a number. A reader is compiled once for each
shape of a service, and holds no state of a call.
"""

import io
import json
import math
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, NoReturn

import cbor2
import orjson

from addons.wire import models, scalars, unknown
from addons.wire.message import Undecodable
from addons.wire.scalars import MAX_DEPTH, deny

Reader = Callable[[Any, int], Any]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        deny("an object holds the same key twice")
    return made


def _constant(_: str) -> NoReturn:
    deny("NaN and Infinity are no JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


def json_value(body: bytes) -> Any:
    """A strict reading of a JSON document (RFC 8259): UTF-8, no duplicate keys, no NaN, nothing after it."""
    if b"\\" not in body and (found := _plainly(body)) is not None:
        return found
    try:
        text = body.decode()
        if text.startswith("\ufeff"):
            deny("the body begins with a byte order mark")
        value = _JSON.decode(text)
    except UnicodeDecodeError:
        deny("the body is not UTF-8")
    except RecursionError:
        deny("the body is nested too deeply")
    except ValueError:
        deny("the body is not JSON")
    if "\\u" in text:
        _no_surrogates(value, 0)
    return value


_SPACE = b" \t\r\n"


def _plainly(body: bytes) -> Any:
    """A document without escapes by orjson, three times as fast; None: read it the slow way, which knows the reasons.

    orjson is strict but for two things: a key may stand twice, and an integer of more than 64 bits becomes a float.
    Both show when it writes out what it has read: the text must be the same but for white space. Without escapes each
    quote begins or ends a string: texts that are equal without white space have the same strings in the same places.
    """
    try:
        value = orjson.loads(body)
        same = orjson.dumps(value).translate(None, _SPACE) == body.translate(None, _SPACE)
    except (ValueError, TypeError):  # not JSON, or nested too deeply
        return None
    return value if same else None


def _no_surrogates(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        deny("the body is nested too deeply")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            deny("a string holds half a surrogate pair")
    elif isinstance(value, dict):
        for key, item in value.items():
            _no_surrogates(key, depth + 1)
            _no_surrogates(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _no_surrogates(item, depth + 1)


def _deny_tag(*_: Any) -> NoReturn:
    deny("the body holds a CBOR tag that Smithy does not use")


def _epoch(value: Any, _: bool) -> datetime:
    if type(value) not in (int, float) or (type(value) is float and not math.isfinite(value)):
        deny("a timestamp is not a number")
    return scalars.epoch(value)


def _milliseconds(value: Any, _: bool) -> datetime:
    if type(value) is not int:
        deny("a timestamp is not a number of milliseconds")
    return scalars.milliseconds(value)


# cbor2 knows these tags by itself: each is refused by name, or it would build a value of its own.
_OTHER_TAGS: dict[int, Any] = dict.fromkeys(
    (0, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 43000, 52, 54, 55799, 100, 256, 258, 260, 261, 1004), _deny_tag
)
_TAGS, _KINESIS_TAGS = _OTHER_TAGS | {1: _epoch}, _OTHER_TAGS | {1: _milliseconds}


def cbor_value(body: bytes, tags: dict[int, Any] = _TAGS) -> Any:
    """One CBOR data item (RFC 8949) and nothing after it. Indefinite lengths are legal; tags other than 1 are not."""
    stream = io.BytesIO(body)
    try:
        decoder = cbor2.CBORDecoder(
            stream,
            max_depth=MAX_DEPTH,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
            tag_hook=_deny_tag,
            semantic_decoders=tags,
        )
        value = decoder.decode()
    except Undecodable:
        raise
    except Exception as error:  # cbor2 wraps what its hooks raise, and has many errors of its own
        cause = error.__cause__
        if isinstance(cause, Undecodable):
            raise cause from None
        deny("the body is not CBOR as Smithy uses it")
    if stream.tell() != len(body):
        deny("something follows the CBOR body")
    return value


def kinesis_value(body: bytes) -> Any:
    """The same as Kinesis has it in `application/x-amz-cbor-1.1`: tag 1 holds milliseconds, where RFC 8949 has seconds.

    Source: AWS's SDKs for Java. v2 writes `toEpochMilli()` (SdkCborGenerator) and reads UNIX_TIMESTAMP_MILLIS ("CBOR
    uses epoch millis for timestamps rather than epoch seconds", AwsCborProtocolFactory); v1 writes `Date.getTime()`
    (SdkCborGenerator) and reads `new Date(long)` (SimpleTypeCborUnmarshallers).
    """
    return cbor_value(body, _KINESIS_TAGS)


class Readers:
    """The readers of one service's shapes, for JSON or for CBOR."""

    def __init__(self, cbor: bool) -> None:
        self.cbor = cbor
        self._memo: dict[tuple[str, str | None], Reader] = {}

    def reader(self, shape: Any) -> Reader:
        """The reader of a shape; a member's own timestampFormat makes another one."""
        key = (shape.name, shape.serialization.get("timestampFormat"))
        if key not in self._memo:
            self._memo[key] = self._compile(shape)
        return self._memo[key]

    def _compile(self, shape: Any) -> Reader:
        kind = shape.type_name
        if kind == "structure":
            return document if shape.is_document_type else self._structure(shape)
        if kind == "list":
            return self._list(shape)
        if kind == "map":
            return self._map(shape)
        if kind == "timestamp":
            form = str(shape.serialization.get("timestampFormat", "unixtimestamp")).lower()
            return _cbor_time if self.cbor else _number_time if form == "unixtimestamp" else _text_time(form)
        if kind == "blob":
            return _bytes if self.cbor else _base64
        if kind in ("float", "double", "bigDecimal"):
            return _cbor_float if self.cbor else _float
        if kind == "boolean":
            return _boolean
        if kind in ("string", "character"):
            return _string
        return lambda value, depth: _integer(value, kind)

    def _structure(self, shape: Any) -> Reader:
        members: dict[str, tuple[str, Reader]] = {}
        union = getattr(shape, "is_tagged_union", False)

        def fill() -> None:  # on first use, as shapes may hold themselves
            members.update(
                {m.serialization.get("name", name): (name, self.reader(m)) for name, m in shape.members.items()}
            )

        def read(value: Any, depth: int) -> dict[str, Any]:
            if not members:
                fill()
            if type(value) is not dict:
                deny("something else stands where an object belongs")
            if depth > MAX_DEPTH:
                deny("the body is nested too deeply")
            made, left_out = {}, 0
            for key, item in value.items():
                if key not in members:
                    unknown.member(shape, key, members)
                    unknown.bounded(item, depth + 1)
                    left_out += 1
                    continue
                name, reader = members[key]
                if reader is _string and type(item) is str:  # most of all values
                    made[name] = item
                elif item is not None:
                    made[name] = reader(item, depth + 1)
            if union and len(made) + left_out != 1:
                deny("a union must hold exactly one member")
            return made

        return read

    def _list(self, shape: Any) -> Reader:
        item = self.reader_later(shape, "member")

        def read(value: Any, depth: int) -> list[Any]:
            if type(value) is not list:
                deny("something else stands where a list belongs")
            if depth > MAX_DEPTH:
                deny("the body is nested too deeply")
            one = item()
            return [one(each, depth + 1) for each in value]

        return read

    def _map(self, shape: Any) -> Reader:
        item = self.reader_later(shape, "value")

        def read(value: Any, depth: int) -> dict[str, Any]:
            if type(value) is not dict:
                deny("something else stands where a map belongs")
            if depth > MAX_DEPTH:
                deny("the body is nested too deeply")
            one = item()
            if self.cbor:
                return {_string(key, 0): one(each, depth + 1) for key, each in value.items()}
            return {key: one(each, depth + 1) for key, each in value.items()}  # JSON has no other keys than strings

        return read

    def reader_later(self, shape: Any, part: str) -> Callable[[], Reader]:
        """The reader of a list's member or a map's value, compiled on first use, as shapes may hold themselves."""
        return cache(lambda: self.reader(getattr(shape, part)))


def document(value: Any, depth: int) -> Any:
    """A document: any JSON value (Smithy's document type), bounded like everything else."""
    if depth > MAX_DEPTH:
        deny("the body is nested too deeply")
    if type(value) is dict:
        return {_string(key, 0): document(item, depth + 1) for key, item in value.items()}
    if type(value) is list:
        return [document(item, depth + 1) for item in value]
    if type(value) is float:
        return scalars.finite(value)
    if value is None or type(value) in (str, int, bool):
        return value
    return deny("a document holds a value that JSON has not")


def _string(value: Any, _: int) -> str:
    if type(value) is not str:
        deny("something else stands where a string belongs")
    return value


def _boolean(value: Any, _: int) -> bool:
    if type(value) is not bool:
        deny("something else stands where a boolean belongs")
    return value


def _integer(value: Any, kind: str) -> int:
    if type(value) is not int:
        deny("something else stands where an integer belongs")
    return scalars.in_range(value, kind)


def _float(value: Any, _: int) -> float:
    if type(value) is str and value in scalars.SPECIAL:
        return scalars.SPECIAL[value]
    if type(value) not in (int, float):
        deny("something else stands where a number belongs")
    return scalars.finite(_as_float(value))


def _cbor_float(value: Any, _: int) -> float:
    if type(value) not in (int, float):
        deny("something else stands where a number belongs")
    return _as_float(value)


def _as_float(value: float) -> float:
    try:
        made = float(value)
    except OverflowError:
        deny("a number is too large")
    if type(value) is int and int(made) != value:
        deny("a number is finer than its type holds")
    return made


def _base64(value: Any, _: int) -> bytes:
    return scalars.blob(_string(value, 0))


def _bytes(value: Any, _: int) -> bytes:
    if type(value) is not bytes:
        deny("something else stands where a byte string belongs")
    return value


def _number_time(value: Any, _: int) -> datetime:
    if type(value) not in (int, float) or (type(value) is float and not math.isfinite(value)):
        deny("a timestamp is not a number")
    return scalars.epoch(value)


def _cbor_time(value: Any, _: int) -> datetime:
    if type(value) is not datetime:
        deny("a timestamp is not under tag 1")
    return value


def _text_time(form: str) -> Reader:
    return lambda value, depth: scalars.timestamp(_string(value, 0), form)


@models.PerService
def readers(service: str, cbor: bool) -> Readers:
    """The readers of one service."""
    return Readers(cbor)
