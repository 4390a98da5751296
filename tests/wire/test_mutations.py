"""A mutation fuzzer on real requests: what still decodes, decodes to the same call after it was encoded again.

Each request of a botocore client is damaged in one to three places: bytes, escapes, query keys, headers, JSON, XML and
form text. Seeded, so that a failure can be made again; the long run has a fixed time.
"""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from addons import wire
from addons.wire import Decoded, HttpRequest, Undecodable, models
from scripts.benchmarks.round_trip.canonical import canonical, encoded, streams
from scripts.benchmarks.round_trip.capture import Client, frozen
from scripts.benchmarks.round_trip.parameters import Generator

SEEDS: tuple[tuple[str, str], ...] = (
    ("cloudfront", "CreateInvalidation"),
    ("cloudwatch", "PutMetricData"),
    ("dynamodb", "PutItem"),
    ("dynamodb", "Query"),
    ("ec2", "DescribeInstances"),
    ("ec2", "RunInstances"),
    ("eventbridgev2", "CreateEventBus"),
    ("glue", "CreateJob"),
    ("iam", "CreateUser"),
    ("iam", "PutRolePolicy"),
    ("iot-data", "UpdateThingShadow"),
    ("kinesis", "PutRecords"),
    ("lambda", "CreateFunction"),
    ("lambda", "Invoke"),
    ("lambda", "ListFunctions"),
    ("rds", "DescribeDBInstances"),
    ("route53", "ChangeResourceRecordSets"),
    ("s3", "CopyObject"),
    ("s3", "DeleteObjects"),
    ("s3", "GetObject"),
    ("s3", "ListObjectsV2"),
    ("s3", "PutBucketLifecycleConfiguration"),
    ("s3", "PutBucketTagging"),
    ("s3", "PutObject"),
    ("s3control", "CreateJob"),
    ("secretsmanager", "PutSecretValue"),
    ("sns", "Publish"),
    ("sqs", "SendMessage"),
    ("sts", "AssumeRole"),
)
PIECES = (
    *(
        "&",
        "=",
        "%",
        "%00",
        "%2F",
        "%2f",
        "%41",
        "%C3",
        "%C3%A9",
        "+",
        ";",
        "/",
        "//",
        "/./",
        "/../",
        "?",
        "#",
        "\\",
        ".",
    ),
    *(
        '"',
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "true",
        "1e3",
        "1.0",
        "-0",
        "01",
        "NaN",
        "\\u0041",
        "\\ud800",
        "\\",
        " ",
    ),
    *(
        "<",
        ">",
        "</",
        "<!--x-->",
        "<![CDATA[x]]>",
        "&amp;",
        "&#65;",
        "&lt;",
        "<a/>",
        ' a="b"',
        ' xmlns="u"',
        "\n",
        "\t",
    ),
    *("&Action=DeleteUser", "&Version=2010-05-08", "&A.1=b", ".1", ".01", ".member.1", "1", "0", "9" * 20, "x", "é"),
    *(
        '{"a":1,"a":2}',
        '"__type":"x",',
        "\x00",
        "\ufeff",
        "\x7f",
        "aws-chunked",
        "gzip",
        "=?",
        "T00:00:00Z",
        "Z",
        "+00:00",
    ),
    *(
        "?acl",
        "&tagging",
        "&policy",
        "&uploads",
        "&x-id=GetObject",
        "&versionId=1",
        "&X-Amz-Algorithm=AWS4-HMAC-SHA256",
    ),
)
HEADERS = (
    *(
        "x-amz-acl",
        "x-amz-copy-source",
        "x-amz-meta-a",
        "X-Amz-Meta-A",
        "range",
        "if-match",
        "content-encoding",
        "expect",
    ),
    *("content-type", "x-amz-target", "smithy-protocol", "x-amz-content-sha256", "x-amz-trailer", "accept", "x-amz-a"),
    *("x-amz-decoded-content-length", "x-amz-invocation-type", "x-amz-tagging", "x-amz-expected-bucket-owner", "date"),
)
VALUES = (
    *(
        "",
        "a",
        "a,b",
        'a,"b,c"',
        "public-read",
        "/b-1/k",
        "bytes=0-1",
        "gzip",
        "aws-chunked",
        "application/json",
        "1",
        "é",
    ),
    *("application/x-www-form-urlencoded", "application/x-amz-json-1.0", "application/x-amz-json-1.1", "rpc-v2-cbor"),
    *("DynamoDB_20120810.PutItem", "DynamoDB_20120810.DeleteItem", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", " a ", "a\tb"),
)


@cache
def seeds() -> tuple[HttpRequest, ...]:
    """Real requests, with required members only and with all of them."""
    made = []
    with frozen():
        for service, operation in SEEDS:
            client = Client(service)
            for everything in (False, True):
                params = Generator(models.operation_model(service, operation), everything, "mutations").parameters()
                made.append(client.request(operation, params)[0])
        for protocol in ("json", "query", "smithy-rpc-v2-cbor"):
            params = Generator(models.operation_model("cloudwatch", "PutMetricAlarm"), True).parameters()
            made.append(Client("cloudwatch", protocol=protocol).request("PutMetricAlarm", params)[0])
    return tuple(made)


def cut(dice: random.Random, text: bytes) -> bytes:
    """Bytes with a piece put in, taken out, doubled, moved or changed."""
    at = dice.randrange(len(text) + 1)
    end = min(len(text), at + dice.randrange(1, 12))
    match dice.randrange(7):
        case 0:
            return text[:at] + dice.choice(PIECES).encode() + text[at:]
        case 1:
            return text[:at] + dice.choice(PIECES).encode() + text[end:]
        case 2:
            return text[:at] + text[end:]
        case 3:
            return text[:end] + text[at:end] + text[end:]
        case 4:
            return text[:at] + bytes([dice.randrange(256)]) + text[at + 1 :]
        case 5:
            other = dice.randrange(len(text) + 1)
            return text[:at] + text[other : other + 20] + text[at:]
    return text[:at] + (bytes([text[at] ^ (1 << dice.randrange(8))]) if at < len(text) else b"") + text[at + 1 :]


def on_the_query(dice: random.Random, request: HttpRequest) -> HttpRequest:
    path, _, query = request.target.partition("?")
    pairs = [
        *query.split("&"),
        dice.choice(("tagging", "acl", "policy", "a=b", "MaxItems=1", "prefix=%61", "uploadId=1")),
    ]
    dice.shuffle(pairs)
    return replace(request, target=path + "?" + "&".join(pair for pair in pairs if pair))


def on_the_target(dice: random.Random, request: HttpRequest) -> HttpRequest:
    return replace(request, target="/" + cut(dice, request.target[1:].encode()).decode("latin-1"))


def on_the_body(dice: random.Random, request: HttpRequest) -> HttpRequest:
    return replace(request, body=cut(dice, request.body or b""))


def on_a_header(dice: random.Random, request: HttpRequest) -> HttpRequest:
    headers = list(request.headers)
    at = dice.randrange(len(headers))
    match dice.randrange(4):
        case 0:
            headers.insert(at, (dice.choice(HEADERS), dice.choice(VALUES)))
        case 1:
            headers[at] = (headers[at][0], cut(dice, headers[at][1].encode()).decode("latin-1"))
        case 2:
            headers[at] = (headers[at][0], dice.choice(VALUES))
        case 3:
            del headers[at]
    return replace(request, headers=tuple(headers))


def on_the_method(dice: random.Random, request: HttpRequest) -> HttpRequest:
    return replace(request, method=dice.choice(("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH")))


PLACES: tuple[Callable[[random.Random, HttpRequest], HttpRequest], ...] = (
    *(on_the_body, on_the_body, on_the_body, on_the_target, on_the_target, on_the_query, on_a_header, on_a_header),
    on_the_method,
)


def unsigned(request: HttpRequest) -> HttpRequest:
    """Without the seed's signature, half of the time: it would refuse what is done to scope and date."""
    return replace(request, headers=tuple(h for h in request.headers if h[0].lower() != "authorization"))


def try_one(dice: random.Random) -> bool:
    """Damage one request, and check what it is read as, if it is. Whether it was."""
    request = dice.choice(seeds())
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        request = dice.choice(PLACES)(dice, request)
    if dice.random() < 0.5:
        request = unsigned(request)
    try:
        found = wire.decode(request)
    except Undecodable:
        return False
    check(request, found)
    return True


def check(request: HttpRequest, found: Decoded) -> None:
    """The second encoding is the same request, and is read as the same call with the same parameters."""
    model = models.operation_model(found.service, found.operation)
    again = encoded(found, model, request)
    assert canonical(request, found, model) == canonical(again, found, model)
    if streams(model):
        again = replace(again, body=None)
    read = wire.decode(again)
    assert (read.candidates, read.region) == (found.candidates, found.region)
    assert repr(sorted(read.params.items())) == repr(sorted(found.params.items()))


@pytest.mark.parametrize("seed", range(20))
def test_what_decodes_decodes_alike_when_it_is_encoded_again(seed: int) -> None:
    dice = random.Random(f"mutations {seed}")
    read = sum(try_one(dice) for _ in range(100))
    assert read > 5  # a fuzzer whose every request is refused finds nothing


@pytest.mark.long
def test_for_thirty_seconds() -> None:
    """Other requests in each run; the seed is in the message of what fails."""
    seed = random.SystemRandom().randrange(2**32)
    dice, ends, tried, read = random.Random(seed), time.monotonic() + 30, 0, 0
    while time.monotonic() < ends:
        state = dice.getstate()
        try:
            read += try_one(dice)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, after {tried} requests") from error
        assert state != dice.getstate()
        tried += 1
    assert read > tried / 50
