"""Requests that AWS CLI v2 and JavaScript SDK v3 really sent (tests/wire/captured), read as the calls they were."""

from collections import Counter
from pathlib import Path

import pytest

from scripts.benchmarks.round_trip.captured import CLIENTS, FOLDER, lines, problem
from tests.wire.captured.calls import CALLS

LARGEST = 300_000  # bytes of a file


@pytest.mark.parametrize("client", CLIENTS)
def test_every_request_is_read_as_the_call_that_was_made(client: str) -> None:
    wrong = [found for line in lines(client) if (found := problem(client, line))]
    assert wrong == []


@pytest.mark.parametrize("client", CLIENTS)
def test_the_recordings_cover_thirty_services_and_every_call(client: str) -> None:
    made = [line["id"] for line in lines(client)]
    assert len({name.partition(":")[0] for name in made}) >= 30
    assert Counter(made) == Counter(f"{call.service}:{call.operation}" for call in CALLS)
    assert (FOLDER / f"{client}.jsonl").stat().st_size < LARGEST


@pytest.mark.parametrize("client", CLIENTS)
def test_the_recordings_hold_no_signature_and_nothing_of_the_machine(client: str) -> None:
    text = (FOLDER / f"{client}.jsonl").read_text()
    for line in lines(client):
        headers = {name.lower(): value for name, value in line["headers"]}
        assert "0" * 64 in headers.get("authorization", "0" * 64)
        assert headers.get("user-agent", "captured") == "captured"
    assert str(Path.home()) + "/" not in text
    assert "127.0.0.1" not in text
