"""The test stand: the upstream, two copies of bare mitmdump, and gateways, as processes in one scratch directory."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import botocore
import botocore.session
from botocore.config import Config

from scripts.benchmarks import upstream
from scripts.benchmarks.calls import ACCOUNT, POLICY, REGION, Keys
from scripts.benchmarks.judge import REAL_KEY, REAL_SECRET
from scripts.benchmarks.load import Failed, Target, Work, connect, read
from scripts.benchmarks.measure import Cores, pin
from scripts.client.ports import free_port, listens

ROOT = Path(__file__).resolve().parents[2]
ROLE = f"arn:aws:iam::{ACCOUNT}:role/agents"
CONFIG = """\
listen: 127.0.0.1:0
web: {{listen: "127.0.0.1:0"}}
identity: {{local: true}}
upstream: {{endpoint: "https://127.0.0.1:{port}", ca: "{ca}"}}
groups:
  agents: {{policies: [./policy.yaml], roles: ["{role}"]}}
"""
PRIORITY = -10  # nice value: the machine's other work waits, where we may say so
AUTOGROUP = Path("/proc/self/autogroup")  # a session's own nice value, which counts between sessions (sched(7))
PATIENCE = 60  # seconds for a process to start
MEMORY_SYSTEMS = {"tmpfs", "ramfs"}


class Stand:
    """Starts processes, and ends them all when it is closed."""

    def __init__(self, directory: Path, cores: Cores) -> None:
        self.directory, self.cores = directory, cores
        self.processes: list[subprocess.Popen[str]] = []
        self.root, certificate = upstream.make_certificate(directory)
        process = self._start("upstream", [sys.executable, "-m", "scripts.benchmarks.upstream", str(certificate)])
        assert process.stdout
        said = json.loads(process.stdout.readline() or self._fail("upstream", process))
        pin(process.pid, cores.load)
        self.upstream = Target("direct", process.pid, ("127.0.0.1", said["port"]), None, self.root)

    def close(self) -> None:
        """End every process."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def control(self, path: str) -> tuple[int, dict[str, int]]:
        """Tell the upstream something, or ask it: `/judge`, `/trust`, `/report`. Rightly signed, and faults by text."""
        work = Work(upstream.CONTROL, (), frozenset({b"200"}))
        with connect(self.upstream, upstream.CONTROL, self.upstream.context()) as stream:
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {upstream.CONTROL}\r\n\r\n".encode())
            answer = json.loads(read(self.upstream, work, stream).partition(b"\r\n\r\n")[2])
            return answer["right"], answer["wrong"]

    def stock(self, name: str) -> Target:
        """`mitmdump -q` as it comes, but for the port and the upstream's root."""
        port, home = free_port(), self.directory / name
        command = [
            str(Path(sys.executable).with_name("mitmdump")),
            "-q",
            "--listen-host",
            "127.0.0.1",
            "--listen-port",
            str(port),
        ]
        settings = [f"confdir={home}", f"ssl_verify_upstream_trusted_ca={self.root}"]
        process = self._start(name, command + [part for setting in settings for part in ("--set", setting)])
        ca = home / "mitmproxy-ca-cert.pem"
        self._wait(name, process, lambda: ca.exists() and listens(port))
        pin(process.pid, self.cores.proxy)
        # No DNS is needed so: the proxy connects to the upstream's address; SNI and Host name the AWS host.
        return Target(name, process.pid, ("127.0.0.1", port), f"127.0.0.1:{self.upstream.address[1]}", ca)

    def gateway(self, name: str, command: tuple[str, ...] = ("scripts", "up"), state: Path | None = None) -> "Starting":
        """`sluicegate up`, or a part of it; with a copy of another gateway's state, where there is one."""
        home = self.directory / name
        home.mkdir()
        if state:
            shutil.copytree(state, home / "state")
        (home / "policy.yaml").write_text(POLICY)
        (home / "gateway.yaml").write_text(CONFIG.format(port=self.upstream.address[1], ca=self.root, role=ROLE))
        ready = ["--config", str(home / "gateway.yaml"), "--ready-file", str(home / "ready.json")]
        keys = {"AWS_ACCESS_KEY_ID": REAL_KEY, "AWS_SECRET_ACCESS_KEY": REAL_SECRET, "AWS_DEFAULT_REGION": REGION}
        return Starting(self, name, home, self._start(name, [sys.executable, "-m", *command, *ready], keys))

    def stop(self, target: Target) -> None:
        """End one process."""
        process = next(process for process in self.processes if process.pid == target.pid)
        process.terminate()
        process.wait(20)

    def _start(self, name: str, command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        with (self.directory / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=clean_environment() | {"PYTHONPATH": str(ROOT)} | (env or {}),
                stdout=subprocess.PIPE if name == "upstream" else log,
                stderr=log,
                text=True,
                preexec_fn=self._unpin,
            )
        self.processes.append(process)
        return process

    def _unpin(self) -> None:
        # Children start on every core, for speed, and are pinned when they stand.
        if self.cores.proxy is not None and self.cores.load is not None:
            os.sched_setaffinity(0, {self.cores.proxy, self.cores.load})

    def _wait(self, name: str, process: subprocess.Popen[str], done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if process.poll() is not None or time.monotonic() > deadline:
                self._fail(name, process)
            time.sleep(0.02)

    def _fail(self, name: str, process: subprocess.Popen[str]) -> str:
        log = (self.directory / f"{name}.log").read_text()[-3000:]
        raise Failed(f"{name} did not start (exit code {process.poll()}):\n{log}")


@dataclass(frozen=True, slots=True)
class Starting:
    """A gateway that may still be starting."""

    stand: Stand
    name: str
    home: Path
    process: subprocess.Popen[str]

    def target(self) -> Target:
        """Wait until it serves. Raises `Failed` with its log."""
        file = self.home / "ready.json"
        self.stand._wait(self.name, self.process, file.exists)
        ready = json.loads(file.read_text())
        pin(self.process.pid, self.stand.cores.proxy)
        host, _, port = ready["proxy"].removeprefix("http://").rpartition(":")
        return Target(self.name, self.process.pid, (host, int(port)), "{host}:443", Path(ready["ca"]))

    def sign_in(self, target: Target) -> Keys:
        """Get synthetic credentials as an SDK does: a token of the built-in issuer for keys of the gateway's STS."""
        token = self.home / "agent.token"
        command = [sys.executable, "-m", "scripts", "token", "--config", str(self.home / "gateway.yaml")]
        command += ["--subject", "agent/bench", "--group", "agents", "--out", str(token)]
        subprocess.run(command, cwd=ROOT, env=clean_environment(), check=True, timeout=PATIENCE)
        client = botocore.session.Session().create_client(
            "sts",
            region_name=REGION,
            verify=str(target.ca),
            config=Config(
                signature_version=botocore.UNSIGNED,
                proxies={"https": "http://{}:{}".format(*target.address)},
                retries={"total_max_attempts": 1},
            ),
        )
        answer = client.assume_role_with_web_identity(
            RoleArn=ROLE, RoleSessionName="bench", WebIdentityToken=token.read_text().strip()
        )
        keys = answer["Credentials"]
        return Keys(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


@contextlib.contextmanager
def stand(cores: Cores) -> Iterator[Stand]:
    """A stand in a scratch directory that is removed afterwards, with all its processes ended."""
    with tempfile.TemporaryDirectory(prefix="sluicegate-bench-", dir=on_disk()) as name, favoured(cores):
        made = Stand(Path(name), cores)
        try:
            yield made
        finally:
            made.close()


@contextlib.contextmanager
def favoured(cores: Cores) -> Iterator[None]:
    """Keep this process on its core and, where that is allowed, ahead of others; its children inherit the latter."""
    affinity, own = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    words = AUTOGROUP.read_text().split() if AUTOGROUP.exists() else []  # empty in a control group
    group = int(words[-1]) if words else 0
    pin(os.getpid(), cores.load)
    prefer(PRIORITY, PRIORITY)
    try:
        yield
    finally:
        prefer(own, group)
        os.sched_setaffinity(0, affinity)


def prefer(own: int, group: int) -> None:
    """Set the nice values of this process and of its session, where that is allowed."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, own)
    with contextlib.suppress(OSError):
        AUTOGROUP.write_text(str(group))


def on_disk() -> Path:
    """A directory for scratch files on a real disk where there is one: in memory, a durable write costs nothing."""
    places = [Path(tempfile.gettempdir()), Path("/var/tmp"), ROOT]  # noqa: S108
    return next((p for p in places if p.is_dir() and filesystem(p) not in MEMORY_SYSTEMS), places[0])


def filesystem(path: Path) -> str:
    """The type of file system that a path is on, by the longest mount point in /proc/self/mounts."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    inside = [(len(point), kind) for point, kind in mounts if path.resolve().is_relative_to(point)]
    return max(inside, default=(0, "unknown"))[1]


def clean_environment() -> dict[str, str]:
    """The environment without the operator's AWS settings and proxies."""
    return {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and not k.lower().endswith("_proxy")}
