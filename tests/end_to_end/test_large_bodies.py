"""Large uploads and downloads by real clients: whole, in constant memory, and where refused, refused at once."""

import concurrent.futures
import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from tests import agent, harness, tools
from tests.agent import Raw
from tests.fail_closed.conftest import resident
from tests.harness import Gateway
from tests.sink import BUCKET, PIECE, Sink, head, push

pytestmark = pytest.mark.long  # many gateways

MEGABYTE = 1 << 20
POLICY = """\
version: 1
policies:
- name: agent
  statements:
  - {sid: objects, effect: allow, actions: ["s3:PutObject", "s3:GetObject"], resources: ["arn:aws:s3:::bucket/*"]}
  - {sid: never, effect: deny, actions: ["s3:PutObject"], resources: ["arn:aws:s3:::bucket/secret*"]}
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@pytest.fixture(scope="module")
def gate(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with harness.gateway(tmp_path_factory.mktemp("gateway"), sink.url, POLICY) as made:
        agent.client(made, "s3").put_object(Bucket="bucket", Key="first", Body=bytes(2 * MEGABYTE))  # all is loaded
        yield made


@pytest.fixture(scope="module")
def raw(gate: Gateway) -> Raw:
    return Raw(gate, keys=agent.sign_in(gate), host=BUCKET, service="s3")


@pytest.fixture(autouse=True)
def nothing_seen(sink: Sink) -> None:
    sink.seen.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """40 MB."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(MEGABYTE) * 40)
    return path


class Growth:
    """How much a process's resident memory grows at most within a block."""

    def __init__(self, pid: int) -> None:
        self.pid, self.stop, self.peak = pid, threading.Event(), 0

    def __enter__(self) -> "Growth":
        self.before = resident(self.pid)
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        while not self.stop.wait(0.02):
            self.peak = max(self.peak, resident(self.pid))

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    @property
    def bytes(self) -> int:
        return self.peak - self.before


def parts(sink: Sink) -> list[int]:
    """The parts of a multipart upload, in bytes of payload."""
    found = [one for one in sink.seen if "partNumber=" in one.line]
    assert all(one.whole for one in found)
    assert all(harness.REAL_KEY in one.headers["authorization"] for one in sink.seen)
    return [int(one.headers.get("x-amz-decoded-content-length") or one.size) for one in found]


def test_boto3_uploads_a_file_in_parts(gate: Gateway, sink: Sink, file: Path) -> None:
    agent.client(gate, "s3").upload_file(str(file), "bucket", "large")
    assert sum(parts(sink)) == 40 * MEGABYTE
    assert len(parts(sink)) == 5


def test_boto3_puts_100_mb_in_constant_memory(gate: Gateway, sink: Sink) -> None:
    with Growth(gate.process.pid) as growth:
        agent.client(gate, "s3").put_object(Bucket="bucket", Key="large", Body=bytes(100 * MEGABYTE))
    (arrived,) = sink.seen
    assert arrived.whole
    assert arrived.size > 100 * MEGABYTE  # with the framing of its chunks
    assert growth.bytes < 40 * MEGABYTE


def test_a_body_that_states_its_hash_passes_with_it(gate: Gateway, sink: Sink) -> None:
    settings = {"request_checksum_calculation": "when_required", "s3": {"payload_signing_enabled": True}}
    s3 = agent.client(gate, "s3", config=settings)
    body = bytes(3 * MEGABYTE)
    s3.put_object(Bucket="bucket", Key="hashed", Body=body)
    assert sink.seen[-1].headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
    assert sink.seen[-1].whole


def test_boto3_is_told_of_a_refusal_at_once_and_does_not_try_again(gate: Gateway, sink: Sink) -> None:
    before, began = len(gate.calls()), time.monotonic()
    with pytest.raises(botocore.exceptions.ClientError, match="never") as refused:
        agent.client(gate, "s3").put_object(Bucket="bucket", Key="secret", Body=bytes(100 * MEGABYTE))
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert time.monotonic() - began < 10
    assert sink.seen == []
    assert len([line for line in gate.calls()[before:] if line["eventName"] == "PutObject"]) == 1


def test_boto3_without_expect_is_told_of_it_too(gate: Gateway, sink: Sink) -> None:
    s3 = agent.client(gate, "s3", attempts=1)
    s3.meta.events.register("before-send.s3", lambda request, **_: request.headers.pop("Expect", None) and None)
    with pytest.raises(botocore.exceptions.ClientError, match="never"):
        s3.put_object(Bucket="bucket", Key="secret", Body=bytes(40 * MEGABYTE))
    assert sink.seen == []


def test_boto3_reads_100_mb_in_constant_memory(gate: Gateway, sink: Sink) -> None:
    sink.get = 100 * MEGABYTE
    with Growth(gate.process.pid) as growth:
        body = agent.client(gate, "s3").get_object(Bucket="bucket", Key="large")["Body"]
        assert sum(map(len, body.iter_chunks(PIECE))) == sink.get
    assert growth.bytes < 40 * MEGABYTE


def test_eight_uploads_at_once_pass_whole(gate: Gateway, sink: Sink) -> None:
    s3 = agent.client(gate, "s3", config={"max_pool_connections": 8})
    with Growth(gate.process.pid) as growth, concurrent.futures.ThreadPoolExecutor(8) as pool:
        for number, done in enumerate(
            [pool.submit(s3.put_object, Bucket="bucket", Key=str(n), Body=bytes(12 * MEGABYTE)) for n in range(8)]
        ):
            assert done.result()["ETag"], number
    assert [int(one.headers["x-amz-decoded-content-length"]) for one in sink.seen] == [12 * MEGABYTE] * 8
    assert all(one.whole for one in sink.seen)
    assert growth.bytes < 40 * MEGABYTE


def cp(program: Path, gate: Gateway, file: Path, key: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), "s3", "cp", "--only-show-errors", str(file), f"s3://bucket/{key}"],
        env=gate.environment() | {"HOME": str(file.parent)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("find", [tools.aws_cli_1, tools.aws_cli_2], ids=["v1", "v2"])
def test_the_cli_copies_a_file_and_is_told_of_a_refusal(gate: Gateway, sink: Sink, file: Path, find: Any) -> None:
    program = tools.need(find)
    done = cp(program, gate, file, "large")
    assert done.returncode == 0, done.stderr
    assert sum(parts(sink)) == 40 * MEGABYTE
    small = file.with_name("small")
    small.write_bytes(bytes(6 * MEGABYTE))  # in one part
    sink.seen.clear()
    refused = cp(program, gate, small, "secret")
    assert refused.returncode
    assert "AccessDenied" in refused.stderr
    assert sink.seen == []


JAVASCRIPT = """\
const { S3Client, PutObjectCommand } = require("@aws-sdk/client-s3");
const { createReadStream } = require("node:fs");
const s3 = new S3Client({});
async function put(Key, Body) {
  try { return (await s3.send(new PutObjectCommand({ Bucket: "bucket", Key, Body, ContentLength: %d }))).ETag; }
  catch (error) { return error.name; }
}
(async () => {
  const found = [];
  for (const key of ["large", "secret"]) {
    found.push(await put(key, createReadStream(process.argv[1])));
    found.push(await put(key, Buffer.alloc(%d)));
  }
  console.log(JSON.stringify(found));
})();
"""


def test_the_javascript_sdk_uploads_streams_and_buffers_and_is_told_of_refusals(
    gate: Gateway, sink: Sink, file: Path
) -> None:
    node, size = tools.need(tools.node), 40 * MEGABYTE
    preload = Path(__file__).parents[2] / "scripts" / "client" / "node_preload.cjs"
    environ = {"NODE_PATH": str(node.modules), "NODE_OPTIONS": f"--require={preload}", "NODE_EXTRA_CA_CERTS": gate.ca}
    done = subprocess.run(
        [node.program, "-e", JAVASCRIPT % (size, size), str(file)],
        env=gate.environment() | environ | {"HOME": str(file.parent)}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ['"e"', '"e"', "AccessDenied", "AccessDenied"], done.stderr
    assert [one.whole for one in sink.seen] == [True, True]


GIGABYTE = 1 << 30


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_gigabyte_passes_both_ways_with_less_than_40_mb_of_memory(gate: Gateway, sink: Sink, raw: Raw) -> None:
    with Growth(gate.process.pid) as growth, raw.tunnel() as connection:
        connection.settimeout(60)
        connection.sendall(head(raw, GIGABYTE))
        assert push(connection, GIGABYTE) == GIGABYTE
        assert agent.read(connection, "PUT").status == 200
    assert sink.seen[-1].size == GIGABYTE
    assert growth.bytes < 40 * MEGABYTE
    sink.get, got, room = GIGABYTE, 0, bytearray(PIECE)
    with Growth(gate.process.pid) as growth, raw.tunnel() as connection:
        connection.settimeout(60)
        connection.sendall(head(raw, 0, method="GET"))
        while got < GIGABYTE:
            count = connection.recv_into(room)
            assert count, "it ends early"
            got += count
    assert growth.bytes < 40 * MEGABYTE


@pytest.mark.parametrize("framing", ["content-length", "chunked", "expect"])
def test_a_denied_gigabyte_is_answered_in_less_than_200_ms_with_no_byte_upstream(
    gate: Gateway, sink: Sink, raw: Raw, framing: str
) -> None:
    top = head(raw, None if framing == "chunked" else GIGABYTE, path="/secret")
    if framing == "expect":
        top = top[:-2] + b"Expect: 100-continue\r\n\r\n"
    taken = []
    for _ in range(5):  # the machine may be busy with something else once
        with Growth(gate.process.pid) as growth, raw.tunnel() as connection:
            began = time.monotonic()
            connection.sendall(top)
            assert agent.read(connection, "PUT").status == 403
            taken.append(time.monotonic() - began)
        assert growth.bytes < 5 * MEGABYTE
    assert min(taken) < 0.2
    assert sink.seen == []
