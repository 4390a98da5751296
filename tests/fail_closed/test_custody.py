"""Whose credentials a call leaves with, and that neither a stranger's bucket nor another agent gets any use of them."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from botocore.config import Config
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader

from addons.identity.local import LocalIssuer
from addons.state.store import Stop
from tests import agent
from tests.agent import Answer
from tests.fail_closed.conftest import Background, Stand, standing, until
from tests.fail_closed.test_freeze import put
from tests.harness import ACCOUNT, REAL_KEY, ROLE, Seen, configuration

pytestmark = pytest.mark.long  # many gateways

REAL, THERE, STRANGER = "arn:aws:iam::444455556666:role/real", "444455556666", "999999999999"
NOT_ASSUMED, PER_CALL, REFUSED = (ROLE.replace("agents", name) for name in ("plain", "per-call", "refused"))
SLOW = ROLE.replace("agents", "slow")
GROUPS = (
    f"{{developers: {{policies: [./policy.yaml], roles: ['{ROLE}'], assume: {{role: '{REAL}', external_id: gate-1}}}}, "
    f"plain: {{policies: [./policy.yaml], roles: ['{NOT_ASSUMED}']}}, "
    f"careful: {{policies: [./policy.yaml], roles: ['{PER_CALL}'], assume: {{role: '{REAL}', session_policy: call}}}}, "
    f"slow: {{policies: [./policy.yaml], roles: ['{SLOW}'], assume: {{role: '{REAL}-slow'}}}}, "
    f"refused: {{policies: [./policy.yaml], roles: ['{REFUSED}'], assume: {{role: '{REAL}-no'}}}}}}"
)
SECRET, TOKEN = "assumed-canary-secret", "assumed-canary-token"
OWNERS = {"data": THERE, "friends-1": "555555555555", "strangers": STRANGER}
POLICY = """\
version: 1
policies:
- name: agent
  statements:
  - sid: all
    effect: allow
    actions: ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "dynamodb:GetItem"]
    resources: ["arn:aws:s3:::*", "arn:aws:dynamodb:us-east-1:444455556666:table/*"]
"""


class Aws:
    """STS, S3 that checks owners as S3 does, and DynamoDB."""

    def __init__(self) -> None:
        self.assumed: list[dict[str, str]] = []
        self.others: list[Seen] = []
        self.secrets: dict[str, str] = {}  # access key -> its secret

    def __call__(self, seen: Seen) -> tuple[int, dict[str, str], bytes]:
        if b"Action=AssumeRole" in seen.body:
            self.assumed.append({name: values[0] for name, values in parse_qs(seen.body.decode()).items()})
            return self.assume(len(self.assumed))
        self.others.append(seen)
        if not seen.headers["host"].partition(".")[2].startswith("s3."):
            return 200, {"content-type": "application/x-amz-json-1.0"}, b"{}"
        source = seen.headers.get("x-amz-copy-source", "").partition("/")[0]
        buckets = {"x-amz-expected-bucket-owner": seen.headers["host"].partition(".")[0]}
        buckets |= {"x-amz-source-expected-bucket-owner": source} if source else {}
        for header, bucket in buckets.items():
            if header in seen.headers and seen.headers[header] != OWNERS[bucket]:
                body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
                return 403, {"content-type": "application/xml"}, body
        return 200, {"content-type": "application/xml"}, b"<CopyObjectResult/>" if source else b""

    def assume(self, number: int) -> tuple[int, dict[str, str], bytes]:
        xmlns, kind = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"', {"content-type": "text/xml"}
        if self.assumed[-1]["RoleArn"].endswith("-no"):
            text = f"<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>m {SECRET}</Message></Error>"
            return 403, kind, f"<ErrorResponse {xmlns}>{text}<RequestId>r</RequestId></ErrorResponse>".encode()
        if self.assumed[-1]["RoleArn"].endswith("-slow"):
            time.sleep(1.5)
        end = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        key = f"ASIAREAL{number:012}"
        self.secrets[key] = f"{SECRET}-{number}"
        found = (
            f"<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{self.secrets[key]}</SecretAccessKey>"
            f"<SessionToken>{TOKEN}-{number}</SessionToken><Expiration>{end}</Expiration></Credentials>"
            f"<AssumedRoleUser><Arn>arn:aws:sts::{THERE}:assumed-role/real/s</Arn><AssumedRoleId>A:s</AssumedRoleId>"
            "</AssumedRoleUser>"
        )
        text = f"<AssumeRoleResponse {xmlns}><AssumeRoleResult>{found}</AssumeRoleResult></AssumeRoleResponse>"
        return 200, kind, text.encode()


def begin(directory: Path, aws: Aws, **extra: str) -> Any:
    upstream = "{endpoint: ENDPOINT, accounts: {'555555555555': ['friends-*']}}"
    return standing(directory, POLICY, False, **({"groups": GROUPS, "upstream": upstream} | extra))


@pytest.fixture(scope="module")
def custody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stand, Aws]]:
    aws = Aws()
    with begin(tmp_path_factory.mktemp("custody"), aws) as stand:
        stand.upstream.answer = aws
        yield stand, aws


def s3(stand: Stand, method: str = "GET", bucket: str = "data", keys: Any = None, **headers: str) -> Answer:
    raw = stand.raw(host=f"{bucket}.s3.us-east-1.amazonaws.com", service="s3", **({"keys": keys} if keys else {}))
    given = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"} | {n.replace("_", "-"): v for n, v in headers.items()}
    return raw.send(method, "/k", raw.signed(method, "/k", given, b""))


def key_of(seen: Seen) -> str:
    return str(re.findall("Credential=([A-Z0-9]+)/", seen.headers["authorization"])[0])


def block(stand: Stand) -> dict[str, Any]:
    found: dict[str, Any] = stand.last_call()["additionalEventData"]["sluicegate"]
    return found


def keys_of(stand: Stand, subject: str, group: str = "developers", role: str = ROLE) -> tuple[str, str, str]:
    """What another agent gets at its sign-in."""
    issuer = LocalIssuer.open(stand.gateway.directory / "state")
    path = stand.gateway.directory / "agent.token"
    kept, environment = path.read_text(), stand.gateway.environment
    try:
        path.write_text(issuer.token(subject, [group], duration=3600))
        stand.gateway.environment = lambda: environment() | {"AWS_ROLE_ARN": role}  # type: ignore[method-assign]
        return agent.sign_in(stand.gateway)
    finally:
        path.write_text(kept)
        stand.gateway.environment = environment  # type: ignore[method-assign]


def test_a_call_leaves_with_credentials_of_the_sessions_own(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    assert stand.call().status == 200
    asked = aws.assumed[0]
    assert asked["RoleArn"] == REAL
    assert asked["ExternalId"] == "gate-1"
    assert asked["SourceIdentity"] == asked["RoleSessionName"]
    assert asked["SourceIdentity"].startswith("agent-ada-")
    assert "agent/ada" in asked.values()  # a tag
    allow, behalf, wall = json.loads(asked["Policy"])["Statement"]
    assert allow["Action"] == ["dynamodb:GetItem", "s3:GetObject", "s3:ListBucket", "s3:PutObject"]
    assert behalf["Condition"] == {"Bool": {"aws:ViaAWSService": "true"}}
    assert wall["Condition"]["StringNotEquals"] == {"aws:ResourceAccount": [THERE, "555555555555"]}
    seen = aws.others[-1]
    number = key_of(seen).removeprefix("ASIAREAL").lstrip("0")
    assert seen.headers["x-amz-security-token"] == f"{TOKEN}-{number}"
    assert signature(seen, aws.secrets[key_of(seen)]) == seen.headers["authorization"].rpartition("=")[2]
    before = len(aws.assumed)
    assert stand.call().status == 200
    assert len(aws.assumed) == before  # kept
    assert block(stand)["signedAs"] == {"role": REAL, "sessionPolicy": "statements"}


def signature(seen: Seen, secret: str) -> str:
    """What botocore signs the same request with."""
    names = re.findall("SignedHeaders=([^,]+)", seen.headers["authorization"])[0].split(";")
    credentials = botocore.credentials.Credentials("k", secret)
    signer = botocore.auth.SigV4Auth(credentials, "dynamodb", "us-east-1")
    url, headers = f"https://{seen.headers['host']}{seen.path}", {name: seen.headers[name] for name in names}
    request = botocore.awsrequest.AWSRequest(seen.method, url, headers, seen.body)
    request.context["timestamp"] = seen.headers["x-amz-date"]
    signer.headers_to_sign = lambda request: request.headers
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


def test_resources_are_in_the_account_of_the_role_that_is_assumed(custody: tuple[Stand, Aws]) -> None:
    stand, _ = custody
    assert stand.call().status == 200  # the policy's table is in that account alone
    line = stand.last_call()
    assert line["recipientAccountId"] == THERE
    assert {entry["ARN"] for entry in line["resources"]} == {f"arn:aws:dynamodb:us-east-1:{THERE}:table/t"}


def test_a_session_of_another_group_keeps_the_gateways_own(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    keys = keys_of(stand, "agent/plain", "plain", NOT_ASSUMED)
    before = len(aws.assumed)
    assert s3(stand, keys=keys).status == 403  # of S3: the bucket is of another account than the gateway's
    assert aws.others[-1].headers["x-amz-expected-bucket-owner"] == ACCOUNT
    assert key_of(aws.others[-1]) == REAL_KEY
    assert len(aws.assumed) == before
    assert block(stand)["signedAs"] is None
    with stand.nothing_passes():
        assert stand.call(keys=keys).status == 403  # the table is in that account alone


def test_two_agents_never_share_credentials(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    assert s3(stand).status == 200
    mine = key_of(aws.others[-1])
    assert s3(stand, keys=keys_of(stand, "agent/eve")).status == 200
    theirs = key_of(aws.others[-1])
    assert mine != theirs
    assert aws.assumed[-1]["SourceIdentity"].startswith("agent-eve-")
    assert s3(stand).status == 200
    assert key_of(aws.others[-1]) == mine


def test_a_role_that_aws_refuses_refuses_the_call_in_its_protocol(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    keys, before = keys_of(stand, "agent/refused", "refused", REFUSED), len(aws.others)
    answer = stand.call(keys=keys)
    assert answer.status == 503
    assert json.loads(answer.body)["__type"].endswith("ServiceUnavailable")
    for text in (REAL.encode(), b"sts:TagSession", b"AccessDenied"):
        assert text in answer.body
    refused = s3(stand, keys=keys)
    assert refused.status == 503
    assert b"<Code>ServiceUnavailable</Code>" in refused.body
    assert len(aws.others) == before
    assert stand.last_call()["errorCode"] == "ServiceUnavailable"
    assert block(stand)["refusedBy"] == "sign"
    assert SECRET not in json.dumps(stand.records())


def test_an_agent_that_is_frozen_while_sts_is_asked_sends_nothing(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    keys, before, calls = keys_of(stand, "agent/slow", "slow", SLOW), len(aws.assumed), len(aws.others)
    waiting = Background(lambda: stand.call(keys=keys))
    until(lambda: len(aws.assumed) > before, "a call of STS")
    put(stand, Stop("freeze", "subject", "agent/slow", time.time(), "ops"))
    answer = waiting.done()
    assert answer.status == 403
    assert b"frozen by ops" in answer.body
    assert len(aws.others) == calls
    assert block(stand)["refusedBy"] == "sign"


def test_a_call_gets_a_session_policy_of_its_own(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    keys, before, calls = keys_of(stand, "agent/careful", "careful", PER_CALL), len(aws.assumed), len(aws.others)
    assert stand.call(keys=keys).status == 200
    assert s3(stand, "PUT", x_amz_copy_source="friends-1/a", keys=keys).status == 200
    assert s3(stand, keys=keys).status == 200
    assert len({key_of(seen) for seen in aws.others[calls:]}) == 3
    assert s3(stand, keys=keys).status == 200
    assert block(stand)["signedAs"] == {"role": REAL, "sessionPolicy": "call"}
    found = [json.loads(fields["Policy"])["Statement"][:-2] for fields in aws.assumed[before:]]
    table, copy, read = ([(s["Action"], s["Resource"]) for s in statements] for statements in found)
    assert table == [(["dynamodb:GetItem"], [f"arn:aws:dynamodb:us-east-1:{THERE}:table/t"])]
    assert copy == [(["s3:PutObject"], ["arn:aws:s3:::data/k"]), (["s3:GetObject"], ["arn:aws:s3:::friends-1/a"])]
    assert read == [(["s3:GetObject"], ["arn:aws:s3:::data/k"])]


def test_an_agent_learns_the_account_that_its_calls_go_to(custody: tuple[Stand, Aws]) -> None:
    """SDKs take it from the answer to the sign-in, for hosts that name an account."""
    stand, _ = custody
    unsigned = Config(proxies={"https": stand.gateway.proxy}, signature_version=botocore.UNSIGNED)
    sts = boto3.client("sts", region_name="us-east-1", verify=stand.gateway.ca, config=unsigned)
    for role, group, account in ((ROLE, "developers", THERE), (NOT_ASSUMED, "plain", ACCOUNT)):
        token = LocalIssuer.open(stand.gateway.directory / "state").token("agent/x", [group], duration=3600)
        found = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="test", WebIdentityToken=token)
        assert found["AssumedRoleUser"]["Arn"].startswith(f"arn:aws:sts::{account}:assumed-role/")


@pytest.mark.long
def test_what_a_reload_says_of_a_group_counts_from_the_next_call(tmp_path: Path) -> None:
    aws = Aws()
    with begin(tmp_path, aws) as stand:
        stand.upstream.answer = aws
        assert s3(stand).status == 200
        assert key_of(aws.others[-1]).startswith("ASIA")

        def reload(groups: str) -> None:
            upstream = f"{{endpoint: '{stand.upstream.url}'}}"
            before = sum(line["eventName"] == "reload" for line in stand.records())
            stand.gateway.config.write_text(configuration("", groups=groups, upstream=upstream))
            until(lambda: sum(line["eventName"] == "reload" for line in stand.records()) > before, "a reload")

        reload(GROUPS.replace(f", assume: {{role: '{REAL}', external_id: gate-1}}", ""))
        s3(stand)
        assert key_of(aws.others[-1]) == REAL_KEY
        reload(GROUPS.replace("role/real", "role/other"))
        assert s3(stand).status == 200
        assert aws.assumed[-1]["RoleArn"].endswith("role/other")
        reload(GROUPS.replace("{developers:", "{others:"))
        with stand.nothing_passes():
            assert s3(stand).status == 403


def test_an_agent_can_not_reach_a_strangers_bucket(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    assert s3(stand).status == 200
    assert aws.others[-1].headers["x-amz-expected-bucket-owner"] == THERE
    assert "x-amz-expected-bucket-owner" in aws.others[-1].headers["authorization"]  # signed
    assert s3(stand, "PUT", "strangers").status == 403
    assert block(stand)["added"] == {"x-amz-expected-bucket-owner": THERE}
    assert s3(stand, "PUT", "strangers", x_amz_copy_source="data/k").status == 403
    assert s3(stand, "PUT", x_amz_copy_source="strangers/k").status == 403
    assert s3(stand, "PUT", x_amz_copy_source="data/j").status == 200
    assert aws.others[-1].headers["x-amz-source-expected-bucket-owner"] == THERE


def test_listed_accounts_buckets_are_reached(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    assert s3(stand, bucket="friends-1").status == 200
    assert aws.others[-1].headers["x-amz-expected-bucket-owner"] == "555555555555"
    assert s3(stand, bucket="friends-1", x_amz_expected_bucket_owner="555555555555").status == 200
    assert block(stand)["added"] == {}


@pytest.mark.parametrize("owner", [STRANGER, ACCOUNT, "", "*", "0", THERE + "0"])
def test_an_owner_that_is_not_listed_is_refused(custody: tuple[Stand, Aws], owner: str) -> None:
    stand, _ = custody
    with stand.nothing_passes():
        answer = s3(stand, "PUT", "strangers", x_amz_expected_bucket_owner=owner)
    assert answer.status == 403
    with stand.nothing_passes():
        copied = s3(stand, "PUT", x_amz_copy_source="strangers/k", x_amz_source_expected_bucket_owner=owner)
    assert copied.status == 403
    assert b"upstream.accounts" in copied.body


def test_the_owner_named_by_the_agent_may_be_the_accounts_own(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    assert s3(stand, x_amz_expected_bucket_owner=THERE).status == 200
    assert aws.others[-1].headers["x-amz-expected-bucket-owner"] == THERE


def test_presigned_urls_name_the_owner_too(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    raw = stand.raw(host="strangers.s3.us-east-1.amazonaws.com", service="s3")
    for bucket, status in (("data", 200), ("strangers", 403)):
        raw.host = f"{bucket}.s3.us-east-1.amazonaws.com"
        request = botocore.awsrequest.AWSRequest("GET", f"https://{raw.host}/k")
        credentials = botocore.credentials.Credentials(*stand.keys)
        botocore.auth.S3SigV4QueryAuth(credentials, "s3", "us-east-1").add_auth(request)
        target = request.url.partition(raw.host)[2]
        assert raw.send("GET", target, [("Host", raw.host)]).status == status
        assert aws.others[-1].headers["x-amz-expected-bucket-owner"] == THERE


def test_streamed_uploads_name_the_owner_too(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    body = b"x" * 100_000
    for bucket, status in (("data", 200), ("strangers", 403)):
        raw = stand.raw(host=f"{bucket}.s3.us-east-1.amazonaws.com", service="s3")
        headers = raw.signed("PUT", "/k", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, body)
        assert raw.send("PUT", "/k", headers, body).status == status
        assert aws.others[-1].headers["x-amz-expected-bucket-owner"] == THERE
        assert aws.others[-1].body == body


def test_no_assumed_key_is_written_down_or_shown(custody: tuple[Stand, Aws]) -> None:
    stand, aws = custody
    assert aws.secrets  # the tests above have used some
    answers = [s3(stand), stand.call(), s3(stand, "PUT", "strangers")]
    until(lambda: any((stand.gateway.directory / "sessions").rglob("*.mitm")), "a recording")
    needles = [SECRET.encode(), TOKEN.encode(), *(key.encode() for key in aws.secrets)]
    files = [path for path in stand.gateway.directory.rglob("*") if path.is_file()]
    assert {"audit", "sessions", "state"} <= {path.relative_to(stand.gateway.directory).parts[0] for path in files}
    assert [(path.name, needle) for path in files for needle in needles if needle in path.read_bytes()] == []
    assert not [needle for answer in answers for needle in needles if needle in answer.body + repr(answer).encode()]


def test_the_agents_own_request_is_what_is_recorded(custody: tuple[Stand, Aws]) -> None:
    stand, _ = custody
    assert s3(stand).status == 200
    added = {
        line["eventID"]
        for line in stand.gateway.calls()
        if line["additionalEventData"]["sluicegate"]["added"]
        and "expected" not in json.dumps(line["requestParameters"])
    }
    assert stand.last_call()["eventID"] in added
    found = [flow for path in stand.gateway.directory.rglob("*.mitm") for flow in flows(path)]
    found = [flow for flow in found if flow.metadata["eventID"] in added]
    assert found
    assert not [flow for flow in found if flow.request.headers.get("x-amz-expected-bucket-owner")]


def flows(path: Path) -> list[HTTPFlow]:
    with path.open("rb") as file:
        return [flow for flow in FlowReader(file).stream() if isinstance(flow, HTTPFlow)]
