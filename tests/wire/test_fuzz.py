"""No input makes the reader raise anything but `Undecodable`, or read the same bytes in two ways."""

from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from addons import wire
from addons.wire import Decoded, HttpRequest, Undecodable, models
from scripts.benchmarks.round_trip.capture import Client, frozen
from scripts.benchmarks.round_trip.parameters import Generator
from tests.wire.requests import CBOR, DYNAMODB, IAM, LAMBDA, S3

SEEDS = (
    ("dynamodb", "PutItem"),
    ("s3", "PutObject"),
    ("s3", "PutBucketTagging"),
    ("s3", "ListObjectsV2"),
    ("iam", "CreateUser"),
    ("ec2", "RunInstances"),
    ("lambda", "CreateFunction"),
    ("eventbridgev2", "CreateEventBus"),
    ("cloudwatch", "PutMetricData"),
    ("sts", "AssumeRoleWithWebIdentity"),
)


@cache
def seeds() -> list[HttpRequest]:
    """Real requests, to be damaged."""
    made = []
    with frozen():
        for service, operation in SEEDS:
            known = models.service_model(service).operation_names
            name = operation if operation in known else known[0]
            params = Generator(models.operation_model(service, name), True).parameters()
            made.append(Client(service).request(name, params)[0])
    return made


def outcome(request: HttpRequest) -> Decoded | str:
    """What the reader says, the same twice."""
    said: list[Decoded | str] = []
    for _ in range(2):
        try:
            said.append(wire.decode(request))
        except Undecodable as error:
            said.append(error.reason)
    # repr, as NaN is not equal to itself
    assert repr(said[0]) == repr(said[1])
    assert isinstance(said[0], Decoded) or len(said[0]) < 400
    return said[0]


HOSTS = st.sampled_from((DYNAMODB, IAM, S3, LAMBDA, CBOR, "b.s3.amazonaws.com", "rds.us-east-1.amazonaws.com"))
NAMES = st.sampled_from(
    (
        "X-Amz-Target",
        "Content-Type",
        "smithy-protocol",
        "Authorization",
        "Content-Encoding",
        "x-amz-content-sha256",
        "x-amz-decoded-content-length",
        "x-amz-trailer",
        "x-amz-copy-source",
        "x-amz-meta-a",
    )
)
VALUES = st.one_of(
    st.sampled_from(
        (
            "application/x-www-form-urlencoded",
            "application/x-amz-json-1.0",
            "application/cbor",
            "rpc-v2-cbor",
            "gzip",
            "aws-chunked",
            "DynamoDB_20120810.PutItem",
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "5",
            "",
        )
    ),
    st.text(max_size=30),
)
BODIES = st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]":,.&=<>/aA10%\\u', max_size=100).map(str.encode))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    method=st.sampled_from(("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "get", "")),
    host=st.one_of(HOSTS, st.text(max_size=40)),
    target=st.one_of(st.text(max_size=60), st.text(alphabet="/?&=%.;+aA12F", max_size=60).map("/".__add__)),
    headers=st.lists(st.tuples(st.one_of(NAMES, st.text(max_size=10)), VALUES), max_size=5),
    body=st.one_of(st.none(), BODIES),
)
@example(method="POST", host=DYNAMODB, target="/", headers=[("X-Amz-Target", "\udcff")], body=b"{}")
def test_anything_is_read_or_refused(
    method: str, host: str, target: str, headers: list[tuple[str, str]], body: bytes | None
) -> None:
    outcome(HttpRequest(method, host, target, tuple(headers), body))
    assert wire.host_kind(host) in ("api", "opaque", "other")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_damaged_requests_are_read_or_refused(data: st.DataObject) -> None:
    request = data.draw(st.sampled_from(seeds()))
    part = data.draw(st.sampled_from(("body", "target", "header")))
    body, target, headers = request.body or b"", request.target, list(request.headers)
    if part == "body":
        at = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(at, min(len(body), at + 8)))
        body = body[:at] + data.draw(st.binary(max_size=8)) + body[end:]
    elif part == "target":
        at = data.draw(st.integers(1, len(target)))
        target = target[:at] + data.draw(st.text(alphabet="/.%2Fe?&=x;", max_size=5)) + target[at:]
    else:
        at = data.draw(st.integers(0, len(headers) - 1))
        headers[at] = (headers[at][0], data.draw(VALUES))
    outcome(HttpRequest(request.method, request.host, target, tuple(headers), body))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(("gzip", "")), BODIES)
def test_bodies_of_every_protocol(coding: str, body: bytes) -> None:
    extra = (("Content-Encoding", coding),) if coding else ()
    for seed in seeds():
        outcome(HttpRequest(seed.method, seed.host, seed.target, seed.headers + extra, body))
