"""Members that no model knows: refused, or, for a caller who asks for it, noted by name and left out.

SDKs newer than botocore's models send them. What they mean can't be told: only that they are whole, bounded, and that
no lenient reader could take one for a member that is known.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from addons.wire.scalars import MAX_DEPTH, UPGRADE, deny, shown

MOST = 20  # names that are kept
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_:.-]{0,127}", re.ASCII)
_SEPARATORS = re.compile(r"[_:.-]")
_noted: ContextVar[dict[str, None] | None] = ContextVar("noted", default=None)


@contextmanager
def noting() -> Iterator[dict[str, None]]:
    """Within it, unknown members are noted, as the keys of what this gives, and not refused."""
    found: dict[str, None] = {}
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


def member(shape: Any, key: object, known: Iterable[str], what: str = "member") -> None:
    """A structure holds a member that its model does not know: refuse it, or note it as `Structure.member`.

    `known`: names on the wire beside the model's. A name is always refused that is none for a member, or that a reader
    who minds neither case nor separators would take for one that is known, there or elsewhere in the request (a path
    parameter's in the body). Raises `Undecodable`.
    """
    noted = _noted.get()
    if noted is None:
        deny(f"unknown {what} {shown(str(key))}", UPGRADE)
    if type(key) is not str or not _NAME.fullmatch(key) or key.lower().startswith("x-amz-"):
        deny(f"the {what} {shown(str(key))} is neither known nor named like one")
    names = {*known, *shape.members, *(str(m.serialization.get("name")) for m in shape.members.values())}
    if _plain(key) in map(_plain, names):
        deny(f"the {what} {shown(key)} is not known, and too like one that is")
    if len(noted) < MOST:
        noted[f"{shape.name}.{key}"] = None


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name).lower()


def bounded(value: Any, depth: int) -> None:
    """Refuse a value that is nested too deeply, or holds a map of other keys than strings."""
    if depth > MAX_DEPTH:
        deny("the body is nested too deeply")
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                deny("something else stands where a string belongs")
            bounded(item, depth + 1)
    elif type(value) is list:
        for item in value:
            bounded(item, depth + 1)
