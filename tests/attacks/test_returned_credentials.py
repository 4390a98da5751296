"""Answers with credentials that an attacker, or a broken AWS, makes odd: no real key reaches the agent, ever.

Each refusal stands beside the same call with a sound answer, which succeeds.
"""

import json
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError

from tests import agent
from tests.agent import Answer
from tests.fail_closed.conftest import Stand, standing, until
from tests.harness import ACCOUNT, ROLE, Seen

INNER = f"arn:aws:iam::{ACCOUNT}:role/inner"
KEY, SECRET, TOKEN = "ASIAREALREALREALREAL", "inner/real+secret/inner/real+secret/inne", "IQoJb3JpZ2lu//inner+token"
REAL = [part.encode() for part in (KEY, SECRET, TOKEN)]
SET = (
    f"<Credentials><AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
    f"<SessionToken>{TOKEN}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
)
POLICY = """\
version: 1
policies:
- name: all
  statements:
  - {sid: all, effect: allow, resources: ["*"], actions: ["sts:*", "s3:*", "iam:*", "s3express:CreateSession",
     "codepipeline:PollForJobs", "lakeformation:GetTemporaryGlueTableCredentials"]}
  - {sid: ask, effect: approve, resources: ["*"], actions: ["dynamodb:DeleteTable"]}
"""


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A gateway under which everything is allowed, with no rule of redaction, and two roles."""
    groups = f"{{developers: {{policies: [./policy.yaml], roles: ['{ROLE}', '{INNER}']}}}}"
    with standing(tmp_path_factory.mktemp("gateway"), POLICY, groups=groups, redaction="[]") as made:
        yield made


def assume(stand: Stand, role: str | None = INNER, **more: str) -> Answer:
    fields = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleSessionName": "inner"} | more
    if role is not None:
        fields["RoleArn"] = role
    return form(stand, fields)


def form(stand: Stand, fields: dict[str, str]) -> Answer:
    raw, body = stand.raw(host="sts.us-east-1.amazonaws.com", service="sts"), urlencode(fields).encode()
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    return raw.send("POST", "/", raw.signed("POST", "/", headers, body), body)


def xml(inside: str, operation: str = "AssumeRole") -> bytes:
    return (
        f'<{operation}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{operation}Result>{inside}'
        f"</{operation}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{operation}Response>"
    ).encode()


def answering(stand: Stand, body: bytes, kind: str = "text/xml", **headers: str) -> None:
    """Let AWS answer everything so."""

    def answer(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        return 200, {"content-type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}, body

    stand.upstream.answer = answer


def sound(stand: Stand) -> Answer:
    """The positive control."""
    answering(stand, xml(SET))
    found = assume(stand)
    assert found.status == 200
    assert b"<SessionToken>SLG1." in found.body
    assert not [part for part in REAL if part in found.body]
    return found


@pytest.mark.parametrize(
    "inside",
    [
        "",
        SET.replace("SessionToken", "Token"),
        SET.replace(f"<SecretAccessKey>{SECRET}</SecretAccessKey>", ""),
        SET.replace("<Expiration>2099-01-01T00:00:00Z</Expiration>", ""),
        SET.replace("2099-01-01T00:00:00Z", "tomorrow"),
        SET + SET,
        SET + f"<Debug>{SECRET}</Debug>",
        SET + f"<!-- {TOKEN} -->",
        SET.replace(f"<SessionToken>{TOKEN}", f"<SessionToken>{TOKEN}<!-- -->").replace(SECRET, SECRET[:3]),
        SET.replace(TOKEN, "t" * 60_000),
        SET + "</AssumeRoleResult><AssumeRoleResult>" + SET,
    ],
)
def test_an_answer_in_which_the_set_is_not_certain_is_withheld(stand: Stand, inside: str) -> None:
    sound(stand)
    answering(stand, xml(inside))
    found = assume(stand)
    assert found.status == 403
    assert b"be masked with certainty" in found.body
    assert not [part for part in REAL if part in found.body + str(found.headers).encode()]


def test_an_answer_in_another_form_than_the_calls_is_withheld(stand: Stand) -> None:
    sound(stand)
    found = {"AccessKeyId": KEY, "SecretAccessKey": SECRET, "SessionToken": TOKEN, "Expiration": 4e9}
    for body, kind in (
        (json.dumps({"AssumeRoleResult": {"Credentials": found}}).encode(), "application/json"),
        (xml(SET)[:-9], "text/xml"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]>' + xml(SET), "text/xml"),
    ):
        answering(stand, body, kind)
        withheld = assume(stand)
        assert withheld.status == 403, kind
        assert not [part for part in REAL if part in withheld.body]
    answering(stand, xml(SET), content_encoding="br")
    assert assume(stand).status == 403


def test_keys_in_a_header_are_withheld(stand: Stand) -> None:
    sound(stand)
    answering(stand, xml(SET), x_amz_debug=TOKEN)
    found = assume(stand)
    assert found.status == 403
    assert TOKEN not in str(found.headers)


@pytest.mark.parametrize(
    ("role", "why"),
    [
        (f"arn:aws:iam::{ACCOUNT}:role/other", "no group of agent/ada has the role"),
        (f"arn:aws:iam::{ACCOUNT}:role/Inner", "no group of agent/ada has the role"),
        (f"arn:aws:iam::{ACCOUNT}:role/path/inner", "no group of agent/ada has the role"),
        ("arn:aws:iam::210987654321:role/inner", "no group of agent/ada has the role"),
        (f"{INNER} ", "is none"),
        (f"{INNER}\n", "is none"),
        ("inner", "is none"),
        ("", ""),
    ],
)
def test_only_a_bound_role_is_asked_for(stand: Stand, role: str, why: str) -> None:
    sound(stand)
    with stand.nothing_passes():
        found = assume(stand, role)
    assert found.status == 403
    assert why.encode() in found.body


@pytest.mark.parametrize(
    "fields",
    [
        {"Action": "AssumeRoot", "TargetPrincipal": ACCOUNT, "TaskPolicyArn.arn": "arn:aws:iam::aws:policy/x"},
        {"Action": "GetDelegatedAccessToken", "TradeInToken": "t"},
        {"Action": "GetWebIdentityToken", "Audience.member.1": "a", "SigningAlgorithm": "RS256"},
    ],
)
def test_credentials_that_can_not_be_made_synthetic_are_not_asked_for(stand: Stand, fields: dict[str, str]) -> None:
    sound(stand)
    with stand.nothing_passes():
        found = form(stand, fields | {"Version": "2011-06-15"})
    assert found.status == 403
    assert b"is refused whatever the policies say" in found.body


def test_an_s3_express_session_is_refused_with_what_to_set(stand: Stand) -> None:
    host = "data--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com"
    raw = stand.raw(host=host, service="s3express")
    with stand.nothing_passes():
        found = raw.send("GET", "/?session", raw.signed("GET", "/?session", EMPTY, b""))
    assert found.status == 403
    assert b"AWS_S3_DISABLE_EXPRESS_SESSION_AUTH=true" in found.body


EMPTY = {"x-amz-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}


def lake(stand: Stand) -> Answer:
    raw = stand.raw(host="lakeformation.us-east-1.amazonaws.com", service="lakeformation")
    body = json.dumps({"TableArn": "arn:aws:glue:us-east-1:123456789012:table/d/t"}).encode()
    path, headers = "/GetTemporaryGlueTableCredentials", {"content-type": "application/json"}
    return raw.send("POST", path, raw.signed("POST", path, headers, body), body)


def test_a_json_set_is_swapped_or_withheld(stand: Stand) -> None:
    found: dict[str, Any] = {"AccessKeyId": KEY, "SecretAccessKey": SECRET, "SessionToken": TOKEN, "Expiration": 4e9}
    answering(stand, json.dumps(found).encode(), "application/json")
    got = lake(stand)
    assert got.status == 200
    made = json.loads(got.body)
    assert made["SessionToken"].startswith("SLG1.")
    assert made["Expiration"] == 4e9
    assert not [part for part in REAL if part in got.body]
    for body in (
        json.dumps(found)[:-1] + f', "SecretAccessKey": "{SECRET}"}}',
        json.dumps(found | {"Expiration": float("nan")}),
        json.dumps(found | {"More": TOKEN}),
        json.dumps(found | {"More": TOKEN}).replace("/", "\\/"),
        json.dumps(found).replace("Expiration", "Expires"),
        json.dumps({"Credentials": found}),
        json.dumps([found]),
    ):
        answering(stand, body.encode(), "application/json")
        withheld = lake(stand)
        assert withheld.status == 403, body
        assert not [part for part in REAL if part in withheld.body]


def test_what_is_to_be_masked_is_masked_without_any_rule(stand: Stand) -> None:
    found = {"accessKeyId": KEY, "secretAccessKey": SECRET, "sessionToken": TOKEN}
    body = json.dumps({"jobs": [{"id": "1", "data": {"artifactCredentials": found}}]}).encode()
    answering(stand, body, "application/x-amz-json-1.1")
    raw, asked = (
        stand.raw(host="codepipeline.us-east-1.amazonaws.com", service="codepipeline"),
        (b'{"actionTypeId":{"category":"Build","owner":"Custom","provider":"p","version":"1"}}'),
    )
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "CodePipeline_20150709.PollForJobs"}
    got = raw.send("POST", "/", raw.signed("POST", "/", headers, asked), asked)
    assert got.status == 200
    assert got.body.count(b"sluicegate-redacted") == 3
    assert not [part for part in REAL if part in got.body]


def test_directory_buckets_work_without_express_sessions(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(stand, b"content", "binary/octet-stream")
    bucket = "data--use1-az4--x-s3"
    with stand.nothing_passes(), pytest.raises(ClientError) as caught:
        agent.client(stand.gateway, "s3").get_object(Bucket=bucket, Key="k")
    assert caught.value.operation_name == "CreateSession"
    assert "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH=true" in str(caught.value)
    monkeypatch.setenv("AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "true")
    assert agent.client(stand.gateway, "s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"
    assert "/us-east-1/s3express/aws4_request" in stand.upstream.seen[-1].headers["authorization"]


def test_a_yes_to_the_agents_own_call_is_none_to_the_same_call_as_another_role(stand: Stand) -> None:
    sound(stand)
    found = re.findall(r"<(?:AccessKeyId|SecretAccessKey|SessionToken)>([^<]+)<", assume(stand).body.decode())
    asks = [stand.raw(), stand.raw(keys=(found[0], found[1], found[2]))]
    answers = [threading.Thread(target=ask.call, args=("DeleteTable", b'{"TableName":"t"}')) for ask in asks]
    for thread in answers:
        thread.start()
    try:
        tickets = until(lambda: len(held := listed(stand)) == 2 and held, "two questions")
        assert sorted(ticket.get("assumed", []) for ticket in tickets) == [[], [INNER]]
    finally:
        for ticket in listed(stand):
            stand.gateway.cli("approvals", "deny", ticket["id"])
        for thread in answers:
            thread.join()


def listed(stand: Stand) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(stand.gateway.cli("approvals", "list", "--json").stdout)
    return found


def test_of_pipelined_calls_only_the_one_that_was_given_credentials_gets_them(stand: Stand) -> None:
    """What waits for one answer's writing is in no other answer of the connection."""

    def answer(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        if b"Action=AssumeRole&" in seen.body:
            return 200, {"content-type": "text/xml"}, xml(SET)
        return 200, {"content-type": "text/xml"}, xml("<Account>111122223333</Account>", "GetCallerIdentity")

    stand.upstream.answer = answer
    raw = stand.raw(host="sts.us-east-1.amazonaws.com", service="sts")
    chosen = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleSessionName": "inner", "RoleArn": INNER}
    asked = [{"Action": "GetCallerIdentity", "Version": "2011-06-15"}, chosen] * 3
    sent = b""
    for number, fields in enumerate(asked):
        body = urlencode(fields).encode()
        headers = {"content-type": "application/x-www-form-urlencoded", "amz-sdk-invocation-id": str(number)}
        lines = raw.signed("POST", "/", headers, body)
        sent += "".join(["POST / HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in lines), "\r\n"]).encode() + body
    with raw.tunnel() as tls:
        tls.sendall(sent)
        got = [agent.read(tls, "POST") for _ in asked]
    assert [answer.status for answer in got] == [200] * 6
    assert [b"SLG1." in answer.body for answer in got] == [False, True] * 3
    assert len({answer.body for answer in got if b"SLG1." in answer.body}) == 3, "a set for each"
    assert not any(part in answer.body for part in REAL for answer in got)
