"""Signatures at the gate: presigned URLs, SigV4a, and signed requests that come a second time."""

import datetime
import json
import time
import urllib.parse
from typing import Any
from unittest import mock

import botocore.auth
import botocore.session
import pytest
from botocore.config import Config
from botocore.credentials import Credentials

from addons.wire import sigv4
from addons.wire.message import HttpRequest
from tests import agent
from tests.agent import JSON, Answer
from tests.fail_closed.conftest import DYNAMODB, Stand, until
from tests.harness import REAL_KEY, REAL_SECRET

BUCKET = "bucket.s3.us-east-1.amazonaws.com"
TARGET = JSON | {"x-amz-target": "DynamoDB_20120810.GetItem"}
BODY = b'{"TableName":"t","Key":{"k":{"S":"v"}}}'
IDS = {"amz-sdk-invocation-id": "5f2c5f5e-0000-4000-8000-000000000001", "amz-sdk-request": "attempt=1"}


def url(stand: Stand, operation: str = "get_object", seconds: int = 600, keys: Any = None, **params: Any) -> str:
    """A presigned URL's target, made by botocore's client with the agent's keys."""
    session = botocore.session.Session()
    session.set_credentials(*(keys or stand.keys))
    client = session.create_client("s3", "us-east-1", config=Config(signature_version="s3v4"))
    given = {"Bucket": "bucket", "Key": "a b/ü+c~!*'().txt"} | params
    made = client.generate_presigned_url(operation, given, ExpiresIn=seconds)
    assert made.startswith("https://bucket.s3.amazonaws.com/") or BUCKET in made
    return str(made)


def opened(stand: Stand, made: str, *more: tuple[str, str], method: str = "GET", body: bytes = b"") -> Answer:
    """What curl sends for a URL."""
    parts = urllib.parse.urlsplit(made)
    raw = stand.raw(host=parts.netloc, service="s3")
    headers = [("Host", parts.netloc), *more]
    if body or method == "PUT":
        headers.append(("Content-Length", str(len(body))))
    return raw.send(method, f"{parts.path}?{parts.query}", headers, body)


def signed_by(stand: Stand, secret: str = REAL_SECRET) -> sigv4.Authorization:
    """The signature of the last request that reached the upstream, verified with a secret."""
    seen = stand.upstream.seen[-1]
    host = seen.headers["host"]
    request = HttpRequest(seen.method, host, seen.path, tuple(seen.headers.items()), seen.body)
    found = sigv4.parse_authorization(request)
    sigv4.verify(request, found, secret, now=datetime.datetime.now(datetime.UTC))
    return found


# Presigned URLs


def test_a_presigned_get_is_signed_anew_in_headers(stand: Stand) -> None:
    assert opened(stand, url(stand, ResponseContentType="text/plain")).status == 200
    seen, found = stand.upstream.seen[-1], signed_by(stand)
    assert (found.access_key, found.service, found.expires) == (REAL_KEY, "s3", None)
    assert seen.path == "/a%20b/%C3%BC%2Bc~%21%2A%27%28%29.txt?response-content-type=text%2Fplain"
    assert seen.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    for secret in stand.keys:
        assert secret not in str(seen)
    until(lambda: stand.last_call()["eventName"] == "GetObject", "the line of a streamed answer")
    record = stand.last_call()
    assert stand.keys[2] not in json.dumps(record)


def test_a_presigned_put_carries_its_body(stand: Stand) -> None:
    made = url(stand, "put_object", ContentType="text/plain")
    found = opened(stand, made, ("Content-Type", "text/plain"), method="PUT", body=b"hello")
    assert found.status == 200
    assert (stand.upstream.seen[-1].body, signed_by(stand).access_key) == (b"hello", REAL_KEY)
    assert "content-type" in signed_by(stand).signed_headers


def test_a_presigned_put_streams_a_large_body(stand: Stand) -> None:
    body = bytes(range(256)) * 12_288  # 3 MB
    assert opened(stand, url(stand, "put_object"), method="PUT", body=body).status == 200
    assert (stand.upstream.seen[-1].body, signed_by(stand).access_key) == (body, REAL_KEY)


def test_a_presigned_url_works_many_times_until_it_expires(stand: Stand) -> None:
    made = url(stand)
    assert opened(stand, made).status == opened(stand, made).status == 200
    short = url(stand, seconds=1)
    time.sleep(2.1)
    with stand.nothing_passes():
        assert b"expired" in opened(stand, short).body


def test_a_presigned_url_of_a_refused_operation_is_refused(stand: Stand) -> None:
    with stand.nothing_passes():
        found = opened(stand, url(stand, "delete_object"), method="DELETE")
    assert found.status == 403
    assert found.headers["content-type"] == "application/xml"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("X-Amz-Expires=600", "X-Amz-Expires=6000"),
        ("X-Amz-Expires=600", "X-Amz-Expires=604801"),
        ("X-Amz-Expires=600", "X-Amz-Expires=0"),
        ("X-Amz-Expires=600&", ""),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders="),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=AWS4-HMAC-SHA1"),
        ("us-east-1%2Fs3", "us-east-1%2Fdynamodb"),
        ("us-east-1%2Fs3", "eu-west-1%2Fs3"),
        ("X-Amz-Date=", "x-amz-date="),
        ("X-Amz-Date=", "X-Amz-Date=20260101T000000Z&X-Amz-Date="),
        ("X-Amz-Algorithm", "versionId=1&X-Amz-Algorithm"),
        ("/a%20b", "/b%20b"),
    ],
)
def test_a_changed_presigned_url_is_refused(stand: Stand, old: str, new: str) -> None:
    made = url(stand)
    assert old in made
    with stand.nothing_passes():
        assert opened(stand, made.replace(old, new)).status == 403


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-copy-source", "/other/secret"),
        ("x-amz-acl", "public-read"),
        ("x-amz-security-token", "t"),
        ("x-amz-date", "20260101T000000Z"),
        ("X-Amz-Target", "DynamoDB_20120810.DeleteTable"),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"),
    ],
)
def test_no_header_can_be_added_to_a_presigned_put(stand: Stand, name: str, value: str) -> None:
    made = url(stand, "put_object")
    assert opened(stand, made, method="PUT").status == 200
    with stand.nothing_passes():
        assert opened(stand, made, (name, value), method="PUT").status == 403


def test_parameters_that_s3_takes_for_headers_are_decided_on_as_headers(stand: Stand) -> None:
    """A copy by a presigned PUT: the JavaScript SDK moves headers into the query, and S3 reads them there."""
    credentials, host = Credentials(*stand.keys), BUCKET

    def signed(query: str) -> str:
        request = botocore.awsrequest.AWSRequest("PUT", f"https://{host}/k?{query}")
        botocore.auth.S3SigV4QueryAuth(credentials, "s3", "us-east-1", 600).add_auth(request)
        return str(request.url)

    assert opened(stand, signed("x-amz-meta-note=hello"), method="PUT").status == 200
    assert stand.upstream.seen[-1].headers["x-amz-meta-note"] == "hello"
    assert "x-amz-meta-note" in signed_by(stand).signed_headers
    assert opened(stand, signed("x-amz-copy-source=/other/secret"), method="PUT").status == 200
    assert stand.last_call()["eventName"] == "CopyObject"
    for query in (
        "x-amz-acl=public-read",
        "x-amz-meta-a=%20b",
        "x-amz-tagging=a%3Db",
        "x-amz-meta-a=b%0D%0Ax-amz-acl%3A%20public-read",
    ):
        with stand.nothing_passes():
            assert opened(stand, signed(query), method="PUT").status == 403, query


def test_presigned_urls_of_others_and_of_version_2_are_refused(stand: Stand) -> None:
    foreign = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None)
    key, secret, token = stand.keys
    session = botocore.session.Session()
    session.set_credentials(*stand.keys)
    old = session.create_client("s3", "us-east-1", config=Config(signature_version="s3"))
    version_2 = old.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "k"})
    cases = {
        "foreign": url(stand, keys=foreign),
        "another's secret": url(stand, keys=(key, "x" * len(secret), token)),
        "no token": url(stand, keys=(key, secret, None)),
        "an altered token": url(stand, keys=(key, secret, token[:-4] + "AAAA")),
        "version 2": version_2,
    }
    for name, made in cases.items():
        with stand.nothing_passes():
            found = opened(stand, made)
        assert found.status == 403, name
        assert b"sluicegate: " in found.body, name
    assert b"s3v4" in found.body


def test_a_presigned_caller_identity_is_the_call(stand: Stand) -> None:
    session = botocore.session.Session()
    session.set_credentials(*stand.keys)
    made = session.create_client("sts", "us-east-1").generate_presigned_url("get_caller_identity", {}, HttpMethod="GET")
    opened(stand, made)
    seen = stand.upstream.seen[-1]
    assert seen.path == "/?Action=GetCallerIdentity&Version=2011-06-15"
    assert signed_by(stand).service == "sts"


# Replays


def once(stand: Stand, headers: dict[str, str], ids: dict[str, str], at: datetime.datetime) -> Answer:
    """A GetItem signed at this moment; the ids are added after signing, as boto3 does."""
    raw = stand.raw()
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=at):
        made = raw.signed("POST", "/", headers, BODY)
    return raw.send("POST", "/", [*made, *ids.items()], BODY)


def test_a_replay_is_refused_and_what_only_looks_like_one_passes(stand: Stand) -> None:
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    assert once(stand, TARGET, IDS, now).status == 200
    with stand.nothing_passes():
        found = once(stand, TARGET, IDS, now)
    assert found.status == 403
    assert "received before" in json.loads(found.body)["message"]
    honest = [
        IDS | {"amz-sdk-invocation-id": "5f2c5f5e-0000-4000-8000-000000000002"},  # another call in the same second
        IDS | {"amz-sdk-request": "attempt=2"},  # a retry
        {},  # clients that send neither
        {},
    ]
    for ids in honest:
        assert once(stand, TARGET, ids, now).status == 200, ids
    assert once(stand, TARGET, IDS, now + datetime.timedelta(seconds=1)).status == 200  # signed anew


def test_boto3_calls_in_one_second_all_pass(stand: Stand) -> None:
    client = agent.client(stand.gateway, "dynamodb")
    seen = len(stand.upstream.seen)
    for _ in range(20):
        client.get_item(TableName="t", Key={"k": {"S": "v"}})
    assert len(stand.upstream.seen) == seen + 20


# SigV4a


def test_sigv4a_proves_who_calls_and_is_signed_as_the_endpoint_asks(stand: Stand) -> None:
    raw, (key, secret, token) = stand.raw(host=BUCKET, service="s3"), stand.keys
    plain = HttpRequest("GET", BUCKET, "/key", (("Host", BUCKET),), b"")

    def headers(secret: str, region: str = "*") -> list[tuple[str, str]]:
        now = datetime.datetime.now(datetime.UTC)
        made = sigv4.sign(
            plain, access_key=key, secret_key=secret, token=token, service="s3", region=region, now=now
        )  # fmt: skip
        return list(made)

    assert raw.send("GET", "/key", headers(secret)).status == 200
    assert signed_by(stand).algorithm == "AWS4-HMAC-SHA256"
    for bad in (headers("x" * 40), [h for h in headers(secret) if h[0] != "X-Amz-Region-Set"]):
        with stand.nothing_passes():
            assert raw.send("GET", "/key", bad).status == 403
    with stand.nothing_passes():
        assert raw.send("GET", "/other", headers(secret)).status == 403


def test_a_multi_region_access_point_is_signed_with_sigv4a_and_takes_nothing_else(stand: Stand) -> None:
    host, (key, secret, token) = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com", stand.keys
    raw, plain = stand.raw(host=host, service="s3"), HttpRequest("GET", host, "/a%20b", (("Host", host),), b"")

    def headers(region: str) -> list[tuple[str, str]]:
        now = datetime.datetime.now(datetime.UTC)
        made = sigv4.sign(
            plain, access_key=key, secret_key=secret, token=token, service="s3", region=region, now=now
        )  # fmt: skip
        return list(made)

    assert raw.send("GET", "/a%20b", headers("*")).status == 200
    found = signed_by(stand)
    assert (found.algorithm, found.access_key, found.region) == ("AWS4-ECDSA-P256-SHA256", REAL_KEY, "*")
    with stand.nothing_passes():
        assert raw.send("GET", "/a%20b", headers("us-east-1")).status == 403


def test_a_bearer_token_is_refused_and_says_what_to_do(stand: Stand) -> None:
    raw = stand.raw(host=DYNAMODB)
    with stand.nothing_passes():
        found = raw.send(
            "POST",
            "/",
            [("Host", DYNAMODB), *TARGET.items(), ("Authorization", "Bearer x"), ("Content-Length", "2")],
            b"{}",
        )
    assert found.status == 403
    assert "AWS_AUTH_SCHEME_PREFERENCE" in json.loads(found.body)["message"]
