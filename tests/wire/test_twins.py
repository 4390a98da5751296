"""Calls of different services that are one on the wire are those that the list names, counted over their services.

That no other service has any is seen by test_round_trip.py, which reads every operation.
"""

from collections import defaultdict

import pytest

from addons import wire
from addons.wire import models
from scripts.benchmarks.round_trip import capture
from scripts.benchmarks.round_trip.capture import Client, frozen, operations
from scripts.benchmarks.round_trip.parameters import Generator
from scripts.benchmarks.round_trip.twins import NAMES, TWINS


def found_in(services: set[str]) -> dict[str, set[str]]:
    """The twins that the requests of these services are read as: services, in one string, and operations."""
    found: dict[str, set[str]] = defaultdict(set)
    with frozen():
        for service in sorted(services):
            client = Client(service)
            for name in operations(client):
                params = Generator(models.operation_model(service, name), False).parameters()
                decoded = wire.decode(client.request(name, params)[0])
                owners = {owner for owner, _ in decoded.candidates}
                if len(owners) > 1:
                    assert {operation for _, operation in decoded.candidates} == {name}
                    found[" ".join(sorted(owners))].add(name)
            capture.loader.cache_clear()
    return found


def test_there_are_133() -> None:
    assert sum(map(len, NAMES.values())) == 133


@pytest.mark.parametrize("services", TWINS)
def test_twins_are_these(services: str) -> None:
    assert found_in(set(services.split()))[services] == NAMES[services]
