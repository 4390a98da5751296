"""Role chaining before moto that enforces signatures and IAM policies: only the inner role may reach the bucket."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from tests import agent
from tests.end_to_end.test_custody import client, gateway_of, moto, user_and_role
from tests.end_to_end.test_role_chaining import client as chained
from tests.harness import ACCOUNT, ROLE, Gateway

__all__ = ["moto"]
INNER = f"arn:aws:iam::{ACCOUNT}:role/inner"
POLICY = """\
version: 1
policies:
- name: agent
  statements:
  - {sid: all, effect: allow, actions: ["s3:*", "sts:AssumeRole"], resources: ["*"]}
"""


def furnish(url: str) -> tuple[str, str]:
    """A user for the gateway that may do nothing but assume roles, and a role that may read one bucket.

    As many requests as moto takes before it enforces (`test_custody.BEFORE`).
    """
    keys, s3 = user_and_role(url, "inner", ["sts:AssumeRole"], ["s3:GetObject"]), client(url, "s3")
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="key", Body=b"content")
    return keys


@pytest.fixture(scope="module")
def gate(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    keys = furnish(moto)
    groups = f"{{developers: {{policies: [./policy.yaml], roles: ['{ROLE}', '{INNER}']}}}}"
    with gateway_of(keys, tmp_path_factory.mktemp("gateway"), moto, POLICY, groups) as made:
        yield made


@pytest.mark.long
def test_the_inner_roles_keys_verify_and_its_rights_count(gate: Gateway) -> None:
    with pytest.raises(ClientError) as caught:  # the gateway's own key has no right to it
        agent.client(gate, "s3").get_object(Bucket="data", Key="key")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    assert gate.calls()[-1]["additionalEventData"]["sluicegate"]["upstreamStatus"] == 403
    found = agent.client(gate, "sts").assume_role(RoleArn=INNER, RoleSessionName="inner")["Credentials"]
    s3 = chained(gate, "s3", found)
    assert s3.get_object(Bucket="data", Key="key")["Body"].read() == b"content"
    with pytest.raises(ClientError) as caught:  # allowed here, and not by the inner role's own policy
        s3.put_object(Bucket="data", Key="other", Body=b"x")
    assert gate.calls()[-1]["additionalEventData"]["sluicegate"]["upstreamStatus"] == 403
