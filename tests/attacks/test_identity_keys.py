"""Credentials that the gateway did not give, or not for this: pairs mixed, seals broken, requests or names changed.

Each attack is a good call with one thing changed; the good call passes before and after it. What reaches AWS of an
attack: nothing.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from addons.identity.local import LocalIssuer
from addons.identity.sealed import KeyRing
from addons.identity.session import Session
from tests.agent import Answer
from tests.attacks.door import Door, keys, opened
from tests.fail_closed.conftest import DYNAMODB
from tests.harness import REAL_KEY, ROLE

BODY = b'{"TableName":"t","Key":{"k":{"S":"v"}}}'
Keys = tuple[str, str, str | None]


@dataclass(frozen=True)
class Ask:
    """A GetItem before it is signed. `after` are headers that are added, or changed, once it is."""

    keys: Keys
    host: str = DYNAMODB
    when: timedelta = timedelta()
    scope: tuple[str, str, str] = ("us-east-1", "dynamodb", "aws4_request")
    scope_day: str | None = None
    algorithm: str = "AWS4-HMAC-SHA256"
    signed: tuple[str, ...] = ("content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target")
    after: dict[str, str] = field(default_factory=dict)
    body: bytes = BODY  # that is sent
    path: str = "/"  # that is sent

    def headers(self) -> list[tuple[str, str]]:
        """The head, signed as the IAM User Guide says ("Create a signed AWS API request"); nothing of ours does it."""
        access_key, secret, session_token = self.keys
        stamp = (datetime.now(UTC) + self.when).strftime("%Y%m%dT%H%M%SZ")
        day = self.scope_day or stamp[:8]
        found = {
            "host": self.host,
            "content-type": "application/x-amz-json-1.0",
            "x-amz-date": stamp,
            "x-amz-target": "DynamoDB_20120810.GetItem",
        } | ({"x-amz-security-token": session_token} if session_token is not None else {})
        names = [name for name in self.signed if name in found]
        lines = "".join(f"{name}:{found[name]}\n" for name in names)
        text = f"POST\n/\n\n{lines}\n{';'.join(names)}\n{hashlib.sha256(BODY).hexdigest()}"
        scope = "/".join((day, *self.scope))
        to_sign = f"{self.algorithm}\n{stamp}\n{scope}\n{hashlib.sha256(text.encode()).hexdigest()}"
        key = f"AWS4{secret}".encode()
        for part in (day, *self.scope):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
        credential = f"Credential={access_key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
        found["authorization"] = f"{self.algorithm} {credential}"
        return [(name, value) for name, value in (found | self.after).items() if value]


@dataclass
class Attacker:
    """Two agents' credentials, and a way to send what was made of them."""

    door: Door
    ada: tuple[str, str, str]
    eve: tuple[str, str, str]
    elsewhere: Path

    def send(self, ask: Ask, **names: Any) -> Answer:
        made = self.door.stand.raw(**names)
        headers = [*ask.headers(), ("content-length", str(len(ask.body)))]
        return made.send("POST", ask.path, headers, ask.body)

    def good(self, **changed: Any) -> Ask:
        return replace(Ask(self.ada), **changed)


@pytest.fixture(scope="module")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:
    with opened(tmp_path_factory.mktemp("gateway")) as door:
        ada, eve = (keys(door.sign_in(door.good(sub=sub, jti=sub))) for sub in ("agent/ada", "agent/eve"))
        yield Attacker(door, ada, eve, tmp_path_factory.mktemp("elsewhere"))


def refused(attacker: Attacker, attack: Callable[[], Answer]) -> None:
    """An attack is refused, or cut off; the good call passes before and after it."""
    stand = attacker.door.stand
    for _ in range(2):
        seen = len(stand.upstream.seen)
        assert attacker.send(attacker.good()).status == 200
        assert len(stand.upstream.seen) == seen + 1
        assert REAL_KEY in stand.upstream.seen[-1].headers["authorization"]
        with stand.nothing_passes():
            found = attack()
        assert found.status in (0, 400, 403, 431), found.body
        assert b"real" not in found.body
        if found.status == 403:
            assert "sluicegate: " in json.loads(found.body)["message"]


# Credentials


def flipped(session_token: str, place: int) -> str:
    """A token with one bit of its box changed: nonce (12 bytes), box, tag (the last 16)."""
    prefix, kid, body = session_token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    raw[place] ^= 1
    return f"{prefix}.{kid}.{base64.urlsafe_b64encode(bytes(raw)).rstrip(b'=').decode()}"


def part(session_token: str, index: int, value: str) -> str:
    parts = session_token.split(".")
    parts[index] = value
    return ".".join(parts)


def session(attacker: Attacker) -> Session:
    """What ada's session says, for rings of the attacker's own."""
    name = LocalIssuer.open(attacker.door.stand.gateway.directory / "state").name
    claims = {"groups": ["developers"]}
    return Session("5" * 32, name, "agent/ada", (), ROLE, "test", "j", 0, 4_000_000_000, claims=claims)


def another_ring(attacker: Attacker) -> Keys:
    return KeyRing.open(attacker.elsewhere / "keyring.json").seal(session(attacker))


def another_ring_same_kid(attacker: Attacker) -> Keys:
    path = attacker.elsewhere / "forged.json"
    KeyRing.open(path)
    content = json.loads(path.read_text())
    content["keys"][0]["kid"] = attacker.ada[2].split(".")[1]
    path.write_text(json.dumps(content))
    return KeyRing.open(path).seal(session(attacker))


KEYS: dict[str, Callable[[Attacker], Keys]] = {
    "another's token": lambda a: (a.ada[0], a.ada[1], a.eve[2]),
    "another's access key": lambda a: (a.eve[0], a.ada[1], a.ada[2]),
    "another's secret": lambda a: (a.ada[0], a.eve[1], a.ada[2]),
    "another's pair": lambda a: (a.eve[0], a.eve[1], a.ada[2]),
    "a stolen token without its secret": lambda a: (a.ada[0], "x" * 40, a.ada[2]),
    "an empty secret": lambda a: (a.ada[0], "", a.ada[2]),
    "a bit of the nonce": lambda a: (*a.ada[:2], flipped(a.ada[2], 0)),
    "a bit of the box": lambda a: (*a.ada[:2], flipped(a.ada[2], 40)),
    "a bit of the tag": lambda a: (*a.ada[:2], flipped(a.ada[2], -1)),
    "a bit of the prefix": lambda a: (*a.ada[:2], part(a.ada[2], 0, "SLG0")),
    "an unknown kid": lambda a: (*a.ada[:2], part(a.ada[2], 1, "00000000")),
    "a kid that is a path": lambda a: (*a.ada[:2], part(a.ada[2], 1, "../../dev/null")),
    "a kid that is SQL": lambda a: (*a.ada[:2], part(a.ada[2], 1, "'or'1'='1")),
    "no kid": lambda a: (*a.ada[:2], part(a.ada[2], 1, "")),
    "a token cut short": lambda a: (*a.ada[:2], a.ada[2][:-8]),
    "a token and more": lambda a: (*a.ada[:2], a.ada[2] + "AAAA"),
    "a token with padding": lambda a: (*a.ada[:2], a.ada[2] + "="),
    "a token in other letters": lambda a: (*a.ada[:2], a.ada[2].lower()),
    "a token of 60 KB": lambda a: (*a.ada[:2], a.ada[2] + "A" * 60_000),
    "an empty token": lambda a: (*a.ada[:2], ""),
    "no token": lambda a: (*a.ada[:2], None),
    "the web identity token as a token": lambda a: (*a.ada[:2], a.door.good()),
    "an access key in other letters": lambda a: (a.ada[0].lower(), *a.ada[1:]),
    "an access key of a user": lambda a: ("AKIA" + a.ada[0][4:], *a.ada[1:]),
    "another access key": lambda a: (a.ada[0][:-1] + "A2"[a.ada[0][-1] == "A"], *a.ada[1:]),
    "real keys from elsewhere": lambda a: ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None),
    "real session keys from elsewhere": lambda a: ("ASIAIOSFODNN7EXAMPLE", "w" * 40, "FwoGZXIvYXdzE" + "A" * 300),
    "the gateway's own access key": lambda a: (REAL_KEY, a.ada[1], a.ada[2]),
    "a seal of another gateway": another_ring,
    "a seal of a ring with the same kid": another_ring_same_kid,
}


@pytest.mark.parametrize("trick", KEYS)
def test_credentials_that_are_not_the_gateways_own_are_refused(attacker: Attacker, trick: str) -> None:
    given = KEYS[trick](attacker)
    refused(attacker, lambda: attacker.send(Ask(given)))


def test_a_seal_of_the_gateways_own_ring_opens(attacker: Attacker) -> None:
    """The control of the forged seals: with the real ring the same session is good."""
    ring = KeyRing.open(attacker.door.stand.gateway.directory / "state" / "keyring.json")
    assert attacker.send(Ask(ring.seal(session(attacker)))).status == 200


@pytest.mark.parametrize(
    "changed",
    [{"expires": 1}, {"role": ROLE + "2"}, {"claims": {"groups": ["admins"]}}, {"claims": {}}, {"issuer": "https://x"}],
    ids=["ended", "another role", "another group", "no claims", "another issuer"],
)
def test_a_session_that_no_longer_holds_is_refused(attacker: Attacker, changed: dict[str, Any]) -> None:
    ring = KeyRing.open(attacker.door.stand.gateway.directory / "state" / "keyring.json")
    given = ring.seal(replace(session(attacker), **changed))
    refused(attacker, lambda: attacker.send(Ask(given)))


# Signatures, clocks, scopes

SHORT = ("content-type", "host", "x-amz-date", "x-amz-security-token")
CHANGED: dict[str, dict[str, Any]] = {
    "the body": {"body": BODY.replace(b'"t"', b'"u"')},
    "the target": {"after": {"x-amz-target": "DynamoDB_20120810.DeleteTable"}},
    "the target, unsigned": {"signed": SHORT, "after": {"x-amz-target": "DynamoDB_20120810.DeleteTable"}},
    "the target not signed": {"signed": SHORT},
    "the token not signed": {"signed": ("content-type", "host", "x-amz-date", "x-amz-target")},
    "the host not signed": {"signed": ("content-type", "x-amz-date", "x-amz-security-token", "x-amz-target")},
    "the path": {"path": "/other"},
    "a query more": {"path": "/?Action=DeleteTable"},
    "an x-amz- header more": {"after": {"x-amz-security-context": "admin"}},
    "the content type": {"after": {"content-type": "application/x-amz-json-1.1"}},
    "signed headers not in order": {"signed": ("host", "content-type", *SHORT[2:], "x-amz-target")},
    "a signed header twice": {"signed": ("content-type", "host", "host", *SHORT[2:], "x-amz-target")},
    "no signature": {"after": {"authorization": ""}},
    "a bearer token": {"after": {"authorization": "Bearer abc"}},
    "a password": {"after": {"authorization": "Basic YTpi"}},
    "SigV2": {"after": {"authorization": "AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg="}},
    "another algorithm": {"algorithm": "AWS4-HMAC-SHA512"},
    "the algorithm of SigV4a": {"algorithm": "AWS4-ECDSA-P256-SHA256"},
    "six minutes ago": {"when": timedelta(minutes=-6)},
    "in six minutes": {"when": timedelta(minutes=6)},
    "yesterday": {"when": timedelta(days=-1)},
    "in 2099": {"when": timedelta(days=27_000)},
    "another day's scope": {"scope_day": "20260101"},
    "no date": {"after": {"x-amz-date": ""}},
    "a date that is none": {"after": {"x-amz-date": "now"}},
    "a Date header instead": {"after": {"x-amz-date": "", "date": "Wed, 25 Nov 2026 01:00:00 GMT"}},
    "another region's scope": {"scope": ("eu-west-1", "dynamodb", "aws4_request")},
    "S3's scope": {"scope": ("us-east-1", "s3", "aws4_request")},
    "STS's scope": {"scope": ("us-east-1", "sts", "aws4_request")},
    "IAM's scope": {"scope": ("us-east-1", "iam", "aws4_request")},
    "another end of the scope": {"scope": ("us-east-1", "dynamodb", "aws4_request2")},
    "a region that is a pattern": {"scope": ("*", "dynamodb", "aws4_request")},
}


@pytest.mark.parametrize("trick", CHANGED)
def test_a_request_that_is_not_signed_as_it_is_sent_is_refused(attacker: Attacker, trick: str) -> None:
    refused(attacker, lambda: attacker.send(attacker.good(**CHANGED[trick])))


@pytest.mark.parametrize("minutes", [-4, 4])
def test_clocks_may_differ_by_some_minutes(attacker: Attacker, minutes: int) -> None:
    assert attacker.send(attacker.good(when=timedelta(minutes=minutes))).status == 200


# Names

S3, EVIL = "bucket.s3.us-east-1.amazonaws.com", "attacker.example"
NAMES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "CONNECT to a stranger": ({"connect": f"{EVIL}:443"}, {}),
    "CONNECT and SNI to a stranger": ({"connect": f"{EVIL}:443", "sni": EVIL}, {}),
    "CONNECT to a stranger's bucket": ({"connect": f"{S3}:443"}, {}),
    "CONNECT and SNI to a stranger's bucket": ({"connect": f"{S3}:443", "sni": S3}, {}),
    "SNI of a stranger's bucket": ({"sni": S3}, {}),
    "CONNECT to another region": ({"connect": f"{DYNAMODB.replace('us-east-1', 'eu-west-1')}:443"}, {}),
    "CONNECT to a name that ends alike": ({"connect": f"evil{DYNAMODB}:443"}, {}),
    "CONNECT to a name that begins alike": ({"connect": f"{DYNAMODB}.{EVIL}:443"}, {}),
    "CONNECT to an address": ({"connect": "127.0.0.1:443"}, {}),
    "CONNECT to the metadata service": ({"connect": "169.254.169.254:443"}, {}),
    "CONNECT to another port": ({"connect": f"{DYNAMODB}:8443"}, {}),
    "a host that was signed, and is another": ({}, {"host": EVIL}),
    "a host that was signed, and is a stranger's bucket": ({}, {"host": S3}),
    "another host after signing": ({}, {"after": {"host": S3}}),
    "a host with a dot": ({}, {"host": f"{DYNAMODB}."}),
    "a host with a user": ({}, {"host": f"{DYNAMODB}@{EVIL}"}),
    "a forwarded host": ({}, {"after": {"x-amz-forwarded-host": EVIL}}),
    "the whole URL of a stranger": ({}, {"path": f"https://{EVIL}/"}),
}


@pytest.mark.parametrize("trick", NAMES)
def test_names_that_disagree_are_refused(attacker: Attacker, trick: str) -> None:
    names, changed = NAMES[trick]
    refused(attacker, lambda: attacker.send(attacker.good(**changed), **names))
