"""The attackers' tools: the gateway, upstream and screen of the fail-closed suite."""

from tests.fail_closed.conftest import screen, stand

__all__ = ["screen", "stand"]
