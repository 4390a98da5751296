"""Against botocore's own signers, both ways: what they sign is verified, and what we sign has their signature.

Not generated, because the signers themselves differ there: whitespace outside ASCII in header values (botocore trims
it, Go and AWS do not), a query in another encoding than the canonical one (`SigV4Auth` takes it as it is; AWS's rule,
which ours follows, is tested below by hand).
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, quote, urlsplit

import botocore.auth
import botocore.session
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.wire.message import HttpRequest
from addons.wire.sigv4 import SignatureRefused, parse_authorization, sign, verify

KEY, SECRET, TOKEN = "ASIAEXAMPLEEXAMPLE00", "secretsecretsecretsecretsecretsecretsecr", "SLG1.a.b"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
HOST = "x.us-east-1.amazonaws.com"
TRIALS = settings(max_examples=150, deadline=None, derandomize=True)

TEXT = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=12)
SEGMENT = TEXT.map(lambda text: quote(text, safe="~"))
S3_PATH = st.lists(SEGMENT | st.sampled_from(["", ".", "..", "a%2Fb"]), min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)
PATH = st.lists(SEGMENT | st.sampled_from(["", ".", "..", "arn%3Aaws"]), max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)
QUERY = st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=5)
NAMES = st.from_regex(r"(x-amz-[a-z]{3,8}|[a-z]{3,9}|amz-sdk-[a-z]{2,4})", fullmatch=True).filter(
    lambda name: name not in {"x-amz-date", "date", "host", "te", "expect", "trailer", "upgrade", "baggage"}
)
VALUE = st.text(st.sampled_from('abcXYZ019 -_=;,/"\\éü\tß'), max_size=20)
HEADERS = st.dictionaries(NAMES, VALUE, max_size=5)
BODY = st.binary(max_size=60)
METHOD = st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"])


@contextlib.contextmanager
def frozen(moment: datetime = NOW) -> Iterator[None]:
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=moment):
        yield


def encoded(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)


def signed_by_botocore(
    service: str, method: str, path: str, query: str, headers: dict[str, str], body: bytes, secret: str = SECRET
) -> HttpRequest:
    """A request as botocore signs it, on the wire."""
    url = f"https://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, headers={"Host": HOST} | headers, data=body)
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials(KEY, secret, TOKEN), service, "us-east-1")
    with frozen():
        signer.add_auth(request)
    target = path + (f"?{query}" if query else "")
    return HttpRequest(method, HOST, target, tuple((n, str(v)) for n, v in request.headers.items()), body)


def signature_of_botocore(service: str, request: HttpRequest, signed: tuple[tuple[str, str], ...]) -> str:
    """botocore's Authorization over exactly the headers that we have signed."""
    ours = dict(signed)["Authorization"]
    names = set(ours.partition("SignedHeaders=")[2].partition(",")[0].split(";"))
    again = AWSRequest(method=request.method, url=f"https://{HOST}{request.target}", data=request.body or b"")
    for name, value in signed:
        if name.lower() in names:
            again.headers[name] = value
    again.context["timestamp"] = dict(signed)["X-Amz-Date"]
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials(KEY, SECRET, TOKEN), service, "us-east-1")
    text = signer.string_to_sign(again, signer.canonical_request(again))
    signer._inject_signature_to_request(again, signer.signature(text, again))
    return str(again.headers["Authorization"])


def sign_as_test(request: HttpRequest, service: str) -> tuple[tuple[str, str], ...]:
    return sign(
        request, access_key=KEY, secret_key=SECRET, token=TOKEN, service=service, region="us-east-1", now=NOW
    )  # fmt: skip


@TRIALS
@given(METHOD, PATH, QUERY, HEADERS, BODY)
def test_what_botocore_signs_is_verified(
    method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes
) -> None:
    request = signed_by_botocore("dynamodb", method, path, encoded(query), headers, body)
    verify(request, parse_authorization(request), SECRET, now=NOW)


@TRIALS
@given(METHOD, S3_PATH, QUERY, HEADERS, BODY)
def test_what_botocore_signs_for_s3_is_verified(
    method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes
) -> None:
    request = signed_by_botocore("s3", method, path, encoded(query), headers, body)
    verify(request, parse_authorization(request), SECRET, now=NOW)


@TRIALS
@given(st.sampled_from(["s3", "dynamodb"]), METHOD, S3_PATH, QUERY, HEADERS, BODY)
def test_what_we_sign_has_botocores_signature(
    service: str, method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes
) -> None:
    request = signed_by_botocore(service, method, path, encoded(query), headers, body, secret="another")
    signed = sign_as_test(request, service)
    assert dict(signed)["Authorization"] == signature_of_botocore(service, request, signed)
    again = HttpRequest(method, HOST, request.target, signed, body)
    verify(again, parse_authorization(again), SECRET, now=NOW)


@TRIALS
@given(QUERY, st.randoms(use_true_random=False))
def test_a_query_in_any_encoding_and_order_has_the_signature_of_its_parameters(
    query: list[tuple[str, str]], random: Any
) -> None:
    def loose(text: str) -> str:
        return "".join(one(byte) for byte in text.encode())

    def one(byte: int) -> str:
        bare = byte < 128 and chr(byte).isalnum() and random.random() < 0.5
        return chr(byte) if bare else random.choice(["%%%02x", "%%%02X"]) % byte

    base = AWSRequest(method="GET", url=f"https://{HOST}/", headers={"Host": HOST}, params=query)
    with frozen():
        SigV4Auth(Credentials(KEY, SECRET, TOKEN), "sqs", "us-east-1").add_auth(base)
    random.shuffle(query)
    target = "/" + ("?" + "&".join(f"{loose(name)}={loose(value)}" for name, value in query) if query else "")
    request = HttpRequest("GET", HOST, target, tuple(base.headers.items()), b"")
    verify(request, parse_authorization(request), SECRET, now=NOW)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.sampled_from(["s3", "dynamodb"]), METHOD, S3_PATH, QUERY, HEADERS, BODY, st.integers(0, 7))
def test_no_bit_of_what_is_signed_can_be_flipped(
    service: str, method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes, bit: int
) -> None:
    """One bit of every byte, but those of the access key: no signature covers it, unsealing binds it to its token."""
    request = signed_by_botocore(service, method, path, encoded(query), headers, body)
    accepted = []
    for changed in flips(request, bit):
        try:
            found = parse_authorization(changed)
            verify(changed, found, SECRET, now=NOW)
        except SignatureRefused:
            continue
        if found.access_key == KEY and not same_request(service, request, changed):
            accepted.append(changed)
    assert accepted == []


def flips(request: HttpRequest, bit: int) -> Iterator[HttpRequest]:
    parts = [request.method.encode(), request.target.encode(), request.body or b""]
    parts += [part.encode() for header in request.headers for part in header]
    for index, part in enumerate(parts):
        for place in range(len(part)):
            changed = bytearray(part)
            changed[place] ^= 1 << (place + bit) % 8
            all_parts = [*parts[:index], bytes(changed), *parts[index + 1 :]]
            texts = [part.decode("utf-8", "surrogateescape") for part in all_parts]
            headers = tuple(zip(texts[3::2], texts[4::2], strict=True))
            yield HttpRequest(texts[0], HOST, texts[1], headers, all_parts[2])


def same_request(service: str, one: HttpRequest, two: HttpRequest) -> bool:
    """Whether two requests mean the same: case of header names and of the host, runs of spaces in values, spelling
    of a query's escapes, and outside S3 the path's empty and dot segments."""

    def meaning(request: HttpRequest) -> Any:
        lower = [(name.lower(), " ".join(value.split())) for name, value in request.headers]
        headers = [(name, value.lower() if name == "host" else value) for name, value in lower]
        path, _, query = request.target.partition("?")
        pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, errors="surrogateescape")
        return (
            request.method,
            path if service == "s3" else normalize_url_path(path),
            sorted(pairs),
            headers,
            request.body,
        )

    return bool(meaning(one) == meaning(two))


S3_KEYS = [
    "a b/ü+c~!*'().txt",
    "plain",
    "a//b",
    "../x",
    "a%2Fb",
    "é\u20ac/日本",
    "=&?#",
    "tab\there",
    "x" * 900,
    "~",
    ".",
]


@pytest.fixture
def clients() -> Any:
    session = botocore.session.Session()
    session.set_credentials(KEY, SECRET, TOKEN)
    session.set_config_variable("region", "us-east-1")
    return session


def captured(client: Any, operation: str, **params: Any) -> HttpRequest:
    """What a real client puts on the wire."""
    seen: list[Any] = []

    def stop(request: Any, **_: Any) -> None:
        seen.append(request)
        raise KeyboardInterrupt  # nothing may leave

    client.meta.events.register_first("before-send", stop)
    with frozen(), contextlib.suppress(KeyboardInterrupt):
        getattr(client, operation)(**params)
    client.meta.events.unregister("before-send", stop)
    parts = urlsplit(seen[0].url)
    body = seen[0].body or b""
    body = body if isinstance(body, bytes) else body.read() if hasattr(body, "read") else str(body).encode()
    headers = tuple((n, v.decode() if isinstance(v, bytes) else str(v)) for n, v in seen[0].headers.items())
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return HttpRequest(seen[0].method, parts.hostname or "", target, (("Host", parts.hostname or ""), *headers), body)


CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("sts", "get_caller_identity", {}),
    ("dynamodb", "get_item", {"TableName": "t", "Key": {"id": {"S": "ü  x"}}}),
    ("ec2", "describe_instances", {"InstanceIds": ["i-0123456789abcdef0"]}),
    ("lambda", "list_tags", {"Resource": "arn:aws:lambda:us-east-1:111122223333:function:f"}),
    ("lambda", "invoke", {"FunctionName": "f", "Payload": b"{}", "ClientContext": "e30="}),
    ("apigateway", "get_rest_apis", {"limit": 5}),
    ("cloudwatch", "list_metrics", {"Namespace": "A B"}),
    ("route53", "list_hosted_zones", {"MaxItems": "3"}),
    ("ebs", "put_snapshot_block", {"SnapshotId": "snap-0123456789abcdef0", "BlockIndex": 1, "BlockData": b"x", "DataLength": 524288, "Checksum": "a", "ChecksumAlgorithm": "SHA256"}),  # UNSIGNED-PAYLOAD  # noqa: E501
    ("s3", "list_objects_v2", {"Bucket": "bucket", "Prefix": "a b+c/ü", "Delimiter": ""}),
    ("s3", "get_object_tagging", {"Bucket": "bucket", "Key": "k"}),
    ("s3", "copy_object", {"Bucket": "bucket", "Key": "k", "CopySource": {"Bucket": "b", "Key": "é x"}, "Metadata": {"note": "two  spaces"}, "MetadataDirective": "REPLACE"}),  # noqa: E501
    ("s3", "put_object", {"Bucket": "bucket", "Key": "k", "Body": b"hello", "ContentType": "text/plain; charset=utf-8"}),  # noqa: E501
    *[("s3", "head_object", {"Bucket": "bucket", "Key": key}) for key in S3_KEYS],
    *[("s3", "get_object", {"Bucket": "dotted.bucket", "Key": key}) for key in S3_KEYS],
]  # fmt: skip


@pytest.mark.parametrize(("service", "operation", "params"), CALLS)
def test_what_real_clients_send_is_verified_and_signed_anew(
    clients: Any, service: str, operation: str, params: dict[str, Any]
) -> None:
    request = captured(clients.create_client(service), operation, **params)
    authorization = parse_authorization(request)
    verify(request, authorization, SECRET, now=NOW)
    signed = sign(
        request, access_key="AKIAREAL", secret_key="real", token="real-token", service=authorization.service,
        region="us-east-1", now=NOW,
    )  # fmt: skip
    again = HttpRequest(request.method, request.host, request.target, signed, request.body)
    found = parse_authorization(again)
    verify(again, found, "real", now=NOW)
    assert (found.access_key, found.token) == ("AKIAREAL", "real-token")
    assert set(authorization.signed_headers) <= set(found.signed_headers)
    text = str(signed)
    assert KEY not in text
    assert TOKEN not in text
