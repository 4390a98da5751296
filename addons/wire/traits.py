"""What the models' traits say about a decoded call: what to hide, what identifies an ask, and which bodies stream.

The traits are Smithy's `sensitive`, `idempotencyToken`, `streaming` and event-stream unions, as botocore's models carry
them. A model that says nothing about a member hides it: nothing secret reaches a screen by default.
"""

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.model import OperationModel, Shape

from addons.wire import hidden, models
from addons.wire.message import Decoded

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"  # the literal of CloudTrail's own records
LONGEST = 2_000  # characters of a string that is shown
LARGEST = 1_500  # bytes of a blob that are shown: 2,000 characters of base64
_SURROGATES = re.compile("[\ud800-\udfff]")


def hide_sensitive_input(decoded: Decoded) -> dict[str, Any]:
    """The parameters for screens and the log: JSON-able, secrets replaced by `HIDDEN`, long values cut.

    Hidden is what any of the call's twins marks `sensitive`, with all that is below it, and the members of `hidden`.
    Blobs are {"base64": ...}, with "length" where cut; timestamps RFC 3339; NaN and infinities text.
    """
    known, endings = _inputs(decoded.service, decoded.candidates)
    if not known:
        return {_cut(name): HIDDEN for name in decoded.params}
    shown = _shown(decoded.params, known, (), endings)
    return shown if isinstance(shown, dict) else {_cut(name): HIDDEN for name in decoded.params}


_Inputs = tuple[tuple[Shape, ...], frozenset[tuple[str, ...]]]


@models.PerService
def _inputs(service: str, candidates: tuple[tuple[str, str], ...]) -> _Inputs:
    """The input shapes of a call's twins, and the endings of their hidden members; no shapes without a model."""
    try:
        found = [models.operation_model(*candidate).input_shape for candidate in candidates]
    except KeyError:
        return (), frozenset()
    endings = frozenset(ending for candidate in candidates for ending in hidden.endings(*candidate))
    return tuple(shape for shape in found if shape is not None), endings


def ask_params(decoded: Decoded) -> dict[str, Any]:
    """The parameters as an ask's identity: nothing cut, nothing hidden, without idempotency tokens at any depth.

    JSON-able and canonical: equal parameters give equal values. Raises KeyError for a call that no model has.
    """
    shape = models.operation_model(decoded.service, decoded.operation).input_shape
    asked: dict[str, Any] = _asked(decoded.params, shape)
    return asked


def has_streaming_input(decoded: Decoded) -> bool:
    """Whether the request's payload is a streaming blob or an event stream."""
    model = _model(decoded)
    return model is not None and (_streaming_blob(model.input_shape) or bool(model.has_event_stream_input))


def response_is_event_stream(decoded: Decoded) -> bool:
    """Whether a successful answer is an event stream."""
    model = _model(decoded)
    return model is not None and bool(model.has_event_stream_output)


def response_is_streaming_blob(decoded: Decoded) -> bool:
    """Whether a successful answer's body is a streaming blob (S3 GetObject), not just raw bytes (Lambda Invoke)."""
    model = _model(decoded)
    return model is not None and _streaming_blob(model.output_shape)


def _model(decoded: Decoded) -> OperationModel | None:
    try:
        return models.operation_model(decoded.service, decoded.operation)
    except KeyError:
        return None


def _streaming_blob(shape: Shape | None) -> bool:
    if shape is None or "payload" not in shape.serialization:
        return False
    member = shape.members[shape.serialization["payload"]]
    return member.type_name == "blob" and bool(member.serialization.get("streaming"))


def _shown(value: Any, shapes: tuple[Shape, ...], path: tuple[str, ...], endings: frozenset[tuple[str, ...]]) -> Any:
    """A value for a screen; `shapes` are those that the call's twins give it."""
    if value is None:
        return None
    if not shapes or [1 for shape in shapes if shape.metadata.get("sensitive")]:  # lists: this runs for every value
        return HIDDEN
    if endings and any(path[-len(ending) :] == ending for ending in endings):
        return HIDDEN
    if shapes[0].type_name not in ("structure", "list", "map"):
        return _short(value)
    match shapes[0].type_name, value:
        case "structure", Mapping() if not getattr(shapes[0], "is_document_type", False):
            return {
                _cut(name): _shown(item, _members(shapes, name), (*path, name), endings) for name, item in value.items()
            }
        case "list", list():
            below = tuple(shape.member for shape in shapes if shape.type_name == "list")
            return [_shown(item, below, path, endings) for item in value]
        case "map", Mapping():
            maps = [shape for shape in shapes if shape.type_name == "map"]
            if any(shape.key.metadata.get("sensitive") for shape in maps):
                return HIDDEN
            below = tuple(shape.value for shape in maps)
            return {_cut(key): _shown(item, below, path, endings) for key, item in value.items()}
        case "list" | "map", _:
            return HIDDEN
        case "structure", _ if not getattr(shapes[0], "is_document_type", False):
            return HIDDEN
    return _short(value)


def _members(shapes: tuple[Shape, ...], name: str) -> tuple[Shape, ...]:
    return tuple([s.members[name] for s in shapes if s.type_name == "structure" and name in s.members])


def _short(value: Any) -> Any:
    match value:
        case str():
            return _cut(value)
        case bool() | int():
            return value
        case bytes() | bytearray() if len(value) > LARGEST:
            return {"base64": base64.b64encode(value[:LARGEST]).decode(), "length": len(value)}
        case Mapping():
            return {_cut(key): _short(item) for key, item in value.items()}
        case list():
            return [_short(item) for item in value]
    return _plain(value)


def _cut(text: str) -> str:
    """A string short enough to be shown; the hash keeps two long ones apart."""
    text = str(text)
    if len(text) > LONGEST:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        text = f"{text[:LONGEST]}… ({len(text)} characters, sha256 {digest}…)"
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _asked(value: Any, shape: Shape | None) -> Any:
    if shape is None:
        return _plain(value)
    match shape.type_name, value:
        case "structure", Mapping() if not getattr(shape, "is_document_type", False):
            members = shape.members
            return {
                name: _asked(item, members.get(name))
                for name, item in sorted(value.items())
                if item is not None and not (name in members and members[name].metadata.get("idempotencyToken"))
            }
        case "list", list():
            return [_asked(item, shape.member) for item in value]
        case "map", Mapping():
            return {key: _asked(item, shape.value) for key, item in sorted(value.items())}
    return _plain(value)


def _plain(value: Any) -> Any:
    """A scalar or a document as JSON's own values. Raises TypeError for what no decoder makes."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
        case bytes() | bytearray():
            return {"base64": base64.b64encode(value).decode()}
        case datetime():
            moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
            return moment.isoformat().replace("+00:00", "Z")
        case Mapping():
            return {str(key): _plain(item) for key, item in sorted(value.items())}
        case list():
            return [_plain(item) for item in value]
    raise TypeError(f"a parameter is of type {type(value).__name__}")
