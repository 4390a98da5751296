"""The policy language, version 1, and the set of policies that a gateway decides by.

    version: 1
    policies:
    - name: readers
      statements:
      - sid: look-around
        effect: allow                       # allow | deny | approve
        actions: ["s3:List*", "s3:GetObject"]
        resources: ["arn:aws:s3:::reports", "arn:aws:s3:::reports/*"]
        conditions: {StringEquals: {"aws:RequestedRegion": [eu-west-1, eu-central-1]}}

Everything is required but `conditions`; every other key is an error. What each part means is said in
`policy/patterns.py`, `policy/conditions.py` and `policy/evaluate.py`. A file with a problem is not used at all.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from policy import conditions, models, strict, table
from policy.conditions import Condition, compile_condition
from policy.evaluate import Evaluator
from policy.evaluate import Statement as Compiled
from policy.items import MISNOMERS
from policy.model import Decision, Effect, Request
from policy.patterns import Resource, action_matches, literal, segments
from policy.problems import Invalid, Problem, near

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
ACTION = re.compile(r"\*|(?:\*|[A-Za-z0-9-]+):[A-Za-z0-9_*?]+")
PARTITION = re.compile(r"\*|aws(-[a-z]+)*")
ACCOUNT = re.compile(r"|aws|[0-9]{12}|[0-9*?]*[*?][0-9*?]*")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as written."""

    sid: str
    effect: Effect
    actions: list[str]
    resources: list[str]
    conditions: dict[str, dict[str, str | list[str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """A named list of statements."""

    name: str
    statements: list[Statement]


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One file."""

    version: Literal[1]
    policies: list[Policy]


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Every policy of every file, compiled. `hash` is of what they say: "sha256:" and 64 hexadecimal digits."""

    hash: str
    files: Mapping[str, tuple[tuple[str, ...], tuple[Compiled, ...]]]  # path -> names of its policies, statements
    evaluators: dict[tuple[str, ...], Evaluator] = field(default_factory=dict, repr=False, compare=False)

    def decide(self, request: Request, bound: Sequence[str]) -> Decision:
        """Decide by the files (as given to `load_policies`, as text) that are bound to a session. Never raises."""
        files = tuple(dict.fromkeys(bound))
        if missing := [name for name in files if name not in self.files]:
            return Decision("deny", (), None, f"the policy file {missing[0]} is not loaded", self.hash)
        if (evaluator := self.evaluators.get(files)) is None:
            names = tuple(name for file in files for name in self.files[file][0])
            evaluator = self.evaluators[files] = Evaluator(self.statements(files), names, self.hash)
        return evaluator.decide(request)

    def statements(self, bound: Sequence[str]) -> tuple[Compiled, ...]:
        """The statements of files that are loaded, those that `decide` goes by."""
        return tuple(statement for file in dict.fromkeys(bound) for statement in self.files[file][1])


def load_policies(files: Sequence[Path]) -> PolicySet:
    """Read and compile files; the same file twice counts once. Raises `Invalid` with every problem of all of them."""
    problems: list[Problem] = []
    compiled: dict[str, tuple[tuple[str, ...], tuple[Compiled, ...]]] = {}
    content: list[object] = []
    seen: dict[str, str] = {}
    for file in dict.fromkeys(map(str, files)):
        try:
            loaded = strict.load(Path(file), PolicyFile)
        except Invalid as invalid:
            problems += invalid.problems
            continue
        reader = _Reader(loaded, seen)
        statements = tuple(reader.statements())
        problems += reader.problems
        compiled[file] = tuple(policy.name for policy in loaded.value.policies), statements
        content.append([Path(file).name, [dataclasses.asdict(policy) for policy in loaded.value.policies]])
    if problems:
        raise Invalid(problems)
    text = json.dumps(sorted(content, key=json.dumps), sort_keys=True, separators=(",", ":"))
    return PolicySet(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", compiled)


class _Reader:
    """Checks and compiles one file, noting problems."""

    def __init__(self, loaded: strict.Loaded[PolicyFile], seen: dict[str, str]) -> None:
        self.loaded = loaded
        self.seen = seen  # names of policies -> where they stand, over all files
        self.problems: list[Problem] = []

    def problem(self, place: str, message: str, hint: str = "") -> None:
        """Note one problem at a place such as `policies[0].statements[1].actions`."""
        self.problems.append(Problem(self.loaded.file, self.loaded.lines.get(place, 0), message, hint))

    def statements(self) -> Iterator[Compiled]:
        """The statements that can be used."""
        for p, policy in enumerate(self.loaded.value.policies):
            place = f"policies[{p}]"
            self.name(f"{place}.name", policy.name)
            if first := self.seen.get(policy.name):
                self.problem(
                    f"{place}.name", f"there are two policies named {policy.name!r}", f"the other is at {first}"
                )
            self.seen.setdefault(policy.name, f"{self.loaded.file}:{self.loaded.lines.get(place, 0)}")
            sids: set[str] = set()
            for s, statement in enumerate(policy.statements):
                where = f"{place}.statements[{s}]"
                self.name(f"{where}.sid", statement.sid)
                if statement.sid in sids:
                    self.problem(f"{where}.sid", f"the sid {statement.sid!r} stands twice in policy {policy.name!r}")
                sids.add(statement.sid)
                before = len(self.problems)
                self.actions(f"{where}.actions", statement.actions)
                self.resources(f"{where}.resources", statement.resources)
                tests = tuple(self.conditions(f"{where}.conditions", statement))
                if len(self.problems) == before:
                    resources = tuple(map(Resource.of, statement.resources))
                    sid = f"{policy.name}/{statement.sid}"
                    yield Compiled(sid, statement.effect, tuple(statement.actions), resources, tests)

    def name(self, place: str, name: str) -> None:
        """A policy's name or a sid."""
        if not NAME.fullmatch(name):
            self.problem(
                place, f"{name!r} is no name", "use letters, digits, hyphens, dots and underscores, 64 at most"
            )

    def actions(self, place: str, actions: Sequence[str]) -> None:
        """Action patterns: each must name something that exists, or a Deny with a typo in it would deny nothing."""
        if not actions:
            self.problem(place, "actions is empty", "a statement without actions says nothing")
        for index, pattern in enumerate(actions):
            if not ACTION.fullmatch(pattern):
                self.problem(f"{place}[{index}]", f"{pattern!r} is no action pattern", "write s3:GetObject or s3:Get*")
            elif not exists(pattern):
                self.problem(f"{place}[{index}]", *_no_action(pattern))

    def resources(self, place: str, resources: Sequence[str]) -> None:
        """Resource patterns: "*" or ARNs that can exist."""
        if not resources:
            self.problem(place, "resources is empty", 'write ["*"] for any resource')
        for index, pattern in enumerate(resources):
            if wrong := resource_problem(pattern):
                self.problem(f"{place}[{index}]", f"{pattern!r} is no resource pattern: {wrong[0]}", wrong[1])

    def conditions(self, place: str, statement: Statement) -> Iterator[Condition]:
        """Conditions, compiled."""
        for name, tested in statement.conditions.items():
            if name not in conditions.NAMES:
                self.problem(f"{place}.{name}", f"unknown condition operator {name!r}", near(name, conditions.NAMES))
                continue
            if not tested:
                self.problem(f"{place}.{name}", f"{name} tests no key")
            for key, written in tested.items():
                where = f"{place}.{name}.{key}"
                values = [written] if isinstance(written, str) else written
                try:
                    condition = compile_condition(name, key, values)
                except ValueError as error:
                    hint = near(key, conditions.KEYS) or f"known: {', '.join(conditions.KEYS)}, req:PARAMETER"
                    self.problem(where, str(error), hint if "can't tell" in str(error) else "")
                    continue
                if key.lower().startswith("req:") and (wrong := _no_parameter(key[4:], statement.actions)):
                    self.problem(where, *wrong)
                yield condition


def exists(pattern: str) -> bool:
    """Whether an action pattern names an action of the table, or an operation of botocore by its prefix."""
    if pattern == "*" or pattern.lower() in table.folded_actions():
        return True
    if not literal(pattern) and any(action_matches(pattern, action) for action in table.folded_actions()):
        return True
    return any(action_matches(pattern, action) for service in _services(pattern) for action in _same_named(service))


def _services(pattern: str) -> Iterable[str]:
    """botocore's services whose actions have the prefix of a pattern; all of them for `*`."""
    prefix = pattern.partition(":")[0].lower()
    known = [name for name, service in table.services().items() if service.prefix == prefix]
    by_prefix = models.services()
    return [s for found in by_prefix.values() for s in found] if prefix == "*" else [*known, *by_prefix.get(prefix, ())]


def _same_named(service: str) -> Iterator[str]:
    names = (f"{table.prefix(service)}:{operation}" for operation in models.operations(service))
    return (name for name in names if name.lower() not in MISNOMERS)


def _no_action(pattern: str) -> tuple[str, str]:
    """What is wrong with a pattern that names nothing, and what may have been meant."""
    if pattern.lower() in MISNOMERS:
        return f"{pattern!r} is an operation, not an action", f"IAM asks about {MISNOMERS[pattern.lower()]}"
    prefix = pattern.partition(":")[0].lower()
    services = list(_services(pattern))
    if not services:
        prefixes = {service.prefix for service in table.services().values()} | set(models.services())
        return f"no service has the prefix {prefix!r} ({pattern!r})", near(prefix, prefixes)
    known = {action for action in table.actions() if action.startswith(f"{prefix}:")}
    if prefix != "*":
        known.update(action for service in services for action in _same_named(service))
    wild = "" if literal(pattern) else "it matches no action; "
    return f"there is no action {pattern!r}", wild + near(pattern, known)


def _no_parameter(path: str, actions: Sequence[str]) -> tuple[str, str] | None:
    """What is wrong with a `req:` key that no operation of the statement's services has: it could never be there."""
    if any(pattern.partition(":")[0] == "*" for pattern in actions):
        return None
    services = sorted({service for pattern in actions for service in _services(pattern)})
    if not services or any(models.has_parameter(service, path) for service in services):
        return None
    hint = near(path, {name for service in services for name in models.parameters(service)})
    return f"no operation of {', '.join(services)} has the parameter {path!r}", hint


def resource_problem(pattern: str) -> tuple[str, str] | None:
    """What is wrong with a resource pattern, and a hint. In a Deny, one that can match nothing would deny nothing.

    Source: IAM User Guide, "Amazon Resource Names (ARNs)": S3 buckets and objects have neither region nor account,
    IAM has no region.
    """
    if pattern == "*":
        return None
    if "${" in pattern:
        return "policy variables are not supported", ""
    if (parts := segments(pattern)) is None:
        return "it is no ARN", 'write "*" or arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE'
    _, partition, service, region, account, resource = parts
    if not PARTITION.fullmatch(partition):
        return f"there is no partition {partition!r}", near(partition, ("aws", "aws-cn", "aws-us-gov"))
    if not re.fullmatch(r"\*|[a-z0-9-]+", service):
        return f"{service!r} is no service", 'service names are lower-case; "*" stands for any'
    if not re.fullmatch(r"[a-z0-9*?-]*", region):
        return f"{region!r} is no region", ""
    if not ACCOUNT.fullmatch(account):
        return f"{account!r} is no account", "an account has twelve digits"
    if not resource:
        return "it ends before the resource", 'write ":*" for all'
    if service == "iam" and region.strip("*"):
        return "IAM has no regions", "write arn:aws:iam::ACCOUNT:..."
    if (
        service == "s3"
        and (region.strip("*") or account.strip("*"))
        and not re.match(r"[*?]|acc|job|stor|async", resource)
    ):
        return "buckets and objects have neither region nor account", "write arn:aws:s3:::BUCKET/KEY"
    return None
