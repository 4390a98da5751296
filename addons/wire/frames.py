"""The event stream encoding, application/vnd.amazon.eventstream: bytes as they come, to messages, one by one.

    total length | headers' length | CRC-32 of both | headers | payload | CRC-32 of all before     (uint32, big-endian)

Source: https://smithy.io/2.0/aws/amazon-eventstream.html. No more is kept than one message and one piece of input; a
length is believed only once its checksum has been found right. Which messages an operation has is no matter of this.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from addons.wire import scalars
from addons.wire.scalars import deny, shown

MAX_HEADERS = 128 * 1024  # bytes of one message's headers: the specification's
MAX_PAYLOAD = 24 * 1024 * 1024  # bytes of one message's payload: the specification's
MAX_NAMES = 256  # headers of one message; AWS's own have three or four
MAX_VALUE = (1 << 15) - 1  # bytes of one header's text or blob: the specification's
_PRELUDE, _CHECKSUM = 12, 4
_WIDTHS = {2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 2, 8: 8, 9: 16}  # bytes, by type: of the value, or of its length (6, 7)

HeaderValue = bool | int | bytes | str | datetime | UUID


@dataclass(frozen=True, slots=True)
class Message:
    """One message. The header types byte, short, integer and long are all `int`; a timestamp is aware, in UTC."""

    headers: dict[str, HeaderValue]
    payload: bytes


def messages(chunks: Iterable[bytes]) -> Iterator[Message]:
    """The messages of a stream, as soon as each is whole. Raises `Undecodable` where the stream is not as it must be,
    or ends inside a message."""
    return map(message, frames(chunks))


def frames(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same, each as the bytes that it is, with lengths and checksums found right. `message` reads one."""
    kept = bytearray()
    length = 0  # of the message under way, once its prelude is there
    for chunk in chunks:
        kept += chunk
        at = 0
        while len(kept) - at >= (length or _PRELUDE):
            if not length:
                length = _length(kept[at : at + _PRELUDE])
                continue
            frame = bytes(kept[at : at + length])
            if zlib.crc32(frame[:-_CHECKSUM]) != int.from_bytes(frame[-_CHECKSUM:]):
                deny("a message's checksum is wrong")
            at, length = at + length, 0
            yield frame
        del kept[:at]
    if kept:
        deny("the event stream breaks off inside a message")


def _length(prelude: bytes | bytearray) -> int:
    """The length of the whole message that a prelude announces."""
    total, headers = int.from_bytes(prelude[:4]), int.from_bytes(prelude[4:8])
    if zlib.crc32(prelude[:8]) != int.from_bytes(prelude[8:]):
        deny("a message's first checksum is wrong")
    payload = total - headers - _PRELUDE - _CHECKSUM
    if payload < 0:
        deny("a message's headers are longer than itself")
    if headers > MAX_HEADERS or payload > MAX_PAYLOAD:
        deny("a message of the event stream is too large")
    return total


def message(frame: bytes) -> Message:
    """What one frame of `frames` holds. Raises `Undecodable`."""
    end = _PRELUDE + int.from_bytes(frame[4:8])
    headers: dict[str, HeaderValue] = {}
    at = _PRELUDE
    while at < end:
        if len(headers) == MAX_NAMES:
            deny(f"a message has more than {MAX_NAMES} headers")
        name, at = _text(*_sized(frame, at, 1, end))
        if not name or name in headers:
            deny(f"a message's header {shown(name)} has no name, or stands twice")
        kind, at = _taken(frame, at, 1, end)
        headers[name], at = _value(kind[0], frame, at, end)
    return Message(headers, frame[end:-_CHECKSUM])


def _value(kind: int, frame: bytes, at: int, end: int) -> tuple[HeaderValue, int]:
    """A header's value, and where the next header begins."""
    if kind in (0, 1):
        return kind == 0, at
    if kind not in _WIDTHS:
        deny("a message's header is of a type that is not known")
    if kind in (6, 7):
        data, at = _sized(frame, at, _WIDTHS[kind], end)
        if len(data) > MAX_VALUE:
            deny("a message's header is too long")
        return (data, at) if kind == 6 else _text(data, at)
    data, at = _taken(frame, at, _WIDTHS[kind], end)
    if kind == 9:
        return UUID(bytes=data), at
    number = int.from_bytes(data, signed=True)
    if kind != 8:
        return number, at
    if number < 0:
        deny("a message's timestamp is negative or out of range")  # the specification says both signed and unsigned
    return scalars.milliseconds(number), at


def _taken(frame: bytes, at: int, size: int, end: int) -> tuple[bytes, int]:
    if at + size > end:
        deny("a message's headers are not as long as they say")
    return frame[at : at + size], at + size


def _sized(frame: bytes, at: int, width: int, end: int) -> tuple[bytes, int]:
    """Bytes with their length before them."""
    size, at = _taken(frame, at, width, end)
    return _taken(frame, at, int.from_bytes(size), end)


def _text(data: bytes, at: int) -> tuple[str, int]:
    try:
        return data.decode(), at
    except UnicodeDecodeError:
        deny("a message's header is not UTF-8")
