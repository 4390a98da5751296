"""Role chaining before moto that enforces signatures and IAM policies: only the inner role may reach the bucket."""

import json
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from tests import agent, harness
from tests.end_to_end.test_custody import client, document, moto
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
    iam, s3 = client(url, "iam"), client(url, "s3")
    iam.create_user(UserName="gateway")
    made = iam.create_access_key(UserName="gateway")["AccessKey"]
    iam.put_user_policy(UserName="gateway", PolicyName="p", PolicyDocument=document("sts:*"))
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/gateway"},
        "Action": "sts:AssumeRole",
    }
    trusted = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName="inner", AssumeRolePolicyDocument=trusted)
    iam.put_role_policy(RoleName="inner", PolicyName="p", PolicyDocument=document("s3:GetObject"))
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="key", Body=b"content")
    return made["AccessKeyId"], made["SecretAccessKey"]


@pytest.fixture(scope="module")
def gate(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    keys = furnish(moto)
    groups = f"{{developers: {{policies: [./policy.yaml], roles: ['{ROLE}', '{INNER}']}}}}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "REAL_KEY", keys[0])
        patch.setattr(harness, "REAL_SECRET", keys[1])
        with harness.gateway(tmp_path_factory.mktemp("gateway"), moto, POLICY, groups=groups) as made:
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
