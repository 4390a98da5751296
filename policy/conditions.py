"""Conditions of statements: IAM's string, numeric and boolean operators, on keys that the gateway can always tell.

Source: AWS IAM User Guide, "IAM JSON policy elements: Condition operators" and "Creating a condition with multiple
keys or values": conditions are joined by AND, the values of a key by OR, those of a negated operator by NOR. A key that
is not in the call makes positive operators false, negated ones and those with IfExists true, and is what Null tests.

On purpose not as AWS does: a value of the wrong kind (AWS: no match, which in a Deny fails open) and a key that the
gateway should know but does not are errors, and an error denies the call. Only a condition of the same statement that
is false for certain makes an error irrelevant.
"""

import functools
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from policy.patterns import glob

KEYS = ("aws:RequestedRegion", "aws:SourceIp", "gate:subject")
NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")
PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
ABSENT = object()

type Test = Callable[[Any], bool]


class Unusable(Exception):
    """A value that an operator can't be applied to. Never holds the value, which is the agent's and may be secret."""


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Unusable("is not text")
    return str(value)


def _folded(value: object) -> str:
    return _text(value).lower()


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or not NUMBER.fullmatch(str(value)):
        raise Unusable("is not a number")
    return Decimal(str(value))


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise Unusable("is neither true nor false")


def _compared(read: Callable[[object], Any], compare: Callable[[Any, Any], bool], wanted: str) -> Test:
    reference = read(wanted)
    return lambda value: compare(read(value), reference)


def _like(wanted: str) -> Test:
    expression = glob(wanted)
    return lambda value: bool(expression.fullmatch(_text(value)))


_equal, _equal_folded = (
    functools.partial(_compared, _text, operator.eq),
    functools.partial(_compared, _folded, operator.eq),
)

OPERATORS: dict[str, tuple[Callable[[str], Test], bool]] = {  # name -> how to test for a wanted value, negated
    "StringEquals": (_equal, False),
    "StringNotEquals": (_equal, True),
    "StringEqualsIgnoreCase": (_equal_folded, False),
    "StringNotEqualsIgnoreCase": (_equal_folded, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "NumericEquals": (functools.partial(_compared, _number, operator.eq), False),
    "NumericNotEquals": (functools.partial(_compared, _number, operator.eq), True),
    "NumericLessThan": (functools.partial(_compared, _number, operator.lt), False),
    "NumericLessThanEquals": (functools.partial(_compared, _number, operator.le), False),
    "NumericGreaterThan": (functools.partial(_compared, _number, operator.gt), False),
    "NumericGreaterThanEquals": (functools.partial(_compared, _number, operator.ge), False),
    "Bool": (functools.partial(_compared, _truth, operator.eq), False),
}
NAMES = (*OPERATORS, "Null", *(f"{name}IfExists" for name in OPERATORS))


class Keys:
    """The condition keys of one call, and which of them were read."""

    def __init__(self, params: Mapping[str, Any], context: Mapping[str, str]) -> None:
        self.params = params
        self.context = {name.lower(): value for name, value in context.items()}
        self.read: dict[str, Any] = {}
        self.missing: dict[str, None] = {}

    def get(self, key: str) -> object:
        """A key's value, or `ABSENT`. Raises `Unusable` for one that can't be told: not the same as absent."""
        if key.lower().startswith("req:"):
            value = self._parameter(key[4:])
        else:
            value = self.context.get(key.lower()) or None
            if value is None:
                self.missing[key] = None
                raise Unusable("is not known to the gateway")
        if value is ABSENT or value is None:
            self.missing[key] = None
            return ABSENT
        self.read[key] = value if isinstance(value, (str, int, float, bool)) else f"({type(value).__name__})"
        return value

    def _parameter(self, path: str) -> object:
        value: object = self.params
        for name in path.split("."):
            if not isinstance(value, Mapping):
                raise Unusable("leads through something that is no structure")
            value = value.get(name)
            if value is None:
                return ABSENT
        return value


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key, ready to be tested."""

    operator: str
    key: str
    tests: tuple[Test, ...]
    negated: bool = False
    if_exists: bool = False
    absence: bool | None = None  # what Null asks: true, the key must be absent
    values: tuple[str, ...] = ()  # as written

    def holds(self, keys: Keys) -> bool:
        """Test a call. Raises `Unusable`, naming operator and key."""
        try:
            value = keys.get(self.key)
            if self.absence is not None:
                return (value is ABSENT) is self.absence
            if value is ABSENT:
                return self.negated or self.if_exists
            matched = [test(value) for test in self.tests]  # all of them: an error must not hide behind a match
            return any(matched) is not self.negated
        except Unusable as error:
            raise Unusable(f"{self.key} {error} ({self.operator})") from None


def compile_condition(name: str, key: str, values: Sequence[str]) -> Condition:
    """A condition as written, checked. Raises ValueError with what is wrong."""
    base = name.removesuffix("IfExists")
    if name not in NAMES:
        raise ValueError(f"unknown condition operator {name!r}")
    if key.lower().startswith("req:"):
        if not PATH.fullmatch(key[4:]):
            raise ValueError(f"{key!r} is no parameter path: write req:Name or req:Outer.Inner")
    elif key.lower() not in (known.lower() for known in KEYS):
        raise ValueError(f"the gateway can't tell the condition key {key!r}")
    if not values:
        raise ValueError(f"{name} on {key} has no value")
    if any("${" in value for value in values):
        raise ValueError(f"{name} on {key}: policy variables are not supported")
    if name == "Null":
        if len(values) != 1 or values[0] not in ("true", "false"):
            raise ValueError(f"Null on {key} takes true or false")
        return Condition(name, key, (), absence=values[0] == "true", values=tuple(values))
    make, negated = OPERATORS[base]
    try:
        tests = tuple(make(value) for value in values)
    except Unusable as error:
        raise ValueError(f"a value of {name} on {key} {error}") from None
    return Condition(name, key, tests, negated, name != base, values=tuple(values))


def all_hold(conditions: Sequence[Condition], keys: Keys) -> bool:
    """Whether every condition holds. One that is false decides, in any order; else an `Unusable` one raises."""
    error: Unusable | None = None
    for condition in conditions:
        try:
            if not condition.holds(keys):
                return False
        except Unusable as unusable:
            error = error or unusable
    if error:
        raise error
    return True
