"""Short ways to write calls and policies in the tests of this folder."""

from pathlib import Path
from typing import Any

from policy.model import Decision, Request
from policy.policies import PolicySet, load_policies

ACCOUNT = "111122223333"
REGION = "eu-west-1"


def call(name: str, params: dict[str, Any] | None = None, **more: Any) -> Request:
    """A request for `service.Operation`."""
    service, _, operation = name.partition(".")
    more = {
        "region": REGION,
        "account": ACCOUNT,
        "context": {"aws:SourceIp": "192.0.2.7"},
        "subject": "agent/ada",
    } | more
    return Request(service, operation, params or {}, **more)


def policies(folder: Path, statements: str) -> PolicySet:
    """A set of one policy `p`, from statements in YAML's flow style, one a line."""
    lines = [f"  - {line.strip()}" for line in statements.strip().splitlines()]
    file = folder / "p.yaml"
    file.write_text("\n".join(["version: 1", "policies:", "- name: p", "  statements:", *lines]))
    return load_policies([file])


def decide(folder: Path, statements: str, request: Request) -> Decision:
    """What one policy says to one call."""
    loaded = policies(folder, statements)
    return loaded.decide(request, tuple(loaded.files))
