"""Requests that AWS CLI v2 and JavaScript SDK v3 really sent (tests/wire/captured), and how they are read."""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from addons import wire
from addons.wire import HttpRequest, models
from scripts.benchmarks.round_trip.compare import plain, same

FOLDER = Path(__file__).parents[3] / "tests" / "wire" / "captured"
CLIENTS = ("cli", "javascript")
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
    """The recorded requests of one client."""
    return [json.loads(line) for line in (FOLDER / f"{client}.jsonl").read_text().splitlines()]


def request(line: dict[str, Any]) -> HttpRequest:
    """One of them as it was sent."""
    parts = urlsplit(line["url"])
    target = line["url"].removeprefix(f"https://{parts.netloc}")
    headers = tuple((name, value) for name, value in line["headers"])
    return HttpRequest(line["method"], parts.netloc, target, headers, base64.b64decode(line["body"]))


def revived(value: Any) -> Any:
    """The arguments that it was made of, from their JSON."""
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
