"""What every file here needs: a counting upstream, a gateway before it, and an attacker's eye on the screen."""

import contextlib
import http.client
import json
import os
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import agent, harness
from tests.agent import Answer, Raw
from tests.harness import Gateway, Upstream

SECRET = "hunter2-correct-horse-battery-staple"
DYNAMODB = "dynamodb.us-east-1.amazonaws.com"


def answer(seen: harness.Seen) -> tuple[int, dict[str, str], bytes]:
    """An AWS that gives away a secret to whoever asks Secrets Manager, and an empty object to everybody else."""
    if seen.headers.get("x-amz-target") == "secretsmanager.GetSecretValue":
        return 200, {"content-type": "application/x-amz-json-1.1", "x-amzn-requestid": "r"}, secret_body()
    return 200, {"content-type": "application/x-amz-json-1.0"}, b"{}"


def secret_body() -> bytes:
    return json.dumps({"Name": "n", "SecretString": SECRET}).encode()


@dataclass
class Stand:
    """One gateway, what stands behind it, and an agent that has signed in."""

    gateway: Gateway
    upstream: Upstream
    keys: tuple[str, str, str]

    def raw(self, **settings: Any) -> Raw:
        return Raw(self.gateway, keys=settings.pop("keys", self.keys), **settings)

    def call(self, target: str = "GetItem", **settings: Any) -> Answer:
        """A DynamoDB call."""
        return self.raw(**settings).call(target)

    def secret(self) -> Answer:
        """secretsmanager:GetSecretValue, whose answer must be masked."""
        host = "secretsmanager.us-east-1.amazonaws.com"
        raw, body = self.raw(host=host, service="secretsmanager"), b'{"SecretId":"s"}'
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "secretsmanager.GetSecretValue"}
        return raw.send("POST", "/", raw.signed("POST", "/", headers, body), body)

    def count(self) -> int:
        """How many lines the ledger has."""
        return sum(file.read_bytes().count(b"\n") for file in (self.gateway.directory / "audit").rglob("*.jsonl"))

    def records(self) -> list[dict[str, Any]]:
        return self.gateway.lines()

    @contextlib.contextmanager
    def nothing_passes(self, written: bool = True) -> Iterator[None]:
        """Nothing may reach the upstream in this block; unless told otherwise, the ledger has more lines after it."""
        seen, before = len(self.upstream.seen), self.count()
        yield
        if written:
            until(lambda: self.count() > before, "a line in the ledger")
        assert len(self.upstream.seen) == seen, f"passed: {self.upstream.seen[seen:]}"

    def last_call(self) -> dict[str, Any]:
        found: dict[str, Any] = self.gateway.calls()[-1]
        return found

    def exchange(self, data: bytes, tls: bool = False) -> bytes:
        """Send raw bytes to the proxy, or into a tunnel's TLS, and read until it closes or is silent for a while."""
        plain = self.raw().tunnel() if tls else socket.create_connection(self.gateway.proxy_address, timeout=10)
        with plain as connection:
            connection.settimeout(3)
            with contextlib.suppress(OSError):
                connection.sendall(data)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the other side closes, has sent a whole HTTP answer, or is silent for the time-out."""
    received = b""
    with contextlib.suppress(OSError):
        while more := connection.recv(65536):
            received += more
            head, end, body = received.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
            if received.startswith(b"HTTP/1.1 ") and end and length and len(body) >= int(length[1]):
                break
    return received


def until(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"did not come: {what}"
        time.sleep(0.02)
    return found


class Screen:
    """The web screen's API, as a browser that is signed in talks to it, or as anybody else does."""

    def __init__(self, gateway: Gateway) -> None:
        self.url = str(gateway.ready["web"])
        self.token = (gateway.directory / "state" / "operator.token").read_text()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        given = {"Authorization": f"Bearer {self.token}"} if more.pop("signed_in", True) else {}
        request = urllib.request.Request(self.url + path.lstrip("/"), body, given | (headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as got:
                return Answer(got.status, {k.lower(): v for k, v in got.headers.items()}, got.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())

    def browser(self) -> dict[str, str]:
        """The headers of a page that was signed in by a link: its cookies, its key, and the proof of its origin."""
        link = json.loads(self.request("POST", "sluicegate/link", b"").body)["token"]
        web, proof = urllib.parse.urlsplit(self.url), "ab" * 16
        page = http.client.HTTPConnection(web.netloc, timeout=10)
        page.request("GET", f"/?token={link}")  # it may send the page on to a place without the link
        answer = page.getresponse()
        found = [value.partition(";")[0] for value in answer.headers.get_all("Set-Cookie", [])]
        key = str(answer.headers["Location"]).partition("#key=")[2]
        page.close()
        cookies = [cookie for cookie in found if not cookie.startswith("_mitmproxy_xsrf=")]
        cookie = "; ".join([*cookies, f"_mitmproxy_xsrf={proof}"])
        return {"Cookie": cookie, "X-XSRFToken": proof, "X-Sluicegate-Key": key}

    def flows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.request("GET", "flows").body)
        return found

    def held(self) -> list[dict[str, Any]]:
        return [flow for flow in self.flows() if flow["intercepted"]]

    def tickets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.request("GET", "sluicegate/tickets").body)["tickets"]
        return found

    def decide(self, ticket: str, verdict: str = "approve") -> Answer:
        return self.request("POST", f"sluicegate/tickets/{ticket}/{verdict}", b"")

    def ready(self) -> tuple[int, dict[str, Any]]:
        found = self.request("GET", "readyz", signed_in=False)
        return found.status, json.loads(found.body)


class Background(threading.Thread):
    """A call that is on its way while the test goes on."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.work, self.result = work, None
        self.start()

    def run(self) -> None:
        self.result = self.work()

    def done(self, seconds: float = 20) -> Any:
        self.join(seconds)
        assert not self.is_alive(), "the call did not end"
        return self.result


@contextlib.contextmanager
def wild(upstream: Upstream, behave: Callable[[socket.socket], None]) -> Iterator[None]:
    """An upstream that is no good HTTP server: `behave` gets each connection after a whole request was read from it."""

    def serve(connection: socket.socket, address: object) -> None:
        upstream.connections += 1
        head, body = b"", b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        head, _, body = head.partition(b"\r\n\r\n")
        names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(names.get(b"content-length", b"0")):
            body += connection.recv(65536)
        seen = {name.decode(): value.decode() for name, value in names.items()}
        upstream.seen.append(harness.Seen(head.split(b" ")[0].decode(), head.split(b" ")[1].decode(), seen, body))
        behave(connection)

    usual = upstream.server.finish_request
    upstream.server.finish_request = serve  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        upstream.server.finish_request = usual  # type: ignore[method-assign]


@contextlib.contextmanager
def standing(directory: Path, policy: str = harness.POLICY, launcher: bool = False, **extra: str) -> Iterator[Stand]:
    """A gateway before an upstream of its own. With `launcher`, one whose hooks can be broken (launcher.py)."""
    upstream = Upstream()
    upstream.answer = answer
    with contextlib.ExitStack() as stack:
        stack.callback(upstream.close)
        if launcher:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("SLUICEGATE_FAULT", str(directory / "fault.json"))
            patch.setattr(sys, "executable", str(wrapper(directory)))
        extra = {key: value.replace("ENDPOINT", f"'{upstream.url}'") for key, value in extra.items()}
        gateway = stack.enter_context(harness.gateway(directory, upstream.url, policy, **extra))
        yield Stand(gateway, upstream, agent.sign_in(gateway))


def wrapper(directory: Path) -> Path:
    """An executable that runs `-m tests.fail_closed.launcher` where the harness asks for `-m scripts`."""
    path = directory / "python"
    path.write_text(f'#!/bin/sh\nshift 2\nexec "{sys.executable}" -m tests.fail_closed.launcher "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """One gateway for a whole file."""
    with standing(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture
def screen(stand: Stand) -> Screen:
    return Screen(stand.gateway)


def resident(pid: int) -> int:
    """A process's resident memory in bytes."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
