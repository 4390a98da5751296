"""The events that AWS sends: one at a time, as they come, until the stream ends or breaks off with an error.

botocore's parsers read each event, as they read the rest of an answer; the messages around them are read strictly.
Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from botocore.model import Shape
from botocore.parsers import BaseEventStreamParser

from addons.wire.frames import HeaderValue, Message
from addons.wire.message import Undecodable
from addons.wire.scalars import EPOCH, deny


class StreamError(Exception):
    """AWS ended the stream with an error. `code`: the exception's name in the model ("throttlingException"), or AWS's.

    The text of this exception is its code alone; `message` and `members`, the modelled ones, are AWS's words.
    """

    def __init__(self, code: str, message: str, members: dict[str, Any]) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.members = members


def is_error(message: Message) -> bool:
    """Whether a message says that the stream ends with an error."""
    return message.headers.get(":message-type") in ("error", "exception")


def events(
    union: Shape, parser: BaseEventStreamParser, check: Callable[[bytes], None], found: Iterator[Message]
) -> Iterator[dict[str, Any]]:
    """Each event as {"EventName": {...}}; those that the model does not know are left out, as SDKs do.

    `check` refuses a payload that `parser` would read leniently. Raises `Undecodable` for a stream that is broken, and
    `StreamError` where AWS says that it breaks off.
    """
    for message in found:
        try:
            event = _event(union, parser, check, message)
        except (Undecodable, StreamError):
            raise
        except RecursionError:
            deny("an event is nested too deeply")
        except Exception:  # whatever botocore's parsers stumble over; its text may quote the event
            deny("an event is not what the model says")
        if event:
            yield event


def _event(
    union: Shape, parser: BaseEventStreamParser, check: Callable[[bytes], None], message: Message
) -> dict[str, Any]:
    headers = message.headers
    kind = headers.get(":message-type")
    if kind == "error":
        raise StreamError(str(headers.get(":error-code", "")), str(headers.get(":error-message", "")), {})
    name = headers.get(":event-type" if kind == "event" else ":exception-type")
    if kind not in ("event", "exception") or type(name) is not str:
        deny("a message of the event stream is neither an event nor an error")
    shape = union.members.get(name)
    if kind == "exception":
        raise _exception(name, shape, parser, check, message.payload)
    if shape is None:
        return {}
    payload = next((m for m in shape.members.values() if m.serialization.get("eventpayload")), shape)
    if payload.type_name not in ("blob", "string"):
        check(message.payload)
    answer = {"status_code": 200, "headers": {key: _plain(value) for key, value in headers.items()}}
    made: dict[str, Any] = parser.parse(answer | {"body": message.payload}, union)
    return made


def _exception(
    name: str, shape: Shape | None, parser: BaseEventStreamParser, check: Callable[[bytes], None], payload: bytes
) -> StreamError:
    members: dict[str, Any] = {}
    if shape is not None:
        check(payload)
        members = parser._parse_shape(shape, parser._initial_body_parse(payload))
    found = [members.pop(key, None) for key in ("message", "Message")]
    return StreamError(name, str(found[0] or found[1] or ""), members)


def _plain(value: HeaderValue) -> HeaderValue:
    """A header's value as botocore's parser expects it: a timestamp is its milliseconds."""
    return (value - EPOCH) // timedelta(milliseconds=1) if isinstance(value, datetime) else value
