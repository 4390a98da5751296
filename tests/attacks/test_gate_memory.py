"""Bodies as large as they may be, one after the other: what has ended is not kept."""

import pytest

from tests.agent import JSON
from tests.fail_closed.conftest import Stand, resident, until


def large(size: int) -> bytes:
    return b'{"TableName":"t","Key":{"k":{"S":"' + b"v" * size + b'"}}}'


@pytest.mark.long
@pytest.mark.parametrize("operation", ["GetItem", "UpdateItem"], ids=["let through", "refused"])
def test_the_screen_does_not_keep_large_calls(stand: Stand, operation: str) -> None:
    body = large(24 << 20)

    def send() -> int:
        raw = stand.raw()
        headers = raw.signed("POST", "/", JSON | {"x-amz-target": f"DynamoDB_20120810.{operation}"}, body)
        return raw.send("POST", "/", headers, body).status

    for _ in range(4):  # what the first ones take, the next ones use again
        send()
    before = resident(stand.gateway.process.pid)
    for _ in range(12):
        send()
    assert resident(stand.gateway.process.pid) - before < 150 << 20


@pytest.mark.long
@pytest.mark.parametrize("sent", [0.9, 1.0], ids=["before the body's end", "before the answer"])
def test_what_callers_that_leave_have_sent_is_not_kept(stand: Stand, sent: float) -> None:
    body = large(24 << 20)
    raw = stand.raw()
    headers = raw.signed("POST", "/", JSON | {"x-amz-target": "DynamoDB_20120810.GetItem"}, body)
    head = f"POST / HTTP/1.1\r\n{''.join(f'{name}: {value}\r\n' for name, value in headers)}\r\n".encode()

    def leave() -> None:
        with raw.tunnel() as connection:
            connection.sendall(head + body[: int(len(body) * sent)])

    for _ in range(6):
        leave()
    until(lambda: raw.send("POST", "/", headers, body).status == 200, "a call to be served")
    before = resident(stand.gateway.process.pid)
    for _ in range(20):
        leave()
    until(lambda: resident(stand.gateway.process.pid) - before < 200 << 20, "the memory to be given back")


def test_a_large_body_that_nobody_has_signed_is_not_read(stand: Stand) -> None:
    body = large(8 << 20)
    raw = stand.raw(keys=None)
    with stand.nothing_passes():
        found = raw.send("POST", "/", raw.signed("POST", "/", JSON | {"x-amz-target": "a"}, body), body)
    assert found.status == 403
    assert b"too large for a sign-in" in found.body
