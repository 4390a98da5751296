"""Single values as text: each is matched against its exact grammar before it is read.

Python's own readers are lenient (`int("1_0")`, `float(" 5 ")`, `unquote("%zz")`), and a value that two readers may read
differently must not pass. Formats are Smithy's (timestamp formats, NaN and Infinity as strings).
"""

import base64
import binascii
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from addons.wire.message import Undecodable

MAX_DEPTH = 64
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RANGES = {"integer": 31, "long": 63, "short": 15, "byte": 7}
SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_BIG_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,4000})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,400})(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")
# Years have four digits: SDKs write those before 1000 with fewer, so no two readers agree on them.
_ISO8601 = re.compile(r"([1-9]\d{3})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)", re.ASCII)
_RFC822 = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([1-9]\d{3}) "
    r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? GMT",
    re.ASCII,
)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")


def deny(reason: str, hint: str = "") -> NoReturn:
    """Refuse to read on."""
    raise Undecodable(reason, hint)


def shown(name: str) -> str:
    """A name of the sender's own making, fit for a message: short and printable."""
    text = ascii(name)
    return text if len(text) <= 80 else text[:76] + "..."


NO_BODY = "the operation's parameters are in the body, which is not there"  # only the head is
UPGRADE = "If the SDK is newer than the gateway's botocore, upgrade botocore."


def integer(text: str, kind: str = "long") -> int:
    """A canonical decimal that fits its type: no plus sign, no leading zero, no space."""
    if kind == "bigInteger":
        if not _BIG_INTEGER.fullmatch(text):
            deny("a number is not a canonical integer")
        return int(text)
    if not _INTEGER.fullmatch(text) or text == "-0":
        deny("a number is not a canonical integer")
    return in_range(int(text), kind)


def in_range(value: int, kind: str) -> int:
    """The value, if its Smithy type holds it."""
    bits = RANGES.get(kind)
    if bits is not None and not -(1 << bits) <= value < 1 << bits:
        deny(f"a number does not fit its type ({kind})")
    return value


def floating(text: str) -> float:
    """A number in JSON's grammar, or one of Smithy's strings NaN, Infinity and -Infinity."""
    if text in SPECIAL:
        return SPECIAL[text]
    if not _FLOAT.fullmatch(text):
        deny("a number is not in the grammar of floats")
    return finite(float(text))


def finite(value: float) -> float:
    """The value, unless it overflowed."""
    if not math.isfinite(value):
        deny("a number is too large")
    return value


def boolean(text: str) -> bool:
    """`true` or `false`, in lower case."""
    if text not in ("true", "false"):
        deny("a boolean is neither true nor false")
    return text == "true"


def blob(text: str) -> bytes:
    """Canonical base64 with padding (RFC 4648 section 4)."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        deny("a blob is not base64")
    if base64.b64encode(value).decode() != text:
        deny("a blob is not canonical base64")
    return value


def timestamp(text: str, form: str) -> datetime:
    """A point in time in one of Smithy's formats: iso8601 (date-time), rfc822 (http-date), unixtimestamp."""
    if form == "unixtimestamp":
        if not _FLOAT.fullmatch(text):
            deny("a timestamp is not a number")
        return epoch(float(text) if "." in text or "e" in text.lower() else int(text))
    if form == "iso8601":
        if not (found := _ISO8601.fullmatch(text)):
            deny("a timestamp is not in the form 2006-01-02T15:04:05Z")
        year, month, day, hour, minute, second, part = found.groups()
    else:
        if not (found := _RFC822.fullmatch(text)):
            deny("a timestamp is not in the form Mon, 02 Jan 2006 15:04:05 GMT")
        name, day, word, year, hour, minute, second, part = found.groups()
        month = str(_MONTHS.index(word) + 1)
        if (part or "").strip("0"):
            deny("a timestamp is finer than the second of its form")
    part = (part or "").ljust(9, "0")
    if part[6:] != "000":
        deny("a timestamp is finer than a microsecond")
    try:
        value = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), int(part[:6]), UTC)
    except ValueError:
        deny("a timestamp names no real time")
    if form != "iso8601" and _DAYS[value.weekday()] != name:
        deny("a timestamp's weekday is wrong")
    return value


def epoch(value: float) -> datetime:
    """Seconds since 1970, exactly: what is finer than a microsecond is refused, as no two readers round it alike."""
    try:
        if isinstance(value, int):
            return EPOCH + timedelta(seconds=value)
        micro = round(value * 1e6)
        if micro / 1e6 != value:
            deny("a timestamp is finer than a microsecond")
        return EPOCH + timedelta(microseconds=micro)
    except (OverflowError, ValueError):
        deny("a timestamp is out of range")


def milliseconds(value: int) -> datetime:
    """Milliseconds since 1970."""
    try:
        return EPOCH + timedelta(milliseconds=value)
    except (OverflowError, ValueError):
        deny("a timestamp is out of range")


def from_text(text: str, shape: Any, time_format: str) -> Any:
    """A scalar of any type, as it stands in a form, a header, a path, a query string or an XML element."""
    kind = shape.type_name
    if kind in ("string", "character"):
        return text
    if kind == "boolean":
        return boolean(text)
    if kind in ("integer", "long", "short", "byte", "bigInteger"):
        return integer(text, kind)
    if kind in ("float", "double", "bigDecimal"):
        return floating(text)
    if kind == "timestamp":
        return timestamp(text, str(shape.serialization.get("timestampFormat", time_format)).lower())
    if kind == "blob":
        return blob(text)
    return deny(f"a {kind} cannot stand as text")


def _bytes(run: re.Match[str]) -> str:
    return bytes.fromhex(run[0].replace("%", "")).decode("latin-1")


def unquote(text: str) -> str:
    """Undo percent-encoding once. The result must be UTF-8."""
    if not text.isascii():
        deny("a path, query or form holds bytes that are not encoded")
    if "%" not in text:
        return text
    if _ESCAPE.search(text):
        deny("a percent sign is not followed by two hexadecimal digits")
    try:
        return _ESCAPES.sub(_bytes, text).encode("latin-1").decode()
    except UnicodeDecodeError:
        deny("percent-encoded text is not UTF-8")


def split_pairs(text: str, *, limit: int, plus: bool) -> list[tuple[str, str | None]]:
    """`a=1&b` as [("a", "1"), ("b", None)], decoded. Empty pieces and more than `limit` pairs are refused.

    `plus` reads "+" as a space, as forms do.
    """
    if not text:
        return []
    if text.count("&") >= limit:
        deny(f"more than {limit} parameters")
    if not plus and (";" in text or "+" in text):
        deny("a query string holds a bare ';' or '+', which readers understand differently")
    pairs: list[tuple[str, str | None]] = []
    if plus:
        text = text.replace("+", " ")
    if not text.isascii():
        unquote(text)  # refuses it
    for piece in text.split("&"):
        key, equals, value = piece.partition("=")
        if not key:
            deny("a parameter without a name")
        if "%" in piece:
            key, value = unquote(key), unquote(value)
        pairs.append((key, value if equals else None))
    return pairs
