"""The client: pure standard library, non-blocking TLS on a selector, so that it is never what limits a measurement.

Closed loop: each connection sends its next request when the answer to the last one is whole. An answer with another
status than the expected one ends the run: a refusal is quick, and must not count as a fast success.
"""

import gc
import math
import re
import selectors
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
PATIENCE = 20.0  # seconds without any answer


class Failed(Exception):
    """The target did not answer as it should. The message holds the answer's beginning."""


@dataclass(frozen=True, slots=True)
class Target:
    """One way to the upstream. Without a proxy `address` is the upstream itself."""

    name: str
    pid: int
    address: tuple[str, int]
    connect: str | None  # what CONNECT names; None: no proxy. "{host}" stands for the call's host
    ca: Path

    def context(self) -> ssl.SSLContext:
        """TLS as an SDK does it: the certificate is verified."""
        return ssl.create_default_context(cafile=str(self.ca))


@dataclass(frozen=True, slots=True)
class Work:
    """What to send: whole requests for one host, sent in turn, and the statuses that are right."""

    host: str
    requests: Sequence[bytes]
    statuses: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Load:
    """What one load measured. Latencies in seconds, from sending to the last byte, sorted."""

    seconds: float
    latencies: list[float]

    def quantile(self, share: float) -> float:
        """A latency that `share` of the requests did not exceed (nearest rank)."""
        return self.latencies[max(0, math.ceil(share * len(self.latencies)) - 1)]


@dataclass(slots=True, eq=False)
class Line:
    """One open connection."""

    stream: ssl.SSLSocket
    buffer: bytes = b""
    size: int = 0  # of the whole answer; 0: not known yet
    since: float = 0.0


class Client:
    """Some connections to one target, kept open between loads."""

    def __init__(self, target: Target, work: Work, connections: int) -> None:
        """Connect, and send one request on each connection: what is measured later is warm."""
        self.target, self.work = target, work
        self.turn = 0
        self.sent = 0
        self.last = b""
        self.selector = selectors.DefaultSelector()
        context = target.context()
        self.lines = [Line(connect(target, work.host, context)) for _ in range(connections)]
        for line in self.lines:
            line.stream.setblocking(False)
            self.selector.register(line.stream, selectors.EVENT_READ, line)
        self.run(0.0)

    def run(self, seconds: float) -> Load:
        """Send for this long, then wait for the answers that are due. Raises `Failed`."""
        latencies: list[float] = []
        collecting = gc.isenabled()
        gc.disable()
        try:
            started = time.perf_counter()
            for line in self.lines:
                self._send(line, started)
            due, end, now = len(self.lines), started + seconds, started
            while due:
                if not (events := self.selector.select(PATIENCE)):
                    raise Failed(f"{self.target.name}: no answer in {PATIENCE:.0f} s")
                for key, _ in events:
                    line = key.data
                    if not self._read(line):
                        continue
                    now = time.perf_counter()
                    latencies.append(now - line.since)
                    if now < end:
                        self._send(line, now)
                    else:
                        due -= 1
            return Load(now - started, sorted(latencies))
        finally:
            if collecting:
                gc.enable()

    def _send(self, line: Line, now: float) -> None:
        request = self.work.requests[self.turn % len(self.work.requests)]
        self.turn += 1
        self.sent += 1
        line.buffer, line.size, line.since = b"", 0, now
        if line.stream.send(request) != len(request):
            raise Failed(f"{self.target.name} does not read")

    def _read(self, line: Line) -> bool:
        """Read what is there; True when the answer is whole."""
        while True:
            try:
                data = line.stream.recv(1 << 18)
            except ssl.SSLWantReadError:
                return False
            except OSError as error:
                raise Failed(f"{self.target.name}: {error}") from error
            if not data:
                raise Failed(f"{self.target.name} closed the connection; before: {line.buffer[:300]!r}")
            line.buffer = line.buffer + data if line.buffer else data
            if not line.size and (end := line.buffer.find(b"\r\n\r\n")) >= 0:
                line.size = end + 4 + answer_size(self.target, self.work, line.buffer[: end + 4])
            if line.size and len(line.buffer) >= line.size:
                self.last = line.buffer
                return True

    def close(self) -> None:
        """Close all connections."""
        for line in self.lines:
            self.selector.unregister(line.stream)
            line.stream.close()
        self.selector.close()


def answer_size(target: Target, work: Work, head: bytes) -> int:
    """The length of the body that a head announces. Raises `Failed` if the answer is not what is expected."""
    if head[9:12] not in work.statuses:
        wanted = b" or ".join(sorted(work.statuses)).decode()
        raise Failed(
            f"{target.name} answered {head[9:12].decode()} instead of {wanted}: {head[:600].decode(errors='replace')}"
        )
    if not (match := LENGTH.search(head)):
        raise Failed(f"{target.name} answered without a length: {head[:600]!r}")
    return int(match[1])


def connect(target: Target, host: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A TLS connection to an AWS name through a proxy."""
    plain = socket.create_connection(target.address, timeout=PATIENCE)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if target.connect is not None:
        name = target.connect.format(host=host)
        plain.sendall(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            if not (more := plain.recv(4096)):
                break
            answer += more
        if answer[9:12] != b"200":
            raise Failed(f"{target.name} refused CONNECT {name}: {answer[:600].decode(errors='replace')}")
    return context.wrap_socket(plain, server_hostname=host)


def connecting(target: Target, work: Work, seconds: float) -> Load:
    """A new connection for each request, one after the other, as command-line tools make them."""
    latencies: list[float] = []
    context, started = target.context(), time.perf_counter()
    while (since := time.perf_counter()) < started + seconds or not latencies:
        with connect(target, work.host, context) as stream:
            stream.sendall(work.requests[len(latencies) % len(work.requests)])
            read(target, work, stream)
            latencies.append(time.perf_counter() - since)
    return Load(time.perf_counter() - started, sorted(latencies))


def read(target: Target, work: Work, stream: ssl.SSLSocket) -> bytes:
    """One whole answer from a blocking connection."""
    buffer = b""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if not (data := stream.recv(1 << 16)):
            raise Failed(f"{target.name} closed the connection")
        buffer += data
    size = end + 4 + answer_size(target, work, buffer[: end + 4])
    while len(buffer) < size:
        if not (data := stream.recv(1 << 16)):
            raise Failed(f"{target.name} closed the connection within an answer")
        buffer += data
    return buffer
