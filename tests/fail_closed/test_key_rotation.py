"""`sluicegate keys`: a running gateway seals with the new key, and opens what the old ones sealed while it should."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import agent, harness
from tests.fail_closed.conftest import Stand, standing, until


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with standing(tmp_path) as made:
        yield made


def kid(keys: tuple[str, str, str]) -> str:
    return keys[2].split(".")[1]


def events(stand: Stand, name: str) -> list[dict[str, object]]:
    return [
        line["additionalEventData"]["sluicegate"]["detail"] for line in stand.records() if line["eventName"] == name
    ]


def rotate(stand: Stand, *args: str) -> str:
    """Rotate, and wait for the gateway to take it up; what the command printed."""
    before = len(events(stand, "keys-reread"))
    said = stand.gateway.cli("keys", "rotate", *args).stdout
    until(lambda: len(events(stand, "keys-reread")) > before, "the new keys", seconds=6)
    return said


def secrets(stand: Stand) -> list[str]:
    ring = json.loads((stand.gateway.directory / "state" / "keyring.json").read_text())
    return [entry["key"] for entry in ring["keys"]]


@pytest.mark.long
def test_a_rotation_ends_nothing_and_forgetting_ends_what_was_sealed_before(stand: Stand) -> None:
    cli, first = stand.gateway.cli, stand.keys
    old = secrets(stand)
    said = rotate(stand)
    second = agent.sign_in(stand.gateway)
    assert kid(second) != kid(first)
    assert stand.call(keys=first).status == stand.call(keys=second).status == 200
    listed = json.loads(cli("keys", "list", "--json").stdout)
    assert [(key["kid"], key["current"]) for key in listed] == [(kid(second), True), (kid(first), False)]
    assert listed[1]["opensUntil"] - listed[1]["replaced"] >= 12 * 3600  # the longest session
    shown = said + cli("keys", "list").stdout + json.dumps(listed)
    assert not [key for key in old + secrets(stand) if key in shown]
    rotate(stand, "--forget-old")
    third = agent.sign_in(stand.gateway)
    for gone in (first, second):
        with stand.nothing_passes():
            found = stand.call(keys=gone)
        assert (found.status, b"not credentials of this gateway" in found.body) == (403, True)
    assert stand.call(keys=third).status == 200
    assert [(e["kid"], e["forgotOld"]) for e in events(stand, "keys-rotated")] == [
        (kid(second), False),
        (kid(third), True),
    ]


@pytest.mark.long
def test_a_broken_key_ring_leaves_the_keys_in_force(stand: Stand) -> None:
    (stand.gateway.directory / "state" / "keyring.json").write_text("{}")
    until(lambda: any(line["eventName"] == "keys-unreadable" for line in stand.records()), "the event", seconds=6)
    assert "the old keys stay" in stand.gateway.log.read_text()
    assert stand.call().status == 200
    assert stand.call(keys=agent.sign_in(stand.gateway)).status == 200
    ran = stand.gateway.cli("keys", "rotate", check=False)
    assert (ran.returncode, "is no key ring" in ran.stderr) == (1, True)


def test_there_is_nothing_to_rotate_before_the_first_start(tmp_path: Path) -> None:
    harness.prepare(tmp_path, "http://127.0.0.1:1")
    stopped = harness.Gateway(tmp_path, None, {}, tmp_path / "log")  # type: ignore[arg-type]
    found = stopped.cli("keys", "list", check=False)
    assert (found.returncode, "the first `sluicegate up` makes it" in found.stderr) == (1, True)
