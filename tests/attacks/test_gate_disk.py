"""An agent that sends large bodies over and over: the disk is the operator's, and a full one stops everybody."""

from pathlib import Path

import pytest

from tests.agent import JSON
from tests.fail_closed.conftest import Stand, standing


def send(stand: Stand, operation: str, size: int) -> int:
    body = b'{"TableName":"t","Key":{"k":{"S":"' + b"v" * size + b'"}}}'
    raw = stand.raw()
    headers = raw.signed("POST", "/", JSON | {"x-amz-target": f"DynamoDB_20120810.{operation}"}, body)
    return raw.send("POST", "/", headers, body).status


@pytest.mark.long
def test_a_recording_stops_growing_by_bodies_and_says_what_they_were(tmp_path: Path) -> None:
    with standing(tmp_path, limits="{recording: 4MB}") as stand:
        for number in range(30):
            send(stand, "GetItem" if number % 2 else "UpdateItem", 1 << 20)
        files = list((stand.gateway.directory / "sessions").rglob("*.mitm"))
        assert sum(file.stat().st_size for file in files) < 8 << 20
        recorded = b"".join(file.read_bytes() for file in files)
        assert recorded.count(b"bytes, sha256 ") >= 20
        calls = stand.gateway.calls()
        assert len([c for c in calls if c["eventName"] in ("GetItem", "UpdateItem")]) == 30, "each has its line"
        assert all(c["additionalEventData"]["sluicegate"]["flow"] for c in calls[-5:])
