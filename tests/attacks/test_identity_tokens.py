"""Forged tokens, lying issuers and crooked sign-ins at a whole gateway, each beside a sign-in that succeeds.

Nothing of this may reach AWS, and nothing of a token may be written down. What else is tried against the gateway's
identity: test_identity_keys.py (credentials, signatures, hosts), test_identity_groups.py (who is in a group),
test_gate_signatures.py (replays, presigned URLs), tests/fail_closed/test_requests.py.
"""

import secrets
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.agent import Answer
from tests.attacks.door import ADMIN, FORM, STS, Door, keys, opened, parameters, refused
from tests.fail_closed.conftest import DYNAMODB, Background, until
from tests.harness import ACCOUNT, ROLE
from tests.identity.forged import FORGED, Forge

CODES = {"form: empty": "ValidationError", "form: 140 KB": "MissingAuthenticationToken"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(autouse=True)
def control(door: Door) -> Iterator[None]:
    """Before and after every attack, a good token signs in."""
    assert door.sign_in(door.good()).status == 200
    yield
    assert door.sign_in(door.good()).status == 200


def test_a_good_token_makes_calls_that_reach_aws(door: Door) -> None:
    seen = len(door.stand.upstream.seen)
    assert door.stand.call(keys=keys(door.sign_in(door.good()))).status == 200
    assert len(door.stand.upstream.seen) == seen + 1


@pytest.mark.parametrize("trick", FORGED)
def test_a_forged_token_is_refused(door: Door, trick: str) -> None:
    forge: Forge = FORGED[trick]
    for attack in forge(door.idp):
        with door.stand.nothing_passes():
            refused(door.sign_in(attack), CODES.get(trick, "InvalidIdentityToken"))
    assert not [path for path in door.idp.requests if not path.endswith(("/keys", "/openid-configuration"))]


@pytest.mark.parametrize("seconds", [31, 3600, 10**9])
def test_a_token_that_has_ended_is_refused(door: Door, seconds: int) -> None:
    now = int(time.time())
    with door.stand.nothing_passes():
        refused(door.sign_in(door.good(iat=now - seconds - 600, exp=now - seconds)), "ExpiredTokenException")


TENANTS = (
    *("oct", "short", "encryption", "no-keys", "other-issuer", "other-origin", "metadata-service", "file"),
    *("discovery-redirect", "keys-redirect", "huge-discovery", "huge-keys", "bomb", "error", "html"),
)


@pytest.mark.parametrize("tenant", TENANTS)
def test_an_issuer_that_lies_signs_nobody_in(door: Door, tenant: str) -> None:
    with door.stand.nothing_passes():
        refused(door.sign_in(door.tenants.token(tenant)), "IDPCommunicationError")
    assert door.tenants.other.requests == []


@pytest.mark.parametrize("tenant", ["oct", "oct-beside"])
def test_a_shared_secret_in_a_key_set_signs_nothing(door: Door, tenant: str) -> None:
    with door.stand.nothing_passes():
        refused(door.sign_in(door.tenants.token(tenant, alg="HS256")), "InvalidIdentityToken")
        refused(door.sign_in(door.tenants.token(tenant)), "InvalidIdentityToken", "IDPCommunicationError")


@pytest.mark.long
def test_issuers_that_stall_are_cut_and_keep_nobody_else_waiting(door: Door) -> None:
    with door.stand.nothing_passes():
        waiting = [
            Background(lambda name=name: door.sign_in(door.tenants.token(name)))  # type: ignore[misc]
            for name in ("drip", "drip-head")
            for _ in range(10)
        ]
        time.sleep(0.5)
        started = time.monotonic()
        assert door.sign_in(door.good()).status == 200
        assert time.monotonic() - started < 2
        assert any(each.is_alive() for each in waiting)
        for each in waiting:
            refused(each.done(20), "IDPCommunicationError")


ASKS: dict[str, tuple[dict[str, Any], *tuple[str, ...]]] = {
    "another group's role": ({"RoleArn": ADMIN}, "AccessDenied"),
    "a role that nobody has": ({"RoleArn": ROLE + "2"}, "AccessDenied"),
    "the role of another account": ({"RoleArn": ROLE.replace(ACCOUNT, "999999999999")}, "AccessDenied"),
    "the role of another partition": ({"RoleArn": ROLE.replace("arn:aws:", "arn:aws-cn:")}, "AccessDenied"),
    "the role in other letters": ({"RoleArn": ROLE.upper().replace("ARN:AWS:IAM", "arn:aws:iam")}, "ValidationError"),
    "the role under a path": ({"RoleArn": ROLE.replace("role/", "role/x/")}, "AccessDenied"),
    "every role": ({"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/*"}, "ValidationError"),
    "a user": ({"RoleArn": ROLE.replace(":role/", ":user/")}, "ValidationError"),
    "a role and a line more": ({"RoleArn": ROLE + "\n" + ADMIN}, "ValidationError"),
    "no role": ({"RoleArn": None}, "ValidationError"),
    "a session policy": ({"Policy": '{"Version":"2012-10-17","Statement":[]}'}, "ValidationError"),
    "managed policies": ({"PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}, "ValidationError"),
    "an OAuth provider": ({"ProviderId": "www.amazon.com"}, "ValidationError"),
    "a session name that is markup": ({"RoleSessionName": "<a>"}, "ValidationError"),
    "a session name that is a path": ({"RoleSessionName": "../x"}, "ValidationError"),
    "no session name": ({"RoleSessionName": None}, "ValidationError"),
    "no token": ({"WebIdentityToken": None}, "ValidationError"),
    "a duration that is no number": ({"DurationSeconds": "1h"}, "ValidationError", "AccessDenied"),
    "another version of the API": ({"Version": "2010-01-01"}, "ValidationError", "AccessDenied"),
    "an unknown parameter": ({"Admin": "true"}, "ValidationError", "AccessDenied"),
    "AssumeRoleWithSAML": ({"Action": "AssumeRoleWithSAML"}, "MissingAuthenticationToken", "AccessDenied"),
    "an action that is none": ({"Action": "AssumeRoleWithToken"}, "MissingAuthenticationToken", "AccessDenied"),
}


@pytest.mark.parametrize("ask", ASKS)
def test_a_good_token_does_not_get_what_it_may_not_have(door: Door, ask: str) -> None:
    changed, *codes = ASKS[ask]
    with door.stand.nothing_passes():
        refused(door.sign_in(door.good(), **changed), *codes)


@pytest.mark.parametrize(
    "action",
    ["AssumeRole", "AssumeRoot", "GetSessionToken", "GetFederationToken", "GetCallerIdentity", "GetAccessKeyInfo"],
)
def test_nothing_else_of_sts_is_answered_without_a_signature(door: Door, action: str) -> None:
    given = {"AssumeRole": [("RoleArn", ROLE), ("RoleSessionName", "test")], "GetFederationToken": [("Name", "n")]}
    given |= {"AssumeRoot": [("TargetPrincipal", ACCOUNT)], "GetAccessKeyInfo": [("AccessKeyId", "A" * 20)]}
    fields = [("Action", action), ("Version", "2011-06-15"), *given.get(action, [])]
    with door.stand.nothing_passes():
        refused(door.post(fields), "MissingAuthenticationToken", "AccessDenied")


def form(door: Door) -> list[tuple[str, str]]:
    return list(parameters(door.good()).items())


def twice(name: str, value: str) -> Callable[[Door], Answer]:
    return lambda door: door.post([*form(door), (name, value)])


def in_the_url(door: Door) -> Answer:
    """A form whose URL says something else."""
    made, body = door.stand.raw(keys=None, host=STS), b"&".join(f"{k}={v}".encode() for k, v in parameters("t").items())
    headers = [("Host", STS), FORM, ("Content-Length", str(len(body)))]
    return made.send("POST", f"/?RoleArn={ADMIN}&WebIdentityToken={door.good()}", headers, body)


FORMS: dict[str, Callable[[Door], Answer]] = {
    "the role twice": twice("RoleArn", ADMIN),
    "the token twice": twice("WebIdentityToken", "a.b.c"),
    "the action twice": twice("Action", "GetCallerIdentity"),
    "the role in the URL, too": in_the_url,
    "JSON": lambda door: door.post(form(door), ("Content-Type", "application/json")),
    "a gzip that is none": lambda door: door.post(form(door), FORM, ("Content-Encoding", "gzip")),
    "a token header": lambda door: door.post(
        form(door), FORM, ("X-Amz-Security-Token", "SLG1.a.b"), ("X-Amz-Target", "x.y")
    ),
    "at DynamoDB": lambda door: door.post(form(door), host="dynamodb.us-east-1.amazonaws.com"),
    "CONNECT to DynamoDB": lambda door: door.post(form(door), connect=f"{DYNAMODB}:443"),
    "SNI of DynamoDB": lambda door: door.post(form(door), sni=DYNAMODB),
}


@pytest.mark.parametrize("how", FORMS)
def test_a_sign_in_that_can_be_read_two_ways_is_refused(door: Door, how: str) -> None:
    with door.stand.nothing_passes():
        answer = FORMS[how](door)
    assert answer.status in (0, 400, 403), answer.body
    assert b"SLG1." not in answer.body
    assert b"SecretAccessKey" not in answer.body


@pytest.mark.parametrize(
    "host", ["sts.amazonaws.com", STS, "sts.eu-central-1.amazonaws.com", "sts-fips.us-east-1.amazonaws.com"]
)
def test_every_host_of_sts_signs_in_by_post_and_get(door: Door, host: str) -> None:
    with door.stand.nothing_passes():
        by_post = door.post(form(door), host=host)
        by_get = door.get(door.good(), host=host)
        refused(door.get(door.good()[:-20] + "A" * 20, host=host), "InvalidIdentityToken")
        refused(door.get(door.good(), host=host, RoleArn=ADMIN), "AccessDenied")
    for answer in (by_post, by_get):
        assert door.stand.call(keys=keys(answer)).status == 200


def query(web_identity: str) -> str:
    return urllib.parse.urlencode(parameters(web_identity))


def test_nothing_of_a_token_or_of_minted_keys_is_written_down(door: Door) -> None:
    given = [door.good(jti=secrets.token_hex(8)) for _ in range(4)]
    minted = [keys(door.sign_in(given[0])), keys(door.get(given[1]))]
    refused(door.get(given[2], RoleArn=ADMIN), "AccessDenied")
    refused(door.get(given[3] + "x"), "InvalidIdentityToken")
    with door.stand.nothing_passes():
        door.post(list(parameters(given[2]).items()), sni=DYNAMODB)
        for body, path in ((query(given[3]), "/"), ("", f"/?{query(given[3])}")):
            made, method = door.stand.raw(host=STS, service="sts"), "POST" if body else "GET"
            headers = made.signed(method, path, dict([FORM]) if body else {}, body.encode())
            assert made.send(method, path, headers, body.encode()).status == 403, "a signed sign-in is no sign-in"
    time.sleep(0.5)
    written = door.written()
    assert "AssumeRoleWithWebIdentity" in written
    for text in given:
        for part in text.split(".")[1:]:
            assert part not in written
            assert part[:40] not in written
    for _, secret, session_token in minted:
        assert secret not in written
        assert session_token not in written


@pytest.mark.long
def test_mitmdump_shows_no_token(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "5000")  # it cuts what it prints to the width of the terminal
    upstream = door.stand.upstream.url
    with harness.script(tmp_path, upstream, program="mitmdump", addons=Path(__file__).parents[2] / "addons") as gateway:
        given = gateway.token_file().read_text().strip()
        through = replace(door, stand=replace(door.stand, gateway=gateway))
        assert through.get(given).status == through.sign_in(given).status == 200
        refused(through.get(given, RoleArn=ADMIN), "AccessDenied")
        until(lambda: gateway.log.read_text().count("sts.us-east-1.amazonaws.com") >= 3, "mitmdump's lines")
        assert given.split(".")[1][:40] not in gateway.log.read_text()
