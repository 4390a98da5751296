"""The parameters of REST requests (Smithy's restJson1 and restXml): path, query string, headers, and the body."""

import re
from collections.abc import Mapping
from typing import Any

from addons.wire import chunked, plain, scalars, unknown, xmlbody
from addons.wire.asked import STREAM
from addons.wire.inputevents import SIGNED as EVENTS
from addons.wire.message import Headers
from addons.wire.routes import Match, Route
from addons.wire.scalars import NO_BODY, UPGRADE, deny, shown

# What SDKs and HTTP itself add, beside what an operation's model names.
KNOWN_HEADERS = frozenset(
    [
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "amz-sdk-retry",
        "authorization",
        "baggage",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-md5",
        "content-type",
        "date",
        "expect",
        "host",
        "keep-alive",
        "pragma",
        "proxy-connection",
        "sec-fetch-mode",
        "smithy-protocol",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "user-agent",
        "x-amz-api-version",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-decoded-content-length",
        "x-amz-glacier-version",
        "x-amz-s3session-token",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-region-set",
        "x-amz-security-token",
        "x-amz-target",
        "x-amz-trailer",
        "x-amz-user-agent",
        "x-amzn-query-mode",
        "x-amzn-trace-id",
    ]
) | frozenset(
    f"x-amz-checksum-{name}"
    for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256", "sha512", "md5", "xxhash3", "xxhash64", "xxhash128")
)
_DATE = re.compile(r"\s*((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [^,]+)(?:,|\Z)")
_ITEM = re.compile(r'[ \t]*(?:"((?:[^"\\]|\\.)*)"[ \t]*|([^",]*))(,|\Z)', re.DOTALL)
_ALWAYS_ENCODED = re.compile(r"%(?:3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9Aa]|2[DdEe])")


def path_segments(path: str) -> list[str]:
    """A path outside S3, split and decoded once. Dot segments, empty ones and needless escapes are refused."""
    if not path.startswith("/") or "\\" in path or ";" in path or "+" in path:
        deny("the path holds a character that readers understand differently")
    if _ALWAYS_ENCODED.search(path):
        deny("the path encodes characters that need no encoding")
    if path == "/":
        return []
    segments = [scalars.unquote(segment) for segment in path[1:].split("/")]
    for position, segment in enumerate(segments):
        if not segment and position != len(segments) - 1:
            deny("the path holds an empty segment")
        parts = segment.replace("\\", "/").split("/")
        if "." in parts or ".." in parts:
            deny("the path holds a dot segment")
    return segments


def s3_segments(path: str, bucket: str | None) -> list[str]:
    """An S3 path as [bucket, key]: the key is the exact rest, never normalised. `bucket`: from the host.

    S3 reads a bare "+" in a path as a space, which RFC 3986 does not; SDKs write %2B and %20.
    """
    if "+" in path:
        deny("the path holds a bare '+', which S3 and others understand differently", "Write %2B, or %20 for a space.")
    if _ALWAYS_ENCODED.search(path):
        deny("the path encodes characters that need no encoding")
    rest = path[1:]
    if bucket is not None:
        return [bucket, scalars.unquote(rest)] if rest else [bucket]
    if not rest:
        return []
    first, _, key = rest.partition("/")
    if not first:
        deny("the path begins with an empty bucket name")
    name = scalars.unquote(first)
    if "/" in name or name in (".", ".."):
        deny("the bucket's name is no bucket name")
    return [name, scalars.unquote(key)] if key else [name]


def head_parameters(match: Match, query: dict[str, list[str | None]], headers: Headers) -> dict[str, Any]:
    """The members that stand in path, query string and headers (as received); everything there must be known."""
    route, made = match.route, {}
    for wire, text in match.labels.items():
        name, shape = route.uri[wire]
        made[name] = scalars.from_text(text, shape, "iso8601")
    rest: dict[str, Any] = {}
    for key, values in query.items():
        if key in route.fixed and len(values) == 1:
            continue
        if key == "x-id" and values == [route.operation]:
            continue  # the JavaScript SDK names the operation
        if None in values:
            deny(f"the query key {shown(key)} has no value")
        if key not in route.query:
            rest[key] = values
            continue
        name, shape = route.query[key]
        if shape.type_name == "list":
            made[name] = [scalars.from_text(str(value), shape.member, "iso8601") for value in values]
        elif len(values) > 1:
            deny(f"the query key {shown(key)} stands twice")
        else:
            made[name] = scalars.from_text(str(values[0]), shape, "iso8601")
    if rest:
        if route.query_map is None:
            deny(f"unknown query key {shown(next(iter(rest)))}", UPGRADE)
        name, shape = route.query_map
        lists = shape.value.type_name == "list"
        if not lists and any(len(values) > 1 for values in rest.values()):
            deny("a query key stands twice")
        made[name] = {key: values if lists else values[0] for key, values in rest.items()}
    made |= _headers(route, headers)
    return made


def _headers(route: Route, headers: Headers) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for wire, value in headers:
        key = wire.lower()
        if key == "content-length":
            continue  # framing, whatever the model says
        if key in route.headers:
            name, shape = route.headers[key]
            if key == "content-encoding":
                value = ",".join(coding for coding in chunked.codings({key: value}) if coding != "aws-chunked")
                if not value:
                    continue
            made[name] = _header(value, shape)
            continue
        for prefix, name, _ in route.header_maps:
            if prefix and key.startswith(prefix):
                made.setdefault(name, {})[wire[len(prefix) :]] = value
                break
        else:
            check_header(key)
    return made


def check_header(name: str) -> None:
    """Refuse a header, by its lower-case name, that neither the model nor any SDK's protocol knows."""
    if name not in KNOWN_HEADERS:
        deny(f"the header {shown(name)} is not known", UPGRADE)


def _header(value: str, shape: Any) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        deny("a header is not UTF-8")
    if shape.type_name == "list":
        return [scalars.from_text(item, shape.member, "rfc822") for item in header_items(value, shape.member)]
    if shape.serialization.get("jsonvalue"):
        return plain.document(plain.json_value(scalars.blob(value)), 0)
    return scalars.from_text(value, shape, "rfc822")


def header_items(value: str, shape: Any) -> list[str]:
    """A header's list: at commas, but for those in quotes and in http-dates (Smithy's httpHeader trait)."""
    dates = shape.type_name == "timestamp" and shape.serialization.get("timestampFormat", "rfc822") == "rfc822"
    pattern, found, at = _DATE if dates else _ITEM, [], 0
    while at <= len(value):
        item = pattern.match(value, at)
        if item is None:
            deny("a header's list is not well-formed")
        if dates:
            found.append(item[1].rstrip())
        else:
            found.append(re.sub(r"\\(.)", r"\1", item[1]) if item[1] is not None else item[2].rstrip(" \t"))
        at = item.end()
        if at == len(value) and not item[0].endswith(","):
            break
    return found


def body_parameters(
    match: Match, service: str, protocol: str, headers: Mapping[str, str], body: bytes | None
) -> dict[str, Any]:
    """The members that stand in the body; headers by lower-case names. A streamed payload is not among them."""
    route = match.route
    if route.streams:
        if route.events:
            _check_event_stream(headers)
        else:
            chunked.unchunk(headers, body)  # its framing is checked, its content is not ours
        return {}
    if "aws-chunked" in chunked.codings(headers) or headers.get("x-amz-decoded-content-length"):
        deny("an aws-chunked body on an operation that has no stream")
    if body is None:
        deny(NO_BODY)
    if route.payload is None and not route.body:
        if body:
            deny("a body on an operation that has none")
        return {}
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if route.payload is not None:
        name, shape = route.payload
        if not body:
            return {}
        if shape.type_name == "blob":
            return {name: body}
        if shape.type_name in ("string", "character"):
            try:
                return {name: body.decode()}
            except UnicodeDecodeError:
                deny("the body is not UTF-8")
        if protocol == "rest-xml":
            _content_type(kind, ("application/xml", "text/xml", ""))
            return {name: xmlbody.read(body, shape, shape.serialization.get("name", name))}
        if "content-type" not in route.headers:
            _content_type(kind, ("application/json",))
        return {name: plain.readers(service, False).reader(shape)(plain.json_value(body), 1)}
    if protocol == "rest-xml":
        if not body:
            return {}
        _content_type(kind, ("application/xml", "text/xml", ""))
        made = xmlbody.read(body, route.shape, route.shape.serialization.get("name", route.shape.name))
        if not made.keys() <= {name for name, _ in route.body.values()}:
            deny("the body holds a member that belongs elsewhere")
        return dict(made)
    if not body:
        return {}
    _content_type(kind, ("application/json",))
    return _json_members(route, service, plain.json_value(body))


def _check_event_stream(headers: Mapping[str, str]) -> None:
    """The head of an event stream, which nothing else may stand around.

    botocore, which can't make one, sends JSON with its hash instead: that is no event stream, and AWS's to refuse.
    """
    kind = headers.get("x-amz-content-sha256", "")
    if chunked.codings(headers) or {"x-amz-decoded-content-length", "x-amz-trailer"} & headers.keys():
        deny("an event stream in another coding")
    if kind.startswith("STREAMING-"):
        if kind != EVENTS:
            deny("x-amz-content-sha256 names another kind of streaming than that of event streams")
        _content_type(headers.get("content-type", "").partition(";")[0].strip().lower(), (STREAM,))


def _json_members(route: Route, service: str, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        deny("the body is no JSON object")
    readers, made = plain.readers(service, False), {}
    for key, item in value.items():
        if key not in route.body:
            unknown.member(route.shape, key, route.body)
            unknown.bounded(item, 2)
            continue
        name, shape = route.body[key]
        if item is not None:
            made[name] = readers.reader(shape)(item, 2)
    return made


def _content_type(kind: str, wanted: tuple[str, ...]) -> None:
    if kind not in wanted:
        deny(f"the content type is not {wanted[0]}")
