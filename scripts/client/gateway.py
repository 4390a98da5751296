"""Finding the gateway that a command is to use, or starting one that lasts as long as somebody uses it."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from addons import config
from scripts.client.defaults import STATE_FILE
from scripts.client.sandbox import PACKAGES

READY_FILE, LOG_FILE = "run.json", "run.log"  # in the state directory, of a gateway that `run` started
START, USERS = "run-start.lock", "run-users.lock"
PATIENCE = 60.0  # seconds for a gateway to start
STOPPING = 15.0  # seconds for it to refuse what it holds and end
PROBE = "sts.amazonaws.com"


class Unavailable(Exception):
    """There is no gateway to use. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that answers. `pid` is 0 where it is not known."""

    proxy: str
    web: str
    root: Path  # what its clients trust
    pid: int = 0
    started: bool = False  # by this process

    def alive(self) -> bool:
        """Whether its process is there (or can't be asked for)."""
        return not self.pid or _exists(self.pid)


@contextlib.contextmanager
def lease(gateway: config.Gateway, ready_file: Path | None, environ: Mapping[str, str]) -> Iterator[Running]:
    """A gateway for as long as the block runs. One that `run` started ends with its last user. Raises `Unavailable`."""
    if ready_file:
        yield _read(ready_file)
        return
    if gateway.config.identity.proxy_authorization == "required":
        text = "a token in HTTPS_PROXY can't be renewed while a command runs"
        raise Unavailable(f"`run` does not go with `proxy_authorization: required` of {gateway.file}: {text}")
    gateway.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _lock(gateway.state / START):
        running = find(gateway) or _start(gateway, environ)
        users = _take(gateway.state / USERS, fcntl.LOCK_SH)
    try:
        yield running
    finally:
        with _lock(gateway.state / START):
            os.close(users)
            with contextlib.suppress(BlockingIOError):  # somebody else uses it
                os.close(_take(gateway.state / USERS, fcntl.LOCK_EX | fcntl.LOCK_NB))
                _stop(gateway.state / READY_FILE)


def find(gateway: config.Gateway) -> Running | None:
    """The gateway of this configuration that runs now, started by `run` or by `up`."""
    for name in (READY_FILE, STATE_FILE):
        with contextlib.suppress(Unavailable):
            return _read(gateway.state / name)
    return None


def probe(running: Running, timeout: float = 10.0) -> str | None:
    """Ask a gateway for an AWS host: why it is not one that shows a certificate of this authority, or None if it is."""
    try:
        connect(running, PROBE, timeout).close()
    except (OSError, ValueError) as error:
        return str(error)
    return None


def connect(running: Running, host: str, timeout: float = 10.0) -> ssl.SSLSocket:
    """TLS to an AWS host through a gateway, trusting its root alone. Raises OSError and ValueError."""
    parts = urlsplit(running.proxy)
    context = ssl.create_default_context(cafile=str(running.root))
    plain = socket.create_connection((parts.hostname or "", parts.port or 80), timeout)
    try:
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            if not (byte := plain.recv(1)) or len(answer) > 8192:
                raise ValueError(f"{running.proxy} is no proxy")
            answer += byte
        if answer.split(b" ")[1:2] == [b"407"]:
            raise ValueError(f"{running.proxy} wants `proxy_authorization`, which `run` and `doctor` don't send")
        if answer.split(b" ")[1:2] != [b"200"]:
            raise ValueError(f"{running.proxy} does not serve {host}")
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _read(ready_file: Path) -> Running:
    """What a ready file says, once it is found to be true."""
    try:
        ready = json.loads(ready_file.read_text())
        running = Running(ready["proxy"], ready["web"], Path(ready["ca"]), int(ready["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise Unavailable(f"{ready_file} is no ready file of a gateway: start one with `sluicegate up`") from None
    if not running.alive():
        raise Unavailable(f"the gateway of {ready_file} (process {running.pid}) has ended: start it again")
    if why := probe(running):
        raise Unavailable(f"the gateway of {ready_file} does not answer as it should: {why}")
    return running


def _start(gateway: config.Gateway, environ: Mapping[str, str]) -> Running:
    """Start a gateway outside of the sandbox, in a session of its own: Ctrl-C is for the command."""
    ready, log = gateway.state / READY_FILE, gateway.state / LOG_FILE
    ready.unlink(missing_ok=True)
    if not (gateway.state / "wire" / "hosts.json").exists():  # the gateway's own line goes to its log
        from addons.services import indexing  # a second's import, which only the first start waits for

        indexing()
    # -P: not the current directory, which the agent may write to, is where modules come from.
    command = [sys.executable, "-P", "-m", "scripts", "up", "--config", str(gateway.file), "--ready-file", str(ready)]
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        process = subprocess.Popen(
            command,
            env={**environ, "PYTHONPATH": str(PACKAGES)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready.exists():
            if process.poll() is not None:
                raise Unavailable(f"the gateway did not start:\n{_tail(log)}")
            if time.monotonic() > deadline:
                raise Unavailable(f"the gateway did not start within {PATIENCE:.0f} s:\n{_tail(log)}")
            time.sleep(0.01)
        found = _read(ready)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return Running(found.proxy, found.web, found.root, found.pid, started=True)


def _stop(ready: Path) -> None:
    """End a gateway that `run` started, this process or an earlier one."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        pid = int(json.loads(ready.read_text())["pid"])
        if not _exists(pid) or not _is_gateway(pid, ready):
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOPPING
        while _exists(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.01)


def _exists(pid: int) -> bool:
    """Whether a process is there; one that has ended and is our child is collected."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _take(path: Path, how: int) -> int:
    """A lock on a file, as a descriptor: closing it, or ending in any way, gives it back."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_gateway(pid: int, ready: Path) -> bool:
    """Whether a process is a gateway that `run` started: numbers are used again, and `up` ends by itself."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        line = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False).stdout
    return str(ready).encode() in line


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    handle = _take(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
