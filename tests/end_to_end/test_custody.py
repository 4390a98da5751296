"""An assumed role before moto that enforces signatures and IAM policies: every call is signed with what STS gave.

moto checks no session policy and no external id. It does check whose key signed, the session token, the trust policy's
principal, and what the role's own policies allow.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from scripts.client.ports import free_port
from tests import agent, harness
from tests.harness import ACCOUNT, ROLE, Gateway

pytestmark = pytest.mark.long

REAL = f"arn:aws:iam::{ACCOUNT}:role/real"
BEFORE = 7  # requests of `furnish`: from then on moto enforces
POLICY = """\
version: 1
policies:
- name: agent
  statements:
  - {sid: all, effect: allow, actions: ["s3:*", "dynamodb:*", "sts:GetCallerIdentity"], resources: ["*"]}
"""


def document(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env=os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(BEFORE)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                requests.get(f"{url}/moto-api/data.json", timeout=5)
                break
            except requests.ConnectionError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def client(moto: str, service: str, key: str = "setup", secret: str = "setup") -> Any:
    settings = {"endpoint_url": moto, "aws_access_key_id": key, "aws_secret_access_key": secret}
    return boto3.client(service, region_name="us-east-1", **settings)


def user_and_role(moto: str, role: str, trusted: list[str], allowed: list[str]) -> tuple[str, str]:
    """The keys of a new user for the gateway, who may do nothing but assume roles; and a role that trusts it."""
    iam = client(moto, "iam")
    iam.create_user(UserName="gateway")
    made = iam.create_access_key(UserName="gateway")["AccessKey"]
    iam.put_user_policy(UserName="gateway", PolicyName="p", PolicyDocument=document("sts:*"))
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/gateway"}, "Action": trusted}
    trusting = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=trusting)
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=document(*allowed))
    return made["AccessKeyId"], made["SecretAccessKey"]


@contextlib.contextmanager
def gateway_of(keys: tuple[str, str], directory: Path, moto: str, policy: str, groups: str) -> Iterator[Gateway]:
    """A gateway whose real credentials are these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "REAL_KEY", keys[0])
        patch.setattr(harness, "REAL_SECRET", keys[1])
        with harness.gateway(directory, moto, policy, groups=groups) as made:
            yield made


def furnish(moto: str) -> tuple[str, str]:
    """A user for the gateway that may do nothing but assume a role, and what the role may reach."""
    keys = user_and_role(moto, "real", ["sts:AssumeRole", "sts:TagSession"], ["s3:*", "sts:*", "dynamodb:ListTables"])
    client(moto, "s3").create_bucket(Bucket="data")
    client(moto, "dynamodb").list_tables()
    return keys


@pytest.fixture(scope="module")
def gate(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, tuple[str, str]]]:
    keys = furnish(moto)
    groups = f"{{developers: {{policies: [./policy.yaml], roles: ['{ROLE}'], assume: {{role: '{REAL}'}}}}}}"
    with gateway_of(keys, tmp_path_factory.mktemp("gateway"), moto, POLICY, groups) as made:
        yield made, keys


def refused(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


def test_moto_enforces(moto: str, gate: tuple[Gateway, tuple[str, str]]) -> None:
    """The control: neither a wrong secret nor the gateway's own key opens what the role may reach."""
    key, secret = gate[1]
    assert refused(client(moto, "s3", key, "wrong").list_objects_v2, Bucket="data") == "SignatureDoesNotMatch"
    assert refused(client(moto, "s3", key, secret).list_objects_v2, Bucket="data") == "AccessDenied"


def test_every_kind_of_call_is_signed_with_the_assumed_roles_credentials(gate: tuple[Gateway, Any]) -> None:
    s3 = agent.client(gate[0], "s3")
    s3.put_object(Bucket="data", Key="a b/ü+c~!*'().txt", Body=b"content")
    s3.copy_object(Bucket="data", Key="copy", CopySource={"Bucket": "data", "Key": "a b/ü+c~!*'().txt"})
    assert s3.get_object(Bucket="data", Key="copy")["Body"].read() == b"content"
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="data")["Contents"]] == ["a b/ü+c~!*'().txt", "copy"]
    assert agent.client(gate[0], "dynamodb").list_tables()["TableNames"] == []


def test_aws_sees_the_role_and_the_subject(gate: tuple[Gateway, Any]) -> None:
    found = agent.client(gate[0], "sts").get_caller_identity()
    assert found["Account"] == ACCOUNT
    assert found["Arn"].startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/real/agent-ada-")


def test_what_the_gateway_allows_and_the_role_does_not_is_awss_own_refusal(gate: tuple[Gateway, Any]) -> None:
    table = {"TableName": "t", "Key": {"k": {"S": "v"}}}
    assert refused(agent.client(gate[0], "dynamodb").delete_item, **table) == "403"  # moto's own word
    block = gate[0].calls()[-1]["additionalEventData"]["sluicegate"]
    assert (block["decision"]["effect"], block["refusedBy"], block["upstreamStatus"]) == ("allow", None, 403)
