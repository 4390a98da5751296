"""Every operation of the services that speak JSON, CBOR or a form, there and back (test_round_trip.py): half of AWS."""

import pytest

from tests.wire.halves import services, there_and_back


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_operation() -> None:
    requests, problems = there_and_back(services(rest=False))
    assert requests > 18_000
    assert problems == []
