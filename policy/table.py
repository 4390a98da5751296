"""The table of operations: `data/actions.yaml`, and how a row's resource template is filled from a call's parameters.

A wrong resource is a hole, so what can't be bound with certainty is unknown: `*` in the ARN, which no scoped Allow
covers and every scoped Deny that might be meant overlaps.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from policy import models
from policy.model import Request
from policy.patterns import glob
from policy.strict import LOADER

FILE = Path(__file__).parent / "data" / "actions.yaml"
UNKNOWN = "arn:*:*:*:*:*"  # some resource, of which nothing is known
LONGEST = 2048  # characters of a name or an ARN: AWS has no longer ones, and matching takes time and memory
ALTERNATIVES: Mapping[str, tuple[str, ...]] = {  # parameters that may name the thing too, or another one instead
    "AllocationId": ("PublicIp",),
    "AssociationId": ("Name", "InstanceId"),
    "GroupId": ("GroupName",),
    "KeyId": ("GrantToken",),
    "LaunchTemplateId": ("LaunchTemplateName",),
    "StreamARN": ("StreamId", "StreamName"),
    "StreamName": ("StreamARN", "StreamId"),
    "logGroupName": ("logGroupIdentifier", "logGroupIdentifiers", "logGroupNames"),
}
OWNERS = ("registryId", "QueueOwnerAWSAccountId")  # parameters that move a call to another account's resource
FIELD = re.compile(r"\{([A-Za-z]+)(\[\])?(?::([a-z]+))?\}")


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the table as written. `also`: actions that `policy/items.py` and `policy/s3.py` make by hand."""

    prefix: str
    resources: dict[str, list[str]]
    also: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """What one operation needs: an action on the resources of a template."""

    action: str
    template: str


@functools.cache
def services() -> Mapping[str, Service]:
    """The table as written. The file is the project's own; a test reads it with the strict loader."""
    written: dict[str, dict[str, Any]] = yaml.load(FILE.read_text("utf-8"), LOADER)  # noqa: S506  a safe loader
    return {name: Service(**service) for name, service in written.items()}


@functools.cache
def rows(service: str) -> Mapping[str, Row]:
    """operation -> row; empty for a service that the table lacks."""
    found: dict[str, Row] = {}
    if written := services().get(service):
        for template, operations in written.resources.items():
            for entry in operations:
                operation, _, action = entry.partition("=")
                found[operation] = Row(f"{written.prefix}:{action or operation}", template)
    return found


def prefix(service: str) -> str:
    """The IAM prefix of a service."""
    return services()[service].prefix if service in services() else models.prefix(service)


@functools.cache
def actions() -> frozenset[str]:
    """Every action that the table and the hard cases know, `prefix:Name`."""
    found = {row.action for service in services() for row in rows(service).values()}
    return frozenset(found.union(name for service in services().values() for name in service.also))


@functools.cache
def folded_actions() -> frozenset[str]:
    """The same in lower case, as actions are compared."""
    return frozenset(action.lower() for action in actions())


@functools.cache
def misnomers() -> Mapping[str, str]:
    """Names of operations that are no actions, `prefix:operation` in lower case -> the action that is asked about."""
    found = {}
    for service, written in services().items():
        for operation, row in rows(service).items():
            name = f"{written.prefix}:{operation}".lower()
            if name not in folded_actions():
                found[name] = row.action
    return found


@functools.cache
def _named(template: str) -> re.Match[str] | None:
    """The first field of a template that a parameter fills."""
    return next((m for m in FIELD.finditer(template) if m[1] not in ("partition", "region", "account")), None)


def bind(template: str, request: Request) -> list[str]:
    """The resources of a template: one, or one for each value of a list parameter."""
    named = _named(template)
    if named is None:
        return [_fill(template, {}, request)]
    values: list[object] = [request.params.get(named[1])]
    if any(request.params.get(name) is not None for name in ALTERNATIVES.get(named[1], ())):
        values = [None]
    if named[2]:
        listed = values[0]
        values = list(listed) if isinstance(listed, (list, tuple)) and listed else [None]
    return [_bind_one(template, named, value, request) for value in values]


def _bind_one(template: str, named: re.Match[str], value: object, request: Request) -> str:
    if isinstance(value, str) and value[:4].lower() == "arn:":
        name = ":".join(value.split(":")[:6]) if named[3] == "parameter" else value  # without version or label
        return given_arn(template, named, name)
    return _fill(template, dict(request.params) | {named[1]: value}, request)


def given_arn(template: str, named: re.Match[str], arn: str) -> str:
    """An ARN given where the template wants a name: the resource itself, if it is of the kind that is wanted.

    Where the template goes on behind the name (the six random characters of a secret), so must the ARN: one that
    doesn't is partial, and the rest is unknown.
    """
    kind, tail = template[: named.start()].split(":", 5), FIELD.sub("*", template[named.end() :])
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[2] != kind[2] or not parts[5].startswith(kind[5]) or parts[5] == kind[5]:
        return UNKNOWN
    if parts[0] != "arn" or _inexact(arn) or any(kind[at] and not parts[at] for at in (1, 3, 4)):
        return UNKNOWN  # AWS may fill in what is left out, and overlook what is too much
    return arn if not tail or glob(f"*{tail}").fullmatch(arn) else arn + tail


def _fill(template: str, params: Mapping[str, Any], request: Request) -> str:
    owner = next((params[name] for name in OWNERS if params.get(name) is not None), request.account)
    account = owner if isinstance(owner, str) and re.fullmatch(r"[0-9]{12}", owner) else "*"
    own = {"partition": request.partition, "region": request.region or "*", "account": account}

    def part(match: re.Match[str]) -> str:
        if match[1] in own:
            return own[match[1]]
        given = params.get(match[1])
        if match[3] == "path" and given is None:
            return "/"
        if not isinstance(given, str) or not given or _inexact(given):
            return "*"
        return FILTERS[match[3]](given) if match[3] else given

    return re.sub(r"\*+", "*", FIELD.sub(part, template))


def _inexact(name: str) -> bool:
    """Whether a name is of a kind that AWS may read as another one: longer than any, or with space around it."""
    return len(name) > LONGEST or name != name.strip()


def _parameter(name: str) -> str:
    """An SSM parameter's name, without the leading slash and the version or label behind a colon."""
    return name.removeprefix("/").partition(":")[0] or "*"


def _below(path: str) -> str:
    """What GetParametersByPath reads: everything below the path. (AWS asks about the path itself, which hides that.)"""
    inner = path.strip("/")
    return f"{inner}/*" if inner else "*"


def _key(name: str) -> str:
    """A KMS key: an alias says nothing of the key behind it."""
    return "*" if name.startswith("alias/") else name


def _queue(url: str) -> str:
    """ACCOUNT:NAME of an SQS queue URL, `https://HOST/ACCOUNT/NAME`."""
    found = re.fullmatch(r"https?://[^/?#]+/([0-9]{12})/([A-Za-z0-9_.-]+)", url)
    return f"{found[1]}:{found[2]}" if found else "*:*"


FILTERS: dict[str, Callable[[str], str]] = {
    "parameter": _parameter,
    "below": _below,
    "key": _key,
    "queue": _queue,
    "path": lambda path: path,  # of a new IAM entity, "/" by default
}
