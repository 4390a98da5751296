"""Presigned URLs: what is read from the query, what it may and may not say, and the call that becomes of it.

The published example: S3 API reference, "Authenticating Requests: Using Query Parameters"
(docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html).
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.auth import S3SigV4QueryAuth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from addons import wire
from addons.wire.message import HttpRequest
from addons.wire.sigv4 import SignatureRefused, good_until, in_headers, parse_authorization, presigned, sign, verify

KEY, SECRET, TOKEN = "ASIAEXAMPLEEXAMPLE00", "secretsecretsecretsecretsecretsecretsecr", "SLG1.a.b+/="
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
HOST = "bucket.s3.us-east-1.amazonaws.com"


def made(
    target: str = "/k",
    service: str = "s3",
    method: str = "GET",
    expires: int = 600,
    body: bytes = b"",
    payload: str = "",
    **headers: str,
) -> HttpRequest:
    """A request that botocore has presigned. `payload`: the canonical request's last line, if not the usual one."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, f"https://{HOST}{target}", headers=given)
    signer = S3SigV4QueryAuth if service == "s3" else SigV4QueryAuth
    line = payload or ("UNSIGNED-PAYLOAD" if service == "s3" else hashlib.sha256(body).hexdigest())
    with (
        mock.patch.object(botocore.auth, "get_current_datetime", return_value=NOW.replace(tzinfo=None)),
        mock.patch.object(signer, "payload", return_value=line),  # botocore itself would move the body into the query
    ):
        signer(Credentials(KEY, SECRET, TOKEN), service, "us-east-1", expires).add_auth(request)
    parts = urlsplit(request.url)
    return HttpRequest(method, HOST, f"{parts.path}?{parts.query}", (("Host", HOST), *given.items()), body)


def check(request: HttpRequest, now: datetime = NOW) -> HttpRequest:
    """The call that becomes of a request that verifies."""
    found = parse_authorization(request)
    verify(request, found, SECRET, now=now)
    return in_headers(request, found)


def refused(request: HttpRequest, now: datetime = NOW) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        check(request, now)
    assert SECRET not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


def edited(request: HttpRequest, old: str, new: str) -> HttpRequest:
    assert old in request.target
    return replace(request, target=request.target.replace(old, new))


def test_the_published_example_is_verified() -> None:
    target = (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z"
        "&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    host = "examplebucket.s3.amazonaws.com"
    request = HttpRequest("GET", host, target, (("Host", host),), b"")
    found = parse_authorization(request)
    secret, then = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", datetime(2013, 5, 24, tzinfo=UTC)
    for seconds in (0, 86400):
        verify(request, found, secret, now=then + timedelta(seconds=seconds))
    assert (found.access_key, found.token, found.expires) == ("AKIAIOSFODNN7EXAMPLE", None, 86400)
    assert good_until(found) == then.timestamp() + 86400


def test_the_call_of_a_url_is_signed_in_headers() -> None:
    request = made("/a%20b/%C3%BC~!*'()?response-content-type=text%2Fplain&versionId=1")
    call = check(request)
    assert call.target == "/a%20b/%C3%BC~!*'()?response-content-type=text%2Fplain&versionId=1"
    assert dict(call.headers)["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"
    found = parse_authorization(call)
    assert (found.access_key, found.token, found.signed_headers) == (KEY, TOKEN, ("host",))
    assert (found.region, found.service, found.timestamp) == ("us-east-1", "s3", "20260301T120000Z")
    signed = sign(
        call, access_key="AKIAREAL", secret_key="real", token=None, service="s3", region="us-east-1", now=NOW
    )  # fmt: skip
    again = replace(call, headers=signed)
    verify(again, parse_authorization(again), "real", now=NOW)
    text = str(again)
    assert not any(secret in text or quote(secret, safe="") in text for secret in (KEY, TOKEN))


def test_no_query_is_left_where_there_was_none() -> None:
    assert check(made("/k")).target == "/k"


def test_outside_s3_the_body_is_covered() -> None:
    request = made("/?Action=GetCallerIdentity", "sts", "POST", body=b"a=b")
    assert "x-amz-content-sha256" not in {name.lower() for name, _ in check(request).headers}
    assert refused(replace(request, body=b"a=c")).code == "SignatureDoesNotMatch"
    assert refused(replace(request, body=None)).code == "IncompleteSignature"
    check(replace(made("/k", method="PUT"), body=b"S3 takes any"))
    check(replace(made("/k", method="PUT"), body=None))


def test_a_hash_that_the_url_states_is_the_bodys() -> None:
    """JavaScript's and Go's SDKs put X-Amz-Content-Sha256 into the query."""
    check(made("/k?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"))
    digest = hashlib.sha256(b"body").hexdigest()

    def stated(value: str, body: bytes) -> HttpRequest:
        return made(f"/k?X-Amz-Content-Sha256={value}", method="PUT", body=body, payload=value)

    assert dict(check(stated(digest, b"body")).headers)["X-Amz-Content-SHA256"] == digest
    assert refused(stated(digest, b"bodx")).code == "XAmzContentSHA256Mismatch"
    for kind in ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "nothing"):
        refused(replace(stated(kind, b"body"), body=None))


@pytest.mark.parametrize(
    ("seconds", "code"), [(600, None), (601, "AccessDenied"), (-900, None), (-901, "RequestTimeTooSkewed")]
)
def test_a_url_is_good_until_it_expires(seconds: int, code: str | None) -> None:
    now = NOW + timedelta(seconds=seconds)
    if code is None:
        check(made(), now)
    else:
        assert refused(made(), now).code == code
    if seconds > 600:
        assert refused(made("/?Action=A", "sts"), now).code == "RequestExpired"


def test_seven_days_are_the_longest() -> None:
    check(made(expires=604_800), NOW + timedelta(days=7))
    for wrong in (604_801, 0, -1, 10**9):
        assert refused(made(expires=wrong)).code == "AuthorizationQueryParametersError"
    assert (
        refused(edited(made(), "X-Amz-Expires=600", "X-Amz-Expires=+600")).code == "AuthorizationQueryParametersError"
    )


NAMES = ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token"]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_stands_once_spelled_as_it_is(name: str) -> None:
    request = made()
    pair = next(p for p in request.target.partition("?")[2].split("&") if p.startswith(f"X-Amz-{name}="))
    for other in (f"{pair}&{pair}", pair.lower(), pair.replace("X-Amz", "X%2DAmz"), "", f"{pair}&{pair.lower()}"):
        refused(edited(request, pair, other))
    refused(replace(request, headers=(*request.headers, (f"X-Amz-{name}", pair.partition("=")[2]))))


def test_a_header_and_a_query_together_are_refused() -> None:
    request = made()
    signed = sign(
        HttpRequest("GET", HOST, "/k", (("Host", HOST),), b""), access_key=KEY, secret_key=SECRET, token=TOKEN,
        service="s3", region="us-east-1", now=NOW,
    )  # fmt: skip
    assert "signed twice" in refused(replace(request, headers=signed)).message
    header = next(h for h in signed if h[0] == "Authorization")
    assert "signed twice" in refused(replace(request, headers=(*request.headers, header))).message


@pytest.mark.parametrize("name", ["x-amz-copy-source", "X-Amz-Acl", "x-amz-meta-a", "x-amz-content-sha256"])
def test_an_x_amz_header_that_is_not_signed_is_refused(name: str) -> None:
    request = made(method="PUT")
    assert "must be signed" in refused(replace(request, headers=(*request.headers, (name, "a")))).message
    check(made(method="PUT", **{name.lower().replace("-", "_"): "a"}) if name != "x-amz-content-sha256" else request)


def test_a_host_that_is_not_signed_is_refused() -> None:
    request = made(content_type="text/plain")
    assert "SignedHeaders=content-type%3Bhost" in request.target
    assert "host must be" in refused(edited(request, "=content-type%3Bhost", "=content-type")).message
    assert "sorted" in refused(edited(request, "=content-type%3Bhost", "=host%3Bcontent-type")).message


def test_parameters_that_are_headers_to_s3_become_headers() -> None:
    call = check(made("/k?x-amz-acl=private&X-Amz-Meta-Note=a%20b%2Fc", method="PUT"))
    assert call.target == "/k"
    assert (call.get("x-amz-acl"), call.get("x-amz-meta-note")) == ("private", "a b/c")
    for query in (
        "x-amz-acl=a&X-Amz-Acl=a",
        "x-amz-a=%0Ax",
        "x-amz-%C3%BC=a",
        "x-amz-=a",
        "x-amz-acl=%20public-read",
        "x-amz-acl=public-read%20",
    ):
        assert refused(made(f"/k?{query}", method="PUT")).code == "AuthorizationQueryParametersError"
    assert refused(made("/k?x-amz-acl=a", method="PUT", x_amz_acl="a")).code == "AuthorizationQueryParametersError"
    refused(made("/k?x-amz-s3session-token=a"))
    assert "S3 Express" in refused(made(x_amz_s3session_token="a")).message


JAVASCRIPT = (  # what @aws-sdk/s3-request-presigner 3 makes of a CopyObject and of a PutObject
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"
    "&X-Amz-Credential=ASIAX%2F20261125%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20261125T015956Z&X-Amz-Expires=600"
    "&X-Amz-Security-Token=tok&X-Amz-Signature=900d856ae72fadc6b8bbcd0e8e7f7d7019a55a6d9ef29cd47b107e7707d0881f"
    "&X-Amz-SignedHeaders=host&"
)


@pytest.mark.parametrize(
    ("query", "operation", "params"),
    [
        ("x-amz-copy-source=%2Fother%2Fsecret&x-id=CopyObject", "CopyObject", {"CopySource": "/other/secret"}),
        (
            "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-meta-note=x%20y&x-amz-sdk-checksum-algorithm=CRC32&x-id=PutObject",
            "PutObject",
            {"ChecksumAlgorithm": "CRC32", "ChecksumCRC32": "AAAAAA==", "Metadata": {"note": "x y"}},
        ),
    ],
)
def test_a_url_is_read_as_its_call_before_and_after_it_is_verified(
    query: str, operation: str, params: dict[str, object]
) -> None:
    request = HttpRequest("PUT", HOST, f"/k?{JAVASCRIPT}{query}", (("Host", HOST),), b"")
    found = wire.decode(request)
    assert (found.operation, found.params) == (operation, {"Bucket": "bucket", "Key": "k"} | params)
    assert wire.decode(in_headers(request, parse_authorization(request))) == found
    with pytest.raises(wire.Undecodable, match="credential scope"):
        wire.decode(edited(request, "us-east-1%2Fs3", "us-east-1%2Fiam"))
    with pytest.raises(wire.Undecodable, match="can't be read"):
        wire.decode(edited(request, "X-Amz-Expires=600&", ""))


@pytest.mark.parametrize(
    "target", ["/?X-Amz-Signature=a", "/?x-amz-date=a", "/?X%2dAMZ%2dexpires", "/?AWSAccessKeyId=a"]
)
def test_any_part_of_a_query_signature_makes_a_request_one(target: str) -> None:
    assert presigned(target)
    assert not presigned(target.replace("?", "%3F"))
    assert not presigned("/k?x-amz-acl=a&versionId=1&x-id=GetObject")
