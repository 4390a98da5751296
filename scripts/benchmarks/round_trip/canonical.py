"""The canonical form of a request: what is left when everything is taken away that carries no meaning.

Two requests with one canonical form are one call. Set aside are: the order of query keys, form keys, headers, JSON and
CBOR members and of XML siblings with different names; percent-encoding, white space between values, the spelling of a
number or an instant; members that are null; and all headers that the operation's model does not name. Written with
botocore's serializer and the standard library: it shares no code with the reader.
"""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote_plus, unquote_to_bytes

import cbor2
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.model import OperationModel
from botocore.serialize import create_serializer

from addons.wire import Decoded, HttpRequest, models
from scripts.benchmarks.round_trip.capture import as_request

SIGNATURE = frozenset(
    f"X-Amz-{name}"
    for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token")
)


def form(fields: dict[str, Any]) -> str:
    """botocore's form fields as a body."""
    return "&".join(f"{quote(str(key), safe='')}={quote(str(value), safe='')}" for key, value in fields.items())


def streams(model: OperationModel) -> bool:
    """Whether the payload is a streaming blob or an event stream, which is no parameter."""
    name = model.input_shape.serialization.get("payload") if model.input_shape else None
    traits = model.input_shape.members[name].serialization if name else {}
    return bool(traits.get("streaming") or traits.get("eventstream"))


def encoded(found: Decoded, model: OperationModel, like: HttpRequest) -> HttpRequest:
    """The decoded call as botocore's serializer writes it, for the host that it was sent to."""
    params = dict(found.params)
    payload = model.input_shape.serialization.get("payload") if model.input_shape else None
    serializer = create_serializer(found.protocol, include_validation=False)
    made = serializer.serialize_to_request(params, model)
    made.pop("host_prefix", None)
    if payload and payload not in params:
        made["body"] = b""
    # botocore's serializer leaves S3's bucket in the path; a handler would move it.
    host = f"s3.{found.region}.amazonaws.com" if found.service == "s3" else like.host
    prepare_request_dict(made, f"https://{host}")
    return as_request(create_request_object(made).prepare())


def canonical(request: HttpRequest, found: Decoded, model: OperationModel) -> dict[str, Any]:
    """The canonical form, as plain values that can be compared and shown."""
    path, mark, query = request.target.partition("?")
    bound = _bound(model)
    body = request.body or b""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key = name.lower()
        if key == "content-encoding":
            value = ",".join(part.strip() for part in value.split(",") if part.strip() != "aws-chunked")
            if value == "gzip" and model.request_compression:
                value = ""
        if key != "content-length" and value and (key in bound or any(key.startswith(p) for p in bound["maps"])):
            headers[key] = _header(value, bound.get(key))
    form_in_query = found.protocol in ("query", "ec2") and request.method == "GET"
    pairs = _pairs(query, plus=False) if mark else []
    if found.operation == "Search" and request.method == "POST":  # CloudSearch, whose query is sent as a form
        pairs, body, request = sorted(pairs + _pairs(body.decode(), plus=True)), b"", replace(request, method="GET")
    pairs = [(k, v) for k, v in pairs if k not in SIGNATURE and (k, v) != ("x-id", found.operation)]
    return {
        "method": "POST" if form_in_query else request.method,
        "path": _path(path, found, request.host) if found.protocol.startswith("rest") else "/",
        "query": [] if form_in_query else [(k, bound["query"].get(k, str)(v)) for k, v in pairs],
        "headers": headers,
        "body": None if streams(model) else pairs if form_in_query else _body(body, request, found, model),
    }


def difference(request: HttpRequest, found: Decoded) -> str:
    """Where a request and its second encoding differ; "" where they do not."""
    model = models.operation_model(found.service, found.operation)
    sent = canonical(request, found, model)
    again = canonical(encoded(found, model, request), found, model)
    return "".join(f" {part}: {sent[part]!r} became {again[part]!r}" for part in sent if sent[part] != again[part])


def _path(path: str, found: Decoded, host: str) -> list[str]:
    if found.service == "s3":
        whole = unquote_to_bytes(path).decode()
        bucket = str(found.params.get("Bucket", ""))
        if re.match(r"s3[.-]", host) or not bucket:
            return [f"/{bucket}" if whole == f"/{bucket}/" else whole]
        return [f"/{bucket}" if whole == "/" else f"/{bucket}{whole}"]  # the host names the bucket
    return [unquote_to_bytes(part).decode() for part in path.removesuffix("/").split("/")]


def _pairs(text: str, plus: bool) -> list[tuple[str, str]]:
    read = unquote_plus if plus else lambda piece: unquote_to_bytes(piece).decode()
    found = [piece.partition("=") for piece in text.split("&")] if text else []
    return sorted((read(key), _value(read(value))) for key, _, value in found)


def _bound(model: OperationModel) -> dict[str, Any]:
    """The headers that the model names, with what makes their values comparable; "maps": prefixes of header maps."""
    found: dict[str, Any] = {"maps": [], "query": {}}
    for name, member in model.input_shape.members.items() if model.input_shape else ():
        place, wire = member.serialization.get("location"), member.serialization.get("name", name)
        if place == "header":
            found[wire.lower()] = member
        elif place == "headers":
            found["maps"].append(wire.lower())
        elif place == "querystring":
            shape = member.member if member.type_name == "list" else member
            if shape.type_name in ("float", "double"):
                found["query"][wire] = lambda text: repr(float(text))
            elif shape.type_name == "timestamp":
                found["query"][wire] = _instant
    return found


def _header(value: str, shape: Any) -> str:
    kind = shape.type_name if shape is not None else "string"
    if kind == "list":
        return re.sub(r",[ \t]+", ",", value.strip())
    if kind in ("float", "double"):
        return repr(float(value))
    if kind == "timestamp":
        return _instant(value)
    return value.strip()


def _value(text: str) -> str:
    """Text of a type that we don't know: what looks like an instant or a fraction, in one spelling."""
    if re.fullmatch(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)", text):
        return _instant(text)
    return (
        repr(float(text))
        if re.fullmatch(r"-?\d{1,15}(\.\d{1,15}(e[+-]?\d\d?)?|e[+-]?\d\d?)", text, re.IGNORECASE)
        else text
    )


def _instant(text: str) -> str:
    try:
        return repr(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())
    except ValueError:
        return repr(float(text)) if re.fullmatch(r"-?[0-9.eE+-]+", text) else text


def _body(body: bytes, request: HttpRequest, found: Decoded, model: OperationModel) -> Any:
    shape = model.input_shape
    if not body:
        body_value: Any = None
    elif found.protocol in ("query", "ec2"):
        return [(k, v) for k, v in _pairs(body.decode(), plus=True)]
    elif found.protocol == "smithy-rpc-v2-cbor":
        body_value = _plain(cbor2.loads(body))
    elif shape is not None and (payload := shape.serialization.get("payload")):
        if shape.members[payload].type_name in ("blob", "string"):
            return body
        body_value = _xml(ET.fromstring(body)) if found.protocol == "rest-xml" else _plain(json.loads(body))  # noqa: S314
    else:
        body_value = _xml(ET.fromstring(body)) if found.protocol == "rest-xml" else _plain(json.loads(body))  # noqa: S314
    return body_value or None


def _plain(value: Any) -> Any:
    """Without null members; numbers and instants as one kind each."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return ("instant", value.timestamp())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return "NaN" if value != value else value


def _xml(element: ET.Element) -> Any:
    """(name, attributes, text or the children by name): the order of children of one name counts."""
    children: dict[str, list[Any]] = {}
    for child in element:
        children.setdefault(re.sub(r"\{.*\}", "", child.tag), []).append(_xml(child))
    text = _value(element.text or "") if not children else ""
    return (re.sub(r"\{.*\}", "", element.tag), sorted(element.attrib.items()), text, sorted(children.items()))
