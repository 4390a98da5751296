"""What the verifier refuses, each beside a request that differs in that one thing and passes."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from addons.wire import models, sigv4
from addons.wire.message import Headers, HttpRequest
from addons.wire.sigv4 import UNSIGNED_OPERATIONS, SignatureRefused, parse_authorization, sign, verify

KEY, SECRET, TOKEN = "ASIAEXAMPLEEXAMPLE00", "secretsecretsecretsecretsecretsecretsecr", "SLG1.a.b"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
HOST = "dynamodb.us-east-1.amazonaws.com"


def request(
    *extra: tuple[str, str],
    method: str = "POST",
    target: str = "/",
    body: bytes = b"{}",
    service: str = "dynamodb",
    host: str = HOST,
    at: datetime = NOW,
) -> HttpRequest:
    """A request that an agent has signed; the signer's own correctness is tested against botocore elsewhere."""
    plain = HttpRequest(method, host, target, (("Host", host), ("Content-Type", "text/plain"), *extra), body)
    headers = sign(
        plain, access_key=KEY, secret_key=SECRET, token=TOKEN, service=service, region="us-east-1", now=at
    )  # fmt: skip
    return replace(plain, headers=headers)


def check(found: HttpRequest, now: datetime = NOW) -> None:
    verify(found, parse_authorization(found), SECRET, now=now)


def refused(found: HttpRequest, now: datetime = NOW) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        check(found, now)
    assert SECRET not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


def with_header(found: HttpRequest, name: str, value: str) -> HttpRequest:
    return replace(found, headers=(*found.headers, (name, value)))


def changed(found: HttpRequest, name: str, value: str | None) -> HttpRequest:
    headers: Headers = tuple((n, v) for n, v in found.headers if n.lower() != name)
    return replace(found, headers=headers if value is None else (*headers, (name, value)))


def edited(found: HttpRequest, old: str, new: str) -> HttpRequest:
    value = found.get("authorization") or ""
    assert old in value
    return changed(found, "authorization", value.replace(old, new))


def test_a_signed_request_passes_and_its_parts_are_read() -> None:
    good = request(("X-Amz-Target", "DynamoDB_20120810.ListTables"))
    check(good)
    found = parse_authorization(good)
    assert (found.access_key, found.date, found.region, found.service) == (KEY, "20260301", "us-east-1", "dynamodb")
    assert found.signed_headers == ("content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target")
    assert (found.timestamp, found.token) == ("20260301T120000Z", TOKEN)


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        (None, "MissingAuthenticationToken", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("AWS AKID:c2lnbmF0dXJl", "IncompleteSignature", 's3v4"'),
        ("AWS3-HTTPS AWSAccessKeyId=AKID,Algorithm=HmacSHA256,Signature=x", "IncompleteSignature", "update the SDK"),
        ("AWS4-ECDSA-P256-SHA256 Credential=A/20260301/s3/aws4_request", "IncompleteSignature", "SignedHeaders"),
        ("Bearer token", "IncompleteSignature", "AWS_BEARER_TOKEN_BEDROCK"),
        ("Basic dXNlcjpwYXNz", "IncompleteSignature", "does not know"),
        ("AWS4-HMAC-SHA256 Credential=A/20260301/us-east-1/s3/aws4_request", "IncompleteSignature", "SignedHeaders"),
        ("", "IncompleteSignature", "does not know"),
    ],
)
def test_other_ways_of_signing_are_refused_and_told_what_to_do(value: str | None, code: str, says: str) -> None:
    error = refused(changed(request(), "authorization", value))
    assert error.code == code
    assert says in error.message


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00", "no SigV4"),
        ("/?x-amz-signature=00", "spelled so"),
        ("/?X%2DAmz%2DSignature=00", "spelled so"),
        ("/?X-Amz-Security-Token=x", "no SigV4"),
        ("/?AWSAccessKeyId=AKID&Signature=x&Expires=1", "s3v4"),
    ],
)
def test_parts_of_a_signature_in_the_query_are_refused_with_and_without_a_header(target: str, says: str) -> None:
    good = request(target="/?plain=1")
    check(good)
    assert "signed twice" in refused(replace(good, target=target)).message
    assert says in refused(changed(replace(good, target=target), "authorization", None)).message
    with pytest.raises(ValueError, match="still signed in its query"):
        request(target=target)


def test_a_version_2_signature_in_the_form_is_named() -> None:
    form = HttpRequest("POST", "sdb.amazonaws.com", "/", (), b"Action=ListDomains&SignatureVersion=2&Signature=x")
    assert "Signature Version 2" in refused(form).message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/us-east-1/", "/us-west-2/"),
        ("/dynamodb/", "/sqs/"),
        ("/dynamodb/", "//"),
        ("/20260301/", "/20260228/"),
        ("aws4_request", "aws4_requesu"),
        ("host;", ""),
        ("host;", "host;host;"),
        ("content-type;host", "host;content-type"),
        ("content-type;host", "content-type;cost;host"),
        ("x-amz-date;", ""),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"),
        (", Signature=", ", Signature=0"),
        (", Signature=", ", Extra=1, Signature="),
    ],
)
def test_a_changed_authorization_is_refused(old: str, new: str) -> None:
    check(request())
    refused(edited(request(), old, new))


def test_an_x_amz_header_added_on_the_way_is_refused_and_other_headers_are_not() -> None:
    check(with_header(request(), "amz-sdk-invocation-id", "1"))
    check(with_header(request(), "x-amzn-trace-id", "1"))
    error = refused(with_header(request(), "X-Amz-Copy-Source", "/bucket/key"))
    assert (error.code, "x-amz-copy-source" in error.message) == ("IncompleteSignature", True)


@pytest.mark.parametrize("name", ["Authorization", "X-Amz-Date", "x-amz-security-token", "host", "Content-Type"])
def test_a_signed_header_that_stands_twice_is_refused(name: str) -> None:
    good = request()
    refused(with_header(good, name, good.get(name) or ""))


def test_another_secret_another_method_path_query_host_or_body_is_refused() -> None:
    good = request()
    for bad in (
        replace(good, method="GET"),
        replace(good, target="/other"),
        replace(good, target="/?a"),
        replace(good, target="*"),
        replace(good, host="sts.amazonaws.com"),
        replace(good, body=b"{ }"),
    ):
        assert refused(bad).code == "SignatureDoesNotMatch"
    with pytest.raises(SignatureRefused):
        verify(good, parse_authorization(good), "another", now=NOW)


@pytest.mark.parametrize(
    ("service", "skew", "code"), [("dynamodb", 300, "RequestExpired"), ("s3", 900, "RequestTimeTooSkewed")]
)
def test_the_clock_may_differ_by_the_services_own_limit(service: str, skew: int, code: str) -> None:
    for sign_of in (1, -1):
        check(request(service=service), NOW + timedelta(seconds=sign_of * skew))
        error = refused(request(service=service), NOW + timedelta(seconds=sign_of * (skew + 1)))
        assert error.code == code
        assert "NTP" in error.message


@pytest.mark.parametrize("date", ["20261301T120000Z", "2026-03-01T12:00:00Z", "20260301T120000", "２0260301T120000Z"])
def test_a_date_that_is_none_is_refused(date: str) -> None:
    bad = changed(request(), "x-amz-date", date)
    assert refused(edited(bad, "/20260301/", f"/{date[:8]}/")).code == "IncompleteSignature"


def test_a_scope_of_another_day_is_refused_though_the_signature_is_right() -> None:
    late = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
    check(request(at=late), late + timedelta(minutes=2))
    authorization = parse_authorization(request(at=late))
    with pytest.raises(SignatureRefused) as caught:
        verify(request(at=late), replace(authorization, date="20260302"), SECRET, now=late)
    assert caught.value.code == "SignatureDoesNotMatch"


def test_a_stated_hash_must_be_the_bodys() -> None:
    digest = ("x-amz-content-sha256", hashlib.sha256(b"body").hexdigest())
    for service, code in (("s3", "XAmzContentSHA256Mismatch"), ("glacier", "SignatureDoesNotMatch")):
        check(request(digest, body=b"body", service=service))
        assert refused(request(digest, body=b"bodx", service=service)).code == code
    upper = ("x-amz-content-sha256", digest[1].upper())
    assert refused(request(upper, body=b"body", service="s3")).code == "IncompleteSignature"


@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
@pytest.mark.parametrize("service", ["s3", "s3express", "s3-object-lambda", "s3-outposts"])
def test_the_s3_family_takes_unsigned_bodies(service: str, payload: str) -> None:
    found = request(("x-amz-content-sha256", payload), service=service)
    check(replace(found, body=b"anything"))
    check(replace(found, body=None))


def test_other_services_take_unsigned_bodies_only_for_the_operations_that_say_so() -> None:
    unsigned = ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    check(request(unsigned, service="ebs", method="PUT", target="/snapshots/snap-1/blocks/5"))
    for bad in (
        request(unsigned, service="ebs", method="PUT", target="/snapshots/snap-1/blocks/5/6"),
        request(unsigned, service="ebs", method="GET", target="/snapshots/snap-1/blocks/5"),
        request(unsigned, service="lambda", method="PUT", target="/snapshots/snap-1/blocks/5"),
        request(unsigned, service="dynamodb"),
        request(("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), service="dynamodb"),
    ):
        assert "takes no unsigned body" in refused(bad).message


@pytest.mark.long
def test_the_operations_that_take_unsigned_bodies_are_those_of_the_models() -> None:
    found = set()
    for service in models.services():
        model = models.service_model(service)
        for name in model.operation_names:
            operation = model.operation_model(name)
            if operation.auth_type == "v4-unsigned-body" and model.signing_name not in sigv4.S3_FAMILY:
                uri = operation.http["requestUri"]
                filled = "/".join("a" if part.startswith("{") else part for part in uri.split("/"))
                found.add((model.signing_name, operation.http["method"], filled))
    listed = {row: [p for s, m, p in UNSIGNED_OPERATIONS if (s, m) == row[:2] and p.fullmatch(row[2])] for row in found}
    assert all(listed.values()), listed
    assert len(found) == len(UNSIGNED_OPERATIONS)


@pytest.mark.parametrize(
    "payload", ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"]
)
def test_signed_chunks_are_taken_only_where_they_stream(payload: str) -> None:
    """Whoever passes a stream on checks and signs its chunks: addons/wire/chunks.py."""
    whole = request(("x-amz-content-sha256", payload), service="s3")
    assert "chunk-signed" in refused(whole).message
    check(replace(whole, body=None))
    other = request(("x-amz-content-sha256", payload), service="glacier")
    assert "chunk-signed" in refused(replace(other, body=None)).message
    ecdsa = payload.replace("HMAC-SHA256", "ECDSA-P256-SHA256")
    assert (
        "unsigned trailer"
        in refused(replace(request(("x-amz-content-sha256", ecdsa), service="s3"), body=None)).message
    )


def test_an_s3_express_session_is_refused() -> None:
    error = refused(request(("x-amz-s3session-token", "real"), service="s3express"))
    assert "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH" in error.message
    assert "real" not in error.message


def test_a_body_that_was_not_read_needs_a_hash_that_aws_checks() -> None:
    digest = ("x-amz-content-sha256", hashlib.sha256(b"body").hexdigest())
    check(replace(request(digest, body=b"body", service="s3"), body=None))
    refused(replace(request(digest, body=b"body", service="glacier"), body=None))
    refused(replace(request(), body=None))


def test_bytes_that_are_no_utf_8_are_signed_as_they_are() -> None:
    raw = b"caf\xe9".decode("utf-8", "surrogateescape")
    good = request(("x-amz-meta-note", raw), target=f"/{raw}?q={raw}", service="s3")
    check(good)
    refused(changed(good, "x-amz-meta-note", "caf\ufffd"))
    refused(replace(good, target="/caf\ufffd?q=caf\ufffd"))


def test_signing_replaces_the_agents_authentication_and_leaves_the_rest_in_order() -> None:
    agents = request(("Content-Length", "2"), ("amz-sdk-request", "attempt=1"), ("Transfer-Encoding", "chunked"))
    agents = edited(agents, "SignedHeaders=", "SignedHeaders=amz-sdk-request;transfer-encoding;gone;")
    signed = sign(
        agents, access_key="AKIAREAL", secret_key="real", token=None, service="sqs", region="eu-west-1", now=NOW
    )
    kept = tuple(
        h for h in agents.headers if h[0].lower() not in ("authorization", "x-amz-date", "x-amz-security-token")
    )
    assert signed[: len(kept)] == kept
    assert [name for name, _ in signed[len(kept) :]] == ["X-Amz-Date", "Authorization"]
    value = signed[-1][1]
    assert value.startswith("AWS4-HMAC-SHA256 Credential=AKIAREAL/20260301/eu-west-1/sqs/aws4_request, ")
    assert "SignedHeaders=amz-sdk-request;content-type;host;x-amz-date, " in value


def test_signing_for_s3_states_the_bodys_hash_and_keeps_a_stated_one() -> None:
    plain = HttpRequest("PUT", "b.s3.amazonaws.com", "/k", (), b"body")

    def signed(found: HttpRequest) -> dict[str, str]:
        return dict(
            sign(found, access_key="A", secret_key="s", token="t", service="s3", region="us-east-1", now=NOW)
        )  # fmt: skip

    assert signed(plain)["X-Amz-Content-SHA256"] == hashlib.sha256(b"body").hexdigest()
    assert signed(plain)["Host"] == "b.s3.amazonaws.com"
    stated = replace(plain, headers=(("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),), body=None)
    assert signed(stated)["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    with pytest.raises(ValueError, match="not been read"):
        signed(replace(plain, body=None))


@pytest.mark.parametrize(("service", "region"), [("", "us-east-1"), ("sqs", "")])
def test_nothing_is_signed_for_an_endpoint_that_takes_no_signature(service: str, region: str) -> None:
    with pytest.raises(ValueError, match="takes no Signature Version 4"):
        sign(request(), access_key="A", secret_key="s", token=None, service=service, region=region, now=NOW)


def test_the_memoised_signing_keys_are_bounded_and_not_shown() -> None:
    assert sigv4.signing_key.cache_info().maxsize == 4096
    request()
    assert SECRET not in repr(sigv4.signing_key)
    assert SECRET not in repr(parse_authorization(request()))
