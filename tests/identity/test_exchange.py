"""The sign-in answer, read by botocore's own STS parser, and everything that a sign-in may not ask for."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import botocore.session
import pytest
from botocore.parsers import create_parser

from addons.identity import exchange
from addons.identity.local import LocalIssuer
from addons.identity.oidc import Issuer, Verifier
from addons.identity.refusal import Refused
from addons.identity.sealed import KeyRing
from addons.identity.session import Session
from addons.wire.message import HttpResponse
from tests.identity.idp import NOW

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/teams/agents-dev"
OTHER = f"arn:aws:iam::{ACCOUNT}:role/agents-admin"


@pytest.fixture
def issuer(tmp_path: Path) -> LocalIssuer:
    return LocalIssuer.open(tmp_path)


class SignIn:
    """Signs in with everything good but what a test changes; a value of None leaves a parameter out."""

    def __init__(self, issuer: LocalIssuer, ring: KeyRing) -> None:
        self.issuer, self.ring = issuer, ring
        self.verifier = Verifier([issuer.issuer()])
        self.token = issuer.token("agent/ada", ["developers"], now=NOW)

    def __call__(self, *, duration: int = 3600, now: float = NOW, **changed: Any) -> tuple[HttpResponse, Session]:
        params = {"RoleArn": ROLE, "RoleSessionName": "laptop", "WebIdentityToken": self.token} | changed
        return exchange.answer(
            {name: value for name, value in params.items() if value is not None},
            verifier=self.verifier,
            ring=self.ring,
            roles_of=lambda groups: {ROLE} if "developers" in groups else {OTHER} if "admins" in groups else set(),
            account=ACCOUNT,
            duration=duration,
            now=now,
            request_id="req-1",
        )


@pytest.fixture
def sign_in(issuer: LocalIssuer, ring: KeyRing) -> SignIn:
    return SignIn(issuer, ring)


def parsed(answer: HttpResponse) -> Mapping[str, Any]:
    """What botocore makes of the answer."""
    model = botocore.session.Session().get_service_model("sts")
    shape = model.operation_model("AssumeRoleWithWebIdentity").output_shape
    raw = {"status_code": answer.status, "headers": dict(answer.headers), "body": answer.body}
    found: Mapping[str, Any] = create_parser("query").parse(raw, shape)
    return found


def refused(sign_in: SignIn, **changed: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        sign_in(**changed)
    return caught.value


def test_botocore_reads_the_answer(sign_in: SignIn, ring: KeyRing) -> None:
    answer, session = sign_in()
    found = parsed(answer)
    assert answer.status == 200
    assert answer.get("content-type") == "text/xml"
    assert found["SubjectFromWebIdentityToken"] == "agent/ada"
    assert found["Audience"] == "sluicegate"
    assert found["Provider"] == sign_in.issuer.name
    assert found["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/agents-dev/laptop"
    assert found["AssumedRoleUser"]["AssumedRoleId"].endswith(":laptop")
    assert found["ResponseMetadata"]["RequestId"] == "req-1"
    keys = found["Credentials"]
    assert keys["Expiration"] == datetime.fromtimestamp(NOW + 3600, UTC)
    sealed = replace(session, groups=())  # they are decided anew at each call
    assert ring.unseal(keys["AccessKeyId"], keys["SessionToken"], now=NOW) == (sealed, keys["SecretAccessKey"])
    assert session.claims == {"groups": ["developers"]}
    assert (session.subject, session.groups, session.role, session.label) == (
        "agent/ada",
        ("developers",),
        ROLE,
        "laptop",
    )
    assert (session.issued, session.expires) == (NOW, NOW + 3600)


def test_claims_are_escaped(sign_in: SignIn) -> None:
    subject = "<a>&\"'</SubjectFromWebIdentityToken><x>"
    answer, _ = sign_in(WebIdentityToken=sign_in.issuer.token(subject, ["developers"], now=NOW))
    assert parsed(answer)["SubjectFromWebIdentityToken"] == subject


def test_the_arn_carries_the_account_that_calls_go_to(sign_in: SignIn) -> None:
    role = "arn:aws-cn:iam::999999999999:role/agents"
    found, session = exchange.answer(
        {"RoleArn": role, "RoleSessionName": "xx", "WebIdentityToken": sign_in.token},
        verifier=sign_in.verifier,
        ring=sign_in.ring,
        roles_of=lambda groups: {role},
        account=ACCOUNT,
        duration=3600,
        now=NOW,
        request_id="r",
    )
    assert parsed(found)["AssumedRoleUser"]["Arn"] == f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/agents/xx"
    assert session.role == role


def test_another_groups_role_is_denied(sign_in: SignIn) -> None:
    error = refused(sign_in, RoleArn=OTHER)
    assert (error.code, error.status) == ("AccessDenied", 403)
    assert "agent/ada" in error.message
    assert OTHER in error.message
    admin = sign_in.issuer.token("agent/ada", ["admins"], now=NOW)
    assert sign_in(RoleArn=OTHER, WebIdentityToken=admin)[1].role == OTHER


@pytest.mark.parametrize("groups", [[], ["nobody"], ["Developers"], ["developers "]])
def test_a_subject_without_a_bound_group_is_denied(sign_in: SignIn, groups: list[str]) -> None:
    token = sign_in.issuer.token("agent/ada", groups, now=NOW)
    assert refused(sign_in, WebIdentityToken=token).code == "AccessDenied"


@pytest.mark.parametrize(
    "changed",
    [
        {"Policy": "{}"},
        {"Policy": ""},
        {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]},
        {"ProviderId": "www.amazon.com"},
        {"RoleArn": None},
        {"RoleArn": ""},
        {"RoleArn": "agents"},
        {"RoleArn": "arn:aws:iam::111122223333:user/agents"},
        {"RoleArn": "arn:aws:iam::1:role/agents"},
        {"RoleArn": ROLE + "\n"},
        {"RoleArn": ["x"]},
        {"RoleSessionName": None},
        {"RoleSessionName": "a"},
        {"RoleSessionName": "a" * 65},
        {"RoleSessionName": "two words"},
        {"RoleSessionName": "a/../b"},
        {"RoleSessionName": "имя"},
        {"RoleSessionName": "<b>"},
        {"WebIdentityToken": None},
        {"WebIdentityToken": ""},
        {"DurationSeconds": "3600"},
        {"DurationSeconds": True},
    ],
)
def test_parameters_that_are_wrong_or_not_supported_are_refused(sign_in: SignIn, changed: dict[str, Any]) -> None:
    assert sign_in(PolicyArns=[])[1].subject == "agent/ada"
    error = refused(sign_in, **changed)
    assert (error.code, error.status) == ("ValidationError", 400)


@pytest.mark.parametrize(
    ("asked", "longest", "got"),
    [(None, 3600, 3600), (900, 3600, 1200), (1, 3600, 1200), (1800, 3600, 1800), (43200, 3600, 3600), (-5, 7200, 1200)],
)
def test_credentials_live_as_asked_within_bounds(sign_in: SignIn, asked: int | None, longest: int, got: int) -> None:
    _, session = sign_in(DurationSeconds=asked, duration=longest)
    assert session.expires - session.issued == got


def test_a_bad_or_ended_token_is_refused_with_stss_own_codes(sign_in: SignIn, tmp_path: Path) -> None:
    assert refused(sign_in, now=NOW + 4000).code == "ExpiredTokenException"
    stranger = LocalIssuer.open(tmp_path / "stranger").token("agent/ada", ["developers"], now=NOW)
    assert refused(sign_in, WebIdentityToken=stranger).code == "InvalidIdentityToken"
    sign_in.verifier = Verifier([Issuer("http://127.0.0.1:1", "sluicegate"), sign_in.issuer.issuer()])
    assert sign_in()[1].subject == "agent/ada"


def test_signing_in_again_is_the_same_session(sign_in: SignIn) -> None:
    first, second = sign_in()[1], sign_in(now=NOW + 60, RoleSessionName="other")[1]
    assert first.id == second.id
    assert len(first.id) >= 16
    assert int(first.id, 16)


def test_tokens_of_one_sid_are_one_session_and_others_are_not(sign_in: SignIn, tmp_path: Path) -> None:
    def session(subject: str = "agent/ada", **settings: Any) -> str:
        text = sign_in.issuer.token(subject, ["developers"], now=NOW, **settings)
        return sign_in(WebIdentityToken=text)[1].id

    assert session(session_id="s1") == session(session_id="s1")
    others = [session(session_id="s1"), session(session_id="s2"), session(), session(), session("eve", session_id="s1")]
    assert len(set(others)) == len(others)


def test_botocores_own_client_signs_in(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way of an SDK: token file's content in, usable credentials out, over a socket."""
    requests: list[dict[str, str]] = []

    async def run() -> Mapping[str, Any]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(head.split("content-length:")[1].split("\r\n")[0])
            fields = dict(parse_qsl((await reader.readexactly(size)).decode()))
            requests.append(fields)
            answer, _ = sign_in(RoleSessionName=fields["RoleSessionName"], WebIdentityToken=fields["WebIdentityToken"])
            lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
            writer.write(f"HTTP/1.1 200 OK\r\n{lines}connection: close\r\n\r\n".encode() + answer.body)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            client = botocore.session.Session().create_client(
                "sts",
                "us-east-1",
                endpoint_url=f"http://127.0.0.1:{port}",
                aws_access_key_id="x",
                aws_secret_access_key="x",
            )
            arguments = {"RoleArn": ROLE, "RoleSessionName": "sdk", "WebIdentityToken": sign_in.token}
            found: Mapping[str, Any] = await asyncio.to_thread(
                lambda: client.assume_role_with_web_identity(**arguments)
            )
            return found

    found = asyncio.run(run())
    assert requests[0]["Action"] == "AssumeRoleWithWebIdentity"
    assert sign_in.ring.unseal(found["Credentials"]["AccessKeyId"], found["Credentials"]["SessionToken"], now=NOW)
