"""Bodies that stream: decided from the head, refused without a byte sent, whole upstream only if all was right."""

import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from tests import agent, harness
from tests.agent import Answer, Raw
from tests.fail_closed.conftest import Background, Screen, Stand, resident, until
from tests.sink import BUCKET, PIECE, Arrived, Sink, head, in_chunks, names_of, push, read_body

SIZE = 8 << 20  # bytes: more than all buffers on the way
HASH = hashlib.sha256(bytes(SIZE)).hexdigest()
POLICY = """\
version: 1
policies:
- name: agent
  statements:
  - {sid: put, effect: allow, actions: ["s3:PutObject", "s3:GetObject"], resources: ["arn:aws:s3:::bucket/*"]}
  - {sid: ask, effect: approve, actions: ["s3:PutObject"], resources: ["arn:aws:s3:::bucket/held*"]}
  - {sid: never, effect: deny, actions: ["s3:PutObject"], resources: ["arn:aws:s3:::bucket/secret*"]}
"""


@contextlib.contextmanager
def standing(directory: Path, **extra: str) -> Iterator[Stand]:
    """A gateway before an upstream that counts bytes."""
    sink = Sink()
    settings = f"{{endpoint: '{sink.url}', read_timeout: 2s}}"
    with harness.gateway(directory, sink.url, POLICY, **{"upstream": settings} | extra) as gateway:
        yield Stand(gateway, sink, agent.sign_in(gateway))  # type: ignore[arg-type]
    sink.close()


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(autouse=True)
def sink(stand: Stand) -> Sink:
    made = cast("Sink", stand.upstream)
    made.behave, made.keep = None, 4096
    return made


def reset(connection: socket.socket) -> None:
    """Close a connection by RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def raw(stand: Stand, **more: Any) -> Raw:
    return stand.raw(host=BUCKET, service="s3", **more)


def put(stand: Stand, body: bytes = bytes(SIZE), payload: str = "UNSIGNED-PAYLOAD", **more: Any) -> Answer:
    """Send head and body without waiting for anything, as the simplest clients do; then read."""
    made = raw(stand)
    with made.tunnel() as connection:
        connection.sendall(head(made, len(body), payload, **more))
        with contextlib.suppress(OSError):
            connection.sendall(body)
        return agent.read(connection, "PUT")


def outcome(stand: Stand) -> dict[str, Any]:
    line = stand.last_call()
    found: dict[str, Any] = line["additionalEventData"]["sluicegate"]
    return found | {"errorCode": line.get("errorCode"), "eventName": line["eventName"]}


def test_an_upload_passes_and_its_record_has_its_size_and_hash(stand: Stand, sink: Sink) -> None:
    assert put(stand).status == 200
    assert sink.seen[-1].size == SIZE
    assert harness.REAL_KEY in sink.seen[-1].headers["authorization"]
    found = outcome(stand)
    assert (found["outcome"], found["bytesIn"], found["bodySha256"]) == ("answered", SIZE, HASH)
    (recorded,) = (stand.gateway.directory / "sessions").rglob("*.mitm")
    assert f"[{SIZE} bytes, sha256 {HASH}]".encode() in recorded.read_bytes()


def test_a_stated_hash_is_signed_and_a_right_body_passes(stand: Stand, sink: Sink) -> None:
    assert put(stand, payload=HASH).status == 200
    assert sink.seen[-1].headers["x-amz-content-sha256"] == HASH
    assert sink.seen[-1].whole


@pytest.mark.parametrize("size", [SIZE, None], ids=["content-length", "chunked"])
def test_a_body_of_another_hash_is_never_whole_upstream(stand: Stand, sink: Sink, size: int | None) -> None:
    made, seen = raw(stand), len(sink.seen)
    body = b"x" + bytes(SIZE - 1)
    if size is None:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with made.tunnel() as connection:
        connection.sendall(head(made, size, HASH) + body)
        found = agent.read(connection, "PUT")
    assert found.status == 400
    assert b"XAmzContentSHA256Mismatch" in found.body
    (arrived,) = sink.seen[seen:]
    assert arrived.done.wait(5)
    assert not arrived.whole
    assert outcome(stand)["outcome"] == "refused"


CHUNKS = [bytes(1 << 16), b"x" * (1 << 16), bytes(100)]
CHUNKED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


def chunk_signed(stand: Stand, change: Callable[[bytes], bytes] = lambda body: body) -> Answer:
    """An upload signed chunk by chunk with the agent's secret; `change` tampers with the body."""
    made = raw(stand)
    announced = {"x-amz-decoded-content-length": str(sum(map(len, CHUNKS))), "content-encoding": "aws-chunked"}
    size = len(in_chunks(names_of(head(made, 0, CHUNKED, headers=announced)), made.keys[1], CHUNKS))  # type: ignore[index]
    top = head(made, size, CHUNKED, headers=announced)
    with made.tunnel() as connection:
        connection.sendall(top + change(in_chunks(names_of(top), stand.keys[1], CHUNKS)))
        return agent.read(connection, "PUT")


def test_a_chunk_signed_body_goes_on_with_signatures_of_the_real_key(stand: Stand, sink: Sink) -> None:
    sink.keep = 1 << 20
    assert chunk_signed(stand).status == 200
    arrived = sink.seen[-1]
    assert arrived.whole
    assert arrived.body == in_chunks(arrived.headers, harness.REAL_SECRET, CHUNKS)


@pytest.mark.parametrize("at", [20, 70_000, -5], ids=["a signature", "data", "the end"])
def test_a_chunk_signed_body_that_was_changed_is_never_whole_upstream(stand: Stand, sink: Sink, at: int) -> None:
    seen = len(sink.seen)

    def flip(body: bytes) -> bytes:
        changed = bytearray(body)
        changed[at] ^= 1
        return bytes(changed)

    for _ in range(10):  # what follows comes in any order: mitmproxy's tasks, the kernel's news
        assert chunk_signed(stand, flip).status == 400
    for arrived in sink.seen[seen:]:
        assert arrived.done.wait(5)
        assert not arrived.whole
    assert outcome(stand)["outcome"] == "refused"


@pytest.mark.long
def test_chunks_that_wait_for_their_signatures_are_bounded_together(tmp_path: Path) -> None:
    with standing(tmp_path, limits="{buffered: 8MB}") as stand, contextlib.ExitStack() as stack:
        made, size = raw(stand), 6 << 20
        announced = {"x-amz-decoded-content-length": str(size), "content-encoding": "aws-chunked"}
        begun = b"%x;chunk-signature=%b\r\n" % (size, b"0" * 64) + bytes(3 << 20)  # half of a chunk
        waiting = [stack.enter_context(made.tunnel()) for _ in range(4)]
        for tunnel in waiting:
            tunnel.sendall(head(made, size + 500, CHUNKED, headers=announced) + begun)
        refused = []

        def two_refused() -> bool:
            for tunnel in waiting:
                tunnel.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    refused.append(b"ServiceUnavailable" in tunnel.recv(4096))
            return refused == [True, True]

        until(two_refused, "two of the four to be refused")
        stack.close()
        until(lambda: chunk_signed(stand).status == 200, "room, once they have gone")
        assert not any(arrived.whole for arrived in stand.upstream.seen[:-1])  # type: ignore[attr-defined]


TRAILED = {
    "x-amz-decoded-content-length": "4",
    "x-amz-trailer": "x-amz-checksum-crc32",
    "content-encoding": "aws-chunked",
}


@pytest.mark.parametrize(
    ("end", "passes"),
    [
        (b"x-amz-checksum-crc32:2H9+DA==\r\n\r\n", True),  # of b"test", as in AWS's documentation
        (b"x-amz-checksum-crc32:2H9+DA==\r\nx-amz-acl:public-read\r\n\r\n", False),
        (b"\r\n", False),
    ],
    ids=["as announced", "with another trailer", "without one"],
)
def test_an_unsigned_body_in_chunks_ends_as_its_head_says(stand: Stand, sink: Sink, end: bytes, passes: bool) -> None:
    made, seen, body = raw(stand), len(sink.seen), b"4\r\ntest\r\n0\r\n" + end
    with made.tunnel() as connection:
        top = head(made, None, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", headers=TRAILED)
        connection.sendall(top + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        found = agent.read(connection, "PUT")
    assert (found.status == 200) is passes
    for arrived in sink.seen[seen:]:
        assert arrived.done.wait(5)
        assert (arrived.whole, arrived.body == body) == (passes, passes)
    assert outcome(stand)["outcome"] == ("answered" if passes else "refused")


def test_an_upload_by_a_presigned_url_streams(stand: Stand, sink: Sink) -> None:
    s3 = agent.client(stand.gateway, "s3", config={"signature_version": "s3v4"})
    url = urllib.parse.urlsplit(s3.generate_presigned_url("put_object", {"Bucket": "bucket", "Key": "key"}))
    target, framing = f"{url.path}?{url.query}", f"Host: {url.netloc}\r\nContent-Length: {SIZE}"
    with stand.raw(host=url.netloc).tunnel() as connection:
        connection.sendall(f"PUT {target} HTTP/1.1\r\n{framing}\r\n\r\n".encode())
        assert push(connection, SIZE) == SIZE
        assert agent.read(connection, "PUT").status == 200
    assert sink.seen[-1].line == "PUT /key HTTP/1.1"
    assert harness.REAL_KEY in sink.seen[-1].headers["authorization"]


# Refused from the head


@pytest.mark.parametrize(
    ("path", "keys", "code"),
    [
        ("/secret", True, b"AccessDenied"),
        ("/key?versionId=1", True, b"AccessDenied"),  # no such parameter: can't be read
        ("/key", False, b"SignatureDoesNotMatch"),
        ("/key", None, b"MissingAuthenticationToken"),
    ],
    ids=["by policy", "not readable", "by its signature", "not signed"],
)
@pytest.mark.parametrize("framing", ["content-length", "chunked", "expect"])
def test_a_refused_upload_is_answered_at_once_and_not_a_byte_passes(
    stand: Stand, path: str, keys: bool | None, code: bytes, framing: str
) -> None:
    mine = {True: stand.keys, False: (stand.keys[0], "x" * 40, stand.keys[2]), None: None}[keys]
    made = raw(stand, keys=mine)
    start = head(made, None if framing == "chunked" else 20 << 20, path=path)
    if framing == "expect":
        start = start[:-2] + b"Expect: 100-continue\r\n\r\n"
    with stand.nothing_passes(), made.tunnel() as connection:
        began = time.monotonic()
        connection.sendall(start)
        found = agent.read(connection, "PUT")
        assert time.monotonic() - began < 0.5
        assert found.status == 403, "a final answer, and no 100 before it"
        assert code in found.body
        assert found.headers["connection"] == "close"
    assert outcome(stand)["outcome"] == "refused"


def test_a_client_that_sends_all_before_it_reads_gets_the_refusal_and_takes_no_memory(stand: Stand) -> None:
    before = resident(stand.gateway.process.pid)
    with stand.nothing_passes():
        found = put(stand, bytes(128 << 20), path="/secret")
    assert found.status == 403
    assert b"never" in found.body
    assert resident(stand.gateway.process.pid) - before < 40 << 20


@pytest.mark.long
def test_a_client_that_goes_on_for_ever_after_its_refusal_is_cut_off(stand: Stand) -> None:
    made = raw(stand)
    with stand.nothing_passes(), made.tunnel() as connection:
        connection.sendall(head(made, 1 << 30, path="/secret"))
        assert agent.read(connection, "PUT").status == 403
        began = time.monotonic()
        with pytest.raises(OSError):  # whichever: it is closed
            while time.monotonic() < began + 60:
                connection.sendall(bytes(1000))
                time.sleep(0.1)
        assert 25 < time.monotonic() - began < 40


def test_a_body_over_its_limit_is_refused_from_its_head(stand: Stand) -> None:
    made = raw(stand)
    with stand.nothing_passes(), made.tunnel() as connection:
        connection.sendall(head(made, (5 << 30) + 1))
        assert agent.read(connection, "PUT").status == 413


def test_a_chunked_body_over_its_limit_is_cut_off(tmp_path: Path) -> None:
    with standing(tmp_path, limits="{upload: 2MB}") as stand:
        made, sink = raw(stand), stand.upstream
        with made.tunnel() as connection:
            connection.sendall(head(made, None) + (b"100000\r\n" + bytes(PIECE) + b"\r\n") * 4 + b"0\r\n\r\n")
            found = agent.read(connection, "PUT")
        assert found.status == 400
        assert b"EntityTooLarge" in found.body
        assert sink.seen[-1].done.wait(5)  # type: ignore[attr-defined]
        assert not sink.seen[-1].whole  # type: ignore[attr-defined]


def test_a_full_audit_disk_lets_no_upload_begin(stand: Stand) -> None:
    audit = stand.gateway.directory / "audit"
    moved = audit.with_name("moved")
    audit.rename(moved)  # not there: what is written would be lost
    try:
        audit.write_text("")
        with stand.nothing_passes(written=False):
            assert put(stand).status == 503
    finally:
        audit.unlink()
        moved.rename(audit)
    until(lambda: put(stand).status == 200, "the log is there again")


# Expect


def test_a_client_that_waits_for_100_gets_it_after_the_decision(stand: Stand, sink: Sink) -> None:
    made, seen = raw(stand), len(sink.seen)
    with made.tunnel() as connection:
        connection.settimeout(5)
        connection.sendall(head(made, 5)[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert agent.read(connection, "PUT").status == 200
    (arrived,) = sink.seen[seen:]
    assert arrived.body == b"hello"
    assert "expect" not in arrived.headers


# Held


def held(screen: Screen) -> str:
    (found,) = until(screen.tickets, "the held upload")
    return str(found["id"])


def test_a_held_upload_waits_in_the_clients_own_buffers_and_passes_after_a_yes(
    stand: Stand, sink: Sink, screen: Screen
) -> None:
    made, seen, size = raw(stand), len(sink.seen), 64 << 20
    with made.tunnel() as connection:
        before = resident(stand.gateway.process.pid)
        connection.sendall(head(made, size, path="/held-yes"))
        sending = Background(lambda: push(connection, size))
        (asked,) = until(screen.tickets, "the held upload")
        ticket = asked["id"]
        assert f"not read, {size} bytes" in json.dumps(asked)
        until(lambda: [f["comment"].startswith("HELD:") for f in screen.held()] == [True], "it to stand on the screen")
        time.sleep(1)
        assert sending.is_alive(), "its body is not read while it is held"
        assert resident(stand.gateway.process.pid) - before < 8 << 20
        assert sink.seen[seen:] == []
        screen.decide(ticket)
        assert sending.done() == size
        assert agent.read(connection, "PUT").status == 200
    assert sink.seen[-1].size == size


def test_a_held_upload_is_refused_by_a_no(stand: Stand, screen: Screen) -> None:
    with stand.nothing_passes():
        call = Background(lambda: put(stand, path="/held-no"))
        screen.decide(held(screen), "deny")
        found = call.done()
    assert found.status == 403
    assert b"refused by local-operator" in found.body


@pytest.mark.parametrize("waits", [False, True], ids=["with a body behind it", "waiting for 100"])
@pytest.mark.parametrize("leave", [lambda connection: connection.close(), reset], ids=["close", "reset"])
def test_a_held_upload_whose_client_has_gone_is_never_sent(
    stand: Stand, screen: Screen, leave: Any, waits: bool
) -> None:
    made = raw(stand)
    start = head(made, 64 << 20, path="/held-gone")
    with stand.nothing_passes():
        with made.tunnel() as connection:
            if waits:
                connection.sendall(start[:-2] + b"Expect: 100-continue\r\n\r\n")
            else:
                connection.sendall(start)
                connection.settimeout(0.5)
                push(connection, 64 << 20)
            ticket = held(screen)
            leave(connection)
        until(lambda: not screen.held(), "the end of the hold")
        screen.decide(ticket)
        time.sleep(0.2)
    assert outcome(stand)["errorCode"] == "ClientGone"


def test_a_yes_to_one_content_is_no_yes_to_another(stand: Stand, screen: Screen) -> None:
    made = raw(stand)
    with stand.nothing_passes():
        with made.tunnel() as connection:
            connection.sendall(head(made, SIZE, path="/held-other"))
            first = held(screen)
        until(lambda: not screen.held(), "the end of the hold")
        screen.decide(first)
        again = Background(lambda: put(stand, path="/held-other"))
        second = next(one["id"] for one in until(screen.tickets, "a question of its own"))
        assert second != first
        screen.decide(second, "deny")
        assert again.done().status == 403


# In the middle


def test_a_client_that_leaves_in_the_middle_has_sent_nothing_whole(stand: Stand, sink: Sink) -> None:
    made = raw(stand)
    seen, before = len(sink.seen), stand.count()
    with made.tunnel() as connection:
        connection.sendall(head(made, SIZE) + bytes(SIZE // 2))
        until(lambda: sink.bytes and len(sink.seen) > seen and sink.seen[-1].size, "a part of it")
    assert sink.seen[-1].done.wait(5)
    assert not sink.seen[-1].whole
    until(lambda: stand.count() > before, "its line")
    assert outcome(stand)["outcome"] == "failed"
    assert outcome(stand)["bodySha256"] is None


def test_what_follows_the_announced_length_is_no_part_of_the_upload(stand: Stand, sink: Sink) -> None:
    made = raw(stand)
    with made.tunnel() as connection:
        connection.sendall(head(made, 2 << 20) + bytes(2 << 20) + b"more and more\r\n\r\n")
        assert agent.read(connection, "PUT").status == 200
    assert sink.seen[-1].size == 2 << 20


def early(arrived: Arrived, connection: socket.socket, file: BinaryIO) -> None:
    """Answer before the body is here, and close, as S3 does for a bucket that is not there."""
    text = b"<Error><Code>NoSuchBucket</Code><Message>none</Message></Error>"
    top = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(top % len(text) + text)
    connection.shutdown(socket.SHUT_WR)
    read_body(arrived, file)
    raise ConnectionError


def test_an_upstream_that_answers_early_is_heard_by_a_client_that_sends_all_first(stand: Stand, sink: Sink) -> None:
    sink.behave = early
    found = put(stand, bytes(32 << 20))
    assert found.status == 404
    assert b"NoSuchBucket" in found.body
    assert outcome(stand)["outcome"] == "answered"
    assert outcome(stand)["upstreamStatus"] == 404


def slam(arrived: Arrived, connection: socket.socket, file: BinaryIO) -> None:
    """Close at once after an early answer."""
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    time.sleep(0.2)
    reset(connection)
    raise ConnectionError


def test_an_upstream_that_answers_and_slams_the_door_is_heard_too(stand: Stand, sink: Sink) -> None:
    sink.behave = slam
    assert put(stand, bytes(32 << 20)).status == 403
    assert outcome(stand)["upstreamStatus"] == 403


def test_an_upstream_that_stops_reading_is_given_up_and_memory_stays_flat(stand: Stand, sink: Sink) -> None:
    stop = threading.Event()

    def hang(arrived: Arrived, connection: socket.socket, file: BinaryIO) -> None:
        stop.wait(20)
        raise ConnectionError

    sink.behave = hang
    before, made = resident(stand.gateway.process.pid), raw(stand)
    with made.tunnel() as connection:
        connection.sendall(head(made, 256 << 20))
        sending = Background(lambda: push(connection, 256 << 20))
        time.sleep(1)
        assert resident(stand.gateway.process.pid) - before < 16 << 20
        assert sending.done(15) < 256 << 20  # after `read_timeout`
    stop.set()
    until(lambda: outcome(stand)["eventName"] == "PutObject" and outcome(stand)["outcome"] == "failed", "its line")


def test_a_client_that_stalls_in_the_middle_is_given_up(stand: Stand, sink: Sink) -> None:
    made = raw(stand)
    with made.tunnel() as connection:
        connection.sendall(head(made, SIZE) + bytes(100_000))
        connection.settimeout(8)
        found = agent.read(connection, "PUT")
    assert found.status == 502
    assert sink.seen[-1].done.wait(5)
    assert not sink.seen[-1].whole


@pytest.mark.long
def test_a_slow_client_is_none_that_stalls(stand: Stand, sink: Sink) -> None:
    made = raw(stand)
    with made.tunnel() as connection:
        connection.sendall(head(made, 2 << 20))
        for _ in range(8):  # 4 s in all, twice `read_timeout`
            connection.sendall(bytes(1 << 18))
            time.sleep(0.5)
        assert agent.read(connection, "PUT").status == 200


def test_what_does_not_stream_is_still_read_whole(stand: Stand, sink: Sink) -> None:
    assert put(stand, b"small").status == 200
    assert sink.seen[-1].body == b"small"
    with stand.nothing_passes():
        assert put(stand, b"small", payload="0" * 64).status == 403  # seen before a byte is sent


def test_an_answer_streams_and_is_written_down(stand: Stand, sink: Sink) -> None:
    sink.get = SIZE
    made = raw(stand)
    with made.tunnel() as connection:
        connection.sendall(head(made, 0, method="GET"))
        found = agent.read(connection, "GET")
    assert (found.status, len(found.body)) == (200, SIZE)
    until(lambda: outcome(stand)["bytesOut"] == SIZE, "its line, after its last byte")


def test_nothing_but_a_streaming_operation_is_decided_from_its_head(stand: Stand) -> None:
    """A head that would be allowed as an upload, with parameters in its body: those decide, so all of it is read."""
    made = raw(stand)
    query = urllib.parse.quote("delete")
    with stand.nothing_passes(), made.tunnel() as connection:
        body = b"<Delete><Object><Key>k</Key></Object></Delete>" + b" " * (2 << 20)
        connection.sendall(head(made, len(body), hashlib.sha256(body).hexdigest(), f"/?{query}", "POST") + body)
        assert agent.read(connection, "POST").status == 403
    assert outcome(stand)["eventName"] == "DeleteObjects"
