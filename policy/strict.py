"""The one strict YAML loader: a file becomes a dataclass, or every problem in it is reported at once.

PyYAML's own loaders keep the last of duplicate keys, read `no` as False, `10:30` as 630 and an account number with a
leading zero as octal. This one works on the composed nodes and converts each scalar by the type that is wanted there.
Anchors, aliases, tags, merge keys and several documents in one file are refused: a policy says what it says in place.
"""

import dataclasses
import os
import re
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from policy.problems import Invalid, Problem, near

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, ten times as fast; its plain scalars have style ""
PACKS = Path(__file__).parent / "packs"
LARGEST = 1_000_000  # bytes
DEEPEST = 40  # nested collections
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+([eE][+-]?[0-9]+)?")
_INT = re.compile(r"0|-?[1-9][0-9]*")
_WORDS = frozenset({"null", "Null", "NULL", "~", "", "true", "True", "TRUE", "false", "False", "FALSE"})


@dataclass(frozen=True, slots=True)
class Loaded[T]:
    """A value with the line of each place in it: `lines["groups.dev.policies[1]"]`."""

    value: T
    lines: dict[str, int]
    file: str


class _Wrong(Exception):
    """A node does not fit the type; its problems are noted already."""


def resolve(name: str, base: Path) -> Path:
    """The file that a name means: a bare one is a shipped pack, any other a path relative to `base`."""
    if "/" in name or name.startswith(".") or name.endswith(".yaml"):
        return Path(os.path.abspath(base / name))  # not `resolve`: a link may be turned to another file later
    return PACKS / f"{name}.yaml"


def load[T](path: Path, schema: type[T]) -> Loaded[T]:
    """Read a file as `schema`. Raises `Invalid` with every problem, unreadable and missing files included."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise Invalid([Problem(str(path), 0, error.strerror or str(error))]) from None
    if len(data) > LARGEST:
        raise Invalid([Problem(str(path), 0, f"larger than {LARGEST} bytes")])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Invalid([Problem(str(path), line, "not UTF-8")]) from None
    return loads(text, str(path), schema)


def loads[T](text: str, name: str, schema: type[T]) -> Loaded[T]:
    """The same for text; `name` stands in the problems."""
    reader = _Reader(name)
    node = reader.compose(text)
    try:
        if node is None:
            reader.problem(None, "the file is empty")
            raise _Wrong
        value = reader.build(node, schema, "")
    except _Wrong:
        raise Invalid(reader.problems) from None
    if reader.problems:
        raise Invalid(reader.problems)
    return Loaded(value, reader.lines, name)


class _Reader:
    """Walks nodes and types side by side, noting problems and lines."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}

    def problem(self, node: yaml.Node | None, message: str, hint: str = "") -> None:
        """Note one problem at a node."""
        self.problems.append(Problem(self.name, _line(node) if node is not None else 0, message, hint))

    def compose(self, text: str) -> yaml.Node | None:
        """Parse one document to nodes, refusing what would make its meaning depend on another place."""
        depth = 0
        try:
            for event in yaml.parse(text, Loader=LOADER):
                line = _line(event)
                if isinstance(event, yaml.CollectionStartEvent):
                    depth += 1
                    if depth > DEEPEST:
                        raise Invalid([Problem(self.name, line, f"nested deeper than {DEEPEST}")])
                elif isinstance(event, yaml.CollectionEndEvent):
                    depth -= 1
                if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                    raise Invalid([Problem(self.name, line, "anchors and aliases are not allowed", "write it out")])
                if tag := getattr(event, "tag", None):
                    raise Invalid([Problem(self.name, line, f"tags are not allowed ({tag})")])
            return yaml.compose(text, Loader=LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            hint = "quote values that begin with * or &" if "alias" in str(error) else ""
            message = error.problem or str(error)
            raise Invalid([Problem(self.name, mark.line + 1 if mark else 0, message, hint)]) from None
        except (yaml.YAMLError, RecursionError, UnicodeError) as error:
            raise Invalid([Problem(self.name, 0, f"not YAML: {error}")]) from None

    def build(self, node: yaml.Node, wanted: Any, path: str) -> Any:
        """The value of a node as the wanted type; raises `_Wrong` once its problems are noted."""
        self.lines.setdefault(path, _line(node))
        origin = get_origin(wanted)
        if origin in (Union, types.UnionType):
            return self.union(node, get_args(wanted), path)
        if origin is Literal:
            return self.literal(node, get_args(wanted), path)
        if origin in (list, tuple):
            return self.sequence(node, wanted, path)
        if origin is dict:
            return self.mapping(node, get_args(wanted)[1], path)
        if dataclasses.is_dataclass(wanted) and not hasattr(wanted, "parse"):
            return self.record(node, wanted, path)
        return self.scalar(node, wanted, path)

    def union(self, node: yaml.Node, members: tuple[Any, ...], path: str) -> Any:
        """A node of one of several types: the one whose kind it has; problems are those of that one."""
        null = isinstance(node, yaml.ScalarNode) and node.style in (None, "") and node.value in ("null", "~", "")
        if null and type(None) in members:
            return None
        fitting = [m for m in members if m is not type(None) and _fits(node, m)]
        if not fitting:
            self.problem(node, f"{path or 'this'} must be {_names(members)}")
            raise _Wrong
        before = len(self.problems)
        for member in fitting:
            try:
                found = self.build(node, member, path)
                del self.problems[before:]
                return found
            except _Wrong:
                if member is not fitting[-1]:
                    del self.problems[before:]
        raise _Wrong

    def literal(self, node: yaml.Node, choices: tuple[Any, ...], path: str) -> Any:
        """One of a few words or numbers."""
        if isinstance(node, yaml.ScalarNode):
            for choice in choices:
                if node.value == str(choice):
                    return choice
            self.problem(
                node,
                f"{path} is {node.value!r}, not one of {', '.join(map(str, choices))}",
                near(node.value, map(str, choices)),
            )
        else:
            self.problem(node, f"{path} must be one of {', '.join(map(str, choices))}")
        raise _Wrong

    def sequence(self, node: yaml.Node, wanted: Any, path: str) -> Any:
        """A list, every item of which is looked at before any problem is raised."""
        if not isinstance(node, yaml.SequenceNode):
            self.problem(node, f"{path} must be a list", "write [one, two]")
            raise _Wrong
        found, bad = [], False
        for index, item in enumerate(node.value):
            try:
                found.append(self.build(item, get_args(wanted)[0], f"{path}[{index}]"))
            except _Wrong:
                bad = True
        if bad:
            raise _Wrong
        return tuple(found) if get_origin(wanted) is tuple else found

    def entries(self, node: yaml.Node, path: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        """A mapping's entries, keys as text, duplicates noted."""
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, f"{path or 'the file'} must be a mapping of keys to values")
            raise _Wrong
        found: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problem(key, "a key must be text")
            elif key.style in (None, "") and key.value in _WORDS | {"<<"}:
                self.problem(key, f"the key {key.value!r} is not text", "put it in quotes")
            elif key.value in found:
                line = _line(found[key.value][1])
                self.problem(key, f"the key {key.value!r} stands twice", f"first on line {line}")
            else:
                found[key.value] = (key.value, key, value)
        return list(found.values())

    def mapping(self, node: yaml.Node, wanted: Any, path: str) -> dict[str, Any]:
        """Names that the writer chose, each with a value of one type."""
        before, found = len(self.problems), {}
        for name, key, value in self.entries(node, path):
            place = f"{path}.{name}" if path else name
            self.lines[place] = _line(key)
            try:
                found[name] = self.build(value, wanted, place)
            except _Wrong:
                continue
        if len(self.problems) > before:
            raise _Wrong
        return found

    def record(self, node: yaml.Node, wanted: Any, path: str) -> Any:
        """A dataclass: known keys only, required ones present; `__post_init__` may refuse the whole."""
        hints = get_type_hints(wanted)
        fields = {f.metadata.get("key", f.name): f for f in dataclasses.fields(wanted) if f.init}
        before, values = len(self.problems), {}
        for name, key, value in self.entries(node, path):
            if (field := fields.get(name)) is None:
                self.problem(key, f"unknown key {name!r}{f' in {path}' if path else ''}", near(name, fields))
                continue
            place = f"{path}.{name}" if path else name
            self.lines[place] = _line(key)
            try:
                values[field.name] = self.build(value, hints[field.name], place)
            except _Wrong:
                values[field.name] = None  # present, though wrong: not missing as well
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and field.name not in values:
                self.problem(node, f"{path or 'the file'} lacks the key {name!r}")
        if len(self.problems) > before:
            raise _Wrong
        try:
            return wanted(**values)
        except ValueError as error:
            self.problem(node, str(error))
            raise _Wrong from None

    def scalar(self, node: yaml.Node, wanted: Any, path: str) -> Any:
        """Text, a number, true or false, or what a type's `parse` makes of the text."""
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, f"{path} must be {_names((wanted,))}, not a collection")
            raise _Wrong
        text, plain = node.value, node.style in (None, "")
        try:
            if hasattr(wanted, "parse"):
                return wanted.parse(text)
            if wanted is Path and text and "\0" not in text:
                return Path(text)
            if wanted is bool and plain and text in ("true", "false"):
                return text == "true"
            if wanted is int and plain and _INT.fullmatch(text) and len(text) < 19:
                return int(text)
            if wanted is float and plain and len(text) < 40 and (_FLOAT.fullmatch(text) or _INT.fullmatch(text)):
                return float(text)
            if wanted is str and not (plain and text in _WORDS):
                return text
        except ValueError as error:
            self.problem(node, f"{path}: {error}")
            raise _Wrong from None
        hint = "put it in quotes" if wanted is str else "write true or false" if wanted is bool else ""
        self.problem(node, f"{path} is {text!r}, which is not {_names((wanted,))}", hint)
        raise _Wrong


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _fits(node: yaml.Node, wanted: Any) -> bool:
    origin = get_origin(wanted)
    if isinstance(node, yaml.SequenceNode):
        return origin in (list, tuple)
    if isinstance(node, yaml.MappingNode):
        return origin is dict or (dataclasses.is_dataclass(wanted) and not hasattr(wanted, "parse"))
    if wanted in (int, float, bool) and isinstance(node, yaml.ScalarNode):
        pattern = {int: _INT, float: _FLOAT, bool: re.compile("true|false")}[wanted]
        return node.style in (None, "") and bool(pattern.fullmatch(node.value))
    return origin is Literal or hasattr(wanted, "parse") or wanted in (str, Path)


def _names(wanted: tuple[Any, ...]) -> str:
    plain = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}

    def name(one: Any) -> str:
        origin = get_origin(one)
        if origin is Literal:
            return " or ".join(map(str, get_args(one)))
        if origin in (list, tuple):
            return "a list"
        if origin is dict or dataclasses.is_dataclass(one):
            return "a mapping"
        return plain.get(one, getattr(one, "__name__", str(one)).lower())

    return " or ".join(name(one) for one in wanted if one is not type(None))
