"""Requests that AWS CLI v2 and JavaScript SDK v3 really sent (tests/wire/captured), read as the calls they were."""

import base64
import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from addons import wire
from addons.wire import HttpRequest, models
from tests.wire.captured.calls import CALLS
from tests.wire.test_round_trip import plain, same

FOLDER = Path(__file__).parent / "captured"
CLIENTS = ("cli", "javascript")
LARGEST = 300_000  # bytes of a file
# What a client adds to the arguments that it was given: checksums, and how keys are to be listed.
ADDED = {
    ("cli", "ListObjectsV2"): {"EncodingType"},
    ("cli", "PutBucketTagging"): {"ContentMD5"},
    ("cli", "DeleteObjects"): {"ContentMD5"},
    ("cli", "PutObject"): {"ContentMD5"},
    ("javascript", "GetObject"): {"ChecksumMode"},
    ("javascript", "PutBucketTagging"): {"ChecksumAlgorithm"},
    ("javascript", "DeleteObjects"): {"ChecksumAlgorithm"},
    ("javascript", "PutObject"): {"ChecksumAlgorithm", "ChecksumCRC32"},
}


def lines(client: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / f"{client}.jsonl").read_text().splitlines()]


def request(line: dict[str, Any]) -> HttpRequest:
    parts = urlsplit(line["url"])
    target = line["url"].removeprefix(f"https://{parts.netloc}")
    headers = tuple((name, value) for name, value in line["headers"])
    return HttpRequest(line["method"], parts.netloc, target, headers, base64.b64decode(line["body"]))


def revived(value: Any) -> Any:
    match value:
        case {"$bytes": text}:
            return base64.b64decode(text)
        case {"$time": text}:
            return datetime.fromisoformat(text)
        case dict():
            return {key: revived(item) for key, item in value.items()}
        case list():
            return [revived(item) for item in value]
    return value


def problem(client: str, line: dict[str, Any]) -> str:
    """What is wrong with one request's reading; "" where nothing is."""
    service, _, operation = line["id"].partition(":")
    try:
        found = wire.decode(request(line))
    except wire.Undecodable as error:
        return f"{line['id']}: refused: {error.reason}"
    if (service, operation) not in found.candidates or found.region != "us-east-1":
        return f"{line['id']}: read as {found.candidates} in {found.region}"
    expected = plain(revived(line["arguments"]))
    shape = models.operation_model(service, operation).input_shape
    payload = shape and shape.serialization.get("payload")
    if payload and shape.members[payload].serialization.get("streaming"):
        expected.pop(payload)
    params = {k: v for k, v in plain(found.params).items() if k not in ADDED.get((client, operation), ())}
    return "" if same(params, expected) else f"{line['id']}: {expected} read as {params}"


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
