"""The attackers' tools: the gateway, upstream and screen of the fail-closed suite. All attacks are long tests: CI's."""

from pathlib import Path

import pytest

from tests.fail_closed.conftest import screen, stand

__all__ = ["screen", "stand"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this directory; hundreds of attacks on dozens of gateways would take a third of a short run."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.long)
