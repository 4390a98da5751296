"""What changes while a call is held counts for it: a yes sends nothing of a caller that could no longer sign in."""

import json
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.door import Door, keys, opened
from tests.fail_closed.conftest import Background, Screen, Stand, until


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with opened(tmp_path) as made:
        yield made


def reloads(door: Door) -> int:
    return sum(line["eventName"] in ("reload", "keys-reread") for line in door.stand.records())


def without_the_issuer(door: Door) -> None:
    file = door.stand.gateway.config
    file.write_text("".join("identity: {local: true}\n" if line.startswith("identity:") else line
                            for line in file.read_text().splitlines(keepends=True)))  # fmt: skip
    door.stand.gateway.process.send_signal(signal.SIGHUP)


def without_the_key(door: Door) -> None:
    door.stand.gateway.cli("keys", "rotate", "--forget-old")


def nothing(door: Door) -> None:
    door.stand.gateway.process.send_signal(signal.SIGHUP)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (nothing, ""),
        (without_the_issuer, "approved, but not sent"),
        (without_the_key, "approved, but not sent: these are not credentials of this gateway"),
    ],
)
def test_a_yes_does_not_send_for_whom_the_gate_was_closed_meanwhile(
    door: Door, change: Callable[[Door], None], said: str
) -> None:
    stand = Stand(door.stand.gateway, door.stand.upstream, keys(door.sign_in(door.good())))
    screen, seen = Screen(stand.gateway), len(stand.upstream.seen)
    call = Background(lambda: stand.raw().call("DeleteTable", json.dumps({"TableName": uuid.uuid4().hex}).encode()))
    (ticket,) = until(screen.tickets, "the held call")
    before = reloads(door)
    change(door)
    until(lambda: reloads(door) > before, "the change")
    screen.decide(str(ticket["id"]))
    found = call.done()
    assert (found.status, len(stand.upstream.seen) - seen) == ((403, 0) if said else (200, 1))
    assert said in json.loads(found.body).get("message", "")
