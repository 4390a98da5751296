"""A held call is sent once a person has said yes to what was asked, while its caller is there; otherwise never."""

import json
import signal
import socket
import struct
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agent import JSON, Answer
from tests.fail_closed.conftest import Background, Screen, Stand, standing, until

TARGET = {"x-amz-target": "DynamoDB_20120810.DeleteTable"}


def question() -> bytes:
    """A body whose ask nobody has answered yet."""
    return json.dumps({"TableName": uuid.uuid4().hex}).encode()


def delete(stand: Stand) -> Answer:
    """A call that policy holds for a person."""
    return stand.raw().call("DeleteTable", question())


def ticket(screen: Screen) -> str:
    """The one open question."""
    (found,) = until(screen.tickets, "the held call")
    return str(found["id"])


def test_a_yes_sends_it_and_a_no_refuses_it(stand: Stand, screen: Screen) -> None:
    seen, call = len(stand.upstream.seen), Background(lambda: delete(stand))
    screen.decide(ticket(screen))
    assert call.done().status == 200
    assert len(stand.upstream.seen) == seen + 1
    call = Background(lambda: delete(stand))
    with stand.nothing_passes():
        screen.decide(ticket(screen), "deny")
        found = call.done()
    assert found.status == 403
    assert "refused by local-operator" in json.loads(found.body)["message"]


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize(
    "leave",
    [
        lambda connection: connection.close(),
        reset,
        lambda connection: connection.shutdown(socket.SHUT_WR),
        lambda connection: socket.socket(fileno=connection.detach()).close(),
    ],
    ids=["close", "reset", "half-close", "close without close_notify"],
)
def test_a_call_whose_caller_has_gone_is_never_sent(
    stand: Stand, screen: Screen, leave: Callable[[socket.socket], None]
) -> None:
    raw, body = stand.raw(), question()
    headers = raw.signed("POST", "/", JSON | TARGET, body)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    with stand.nothing_passes(), raw.tunnel() as connection:
        connection.sendall(f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body)
        found = ticket(screen)
        leave(connection)
        until(lambda: not screen.held(), "the end of the hold")
        screen.decide(found)
        time.sleep(0.2)  # nothing may come of it
    record = stand.last_call()
    assert record["errorCode"] == "ClientGone"
    assert record["additionalEventData"]["sluicegate"]["outcome"] == "refused"


def test_what_is_edited_while_it_is_held_is_not_sent(stand: Stand, screen: Screen) -> None:
    call = Background(lambda: delete(stand))
    found = ticket(screen)
    (flow,) = until(screen.held, "the held call on the screen")
    edits = [
        ("PUT", f"flows/{flow['id']}", b'{"request": {"host": "evil.example", "port": 80}}'),
        ("PUT", f"flows/{flow['id']}", b'{"request": {"content": "{}"}}'),
        ("POST", f"flows/{flow['id']}/request/content.data", b"{}"),
    ]
    for method, path, body in edits:
        assert screen.request(method, path, body, {"Content-Type": "application/json"}).status == 403
    screen.decide(found)
    assert call.done().status == 200
    assert b"TableName" in stand.upstream.seen[-1].body


def test_stopping_refuses_what_is_held(tmp_path: Path) -> None:
    with standing(tmp_path) as stand:
        screen = Screen(stand.gateway)
        calls = [Background(lambda: delete(stand)) for _ in range(3)]
        until(lambda: len(screen.tickets()) == 3, "the held calls")
        started = time.monotonic()
        stand.gateway.process.send_signal(signal.SIGTERM)
        assert stand.gateway.process.wait(10) == 0
        assert time.monotonic() - started < 5
        for call in calls:
            found = call.done()
            assert found.status == 403
            assert "shutting down" in json.loads(found.body)["message"]
        assert not stand.upstream.seen
        records = stand.records()
        assert records[-1]["eventName"] == "stop"
        refused = [r for r in records if r["eventName"] == "DeleteTable"]
        assert [r["additionalEventData"]["sluicegate"]["outcome"] for r in refused] == ["refused"] * 3
