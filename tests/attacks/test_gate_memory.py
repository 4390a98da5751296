"""Bodies as large as they may be, one after the other: what has ended is not kept."""

import pytest

from tests.agent import JSON
from tests.fail_closed.conftest import Stand, resident


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


def test_a_large_body_that_nobody_has_signed_is_not_read(stand: Stand) -> None:
    body = large(8 << 20)
    raw = stand.raw(keys=None)
    with stand.nothing_passes():
        found = raw.send("POST", "/", raw.signed("POST", "/", JSON | {"x-amz-target": "a"}, body), body)
    assert found.status == 403
    assert b"too large for a sign-in" in found.body
