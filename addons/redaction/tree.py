"""What the trees of all wire formats share: places, following a plan's steps down to them, and editing them.

Every rule looks at the answer as it came; only then are masks applied, so that no rule depends on another's order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from addons.redaction.masks import Masker
from policy.redaction import Step


class Unredactable(Exception):
    """A rule applies to this answer and the answer can't be masked with certainty: it must not be delivered."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One place in an answer: where it is, and what its tree needs to reach it."""

    path: tuple[str | int, ...]
    handle: Any

    def below(self, step: str | int, handle: Any) -> "Place":
        return Place((*self.path, step), handle)

    def __str__(self) -> str:
        return ".".join(map(str, self.path)) or "the answer"


class Tree(Protocol):
    """One wire format's tree. Shapes are botocore's; None where the model says nothing."""

    caseless: bool  # keys of maps are header names
    edited: bool

    def member(self, place: Place, shape: Any, name: str) -> Iterator[tuple[Place, Any]]: ...
    def elements(self, place: Place, shape: Any) -> Iterator[tuple[Place, Any]]: ...
    def entries(self, place: Place, shape: Any) -> Iterator[tuple[str, Place, Any]]: ...
    def leaves(self, place: Place, shape: Any) -> Iterator[tuple[Place, Any]]: ...
    def is_list(self, place: Place) -> bool: ...
    def mask(self, place: Place, shape: Any, masker: Masker) -> bool: ...
    def value(self, place: Place) -> bytes: ...
    def remove(self, places: list[Place]) -> None: ...


def follow(tree: Tree, place: Place, shape: Any, steps: Sequence[Step]) -> Iterator[tuple[Place, Any]]:
    """The places that a plan's steps reach from a place, with their shapes."""
    if not steps:
        yield place, shape
        return
    step, rest = steps[0], steps[1:]
    found: Iterable[tuple[Place, Any]]
    match step.kind:
        case "member":
            found = tree.member(place, shape, step.name)
        case "key":
            entries = tree.entries(place, shape)
            found = ((below, inner) for key, below, inner in entries if _same(key, step.name, tree.caseless))
        case "entries":
            found = ((below, inner) for _, below, inner in tree.entries(place, shape))
        case "index":
            elements = list(tree.elements(place, shape))
            in_range = -len(elements) <= step.index < len(elements)
            found = [elements[step.index]] if in_range else []
        case "each":
            found = tree.elements(place, shape)
        case "spread":
            found = tree.elements(place, shape) if tree.is_list(place) else [(place, shape)]
    for below, inner in found:
        yield from follow(tree, below, inner, rest)


def _same(key: str, name: str, caseless: bool) -> bool:
    return key.lower() == name.lower() if caseless else key == name
