"""JSON and CBOR answers as trees of dicts and lists that are edited in place.

Only the wire's own tree is changed, so members that the model doesn't know stay. Duplicate keys, NaN and trailing
bytes are refused, since clients differ in what they make of them; floats keep their spelling.
"""

import io
import json
from collections.abc import Iterator
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

import cbor2

from addons.redaction.masks import NUMBERS, Masker, kind_of
from addons.redaction.tree import Place, Unredactable


class Number(float):
    """A JSON number that Python would spell otherwise ("1.50", "1E400"), with the text that it came as."""

    text: str


def _float(text: str) -> float:
    value = float(text)
    if repr(value) == text:
        return value
    number = Number(value)
    number.text = text
    return number


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unredactable("an object has the same key twice")
    return found


def _constant(text: str) -> Any:
    raise Unredactable(f"{text} is no JSON")


def loads(body: bytes) -> tuple[Any, bool]:
    """JSON, refusing what clients read differently, and whether a `Number` is in it.

    Raises `Unredactable` or `ValueError`.
    """
    numbers: list[float] = []

    def number(text: str) -> float:
        found = _float(text)
        if isinstance(found, Number):
            numbers.append(found)
        return found

    tree = json.loads(body.decode(), object_pairs_hook=_pairs, parse_float=number, parse_constant=_constant)
    return tree, bool(numbers)


def dumps(tree: Any, ascii_only: bool, numbers: bool) -> bytes:
    """JSON as `loads` read it, each float in its own spelling."""
    if not numbers:
        text = json.dumps(tree, ensure_ascii=ascii_only, separators=(",", ":"), allow_nan=False)
    else:
        text = "".join(_write(tree, encode_basestring_ascii if ascii_only else encode_basestring))
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can spell
        return dumps(tree, True, numbers)


def _write(node: Any, quote: Any) -> Iterator[str]:
    match node:
        case dict():
            yield "{"
            for number, (key, value) in enumerate(node.items()):
                yield f"{',' if number else ''}{quote(key)}:"
                yield from _write(value, quote)
            yield "}"
        case list():
            yield "["
            for number, value in enumerate(node):
                if number:
                    yield ","
                yield from _write(value, quote)
            yield "]"
        case Number():
            yield node.text
        case str():
            yield quote(node)
        case _:
            yield json.dumps(node, allow_nan=False)


def _keep(number: int) -> Any:
    return lambda value, immutable: cbor2.CBORTag(number, value)


def _refuse(value: Any, immutable: bool) -> Any:
    raise Unredactable("shared values in CBOR")


# AWS uses tag 1 only (Smithy RPC v2 CBOR); cbor2 would turn it into a datetime and write that as tag 0.
_TAGS = {number: _keep(number) for number in range(6)} | dict.fromkeys((25, 28, 29, 256), _refuse)


def cbor_loads(body: bytes) -> Any:
    """CBOR with its tags kept. Raises `Unredactable` or cbor2's errors."""
    source = io.BytesIO(body)
    decoder = cbor2.CBORDecoder(
        source, semantic_decoders=_TAGS, allow_duplicate_keys=False, strict_hashable_types=True, max_depth=200
    )
    tree = decoder.decode()
    if source.read(1):
        raise Unredactable("bytes after the CBOR value")
    return tree


class Plain:
    """A JSON or CBOR body. A place's handle is (container, key)."""

    caseless = False
    edited = False

    def __init__(self, body: bytes, cbor: bool) -> None:
        self._cbor = cbor
        self._ascii = body.isascii()
        tree, self._numbers = (cbor_loads(body), False) if cbor else loads(body)
        self._holder = {"": tree}
        self.root = Place((), (self._holder, ""))

    def dump(self) -> bytes:
        tree = self._holder[""]
        return cbor2.dumps(tree) if self._cbor else dumps(tree, self._ascii, self._numbers)

    def _node(self, place: Place) -> Any:
        container, key = place.handle
        return container[key]

    def _container(self, place: Place, kind: type) -> Any:
        node = self._node(place)
        if node is None:
            return kind()
        if not isinstance(node, kind):
            raise Unredactable(f"{place} is not what the model says")
        return node

    def member(self, place: Place, shape: Any, name: str) -> Iterator[tuple[Place, Any]]:
        """A structure's member by its model name, with its shape."""
        member = None if kind_of(shape) == "document" else shape.members[name]
        wire = name if self._cbor or member is None else member.serialization.get("name", name)
        node = self._container(place, dict)
        if wire in node:
            yield place.below(wire, (node, wire)), member

    def elements(self, place: Place, shape: Any) -> Iterator[tuple[Place, Any]]:
        """A list's elements."""
        node = self._container(place, list)
        below = getattr(shape, "member", None)
        return ((place.below(number, (node, number)), below) for number in range(len(node)))

    def entries(self, place: Place, shape: Any) -> Iterator[tuple[str, Place, Any]]:
        """A map's values with their keys."""
        node = self._container(place, dict)
        below = getattr(shape, "value", None)
        return ((key, place.below(key, (node, key)), below) for key in node)

    def is_list(self, place: Place) -> bool:
        return isinstance(self._node(place), list)

    def leaves(self, place: Place, shape: Any) -> Iterator[tuple[Place, Any]]:
        """Everything below that is neither object nor array, members that the model doesn't know included."""
        match self._node(place):
            case dict() as node:
                members = {}
                if kind_of(shape) == "structure":
                    members = {m.serialization.get("name", name): m for name, m in shape.members.items()}
                    if self._cbor:
                        members = shape.members
                below = shape.value if kind_of(shape) == "map" else None
                for key in node:
                    yield from self.leaves(place.below(key, (node, key)), members.get(key, below))
            case list() as node:
                for number in range(len(node)):
                    yield from self.leaves(place.below(number, (node, number)), getattr(shape, "member", None))
            case None:
                return
            case _:
                yield place, shape

    def mask(self, place: Place, shape: Any, masker: Masker) -> bool:
        """Put a leaf's mask in its place; False: it has to be removed (a boolean says everything it knows)."""
        node = self._node(place)
        mask: Any
        match node:
            case bool():
                masker.text(str(node).encode())
                return False
            case str() if kind_of(shape) in NUMBERS:  # "NaN", "Infinity"
                masker.text(node.encode())
                mask = 0
            case str():
                mask = masker.text_leaf(node, shape, "iso8601")
                if mask is None:
                    return False
            case bytes():
                mask = masker.text(node).encode()
            case cbor2.CBORTag(tag=1):
                masker.text(repr(node.value).encode())
                mask = cbor2.CBORTag(1, 0)
            case int() | float() | cbor2.CBORTag():
                masker.text(repr(node).encode())
                mask = 0
            case _:
                raise Unredactable(f"{place} is of a type that has no mask")
        container, key = place.handle
        container[key] = mask
        return True

    def value(self, place: Place) -> bytes:
        """The bytes that a removed place's fingerprint is made of."""
        node = self._node(place)
        if isinstance(node, bytes):
            return node
        return node.encode("utf-8", "surrogatepass") if isinstance(node, str) else repr(node).encode()

    def remove(self, places: list[Place]) -> None:
        """Take places out. Later elements of a list go first, so that earlier ones keep their numbers."""
        for place in sorted(places, key=lambda p: p.handle[1] if isinstance(p.handle[1], int) else 0, reverse=True):
            container, key = place.handle
            del container[key]
