"""The parts of a REST answer that are no body tree: header members and raw payloads (HTTP binding traits)."""

from collections.abc import Iterator
from typing import Any

from addons.redaction.masks import Masker
from addons.redaction.tree import Place
from addons.wire.message import Headers


class HeaderTree:
    """Header members and prefix header maps. A place's handle is the numbers of its headers."""

    caseless = True
    edited = False

    def __init__(self, headers: Headers) -> None:
        self.headers = list(headers)
        self.root = Place((), range(len(headers)))
        self._gone: set[int] = set()

    def result(self) -> Headers:
        return tuple(header for number, header in enumerate(self.headers) if number not in self._gone)

    def member(self, place: Place, shape: Any, name: str) -> Iterator[tuple[Place, Any]]:
        """A member bound to one header (each time it is there), or the map of all headers with a prefix."""
        member = shape.members[name]
        wire = member.serialization.get("name", name).lower()
        names = [(number, key.lower()) for number, (key, _) in enumerate(self.headers)]
        if member.serialization["location"] == "headers":
            yield place.below(name, [number for number, key in names if key.startswith(wire)]), member
            return
        for number, key in names:
            if key == wire:
                yield place.below(name, [number]).below(number, [number]), member

    def elements(self, place: Place, shape: Any) -> Iterator[tuple[Place, Any]]:
        """A list in a header is masked as one text."""
        yield place, shape.member

    def entries(self, place: Place, shape: Any) -> Iterator[tuple[str, Place, Any]]:
        prefix = len(shape.serialization.get("name", ""))
        for number in place.handle:
            key = self.headers[number][0][prefix:]
            yield key, place.below(number, [number]), shape.value

    def leaves(self, place: Place, shape: Any) -> Iterator[tuple[Place, Any]]:
        if shape.type_name == "map":
            for _, below, value in self.entries(place, shape):
                yield below, value
        else:
            yield place, shape

    def is_list(self, place: Place) -> bool:
        return False

    def mask(self, place: Place, shape: Any, masker: Masker) -> bool:
        (number,) = place.handle
        key, value = self.headers[number]
        if shape.type_name == "list":
            shape = shape.member
        if shape.serialization.get("jsonvalue"):
            text: str | None = masker.jsonvalue(value)
        else:
            text = masker.text_leaf(value, shape, "rfc822")
        if text is None:
            return False
        self.headers[number] = (key, text)
        return True

    def value(self, place: Place) -> bytes:
        return "\n".join(self.headers[number][1] for number in place.handle).encode("utf-8", "surrogateescape")

    def remove(self, places: list[Place]) -> None:
        for place in places:
            self._gone.update(place.handle)


class RawTree:
    """A body that is one string or blob as it stands (trait httpPayload)."""

    caseless = False
    edited = False

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.root = Place((), None)

    def member(self, place: Place, shape: Any, name: str) -> Iterator[tuple[Place, Any]]:
        yield place.below(name, None), shape.members[name]

    def elements(self, place: Place, shape: Any) -> Iterator[tuple[Place, Any]]:
        return iter(())

    def entries(self, place: Place, shape: Any) -> Iterator[tuple[str, Place, Any]]:
        return iter(())

    def leaves(self, place: Place, shape: Any) -> Iterator[tuple[Place, Any]]:
        yield place, shape

    def is_list(self, place: Place) -> bool:
        return False

    def mask(self, place: Place, shape: Any, masker: Masker) -> bool:
        self.body = masker.text(self.body).encode()
        return True

    def value(self, place: Place) -> bytes:
        return self.body

    def remove(self, places: list[Place]) -> None:
        self.body = b""
