"""Credentials that AWS returns: what is done with the answer of every operation that hands some out.

`data/vended.yaml` was written by hand: a verdict and a reason for each. `candidates` is the program that the list was
made from, by the names in a model's output shapes; a test holds that the file judges every one of them, and until a
person has judged it, an operation of a newer botocore that looks so is refused.

    virtualise  the agent gets a synthetic set, with which the gateway signs by the real one
    mask        the credential is masked, the rest of the answer is of use
    deny        the call is refused: it is about nothing but a credential that can't be used through the gateway
    none        the name misleads: nothing secret, or nothing that AWS makes (what is stored is for `redaction`)
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from policy import strict
from policy.problems import Invalid, Problem
from policy.redaction import RedactionRule, RuleSet, Target, compile_rule, rule_set

FILE = Path(__file__).parent / "data" / "vended.yaml"
UNREVIEWED = "its answer may hold credentials ({}), and it is newer than this gateway's table of those"

# Member names of botocore's models, in either spelling. What people store and read back has other names, mostly; the
# rest is `none` in the table.
NAMES = re.compile(
    r"""
    .*secret_?access_?key | secret_?key | .*(session|security)_?token
    | .*(access|refresh|id|bearer|auth|authorization|authentication|web|cli|jwt|join|participant|connection|oauth2?
        |signed|api|issued|gateway|delegated|federation|identity|login|payment|work_?unit|stream)_?token
    | token | token_?value | jwt | api_?key | auth_?code
    | service_?password | service_?credential_?secret | db_?password | password_?data
    | .*(pre_?signed|signed_?ur[il]|authori[sz]ed_?ur[il]).*
    | .*(sign_?in|login|console|auth_?code|federation|embed)_?ur[il]
    | .*private_?key(_?(base64|plaintext|pem))? | key_?material
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Names that stored settings have, too, but not in answers of operations that are about nothing else.
PASSWORDS = re.compile(r".*password|secret|.*secret_?(value|code)", re.IGNORECASE)
ABOUT = re.compile(r".*(Credential|Access|Password|Login|Token)")

SET = re.compile(r"\[(\w+), (\w+), (\w+), (\w+)\]")  # access key, secret, session token, end

Verdict = Literal["virtualise", "mask", "deny", "none"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One judgement. `path` is a JMESPath: what is masked, or the structure that holds the set to be virtualised."""

    service: str
    operations: list[str]
    verdict: Verdict
    reason: str
    path: str = ""
    role: str = ""  # virtualise: the parameter with the ARN of the role that is assumed; "": nobody else is acted as

    def __post_init__(self) -> None:
        if self.verdict == "virtualise" and not SET.search(self.path):
            raise ValueError("the path of a set must end in [access key, secret, session token, end]")
        if bool(self.path) != (self.verdict in ("virtualise", "mask")):
            raise ValueError("a path belongs to virtualise and mask, and to nothing else")


@dataclass(frozen=True, slots=True)
class VendedFile:
    """The table, `version: 1`."""

    version: Literal[1]
    operations: list[Entry]


@functools.cache
def _entries() -> list[Entry]:
    return strict.load(FILE, VendedFile).value.operations


@functools.cache
def table() -> dict[tuple[str, str], Entry]:
    """The judgement of each (service, operation). Raises `Invalid` where one has two."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in _entries():
        for operation in entry.operations:
            if found.setdefault((entry.service, operation), entry) is not entry:
                raise Invalid([Problem(str(FILE), 0, f"{entry.service}:{operation} is there twice")])
    return found


def judge(service: str, operation: str, output: Any) -> Entry:
    """What is done about an operation whose output shape (botocore's, or None) is `output`."""
    if (entry := table().get((service, operation))) is not None:
        return entry
    if found := candidates(operation, output):
        return Entry(service, [operation], "deny", UNREVIEWED.format(", ".join(sorted(set(found))[:3])))
    return Entry(service, [operation], "none", "")


def rules() -> list[RedactionRule]:
    """The masks as redaction rules, in force whatever the configuration says."""
    return [
        RedactionRule(entry.service, entry.operations, entry.path, "mask", entry.reason)
        for entry in _entries()
        if entry.verdict == "mask"
    ]


@functools.cache
def hiding() -> RuleSet:
    """Rules that mask the secret parts of every virtualised set: for the copy of an answer that people look at."""
    return rule_set(
        RedactionRule(entry.service, entry.operations, SET.sub(r"[\2, \3]", entry.path), "mask", entry.reason)
        for entry in _entries()
        if entry.verdict == "virtualise"
    )


@functools.lru_cache(maxsize=64)
def places(service: str, operation: str) -> Target:
    """The ways to the four members of a virtualised set. Raises `BadRule` where the models have no such members."""
    rule = RedactionRule(service, operation, table()[service, operation].path)
    ((_, compiled),) = compile_rule(rule)
    assert compiled.output
    return compiled.output


def candidates(operation: str, output: Any) -> list[str]:
    """The members below an output shape that look like credentials, as "Shape.member"."""
    about = ABOUT.match(operation) is not None
    return [
        f"{shape}.{name}"
        for shape, name in _leaves(output, set())
        if NAMES.fullmatch(name) or (about and PASSWORDS.fullmatch(name))
    ]


def _leaves(shape: Any, seen: set[str]) -> Iterator[tuple[str, str]]:
    """Every string and blob below a shape, as its structure's name and its own; each structure once."""
    if shape is None or shape.name in seen:
        return
    seen.add(shape.name)
    if shape.type_name in ("list", "map"):
        yield from _leaves(shape.member if shape.type_name == "list" else shape.value, seen)
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            inner = member
            while inner.type_name in ("list", "map"):
                inner = inner.member if inner.type_name == "list" else inner.value
            if inner.type_name in ("string", "blob"):
                yield shape.name, name if inner is member else name.removesuffix("s")
            else:
                yield from _leaves(inner, seen)
