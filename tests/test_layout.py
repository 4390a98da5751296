"""The house: rooms import only what the design lets them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {  # room: modules that it must never import (the design's table of rooms)
    "policy": ("mitmproxy", "addons", "certs", "scripts"),
    "addons/wire": ("mitmproxy", "policy", "addons.identity", "addons.ledger", "addons.redaction", "addons.approvals"),
    "addons/identity": ("mitmproxy", "policy", "addons.ledger", "addons.redaction", "addons.approvals"),
    "addons/redaction": ("mitmproxy", "addons.identity", "addons.ledger", "addons.approvals"),
    "addons/state": ("mitmproxy", "policy", "addons.wire", "addons.identity", "addons.ledger", "addons.redaction"),
    "certs": ("mitmproxy", "addons", "policy", "scripts"),
}


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_the_design_allows(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for name in imported(path):
            assert not any(name == bad or name.startswith(bad + ".") for bad in FORBIDDEN[room]), f"{path}: {name}"
