"""Role chaining by unmodified clients: they get keys that are none, and AWS sees the keys of the role.

AWS here checks each signature against the keys that it gave out itself (`aws.py`), session token included: a call that
succeeds was signed with the inner role's real secret.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests import agent
from tests.end_to_end import agents
from tests.end_to_end.aws import Aws
from tests.end_to_end.test_canary import Operator
from tests.fail_closed.conftest import until
from tests.harness import ACCOUNT, REAL_KEY, ROLE, Gateway, gateway

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
READER = f"arn:aws:iam::{ACCOUNT}:role/reader"
DEPLOYER = f"arn:aws:iam::{ACCOUNT}:role/deployer"
STRANGER = f"arn:aws:iam::{ACCOUNT}:role/stranger"
OTHER = "arn:aws:iam::210987654321:role/reader"
POLICY = """\
version: 1
policies:
- name: caller
  statements:
  - {sid: chain, effect: allow, actions: ["sts:AssumeRole"], resources: ["*"]}
  - {sid: use, effect: allow, resources: ["*"], actions: ["s3:GetObject", "s3:ListBucket", "dynamodb:GetItem",
     "sts:GetCallerIdentity", "sts:GetSessionToken", "sts:GetFederationToken", "iam:*"]}
"""
INNER = """\
version: 1
policies:
- name: reader
  statements:
  - {sid: read, effect: allow, actions: ["s3:GetObject", "s3:DeleteObject", "sts:GetCallerIdentity", "sts:AssumeRole"],
     resources: ["*"]}
"""


@pytest.fixture(scope="module")
def gate(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose agents have a role of their own, and two that they may go on to."""
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "reader.yaml").write_text(INNER)
    groups = (
        f"{{developers: {{policies: [./policy.yaml], roles: ['{ROLE}']}}, "
        f"readers: {{policies: [./reader.yaml], roles: ['{READER}', '{DEPLOYER}', '{OTHER}']}}}}"
    )
    with gateway(directory, aws.url, POLICY, groups=groups) as made:
        made.groups = ["developers", "readers"]
        yield made


def client(gate: Gateway, service: str, keys: dict[str, str], v4: bool = False) -> Any:
    """A boto3 client with keys that a call returned."""
    signature = {"signature_version": "s3v4"} if v4 else {}
    return boto3.client(
        service,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        verify=gate.ca,
        config=Config(proxies={"https": gate.proxy}, retries={"total_max_attempts": 1}, **signature),
    )


def assume(
    gate: Gateway, role: str = READER, keys: dict[str, str] | None = None, name: str = "inner"
) -> dict[str, Any]:
    sts = client(gate, "sts", keys) if keys else agent.client(gate, "sts")
    answer: dict[str, Any] = sts.assume_role(RoleArn=role, RoleSessionName=name)
    return answer


def refused(call: Any, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_boto3_assumes_a_role_and_acts_as_it(gate: Gateway, aws: Aws) -> None:
    answer = assume(gate)
    keys = answer["Credentials"]
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/inner"
    assert keys["SessionToken"].startswith("SLG1.")
    assert keys["AccessKeyId"] not in aws.keys
    real = list(aws.keys)[-1]
    got = client(gate, "s3", keys).get_object(Bucket="reports", Key="q3.txt")
    assert got["Body"].read() == b"revenue up"
    assert f"Credential={real}/" in aws.asked[-1].headers["authorization"]
    who = client(gate, "sts", keys).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/inner"


def test_a_chained_session_answers_to_the_policies_of_its_caller_and_of_the_role(gate: Gateway, aws: Aws) -> None:
    keys, before = assume(gate)["Credentials"], len(aws.asked)
    s3 = client(gate, "s3", keys)
    code, message = refused(s3.delete_object, Bucket="reports", Key="q3.txt")  # the role's policies alone allow it
    assert (code, "s3:DeleteObject" in message) == ("AccessDenied", True)
    code, message = refused(client(gate, "dynamodb", keys).get_item, TableName="orders", Key={"id": {"S": "1"}})
    assert (code, "dynamodb:GetItem" in message) == ("AccessDeniedException", True)  # the caller's alone
    assert len(aws.asked) == before
    assert agent.client(gate, "dynamodb").get_item(TableName="orders", Key={"id": {"S": "1"}})["Item"]


def test_a_role_that_no_group_has_is_refused_with_the_way_to_bind_it(gate: Gateway, aws: Aws) -> None:
    before = len(aws.asked)
    sts = agent.client(gate, "sts")
    code, message = refused(sts.assume_role, RoleArn=STRANGER, RoleSessionName="inner")
    assert code == "AccessDenied"
    assert f"no group of agent/ada has the role {STRANGER}" in message
    assert "roles of a group in gateway.yaml" in message
    assert len(aws.asked) == before


def test_roles_are_assumed_one_from_the_other_up_to_a_bound(gate: Gateway, aws: Aws) -> None:
    keys = assume(gate)["Credentials"]
    for number in range(4):
        keys = assume(gate, DEPLOYER, keys, f"inner-{number}")["Credentials"]
    assert len(keys["SessionToken"]) < 4096
    who = client(gate, "sts", keys).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/inner-3"
    before = len(aws.asked)
    code, message = refused(client(gate, "sts", keys).assume_role, RoleArn=READER, RoleSessionName="inner")
    assert (code, "5 roles were assumed" in message) == ("AccessDenied", True)
    assert len(aws.asked) == before


def test_a_role_of_another_account_acts_in_that_account(gate: Gateway) -> None:
    keys = assume(gate, OTHER)["Credentials"]
    assert client(gate, "sts", keys).get_caller_identity()["Account"] == OTHER.split(":")[4]
    line = gate.calls()[-1]
    assert line["userIdentity"]["arn"] == "arn:aws:sts::210987654321:assumed-role/reader/inner"
    assert line["userIdentity"]["sessionContext"]["sourceIdentity"] == "agent/ada"
    assert line["additionalEventData"]["sluicegate"]["assumed"] == [OTHER]


def test_a_presigned_url_of_a_chained_session_is_signed_as_the_role(gate: Gateway, aws: Aws) -> None:
    keys = assume(gate)["Credentials"]
    real = list(aws.keys)[-1]
    url = client(gate, "s3", keys, v4=True).generate_presigned_url("get_object", {"Bucket": "reports", "Key": "q3.txt"})
    got = urllib3.ProxyManager(gate.proxy, ca_certs=gate.ca).request("GET", url)
    assert (got.status, got.data) == (200, b"revenue up")
    assert f"Credential={real}/" in aws.asked[-1].headers["authorization"]


def test_the_log_leads_from_the_answer_to_the_calls_with_its_keys(gate: Gateway) -> None:
    keys = assume(gate)["Credentials"]
    client(gate, "sts", keys).get_caller_identity()
    returned, used = gate.calls()[-2:]
    assert returned["eventName"] == "AssumeRole"
    assert returned["additionalEventData"]["sluicegate"]["returnedKey"] == keys["AccessKeyId"]
    assert used["additionalEventData"]["sluicegate"]["agentKey"] == keys["AccessKeyId"]
    assert (
        used["additionalEventData"]["sluicegate"]["sessionId"]
        == (returned["additionalEventData"]["sluicegate"]["sessionId"])
    )


def test_keys_of_the_caller_itself_act_for_the_caller(gate: Gateway, aws: Aws) -> None:
    sts = agent.client(gate, "sts")
    for ask in (sts.get_session_token, lambda: sts.get_federation_token(Name="tool")):
        keys = ask()["Credentials"]
        assert keys["SessionToken"].startswith("SLG1.")
        assert client(gate, "dynamodb", keys).get_item(TableName="orders", Key={"id": {"S": "1"}})["Item"]
        assert f"Credential={REAL_KEY}/" not in aws.asked[-1].headers["authorization"]


def test_long_lived_keys_are_refused_whatever_is_allowed(gate: Gateway, aws: Aws) -> None:
    before = len(aws.asked)
    iam = agent.client(gate, "iam")
    code, message = refused(iam.create_access_key, UserName="ada")
    assert (code, "assume a role instead" in message) == ("AccessDenied", True)
    assert refused(iam.create_service_specific_credential, UserName="ada", ServiceName="codecommit.amazonaws.com")
    assert len(aws.asked) == before


@pytest.mark.parametrize("change", ["AccessKeyId", "SecretAccessKey", "SessionToken"])
def test_parts_of_two_sets_open_nothing(gate: Gateway, aws: Aws, change: str) -> None:
    one, other, before = assume(gate)["Credentials"], assume(gate)["Credentials"], len(aws.asked)
    code, _ = refused(client(gate, "sts", one | {change: other[change]}).get_caller_identity)
    assert code in ("InvalidClientTokenId", "SignatureDoesNotMatch")
    assert len(aws.asked) == before
    assert client(gate, "sts", one).get_caller_identity()


def profiles(gate: Gateway, directory: Path) -> dict[str, str]:
    """An environment in which the default profile is a role, assumed from the one that the agent signs in to."""
    environ = gate.environment()
    (directory / "config").write_text(
        f"[profile base]\nrole_arn = {ROLE}\nweb_identity_token_file = {environ['AWS_WEB_IDENTITY_TOKEN_FILE']}\n"
        f"role_session_name = base\n[profile inner]\nrole_arn = {READER}\nsource_profile = base\n"
        "role_session_name = from-profile\n"
    )
    kept = {k: v for k, v in environ.items() if k not in ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")}
    return kept | {"AWS_CONFIG_FILE": str(directory / "config"), "AWS_PROFILE": "inner", "HOME": str(directory)}


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.long if "cli" in k else ()) for k in agents.KINDS])
def test_a_profile_with_a_source_profile_works_unchanged(gate: Gateway, aws: Aws, kind: str, tmp_path: Path) -> None:
    argv, extra = agents.command(kind)
    environ = profiles(gate, tmp_path) | extra
    if kind == "javascript":
        environ |= {"NODE_OPTIONS": f"--require={agents.PRELOAD}", "NODE_EXTRA_CA_CERTS": gate.ca}
    with agents.running(kind, argv, environ, tmp_path) as made:
        found = made.call("sts", "GetCallerIdentity")
        assert found.value["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/from-profile", found
        assert made.call("s3", "GetObject", Bucket="reports", Key="q3.txt").value["Body"] == "revenue up"
        assert made.call("s3", "DeleteObject", Bucket="reports", Key="q3.txt").code == "AccessDenied"


def test_javascripts_temporary_credentials_work_unchanged(gate: Gateway, aws: Aws, tmp_path: Path) -> None:
    with agents.agent("javascript", gate, tmp_path) as made:
        made.call("", "fromTemporaryCredentials", RoleArn=READER, RoleSessionName="from-js")
        found = made.call("sts", "GetCallerIdentity")
        assert found.value["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/from-js", found
        assert made.call("s3", "GetObject", Bucket="reports", Key="q3.txt").value["Body"] == "revenue up"


def test_no_returned_credential_is_anywhere(gate: Gateway, aws: Aws) -> None:
    keys = assume(gate)["Credentials"]
    client(gate, "sts", keys).get_caller_identity()
    needles = {f"{what} of {key}": part.encode() for key, found in aws.keys.items() for what, part in parts(key, found)}
    assert len(needles) > 20
    minted = {
        "a synthetic secret": keys["SecretAccessKey"].encode(),
        "a synthetic token": keys["SessionToken"].encode(),
    }
    given = {gate.token_file()}
    files = {str(path): path.read_bytes() for path in gate.directory.rglob("*") if path.is_file() and path not in given}
    assert any(name.endswith(".mitm") and b"AssumeRole" in content for name, content in files.items())
    assert [(what, name) for name, body in files.items() for what, n in (needles | minted).items() if n in body] == []
    pages = Operator(gate).everything()
    assert any(b"AssumeRole" in body for body in pages.values())
    told = {"a synthetic secret": minted["a synthetic secret"]}  # the token is in what the agent sends, as always
    assert [(what, page) for page, body in pages.items() for what, n in (needles | told).items() if n in body] == []
    assert not {keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]} & {
        n.decode() for n in needles.values()
    }


def parts(key: str, found: tuple[str, str | None]) -> list[tuple[str, str]]:
    """A real set as (what, text)."""
    secret, token = found
    return [("the key", key), ("the secret", secret), *([("the token", token)] if token else [])]


def refusal(call: Any) -> str:
    """The message of a refusal, or ""."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Message"])
    return ""


def test_who_freezes_the_callers_session_freezes_the_chained_one(gate: Gateway, aws: Aws) -> None:
    sts = client(gate, "sts", assume(gate)["Credentials"])
    assert sts.get_caller_identity()
    session = gate.calls()[-1]["additionalEventData"]["sluicegate"]["sessionId"]
    gate.cli("freeze", "--session", session)
    try:
        until(lambda: "this session was frozen" in refusal(sts.get_caller_identity), "the freeze")
        before = len(aws.asked)
        assert refusal(sts.get_caller_identity)
        assert len(aws.asked) == before
    finally:
        gate.cli("thaw", "--session", session)
    until(lambda: not refusal(sts.get_caller_identity), "the thaw")


def test_a_role_that_is_no_longer_bound_acts_no_more(gate: Gateway, aws: Aws) -> None:
    sts = client(gate, "sts", assume(gate)["Credentials"])
    assert sts.get_caller_identity()
    bound = gate.config.read_text()
    gate.config.write_text(bound.replace(READER, STRANGER))
    try:
        told = f"no longer have the role {READER}"
        until(lambda: told in refusal(sts.get_caller_identity), "the reload")
        before = len(aws.asked)
        assert refusal(sts.get_caller_identity)
        assert len(aws.asked) == before
    finally:
        gate.config.write_text(bound)
    until(lambda: not refusal(sts.get_caller_identity), "the reload back")
