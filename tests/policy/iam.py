"""IAM's evaluation of one policy document, small and by the letter of the User Guide: what a session policy is for AWS.

Independent of the gateway's evaluator: another matching, and only what session policies use. An action or a resource
is known here; conditions know no operators but those below, and raise on others.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

SERVICE = re.compile(r"[a-z0-9-]+:")


def allowed(document: str, action: str, resource: str, context: Mapping[str, str] | None = None) -> bool:
    """Whether the document allows an action on a resource ("*": the action has none)."""
    policy = json.loads(document)
    assert policy["Version"] == "2012-10-17"
    keys = {"aws:ViaAWSService": "false", "aws:RequestedRegion": "eu-west-1"} | dict(context or {})
    effects = {s["Effect"] for s in policy["Statement"] if applies(s, action, resource, keys)}
    return effects == {"Allow"}


def applies(statement: Mapping[str, Any], action: str, resource: str, keys: Mapping[str, str]) -> bool:
    """Whether a statement is about a request."""
    assert statement.keys() <= {"Effect", "Action", "Resource", "NotResource", "Condition"}, statement
    actions = listed(statement["Action"])
    assert all(pattern == "*" or SERVICE.match(pattern.lower()) for pattern in actions), actions
    if not any(like(pattern.lower(), action.lower()) for pattern in actions):
        return False
    named = any(
        covers(pattern, resource) for pattern in listed(statement.get("Resource", statement.get("NotResource")))
    )
    if named is ("NotResource" in statement):
        return False
    tests = [
        (op, key, values) for op, tested in statement.get("Condition", {}).items() for key, values in tested.items()
    ]
    return all(holds(op, key, listed(values), keys) for op, key, values in tests)


def covers(pattern: str, resource: str) -> bool:
    """Segment by segment, but for the last, which is one text."""
    if pattern == "*":
        return True
    assert re.fullmatch(r"arn:[^:]*:[a-z0-9-]+:[^:]*:[^:]*:.+", pattern, re.DOTALL), pattern
    parts, given = pattern.split(":", 5), resource.split(":", 5)
    return len(given) == 6 and all(map(like, parts, given))


def like(pattern: str, text: str) -> bool:
    literal = re.sub(r"\$\{([*?$])\}", lambda found: f"\0{found[1]}", pattern)
    assert not re.search(r"(?<!\0)\$\{", literal), "a policy variable"
    tokens = re.findall(r"\0.|.", literal, re.DOTALL)
    expression = "".join({"*": ".*", "?": "."}.get(token, re.escape(token.lstrip("\0"))) for token in tokens)
    return bool(re.fullmatch(expression, text, re.DOTALL))


def holds(operator: str, key: str, values: list[str], keys: Mapping[str, str]) -> bool:
    """One condition. "If the key is not present, the values do not match; for negated operators they do"."""
    given = next((value for name, value in keys.items() if name.lower() == key.lower()), None)
    name = operator.removesuffix("IfExists")
    if name == "Null":
        return values == [str(given is None).lower()]
    negated = "Not" in name
    if given is None:
        return negated or name != operator
    match name.replace("Not", ""):
        case "StringEquals" | "Bool":
            found = given in values
        case "StringEqualsIgnoreCase":
            found = given.lower() in [value.lower() for value in values]
        case "StringLike":
            found = any(like(value, given) for value in values)
        case other:
            raise AssertionError(other)
    return found is not negated


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
