"""Putting other credentials in the place of the set that an answer holds, with the trees that masking uses.

Nothing else of the answer changes. Neither results nor exceptions hold what stood there; only `seal` sees it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import cbor2

from addons.redaction.plain import Plain
from addons.redaction.redact import FIRST_ERROR, Answer
from addons.redaction.tree import Place, Tree, Unredactable
from addons.redaction.xml import Xml
from addons.wire.message import Decoded, HttpResponse
from policy.redaction import Target

PARTS = ("accesskeyid", "secretaccesskey", "sessiontoken", "expiration")  # members of a set, in lower case


@dataclass(frozen=True, slots=True)
class Returned:
    """A set of temporary credentials in an answer."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires: float  # seconds since the epoch


Seal = Callable[[Returned], tuple[str, str, str]]  # the access key, the secret and the token to put there instead


def swap(target: Target, decoded: Decoded, response: HttpResponse, seal: Seal) -> HttpResponse:
    """The answer with its one set of credentials replaced by what `seal` makes of it; an error as it is.

    `target` leads to the four members of the set. Raises `Unredactable` unless each of them is there exactly once, and
    whenever a value of the set would still be somewhere in the answer.
    """
    if response.status >= FIRST_ERROR:
        return response
    try:
        return _swapped(target, decoded, response, seal)
    except Unredactable as error:
        reason = error.reason
    except Exception as error:
        reason = f"the answer could not be read ({type(error).__name__})"
    raise Unredactable(reason)  # outside of the handlers: an exception's context may hold the document


def _swapped(target: Target, decoded: Decoded, response: HttpResponse, seal: Seal) -> HttpResponse:
    answer = Answer(response, decoded.protocol, error=False)
    found: dict[str, tuple[Tree, Place]] = {}
    for tree, place, _ in answer.locate(target):
        name = str([step for step in place.path if isinstance(step, str)][-1]).lower()
        if found.setdefault(name, (tree, place))[1] is not place:
            raise Unredactable("it holds more than one set of credentials")
    if found.keys() != set(PARTS):
        raise Unredactable("its credentials are not whole")
    values = [_read(*found[name]) for name in PARTS]
    access_key, secret_key, token, end = values
    if not (isinstance(access_key, str) and isinstance(secret_key, str) and isinstance(token, str)):
        raise Unredactable("its credentials are no text")
    if min(map(len, (access_key, secret_key, token))) < 8:
        raise Unredactable("its credentials are too short to be any")
    made = seal(Returned(access_key, secret_key, token, moment(end)))
    for name, value in zip(PARTS, made, strict=False):
        tree, place = found[name]
        _write(tree, place, value)
        tree.edited = True
    swapped = answer.edited()
    rest = swapped.body + "\n".join(value for _, value in swapped.headers).encode("utf-8", "replace")
    rest = rest.replace(b"\\/", b"/")  # as some write JSON
    if any(value.encode() in rest for value in (access_key, secret_key, token)):
        raise Unredactable("its credentials are in it more than once")
    return swapped


def _read(tree: Tree, place: Place) -> Any:
    if isinstance(tree, Xml):
        return tree.value(place).decode()
    if not isinstance(tree, Plain):
        raise Unredactable("its credentials are not in the body")
    container, key = place.handle
    return container[key]


def _write(tree: Tree, place: Place, value: str) -> None:
    if isinstance(tree, Xml):
        tree.put(place, value)
    else:
        container, key = place.handle
        container[key] = value


def moment(value: Any) -> float:
    """An end as the wire has it, in seconds since the epoch: a number, RFC 3339 text, or CBOR's tag 1.

    Raises `Unredactable` where it is none of these.
    """
    if isinstance(value, cbor2.CBORTag) and value.tag == 1:
        value = value.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Unredactable("its credentials have no readable end") from None
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
