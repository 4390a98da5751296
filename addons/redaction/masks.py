"""What stands in a masked value's place: recognisable, bound to this gateway's key, and of the value's own type."""

import base64
import binascii
import hmac
import json
from collections.abc import Iterable
from typing import Any

PREFIX = "sluicegate-redacted:v1:"
EPOCH = {"iso8601": "1970-01-01T00:00:00Z", "rfc822": "Thu, 01 Jan 1970 00:00:00 GMT", "unixTimestamp": "0"}
NUMBERS = frozenset({"integer", "long", "float", "double", "short", "byte", "bigdecimal", "biginteger"})


class Masker:
    """Makes masks with one key and remembers the fingerprints, never the values, that they were made of."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.fingerprints: list[str] = []

    def text(self, value: bytes) -> str:
        """The mask of a value. The same value gives the same text in every operation and encoding."""
        self.fingerprints.append(self.digest(value))
        return PREFIX + self.fingerprints[-1]

    def digest(self, value: bytes) -> str:
        """Eight hex digits of HMAC-SHA-256: a plain hash of a short secret could be searched for."""
        return hmac.digest(self._key, value, "sha256").hex()[:8]

    def text_leaf(self, value: str, shape: Any, timestamp_format: str) -> str | None:
        """The mask of a value that the wire carries as text (XML, headers, JSON strings); None: remove it."""
        kind = kind_of(shape)
        if kind == "blob":
            try:
                raw = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raw = value.encode()
            return base64.b64encode(self.text(raw).encode()).decode()
        text = self.text(value.encode("utf-8", "surrogatepass"))
        if kind == "boolean":
            return None
        if kind in NUMBERS:
            return "0"
        if kind == "timestamp":
            return EPOCH[shape.serialization.get("timestampFormat", timestamp_format)]
        return text

    def jsonvalue(self, value: str) -> str:
        """The mask of a header that holds base64 of JSON (the C2J trait `jsonvalue`): a JSON string."""
        text = self.text(value.encode("utf-8", "surrogatepass"))
        return base64.b64encode(json.dumps(text).encode()).decode()

    def join(self, fingerprints: Iterable[str]) -> str:
        """One fingerprint for several: the value's own where there was one value."""
        distinct = sorted(set(fingerprints))
        return distinct[0] if len(distinct) == 1 else self.digest(",".join(distinct).encode())


def kind_of(shape: Any) -> str:
    """The shape's type; "document" where the model says nothing (None) or says that anything may be."""
    if shape is None or getattr(shape, "is_document_type", False):
        return "document"
    return str(shape.type_name)
