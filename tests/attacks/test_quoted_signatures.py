"""AWS's own errors about a signature quote what was signed: the real key, and the token. None of it reaches an agent.

Bodies as AWS writes them: S3 API Reference, "Error responses" (SignatureDoesNotMatch quotes the canonical request, also
in hexadecimal digits; ExpiredToken and InvalidToken quote the token), and IAM User Guide, "Troubleshoot Signature
Version 4 signing" (the canonical string of other services).
"""

import gzip
import json
from collections.abc import Iterator

import pytest

from tests import agent
from tests.agent import Answer
from tests.attacks.test_returned_credentials import KEY, POLICY, REAL, SECRET, SET, TOKEN, assume, xml
from tests.fail_closed.conftest import Stand, standing
from tests.harness import ACCOUNT, REAL_KEY, ROLE, Seen

S3 = "s3.us-east-1.amazonaws.com"
INNER = f"arn:aws:iam::{ACCOUNT}:role/inner"
ALL = [*REAL, REAL_KEY.encode(), TOKEN.encode().hex(" ").encode(), TOKEN.replace("/", "\\/").encode()]
CANONICAL = f"GET\n/b/k\n\nhost:{S3}\nx-amz-security-token:{TOKEN}\n\nhost;x-amz-security-token\nUNSIGNED-PAYLOAD"
MISMATCH = (
    "<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we"
    f" calculated does not match</Message><AWSAccessKeyId>KEY</AWSAccessKeyId><CanonicalRequest>{CANONICAL}"
    f"</CanonicalRequest><CanonicalRequestBytes>{CANONICAL.encode().hex(' ')}</CanonicalRequestBytes></Error>"
)
TOKEN_0 = f"<Error><Code>ExpiredToken</Code><Message>expired</Message><Token-0>{TOKEN}</Token-0></Error>"
HEX = f"<Error><Code>SignatureDoesNotMatch</Code><Bytes>{CANONICAL.encode().hex(' ').upper()}</Bytes></Error>"
JSON_ERROR = json.dumps({"__type": "com.amazon#InvalidSignatureException", "message": f"was\n'{CANONICAL}'"})
PLAIN = "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>k</Key></Error>"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A gateway whose agent has assumed a role: its calls are signed with a key, a secret and a token."""
    groups = f"{{developers: {{policies: [./policy.yaml], roles: ['{ROLE}', '{INNER}']}}}}"
    with standing(tmp_path_factory.mktemp("gateway"), POLICY + "  - {sid: d, effect: allow, resources: ['*'], "
                  "actions: ['dynamodb:GetItem']}\n", groups=groups, redaction="[]") as made:  # fmt: skip
        made.upstream.answer = lambda seen: (200, {"content-type": "text/xml"}, xml(SET))
        found = assume(made).body.decode()
        inner = [found.split(f"<{n}>")[1].split("<")[0] for n in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        yield Stand(made.gateway, made.upstream, (inner[0], inner[1], inner[2]))


def answering(stand: Stand, body: bytes, kind: str, status: int = 403, **headers: str) -> None:
    more = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        return status, {"content-type": kind} | more, body

    stand.upstream.answer = answer


def get(stand: Stand, method: str = "GET") -> Answer:
    raw = stand.raw(host=S3, service="s3")
    return raw.send(method, "/b/k", raw.signed(method, "/b/k", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, b""))


def nothing_real(stand: Stand, answer: Answer) -> None:
    kept = (path for path in stand.gateway.directory.rglob("*") if path.is_file() and path.name != "gateway.yaml")
    seen = repr(answer.headers).encode() + answer.body + b"".join(path.read_bytes() for path in kept)
    assert [secret for secret in ALL if secret in seen or secret.upper() in seen] == []


@pytest.mark.parametrize("body", [MISMATCH, TOKEN_0, HEX, MISMATCH.replace("KEY", KEY)], ids=["all", "0", "hex", "key"])
def test_an_error_of_s3_that_quotes_what_was_signed_is_not_delivered(stand: Stand, body: str) -> None:
    answering(stand, body.encode(), "application/xml")
    found = get(stand)
    assert found.status == 403
    assert b"sluicegate" in found.body
    assert (b"SignatureDoesNotMatch" in found.body) or (b"ExpiredToken" in found.body), "the agent learns AWS's code"
    nothing_real(stand, found)


@pytest.mark.parametrize("text", [JSON_ERROR, JSON_ERROR.replace("/", "\\/")], ids=["plain", "escaped"])
def test_an_error_of_another_service_that_quotes_it_is_not_delivered(stand: Stand, text: str) -> None:
    answering(stand, text.encode(), "application/x-amz-json-1.0", 400)
    found = stand.call()
    assert found.status in (400, 403)
    assert b"sluicegate" in found.body
    nothing_real(stand, found)


def test_neither_compressed_nor_in_a_header(stand: Stand) -> None:
    answering(stand, gzip.compress(MISMATCH.encode()), "application/xml", content_encoding="gzip")
    found = get(stand)
    assert b"sluicegate" in found.body
    answering(stand, b"", "application/xml", x_amz_detail=f"token {TOKEN}")
    head = get(stand, "HEAD")
    assert head.status == 403
    assert TOKEN not in repr(head.headers)
    answering(stand, MISMATCH.encode(), "application/xml", content_encoding="br")
    odd = get(stand)
    assert b"sluicegate" in odd.body
    for answer in (found, head, odd):
        nothing_real(stand, answer)


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_nor_after_an_upload(stand: Stand, size: int) -> None:
    """Whose answer comes another way, where the body streams."""
    answering(stand, MISMATCH.encode(), "application/xml")
    raw, body = stand.raw(host=S3, service="s3"), b"x" * size
    found = raw.send("PUT", "/b/k", raw.signed("PUT", "/b/k", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, body), body)
    assert found.status == 403
    assert b"sluicegate" in found.body
    nothing_real(stand, found)


def test_nor_the_gateways_own_key(stand: Stand) -> None:
    """The same for a session without inner keys."""
    own = Stand(stand.gateway, stand.upstream, agent.sign_in(stand.gateway))
    answering(own, MISMATCH.replace("KEY", REAL_KEY).encode(), "application/xml")
    found = get(own)
    assert b"sluicegate" in found.body
    assert REAL_KEY.encode() not in found.body


def test_an_error_that_quotes_nothing_is_delivered_as_it_is(stand: Stand) -> None:
    """The control."""
    answering(stand, PLAIN.encode(), "application/xml", 404)
    found = get(stand)
    assert (found.status, found.body) == (404, PLAIN.encode())
    assert SECRET.encode() not in found.body
