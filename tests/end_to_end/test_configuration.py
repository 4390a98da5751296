"""The keys of gateway.yaml that no other test sets: each does what it says, in one gateway with other values."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore
import pytest
import urllib3
from botocore.config import Config

from scripts.client.ports import free_port
from tests import harness
from tests.agent import Raw, sign_in
from tests.harness import ROLE, Gateway, Upstream


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, ports: tuple[int, int]) -> Iterator[Gateway]:
    other: dict[str, Any] = {
        "listen": f"127.0.0.1:{ports[0]}",
        "web": f"{{listen: '127.0.0.1:{ports[1]}'}}",
        "state_directory": "elsewhere/state",
        "identity": "{local: true, session: {duration: 20m}}",
        "limits": "{head: 16KB, answer: 1MB}",
        "approvals": "{timeout: 1s}",
        "audit": "{directory: elsewhere/lines}",
        "sessions": "{directory: elsewhere/flows}",
    }
    directory = tmp_path_factory.mktemp("gateway")
    harness.prepare(directory, upstream.url)  # its state directory has the index of hosts, which takes seconds to make
    (directory / "elsewhere").mkdir()
    (directory / "state").rename(directory / "elsewhere" / "state")
    (directory / "state").symlink_to(directory / "elsewhere" / "state")  # where the harness looks
    with harness.gateway(directory, upstream.url, **other) as made:
        yield made


@pytest.fixture(scope="module")
def agent(gate: Gateway) -> Raw:
    return Raw(gate, keys=sign_in(gate))


def test_the_gateway_listens_where_it_is_told_to(gate: Gateway, ports: tuple[int, int]) -> None:
    assert gate.proxy == f"http://127.0.0.1:{ports[0]}"
    assert urllib3.request("GET", f"http://127.0.0.1:{ports[1]}/readyz").json()["ready"] is True


def test_keys_live_as_long_as_session_duration_says(gate: Gateway) -> None:
    config = Config(proxies={"https": gate.proxy}, signature_version=botocore.UNSIGNED)
    sts = boto3.client("sts", region_name="us-east-1", verify=gate.ca, config=config)
    token = gate.token_file().read_text()
    found = sts.assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="test", WebIdentityToken=token)
    left = found["Credentials"]["Expiration"] - datetime.now(UTC)
    assert 19 * 60 < left.total_seconds() <= 20 * 60


def test_everything_is_written_where_the_directories_say(gate: Gateway, agent: Raw) -> None:
    assert agent.call().status == 200
    place = gate.directory / "elsewhere"
    assert gate.ca == str(place / "state" / "ca" / "root.pem")
    assert [*(place / "lines").rglob("*.jsonl")]
    assert [*(place / "flows").rglob("*.mitm")]
    assert not (gate.directory / "audit").exists()
    assert not (gate.directory / "sessions").exists()


def test_nobody_in_time_is_no(agent: Raw, upstream: Upstream) -> None:
    before = len(upstream.seen)
    found = agent.call("DeleteTable", b'{"TableName":"t"}')
    assert found.status == 403
    assert b"nobody decided in time" in found.body
    assert len(upstream.seen) == before


@pytest.mark.parametrize(("size", "status"), [(1 << 19, 200), (3 << 19, 0)], ids=["below", "above"])
def test_an_answer_may_be_as_large_as_its_limit(agent: Raw, upstream: Upstream, size: int, status: int) -> None:
    usual = upstream.answer
    upstream.answer = lambda seen: (200, {"content-type": "application/x-amz-json-1.0"}, b"{}" + b" " * size)
    try:
        assert agent.call().status == status
    finally:
        upstream.answer = usual


@pytest.mark.parametrize(("size", "answer"), [(8 << 10, b"HTTP/1.1 403"), (20 << 10, b"HTTP/1.1 431")])
def test_a_head_may_be_as_large_as_its_limit(agent: Raw, size: int, answer: bytes) -> None:
    lines = b"".join(b"x-padding-%d: %s\r\n" % (number, b"x" * 1000) for number in range(size // 1000))
    with agent.tunnel() as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nHost: dynamodb.us-east-1.amazonaws.com\r\n" + lines)
        if answer.endswith(b"403"):  # not signed
            tls.sendall(b"\r\n")
        try:
            assert tls.recv(12) == answer
        except (ConnectionError, ssl.SSLError):
            assert answer.endswith(b"431")  # it closed before all was sent
