"""The `limits` of gateway.yaml: what many connections together may make the gateway keep."""

import contextlib
from pathlib import Path

import pytest

from tests.agent import JSON
from tests.fail_closed.conftest import DYNAMODB, standing

HEAD = f"POST / HTTP/1.1\r\nHost: {DYNAMODB}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
MEGABYTE = b"100000\r\n" + bytes(1 << 20) + b"\r\n"


@pytest.mark.long
def test_bodies_that_are_small_by_themselves_are_bounded_together(tmp_path: Path) -> None:
    limits = "{body: 8MB, buffered: 16MB}"
    with standing(tmp_path, limits=limits) as stand, contextlib.ExitStack() as stack:
        refused = 0
        with stand.nothing_passes():
            for _ in range(8):  # each stays open with 4 MB of a body that has not ended
                tunnel = stack.enter_context(stand.raw().tunnel())
                tunnel.settimeout(1)
                try:
                    tunnel.sendall(HEAD)
                    for _ in range(4):
                        tunnel.sendall(MEGABYTE)
                    refused += tunnel.recv(64).startswith(b"HTTP/1.1 413")
                except TimeoutError:
                    continue  # it waits for the rest of the body, as it should
                except OSError:
                    refused += 1
        assert refused >= 4
        stack.close()
        assert stand.call().status == 200, "room is there again once they have gone"


def test_a_body_over_its_own_limit_is_refused_and_one_below_passes(tmp_path: Path) -> None:
    with standing(tmp_path, limits="{body: 2MB}") as stand:
        for size, passes in ((1 << 20, True), (3 << 20, False)):
            body = b'{"TableName":"t","Key":{"k":{"S":"v"}}}' + b" " * size
            raw = stand.raw()
            headers = raw.signed("POST", "/", JSON | {"x-amz-target": "DynamoDB_20120810.GetItem"}, body)
            assert (raw.send("POST", "/", headers, body).status == 200) is passes
