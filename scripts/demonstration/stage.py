"""What the demo needs around the agent: moto as AWS, a configuration, a gateway, and a person with a terminal."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3

SECRET = "correct-horse-battery-staple"  # noqa: S105  the demo's own, to show that it does not come through
ACCOUNT = "123456789012"  # moto's
ROLE = f"arn:aws:iam::{ACCOUNT}:role/agents"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIADEMOOPERATORKEY1",
    "AWS_SECRET_ACCESS_KEY": "only-the-gateway-knows",
    "AWS_DEFAULT_REGION": "us-east-1",
}
POLICY = f"""\
version: 1
policies:
- name: demo
  statements:
  - sid: look
    effect: allow
    actions:
    - sts:GetCallerIdentity
    - ec2:DescribeInstances
    - lambda:ListFunctions
    - s3:ListAllMyBuckets
    - s3:GetObject
    - dynamodb:GetItem
    - secretsmanager:GetSecretValue
    - ssm:GetParameter
    resources: ["*"]
  - sid: ask-a-person
    effect: approve
    actions: ["dynamodb:DeleteTable"]
    resources: ["arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/*"]
"""
CONFIG = f"""\
listen: 127.0.0.1:0
web: {{listen: "127.0.0.1:0"}}
identity: {{local: true}}
upstream: {{endpoint: "%s"}}
groups:
  agents: {{policies: [./policy.yaml], roles: ["{ROLE}"]}}
redaction: [secrets]
approvals: {{timeout: 10m}}
access_request: "Ask in #platform."
"""
PATIENCE = 120.0  # seconds for a gateway to start on a slow machine


class Failed(Exception):
    """The demo can't go on; the text says why."""


def cli() -> list[str]:
    """The `sluicegate` command of this environment."""
    return [sys.executable, "-m", "scripts"]


def environment(**extra: str) -> dict[str, str]:
    """Our own environment without anybody's AWS settings or proxies."""
    theirs = [k for k in os.environ if k.upper().startswith("AWS_") or k.lower().endswith("_proxy")]
    return {k: v for k, v in os.environ.items() if k not in theirs} | extra


def owner(endpoint: str, service: str) -> Any:
    """A client of the account's owner, who goes around the gateway."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="owner",
        aws_secret_access_key="owner",  # noqa: S106
    )


@contextlib.contextmanager
def pretend_aws() -> Iterator[str]:
    """moto's server; its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        yield endpoint
    finally:
        server.stop()


def furnish(endpoint: str) -> None:
    """Put a few things into the account."""
    s3, dynamodb = owner(endpoint, "s3"), owner(endpoint, "dynamodb")
    s3.create_bucket(Bucket="reports")
    s3.put_object(Bucket="reports", Key="q3.txt", Body=b"revenue is up")
    for table in ("orders", "scratch"):
        dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    dynamodb.put_item(TableName="orders", Item={"id": {"S": "1"}, "total": {"N": "42"}})
    owner(endpoint, "secretsmanager").create_secret(Name="db", SecretString=SECRET)
    owner(endpoint, "ssm").put_parameter(Name="/db/password", Value=SECRET, Type="SecureString")


def configure(here: Path, endpoint: str) -> None:
    """Write the configuration. The index of AWS's hosts, seconds of work at a first start, is kept between demos."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluicegate" / "demo"
    (here / "state").mkdir(mode=0o700)
    with contextlib.suppress(OSError):
        (cache / "wire").mkdir(mode=0o700, parents=True, exist_ok=True)
        (here / "state" / "wire").symlink_to(cache / "wire")
    (here / "policy.yaml").write_text(POLICY)
    (here / "gateway.yaml").write_text(CONFIG % endpoint)


@contextlib.contextmanager
def gateway(here: Path) -> Iterator[Callable[[], None]]:
    """`sluicegate up`: starts it, and gives what waits until it serves."""
    ready, log = here / "ready.json", here / "gateway.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*cli(), "up", "--config", str(here / "gateway.yaml"), "--ready-file", str(ready)],
            env=environment(**KEYS),
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the gateway did not start:\n{log.read_text()}")
            time.sleep(0.05)

    try:
        yield wait
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def operator(here: Path, *words: str) -> str:
    """What `sluicegate approvals ...` says to the person at the terminal."""
    done = subprocess.run(
        [*cli(), "approvals", *words, "--config", str(here / "gateway.yaml")],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    if done.returncode:
        raise Failed(f"sluicegate approvals {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def waiting(here: Path) -> dict[str, Any]:
    """The ticket of the call that is held; waits until there is one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if tickets := json.loads(operator(here, "list", "--json")):
            found: dict[str, Any] = tickets[0]
            return found
        time.sleep(0.1)
    raise Failed("no call was held")
