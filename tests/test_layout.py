"""The house: rooms import only what the design lets them, and nothing imports in a circle."""

import ast
import functools
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("addons", "policy", "certs", "scripts")
MAY_IMPORT: dict[str, tuple[str, ...]] = {  # the design's table of rooms; beside itself, and what is not ours
    "policy": (),
    "certs": (),
    "addons.state": (),
    "addons.wire": (),
    "addons.identity": ("addons.state", "addons.wire"),
    "addons.redaction": ("addons.wire", "policy"),
    "addons.approvals": ("addons.state", "addons.text"),
    "addons.ledger": ("addons.wire",),
    "addons": ("policy", "certs", "mitmproxy"),
    "scripts.client": ("addons", "policy", "certs"),
    "scripts.benchmarks": ("addons", "policy", "certs", "scripts", "mitmproxy"),
    "scripts": ("addons", "policy", "certs", "mitmproxy"),
}
MITMPROXY = {"addons.approvals.page", "addons.ledger.recording"}  # the screen, and writing flow files


@functools.cache
def modules() -> dict[str, set[str]]:
    """Every module of ours, and what it imports of ours and of mitmproxy, wherever in it that stands."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                imported |= {each if each in files else str(node.module) for each in whole}
        found[name] = {each for each in imported if each.split(".")[0] in (*ROOMS, "mitmproxy", "tests")}
    return found


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def room_of(module: str) -> str:
    return max((room for room in MAY_IMPORT if within(module, room)), key=len)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_the_design_allows(room: str) -> None:
    for module, imported in modules().items():
        if room_of(module) == room:
            allowed = (room, *MAY_IMPORT[room], *(("mitmproxy",) if module in MITMPROXY else ()))
            wrong = {name for name in imported if not any(within(name, each) for each in allowed)}
            assert not wrong, f"{module} imports {wrong}"


def test_no_module_imports_itself_through_others() -> None:
    graphlib.TopologicalSorter(modules()).prepare()  # CycleError tells the circle
