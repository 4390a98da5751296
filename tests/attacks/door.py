"""The gateway's door: sign-ins by hand, to a gateway that trusts issuers of ours, good ones and bad ones."""

import contextlib
import re
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.agent import Answer
from tests.attacks.tenants import Tenants
from tests.fail_closed.conftest import Stand, standing
from tests.harness import ACCOUNT, ROLE
from tests.identity.idp import RSA, Idp, token

ADMIN = f"arn:aws:iam::{ACCOUNT}:role/admin"
STS = "sts.us-east-1.amazonaws.com"
FORM = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
GROUPS = (
    f"{{developers: {{policies: [./policy.yaml], roles: ['{ROLE}']}},"
    f" admins: {{policies: [./policy.yaml], roles: ['{ADMIN}']}}}}"
)


@dataclass
class Door:
    """A gateway, and the issuers that it trusts."""

    stand: Stand
    idp: Idp
    tenants: Tenants

    def good(self, **changed: Any) -> str:
        """A token that signs in."""
        return token(self.idp.claims(**changed), RSA)

    def sign_in(self, web_identity: str | None, **changed: Any) -> Answer:
        """What an SDK sends, with other parameters where a test says so; None leaves one out."""
        return self.post(list(parameters(web_identity, **changed).items()))

    def post(self, fields: Sequence[tuple[str, str]], *headers: tuple[str, str], **raw: Any) -> Answer:
        """A form to STS."""
        body = urllib.parse.urlencode(fields).encode()
        made = self.stand.raw(keys=None, **({"host": STS} | raw))
        sent = [("Host", made.host), *(headers or (FORM,)), ("Content-Length", str(len(body)))]
        return made.send("POST", "/", sent, body)

    def get(self, web_identity: str, host: str = STS, **changed: Any) -> Answer:
        """The same in a URL."""
        query = urllib.parse.urlencode(parameters(web_identity, **changed))
        return self.stand.raw(keys=None, host=host).send("GET", f"/?{query}", [("Host", host)])

    def written(self) -> str:
        """All that the gateway has written: audit, sessions, state, and what it said."""
        files = [path for path in self.stand.gateway.directory.rglob("*") if path.is_file()]
        kept = [path for path in files if path.name not in ("agent.token", "gateway.yaml")]
        return "".join(path.read_bytes().decode("latin-1") for path in kept)


def parameters(web_identity: str | None, **changed: str | None) -> dict[str, str]:
    """A sign-in's form."""
    given: dict[str, str | None] = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "test",
        "WebIdentityToken": web_identity,
    } | changed
    return {name: value for name, value in given.items() if value is not None}


def keys(answer: Answer) -> tuple[str, str, str]:
    """The credentials of a sign-in that succeeded."""
    assert answer.status == 200, answer.body
    found = [
        re.search(f"<{name}>([^<]+)</{name}>", answer.body.decode())
        for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
    ]
    access_key, secret, session_token = (match[1] for match in found if match)
    return access_key, secret, session_token


def refused(answer: Answer, *codes: str) -> str:
    """The code of an STS refusal, which gives nothing away."""
    text = answer.body.decode()
    assert answer.status in (400, 403), (answer.status, text)
    assert answer.headers["content-type"] == "text/xml"
    assert "sluicegate: " in text
    assert not re.search("AccessKeyId|SecretAccessKey|ASIA|SLG1", text)
    found = re.search("<Code>([^<]+)</Code>", text)
    assert found, text
    assert found[1] in codes, text
    return found[1]


@contextlib.contextmanager
def opened(directory: Path, identity: str = "", groups: str = GROUPS) -> Iterator[Door]:
    """A gateway with a good issuer, and every bad one."""
    idp = Idp()
    idp.clock = time.time
    tenants = Tenants(idp)
    listed = ", ".join([f"{{issuer: '{idp.issuer}'}}", *(f"{{issuer: '{name}'}}" for name in tenants.issuers)])
    identity = identity.replace("ISSUER", idp.issuer) or f"{{local: true, issuers: [{listed}]}}"
    try:
        with standing(directory, identity=identity, groups=groups) as stand:
            yield Door(stand, idp, tenants)
    finally:
        idp.close()
        tenants.close()
