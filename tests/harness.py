"""A real gateway for tests: `sluicegate up` as a process, an upstream on loopback, the environment of an agent."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from addons.identity.local import LocalIssuer
from addons.state import private_file
from scripts.client.ports import free_port
from tests import tools

ACCOUNT = "123456789012"  # moto's
ROLE = f"arn:aws:iam::{ACCOUNT}:role/agents"
REAL_KEY, REAL_SECRET = "AKIAREALREALREALREAL", "realrealrealrealrealrealrealrealrealreal"
IDENTITY = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    f"<Arn>arn:aws:iam::{ACCOUNT}:user/gateway</Arn><UserId>U</UserId><Account>{ACCOUNT}</Account>"
    "</GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
)


@dataclass
class Seen:
    """One request that reached the upstream."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Upstream:
    """An AWS on loopback that counts: what it saw is what left the gateway. `answer` may be replaced."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self.answer: Any = lambda seen: (200, {"content-type": "application/x-amz-json-1.0"}, b"{}")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def handle_any(self) -> None:
                if "chunked" in self.headers.get("transfer-encoding", ""):
                    body = b""
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("content-length") or 0))
                seen = Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                if b"Action=GetCallerIdentity" in body and REAL_KEY in seen.headers.get("authorization", ""):
                    status, headers, answer = 200, {"content-type": "text/xml"}, IDENTITY.encode()
                else:
                    outer.seen.append(seen)
                    status, headers, answer = outer.answer(seen)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "content-length" not in {n.lower() for n in headers}:
                    self.send_header("content-length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = handle_any

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


POLICY = """\
version: 1
policies:
- name: agent
  statements:
  - sid: reads
    effect: allow
    actions:
    - dynamodb:GetItem
    - dynamodb:ListTables
    - s3:ListAllMyBuckets
    - s3:GetObject
    - s3:PutObject
    - s3:ListBucket
    - sts:GetCallerIdentity
    - secretsmanager:GetSecretValue
    - ec2:DescribeInstances
    - sqs:ListQueues
    - lambda:ListFunctions
    resources: ["*"]
  - sid: writes
    effect: approve
    actions: ["dynamodb:DeleteTable", "dynamodb:DeleteItem", "s3:DeleteBucket", "s3:CreateBucket"]
    resources: ["*"]
"""


@dataclass
class Gateway:
    """A running gateway and how to reach it."""

    directory: Path
    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    log: Path
    groups: list[str] = field(default_factory=lambda: ["developers"])

    @property
    def proxy(self) -> str:
        return str(self.ready["proxy"])

    @property
    def proxy_address(self) -> tuple[str, int]:
        host, port = self.proxy.removeprefix("http://").rsplit(":", 1)
        return host, int(port)

    @property
    def ca(self) -> str:
        return str(self.ready["ca"])

    @property
    def config(self) -> Path:
        return self.directory / "gateway.yaml"

    def cli(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `sluicegate` as the operator."""
        ran = subprocess.run(
            [sys.executable, "-m", "scripts", *args],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | {"SLUICEGATE_CONFIG": str(self.config), "COLUMNS": "200"},
        )
        if check and ran.returncode:
            raise AssertionError(f"sluicegate {' '.join(args)}: exit code {ran.returncode}\n{ran.stderr}")
        return ran

    def token_file(self, subject: str = "agent/ada") -> Path:
        path = self.directory / "agent.token"
        if not path.exists():
            made = LocalIssuer.open(self.directory / "state").token(subject, self.groups, duration=3600)
            private_file.replace(path, made.encode())
        return path

    def environment(self) -> dict[str, str]:
        """What an agent gets: no key, a token file, the proxy and the CA."""
        dropped = {k for k in os.environ if k.upper().startswith("AWS_") or k.lower().endswith("_proxy")}
        kept = {k: v for k, v in os.environ.items() if k not in dropped}
        return kept | {
            "HTTPS_PROXY": self.proxy,
            "https_proxy": self.proxy,
            "AWS_CA_BUNDLE": self.ca,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.token_file()),
            "AWS_ROLE_ARN": ROLE,
            "AWS_ROLE_SESSION_NAME": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def lines(self) -> list[dict[str, Any]]:
        """Every record of the ledger."""
        found = []
        for path in sorted((self.directory / "audit").rglob("*.jsonl")):
            found += [json.loads(line) for line in path.read_text().splitlines()]
        return found

    def calls(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["eventType"] == "AwsApiCall"]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"did not stop on SIGTERM:\n{self.log.read_text()}") from None


def configuration(endpoint: str, **extra: str) -> str:
    keys = {
        "listen": "127.0.0.1:0",
        "web": "{listen: '127.0.0.1:0'}",
        "identity": "{local: true}",
        "upstream": f"{{endpoint: '{endpoint}'}}",
        "groups": f"{{developers: {{policies: [./policy.yaml], roles: ['{ROLE}']}}}}",
        "redaction": "[secrets]",
        "approvals": "{timeout: 30s}",
    } | extra
    return "".join(f"{key}: {value}\n" for key, value in keys.items())


def prepare(directory: Path, endpoint: str, policy: str = POLICY, **extra: str) -> Path:
    """Write a configuration. All share one index of hosts and one check of the rules, which take seconds to make."""
    hosts = tools.CACHE / "hosts"
    hosts.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = directory / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    if not (state / "wire").exists():
        (state / "wire").symlink_to(hosts)
        (state / "rules.checked").symlink_to(hosts / "rules.checked")
    (directory / "policy.yaml").write_text(policy)
    (directory / "gateway.yaml").write_text(configuration(endpoint, **extra))
    return directory / "gateway.yaml"


def operator_environment() -> dict[str, str]:
    """Who starts the gateway has the real keys."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    keys = {"AWS_ACCESS_KEY_ID": REAL_KEY, "AWS_SECRET_ACCESS_KEY": REAL_SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    return kept | keys


@contextlib.contextmanager
def gateway(directory: Path, endpoint: str, policy: str = POLICY, **extra: str) -> Iterator[Gateway]:
    """`sluicegate up` in front of `endpoint`, until the block ends."""
    config = prepare(directory, endpoint, policy, **extra)
    ready, log = directory / "ready.json", directory / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts", "up", "--config", str(config), "--ready-file", str(ready)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=operator_environment(),
        )
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the gateway did not start:\n{log.read_text()}")
            time.sleep(0.02)
        found = Gateway(directory, process, json.loads(ready.read_text()), log)
        yield found
        found.stop()
    finally:
        if process.poll() is None:
            process.kill()


@contextlib.contextmanager
def script(
    directory: Path,
    endpoint: str,
    policy: str = POLICY,
    *,
    program: str,
    addons: Path,
    options: Sequence[str] = (),
    **extra: str,
) -> Iterator[Gateway]:
    """Stock `mitmdump` or `mitmweb` with `addons/gateway.py` as its script, until the block ends."""
    config = prepare(directory, endpoint, policy, **extra)
    port, log = free_port(), directory / "gateway.log"
    command = [
        str(Path(sys.executable).with_name(program)),
        *("-s", str(addons / "gateway.py"), "--set", f"sluicegate_config={config}"),
        *("--listen-host", "127.0.0.1", "-p", str(port), *options),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=operator_environment())
    found = Gateway(directory, process, {"proxy": f"http://127.0.0.1:{port}"}, log)
    found.ready["ca"] = str(directory / "state" / "ca" / "root.pem")
    try:
        deadline = time.monotonic() + 60
        while not any(line["eventName"] == "start" for line in found.lines()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{program} did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield found
        found.stop()
    finally:
        if process.poll() is None:
            process.kill()
