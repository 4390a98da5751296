"""The second wall: session policies in IAM's language, so that a mistake of the gateway still meets IAM.

What AWS lets a session do is what its role may do *and* what its session policy allows (IAM User Guide, "Session
policies"). `of_statements` makes one from the statements that the gateway decides by, `of_items` one of the needs of a
single call. Both are wider than the gateway where IAM can't say the same, never narrower: the gateway stays the precise
one. An `approve` is an Allow, as the gateway asks. Left out of an Allow, and a reason to leave out a whole Deny, are
conditions on anything but `aws:RequestedRegion`: AWS does not see what they test.

Every policy also has these statements:

- what a service does with the caller's rights on the caller's behalf is allowed (S3 decrypts by KMS, CloudFormation
  makes what a template says), as the gateway decides on calls, not on what they lead to. A Deny of the policies is for
  the caller's own calls, for the same reason.
- resources of accounts that are neither the session's nor named (`upstream.accounts`, ARNs in the policies) are denied,
  also to services that act for the caller: none may carry data to a stranger. Except what AWS and image makers share
  with everybody: managed policies, models, SSM's public documents and parameters, images, snapshots, layers, platforms.
  Source: "Building a data perimeter on AWS"; IAM User Guide, `aws:ResourceAccount`.

An inline session policy has 2,048 characters at most (STS API Reference, AssumeRole), and its packed form, with the
session's tags, a limit that only AWS can tell. So there are several forms, from the finest to the coarsest:

- `statements`: as written;
- `verbs`: the actions by service and first word (`s3:Get*`) on every resource, with the Denies as written;
- `grants`: the same without the Denies;
- `services`: whole services;
- `accounts`: everything, but for the Deny of other accounts.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from policy import table
from policy.conditions import Condition
from policy.evaluate import Statement
from policy.model import Item
from policy.patterns import literal, segments

LIMIT = 2048  # characters
FINEST = "statements"
ACCOUNTS = 40  # more do not fit
REGION = "aws:RequestedRegion"
UNWRITABLE = re.compile("[^\t\n\r -\xff]+")  # what may not be in the parameter Policy
WORD = re.compile(r"[A-Z]?[a-z0-9]*")
PREFIXES = {  # IAM's where it is not what botocore's models say; by AWS's Service Authorization Reference
    "cloudcontrolapi": "cloudformation",
    "iot-jobs-data": "iotjobsdata",
    "iotdata": "iot",
    "iotsecuredtunneling": "iot",
    "mturk-requester": "mechanicalturk",
    "partnercentral-account": "partnercentral",
    "partnercentral-benefits": "partnercentral",
    "partnercentral-channel": "partnercentral",
    "partnercentral-marketing": "partnercentral",
    "partnercentral-selling": "partnercentral",
    "tagging": "tag",
}
SHARED = (  # resources of others that are there to be used
    "arn:*:bedrock:*::foundation-model/*",
    "arn:*:cloudformation:*:aws:*",
    "arn:*:ec2:*::image/*",
    "arn:*:ec2:*::snapshot/*",
    "arn:*:ec2:*:aws:prefix-list/*",
    "arn:*:elasticbeanstalk:*::*",
    "arn:*:iam::aws:policy/*",
    "arn:*:imagebuilder:*:aws:*",
    "arn:*:lambda:*:*:layer:*",
    "arn:*:ssm:*::*",
)
ON_BEHALF = {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:ViaAWSService": "true"}}}
ANYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


class SessionPolicy(NamedTuple):
    """One document of at most `LIMIT` characters, and which form it has."""

    form: str
    text: str


def of_statements(statements: Sequence[Statement], accounts: Iterable[str]) -> tuple[SessionPolicy, ...]:
    """The forms that are short enough, the finest first; never empty.

    `accounts`: those of the session and of the configuration. Those that the statements name are added.
    """
    wall = _other_accounts({*accounts, *named_accounts(statements)})
    grants = [s for s in statements if s.effect != "deny"]
    written, denies = [_allow(s) for s in grants], [d for s in statements if s.effect == "deny" for d in _deny(s)]
    actions = {action for statement in written for action in statement["Action"]}
    verbs, services = _statement("Allow", map(_verb, actions)), _statement("Allow", map(_service, actions))
    forms = (
        (FINEST, [*_merged(written), *_merged(denies), ON_BEHALF, wall]),
        ("verbs", [verbs, *_merged(denies), ON_BEHALF, wall]),
        ("grants", [verbs, ON_BEHALF, wall]),
        ("services", [services, ON_BEHALF, wall]),
        ("accounts", [ANYTHING, wall]),
    )
    found = [SessionPolicy(form, _document(made)) for form, made in forms]
    return tuple(made for made in found if len(made.text) <= LIMIT)


def of_items(items: Iterable[Item], accounts: Iterable[str]) -> tuple[SessionPolicy, ...]:
    """The same for one call: its own actions on its own resources, where these are too many on every resource.

    `accounts` as `of_statements` adds them up: that a call names a resource of somebody else's makes it nobody's own.
    """
    wall, needed, actions = _other_accounts(set(accounts)), [], set()
    for item in items:
        exact = item.state == "exact"
        action = item.action if exact else _service(_action(item.action))
        places = [_place(part) for part in (item.resource, item.behind) if part] if exact else ["*"]
        needed.append(_statement("Allow", [action], [more for place in places for more in (place, *_beside(place))]))
        actions.add(action)
    forms = (
        ("call", [*_merged(needed), ON_BEHALF, wall]),
        ("actions", [_statement("Allow", actions), ON_BEHALF, wall]),
        ("accounts", [ANYTHING, wall]),
    )
    found = [SessionPolicy(form, _document(made)) for form, made in forms]
    return tuple(made for made in found if len(made.text) <= LIMIT)


def named_accounts(statements: Iterable[Statement]) -> set[str]:
    """The accounts whose resources the statements allow by name: a wildcard names none."""
    resources = (resource for s in statements if s.effect != "deny" for resource in s.resources if resource.parts)
    return {resource.parts[4] for resource in resources if re.fullmatch("[0-9]{12}", resource.parts[4])}


def _other_accounts(accounts: set[str]) -> dict[str, Any]:
    """The Deny of all other accounts' resources. The key is absent where an action has none: then it does not count."""
    if len(accounts) > ACCOUNTS:
        return {}
    condition = {
        "StringNotEquals": {"aws:ResourceAccount": sorted(accounts)},
        "Null": {"aws:ResourceAccount": "false"},
    }
    return {"Effect": "Deny", "Action": "*", "NotResource": list(SHARED), "Condition": condition}


def _document(statements: Iterable[dict[str, Any]]) -> str:
    content = {"Version": "2012-10-17", "Statement": [s for s in statements if s and s.get("Action") != []]}
    return json.dumps(content, separators=(",", ":"))


def _statement(effect: str, actions: Iterable[str], resources: Iterable[str] = ("*",), **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": _least(actions), "Resource": _least(resources), **more}


def _least(patterns: Iterable[str]) -> list[str]:
    """Sorted, without those that another one with a `*` at its end covers."""
    kept: list[str] = []
    wide = "\0"  # what the last such pattern begins with: those that it covers come right behind it
    for pattern in sorted(set(patterns), key=lambda pattern: (pattern.removesuffix("*"), pattern)):
        if pattern.startswith(wide) and pattern != f"{wide}*":
            continue
        kept.append(pattern)
        if pattern.endswith("*") and not set("*?") & set(pattern[:-1]):
            wide = pattern[:-1]
    return kept


def _merged(statements: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Statements that differ in their actions alone, as one."""
    found: dict[str, dict[str, Any]] = {}
    for statement in statements:
        key = json.dumps({name: value for name, value in statement.items() if name != "Action"}, sort_keys=True)
        found.setdefault(key, statement | {"Action": []})["Action"] += statement["Action"]
    return [statement | {"Action": _least(statement["Action"])} for statement in found.values()]


def _allow(statement: Statement) -> dict[str, Any]:
    """An Allow. IAM takes no wildcard for the service of a resource either."""
    places = [":".join(r.parts) if r.parts and literal(r.parts[2]) else "*" for r in statement.resources]
    resources = [more for place in places for more in (place, *_beside(place))]
    return _statement("Allow", map(_action, statement.actions), resources, **_conditions(statement.conditions))


def _deny(statement: Statement) -> Iterator[dict[str, Any]]:
    """A Deny, or nothing where IAM can't say it: it must not refuse what the gateway lets through."""
    actions = [pattern for pattern in statement.actions if pattern == "*" or literal(pattern.partition(":")[0])]
    resources = [":".join(r.parts) or "*" for r in statement.resources if r.text == "*" or literal(r.parts[2])]
    distinct = len({condition.operator for condition in statement.conditions}) == len(statement.conditions)
    if actions and resources and distinct and all(map(_known, statement.conditions)):
        condition = _conditions(statement.conditions).get("Condition", {}) | {"Bool": {"aws:ViaAWSService": "false"}}
        yield _statement("Deny", actions, resources, Condition=condition)


def _known(condition: Condition) -> bool:
    """Whether IAM would say the same to a condition."""
    return condition.key.lower() == REGION.lower() and condition.operator.startswith(("String", "Null"))


def _conditions(conditions: Iterable[Condition]) -> dict[str, Any]:
    """The conditions that IAM knows; of two with one operator the first, as IAM has room for one."""
    found: dict[str, dict[str, list[str]]] = {}
    for condition in filter(_known, conditions):
        found.setdefault(condition.operator, {}).setdefault(REGION, list(condition.values))
    return {"Condition": found} if found else {}


def _action(pattern: str) -> str:
    """An action pattern of an Allow. IAM takes no wildcard for the service.

    An action that is not in the table has an operation's name, which IAM may call otherwise: then it is the service.
    """
    prefix, _, name = pattern.partition(":")
    if not literal(prefix):
        return "*"
    if literal(name) and pattern.lower() not in table.folded_actions():
        return f"{PREFIXES.get(prefix.lower(), prefix)}:*"
    return pattern


def _verb(action: str) -> str:
    """`s3:GetObject` -> `s3:Get*`."""
    prefix, colon, name = action.partition(":")
    match = WORD.match(name)
    word = match[0] if match else ""
    return action if not colon or word == name else f"{prefix}:{word}*"


def _service(action: str) -> str:
    prefix, colon, _ = action.partition(":")
    return f"{prefix}:*" if colon else action


def _place(resource: str) -> str:
    """A call's resource as a pattern. Its `*` and `?` stay what they are; a `${` would be a variable's beginning."""
    parts = segments(UNWRITABLE.sub("*", resource.replace("$", "${$}")))
    return ":".join(parts) if parts and literal(parts[2]) else "*"


def _beside(place: str) -> Iterator[str]:
    """What AWS asks about beside, or in place of, the resource that the gateway decides on.

    GetParametersByPath: the path itself. An access point: the bucket behind it as well.
    """
    parts = place.split(":", 5)
    if place.startswith("arn:") and parts[2] == "ssm" and place.endswith("/*"):
        yield place.removesuffix("/*")
    if place.startswith("arn:") and parts[2] == "s3" and parts[5].startswith("accesspoint"):
        yield f"arn:{parts[1]}:s3:::*"
