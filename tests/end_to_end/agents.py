"""Unmodified clients of AWS as child processes that know only their environment, all driven in one way.

Each kind is a program of `programs/` around one client: boto3, the AWS CLI v1 or v2, the JavaScript SDK v3. A test says
`agent.call("s3", "GetObject", Bucket=..., Key=...)` and gets an `Answer`, whatever the client.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import tools
from tests.harness import REAL_KEY, REAL_SECRET, Gateway

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
PRELOAD = ROOT / "scripts" / "client" / "node_preload.cjs"
KINDS = ("boto3", "aws-cli-1", "aws-cli-2", "javascript")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client made of one call. `text` is all that it printed."""

    ok: bool
    value: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    message: str = ""
    kind: str = ""  # of the client's exception
    text: str = ""


@dataclass
class Agent:
    """A running client."""

    kind: str
    process: subprocess.Popen[str]
    complaints: Path

    def call(self, service: str, operation: str, **params: Any) -> Answer:
        """One call; blocks until the client has its answer."""
        assert self.process.stdin
        assert self.process.stdout
        asked = {"service": service, "operation": operation, "params": params}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.kind} ended:\n{self.complaints.read_text()}")
        return Answer(**json.loads(line), text=line)

    def printed(self) -> str:
        """What it wrote to standard error."""
        return self.complaints.read_text()


def command(kind: str) -> tuple[list[str], dict[str, str]]:
    """A client's command line, and variables that are no one's settings for AWS. Skips where the tool is missing."""
    if kind == "boto3":
        return [sys.executable, str(PROGRAMS / "boto3_agent.py")], {}
    if kind == "javascript":
        node = tools.need(tools.node)
        return [node.program, str(PROGRAMS / "node_agent.cjs")], {"NODE_PATH": str(node.modules)}
    found = tools.need(tools.aws_cli_1 if kind == "aws-cli-1" else tools.aws_cli_2)
    return [sys.executable, str(PROGRAMS / "cli_agent.py"), str(found)], {}


@contextlib.contextmanager
def running(kind: str, argv: Sequence[str], environ: Mapping[str, str], directory: Path) -> Iterator[Agent]:
    """A client, until the block ends."""
    complaints = directory / f"{kind}.stderr"
    with complaints.open("wb") as errors:
        process = subprocess.Popen(
            argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
        )
    try:
        yield Agent(kind, process, complaints)
        assert process.stdin
        process.stdin.close()
        assert process.wait(20) == 0, complaints.read_text()
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def agent(kind: str, gateway: Gateway, directory: Path) -> Iterator[Agent]:
    """A client in the environment that an operator would set by hand."""
    argv, extra = command(kind)
    environ = gateway.environment() | extra | {"HOME": str(directory)}
    if kind == "javascript":
        environ |= {"NODE_OPTIONS": f"--require={PRELOAD}", "NODE_EXTRA_CA_CERTS": gateway.ca}
    with running(kind, argv, environ, directory) as found:
        yield found


@contextlib.contextmanager
def agent_under_run(kind: str, gateway: Gateway, directory: Path) -> Iterator[Agent]:
    """A client as `sluicegate run` starts it for an operator who has the real keys in the environment."""
    argv, extra = command(kind)
    keys = {"AWS_ACCESS_KEY_ID": REAL_KEY, "AWS_SECRET_ACCESS_KEY": REAL_SECRET, "AWS_REGION": "us-east-1"}
    words = ["run", "--config", str(gateway.config), "--ready-file", str(gateway.directory / "ready.json")]
    with running(
        kind, [sys.executable, "-m", "scripts", *words, "--", *argv], os.environ | keys | extra, directory
    ) as found:
        yield found


@dataclass
class Later:
    """A call in a thread, for those that wait for a person."""

    thread: threading.Thread
    answers: list[Answer]

    def result(self, seconds: float = 60) -> Answer:
        """Its answer."""
        self.thread.join(seconds)
        assert self.answers, "the client still waits"
        return self.answers[0]


def later(agent: Agent, service: str, operation: str, **params: Any) -> Later:
    """Start a call."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(agent.call(service, operation, **params)), daemon=True)
    thread.start()
    return Later(thread, answers)
