"""Messages of the event stream encoding, written from its specification: https://smithy.io/2.0/aws/amazon-eventstream.html"""

import json
import struct
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DATE = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)


def encoded(headers: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """One message; an `int` becomes the header type integer."""
    block = b"".join(bytes([len(name.encode())]) + name.encode() + value_of(value) for name, value in headers.items())
    return sealed(block, payload)


def sealed(block: bytes, payload: bytes = b"") -> bytes:
    """One message of these bytes of headers."""
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    head = prelude + struct.pack(">I", zlib.crc32(prelude))
    return head + block + payload + struct.pack(">I", zlib.crc32(head + block + payload))


def value_of(value: Any) -> bytes:
    match value:
        case bool():
            return b"\0" if value else b"\1"
        case int():
            return b"\4" + struct.pack(">i", value)
        case bytes():
            return b"\6" + struct.pack(">H", len(value)) + value
        case str():
            return b"\7" + struct.pack(">H", len(value.encode())) + value.encode()
        case datetime():
            return b"\x08" + struct.pack(">q", (value - EPOCH) // timedelta(milliseconds=1))
        case UUID():
            return b"\x09" + value.bytes
    raise TypeError(value)


def event(name: str, value: Any, **more: Any) -> bytes:
    """An event with a JSON payload, or with the bytes given."""
    raw = isinstance(value, bytes)
    media = "application/octet-stream" if raw else "application/json"
    headers = {":message-type": "event", ":event-type": name, ":content-type": media} | more
    return encoded(headers, value if raw else json.dumps(value).encode())


def signed(*inner: bytes, end: bool = True) -> bytes:
    """Each message inside a signed one, and the empty one at the end."""
    headers = {":date": DATE, ":chunk-signature": bytes(32)}
    return b"".join(encoded(headers, message) for message in (*inner, *([b""] if end else [])))


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
