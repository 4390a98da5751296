"""Rules for what is masked in a response: which place of which operation's answer, and how.

A rule is `{service, operation, path, mask, reason}`; its path is the part of JMESPath that says *where* and not *what*:
fields, quoted fields, indexes, `[*]`, `[]`, `.*` and multi-select lists. Each path is walked over botocore's output
and error shapes when the file is read: a path that can never match would leak in silence, so it is an error of the
file. The result is a plan of steps over shapes that `addons/redaction` follows through the bytes.

This module never sees a response.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import botocore
from botocore.exceptions import UnknownServiceError
from botocore.model import ServiceModel
from jmespath.exceptions import JMESPathError
from jmespath.parser import Parser

from policy import models, strict
from policy.problems import Invalid, Problem, near

Mask = Literal["mask", "drop"]
Kind = Literal["member", "key", "index", "each", "entries", "spread"]


@dataclass(frozen=True, slots=True)
class RedactionRule:
    """One rule as written. `operation` is a name, a glob, or a list of these; `service` is botocore's name."""

    service: str
    operation: str | list[str]
    path: str
    mask: Mask = "mask"
    reason: str = ""

    @property
    def operations(self) -> tuple[str, ...]:
        """The patterns, always as a tuple."""
        return (self.operation,) if isinstance(self.operation, str) else tuple(self.operation)


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A file of rules, `version: 1`."""

    version: Literal[1]
    rules: list[RedactionRule] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """One step from a place to the places below it. `spread`: the elements of a list, or what isn't a list itself."""

    kind: Kind
    name: str = ""  # of a member or a key
    index: int = 0


Chain = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """One structure that an answer may be, and the ways down from it."""

    shape: Any  # botocore's StructureShape of the output or of an error
    chains: tuple[Chain, ...]


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule for one operation. It may reach the output, some of the modelled errors, or both."""

    rule: RedactionRule
    output: Target | None
    errors: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Every rule of every file. `hash` names the set in the ledger. A service's rules are compiled when it is used."""

    rules: tuple[RedactionRule, ...]
    hash: str
    _compiled: dict[str, dict[str, tuple[CompiledRule, ...]]] = field(default_factory=dict, repr=False)

    def for_operation(self, service: str, operation: str) -> tuple[CompiledRule, ...]:
        """The rules that may find something in this operation's answer."""
        return self.for_service(service).get(operation, ())

    def for_service(self, service: str) -> dict[str, tuple[CompiledRule, ...]]:
        """The rules of a service by operation. Raises `BadRule` for rules that were never checked."""
        if (found := self._compiled.get(service)) is None:
            compiled: dict[str, list[CompiledRule]] = {}
            for rule in self.rules:
                for name, plan in compile_rule(rule) if rule.service == service else ():
                    compiled.setdefault(name, []).append(plan)
            found = self._compiled[service] = {name: tuple(plans) for name, plans in compiled.items()}
        return found


class BadRule(Exception):
    """A path or a name that can't be used, and what may have been meant."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def load_rules(files: Sequence[Path | str], checked: Path | None = None) -> RuleSet:
    """Read rule files and shipped packs (bare names) into one set. Raises `Invalid` with every problem of all files.

    Checking a rule needs its service's model, of which there are many and large ones. `checked` is a file, in a place
    that only the gateway's owner can write to, in which the last set that was found good is remembered.
    """
    problems: list[Problem] = []
    read: list[tuple[RedactionRule, str, int]] = []
    for file in (strict.resolve(str(name), Path()) for name in files):
        try:
            loaded = strict.load(file, RuleFile)
        except Invalid as invalid:
            problems += invalid.problems
            continue
        lines = loaded.lines
        read += [(rule, str(file), lines.get(f"rules[{n}]", 0)) for n, rule in enumerate(loaded.value.rules)]
    found = rule_set(rule for rule, _, _ in read)
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    stamp = f"{found.hash} {botocore.__version__} {code}\n"
    if not problems and checked and _content(checked) == stamp:
        return found
    for rule, name, line in read:
        try:
            compile_rule(rule)
        except BadRule as bad:
            problems.append(Problem(name, line, bad.message, bad.hint))
    models.forget()
    if problems:
        raise Invalid(problems)
    if checked:
        checked.write_text(stamp)
    return found


def rule_set(rules: Iterable[RedactionRule]) -> RuleSet:
    """Rules as one set, not checked yet."""
    listed = tuple(rules)
    text = json.dumps([[rule.service, rule.operations, rule.path, rule.mask] for rule in listed])
    return RuleSet(listed, hashlib.sha256(text.encode()).hexdigest())


def _content(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def compile_rule(rule: RedactionRule) -> list[tuple[str, CompiledRule]]:
    """The rule as plans for each operation that it reaches.

    Raises for an unknown service or operation, a path that doesn't parse or can't be located, and a path, or one
    branch of a multi-select, that matches no shape. A name without wildcard must match by itself.
    """
    model = _model(rule.service)
    paths = _alternatives(_parse(rule.path))
    reached: set[int] = set()
    found: list[tuple[str, CompiledRule]] = []
    for pattern in rule.operations:
        hits = [name for name in model.operation_names if fnmatchcase(name, pattern)]
        if not hits:
            raise BadRule(f"{rule.service} has no operation {pattern}", near(pattern, model.operation_names))
        misses: list[BadRule] = []
        matched = False
        for name in hits:
            operation = model.operation_model(name)
            output = _target(operation.output_shape, paths, rule, reached, misses)
            errors = [_target(shape, paths, rule, reached, []) for shape in operation.error_shapes]
            targets = tuple(target for target in errors if target)
            if output or targets:
                matched = True
                found.append((name, CompiledRule(rule, output, targets)))
        if not matched:
            hint = misses[0].hint if misses else "its output is empty"
            why = f": {misses[0].message}" if misses else ""
            raise BadRule(f"{rule.path!r} can never match in {rule.service} {pattern}{why}", hint)
    if len(reached) < len(paths):
        raise BadRule(f"a branch of {rule.path!r} can never match in {rule.service} {', '.join(rule.operations)}")
    return list(dict(found).items())


def _target(
    shape: Any, paths: Sequence[Any], rule: RedactionRule, reached: set[int], misses: list[BadRule]
) -> Target | None:
    if shape is None:
        return None
    chains: list[Chain] = []
    for number, path in enumerate(paths):
        try:
            places = _walk(path, _Place((), shape))
        except BadRule as bad:
            misses.append(bad)
            continue
        if rule.mask == "drop" and any(place.in_union for place in places):
            raise BadRule(f"{rule.path!r} would drop the only member of a union", "use mask: mask")
        reached.add(number)
        chains += [place.steps for place in places]
    return Target(shape, tuple(dict.fromkeys(chains))) if chains else None


def _model(service: str) -> ServiceModel:
    try:
        return models.service_model(service)
    except UnknownServiceError:
        known = models.loader().list_available_services("service-2")
        raise BadRule(f"no service {service}", near(service, known)) from None


# Paths: JMESPath's own syntax tree, cut into alternatives without multi-selects, then walked over shapes.

_LOCATED = {
    "field",
    "index",
    "identity",
    "subexpression",
    "index_expression",
    "projection",
    "value_projection",
    "flatten",
    "multi_select_list",
}


def _parse(path: str) -> Any:
    try:
        return Parser().parse(path).parsed
    except JMESPathError as error:
        raise BadRule(f"{path!r} is no JMESPath expression: {str(error).splitlines()[0]}") from None


def _alternatives(node: Any) -> list[Any]:
    """The expression once for each choice of multi-select branches: `a.[b, c]` is `a.[b]` and `a.[c]`."""
    kind = node["type"]
    if kind not in _LOCATED:
        name = kind.replace("_", " ")
        raise BadRule(f"a {name} can't be located", "use fields, indexes, [*], [], .* and [a, b]")
    branches = [_alternatives(child) for child in node["children"] if isinstance(child, dict)]
    if kind == "multi_select_list":
        return [{**node, "children": [branch]} for branch in itertools.chain.from_iterable(branches)]
    return [{**node, "children": list(choice)} for choice in itertools.product(*branches)]


@dataclass(frozen=True, slots=True)
class _Place:
    """A place below a shape. `depth` counts the lists that projections have put around it, as JMESPath sees them."""

    steps: Chain
    shape: Any  # None: inside a document type, where anything may be
    depth: int = 0
    in_union: bool = False

    def below(self, step: Step, shape: Any, in_union: bool = False) -> "_Place":
        return _Place((*self.steps, step), shape, 0, in_union)

    @property
    def type(self) -> str:
        if self.depth:
            return "list"
        if self.shape is None or getattr(self.shape, "is_document_type", False):
            return "document"
        return str(self.shape.type_name)


def _walk(node: Any, place: _Place) -> list[_Place]:
    """Where the expression leads from a place; never empty. Raises `BadRule` where it can lead nowhere."""
    children = node["children"]
    match node["type"]:
        case "identity":
            return [place]
        case "field":
            return [_member(place, node["value"])]
        case "index":
            if place.depth or place.type not in ("list", "document"):
                raise BadRule(f"[{node['value']}] of something that is no list in the answer")
            return [place.below(Step("index", index=node["value"]), getattr(place.shape, "member", None))]
        case "subexpression" | "index_expression":
            places = [place]
            for child in children:
                places = _fan(child, places)
            return places
        case "multi_select_list":
            return [replace(found, depth=found.depth + 1) for found in _walk(children[0], place)]
        case "flatten":
            return [_flatten(found) for found in _walk(children[0], place)]
        case "projection":
            elements = [_elements(found) for found in _walk(children[0], place)]
        case _:  # value_projection
            elements = [below for found in _walk(children[0], place) for below in _values(found)]
    return [replace(found, depth=found.depth + 1) for found in _fan(children[1], elements)]


def _fan(node: Any, places: Sequence[_Place]) -> list[_Place]:
    """All that the expression reaches from any of the places; the first complaint if it reaches nothing."""
    found: list[_Place] = []
    complaints: list[BadRule] = []
    for place in places:
        try:
            found += _walk(node, place)
        except BadRule as bad:
            complaints.append(bad)
    if not found:
        raise complaints[0] if complaints else BadRule("nothing there")
    return found


def _member(place: _Place, name: str) -> _Place:
    match place.type:
        case "structure":
            member = place.shape.members.get(name)
            if member is None:
                raise BadRule(f"{place.shape.name} has no member {name}", near(name, place.shape.members))
            if member.serialization.get("location") == "statusCode":
                raise BadRule(f"{name} is the HTTP status, which can't be masked")
            return place.below(Step("member", name), member, bool(getattr(place.shape, "is_tagged_union", False)))
        case "map":
            return place.below(Step("key", name), place.shape.value)
        case "document":
            return place.below(Step("member", name), None)
        case "list":
            raise BadRule(f"{name} is asked of a list", "a list's elements are reached by []")
        case other:
            raise BadRule(f"{name} is asked of a {other}")


def _elements(place: _Place) -> _Place:
    if place.depth:
        return replace(place, depth=place.depth - 1)
    if place.type not in ("list", "document"):
        raise BadRule(f"[*] or [] of a {place.type}", "the values of a map or structure are reached by .*")
    return place.below(Step("each"), getattr(place.shape, "member", None))


def _flatten(place: _Place) -> _Place:
    """JMESPath's `[]`: the elements, where lists among them are merged by one level."""
    element = _elements(place)
    if element.depth:
        return element
    if element.type == "list":
        element = _elements(element)
    elif element.type == "document":
        element = element.below(Step("spread"), None)
    return replace(element, depth=1)


def _values(place: _Place) -> Iterator[_Place]:
    match place.type:
        case "structure":
            for name, member in place.shape.members.items():
                if member.serialization.get("location") != "statusCode":
                    yield _member(place, name)
        case "map":
            yield place.below(Step("entries"), place.shape.value)
        case "document":
            yield place.below(Step("entries"), None)
        case other:
            raise BadRule(f".* of a {other}", "a list's elements are reached by []" if other == "list" else "")
