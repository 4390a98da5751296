"""Every operation of the services that speak a REST protocol, there and back (test_round_trip.py): half of AWS."""

import pytest

from tests.wire.halves import services, there_and_back


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_operation() -> None:
    requests, problems = there_and_back(services(rest=True))
    assert requests > 21_000
    assert problems == []
