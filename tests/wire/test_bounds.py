"""What an agent can send takes bounded time and memory, whatever it sends; so do the models that it makes us load."""

import gc
import gzip
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Callable

import pytest

from addons import wire
from addons.wire import HttpRequest, Undecodable, chunked, models
from tests.wire.conftest import CACHE
from tests.wire.requests import (
    CBOR,
    DYNAMODB,
    IAM,
    LAMBDA,
    S3,
    ask,
    cbor_ask,
    form_ask,
    json_ask,
    xml_ask,
)

SECONDS = 2.0  # of processor time for one request of the largest size, on a slow machine; most take milliseconds
MEGABYTES_8 = 8_000_000
USER = "Action=GetUser&Version=2010-05-08"
LIST = "Action=ListPoliciesGrantingServiceAccess&Version=2010-05-08&Arn=a"
METRICS = "Action=PutMetricData&Version=2010-08-01&Namespace=n"
ATTRIBUTE = '{"TableName": "t", "Item": {"a": %s}}'


def nested_json(depth: int) -> bytes:
    return (ATTRIBUTE % ('{"L": [' * depth + '{"S": "x"}' + "]}" * depth)).encode()


def nested_cbor(depth: int) -> bytes:
    return b"\xa1\x61a" * depth + b"\xa0"


def put(body: bytes, target: str = "DynamoDB_20120810.PutItem") -> HttpRequest:
    return json_ask(body, target)


def aws_chunked(body: bytes, length: int) -> HttpRequest:
    head = {
        "Content-Encoding": "aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-decoded-content-length": str(length),
    }
    return ask(S3, "PUT", "/b-1/k", body, head)


REFUSED: dict[str, Callable[[], HttpRequest]] = {
    "form: 8 MB of &": lambda: form_ask(USER + "&" * MEGABYTES_8),
    "form: 8 MB of =": lambda: form_ask(USER + "&a" + "=" * MEGABYTES_8),
    "form: 8 MB of %": lambda: form_ask(USER + "&UserName=" + "%" * MEGABYTES_8),
    "form: 8 MB of escapes of half a character": lambda: form_ask(USER + "&UserName=" + "%C3" * (MEGABYTES_8 // 3)),
    "form: 8 MB of dots": lambda: form_ask(USER + "&" + "a." * (MEGABYTES_8 // 2) + "b=1"),
    "form: a million parameters": lambda: form_ask(USER + "".join(f"&a{n}=1" for n in range(1_000_000))),
    "form: one key a million times": lambda: form_ask(USER + "&UserName=a" * 700_000),
    "form: a list of 49,999 with a gap": lambda: form_ask(
        LIST + "".join(f"&ServiceNamespaces.member.{n}=x" for n in range(2, 49_990))
    ),
    "form: prefixes that grow": lambda: form_ask(USER + "".join("&" + "a." * n + "a=1" for n in range(1, 2_000))),
    "form: an integer of 8 MB": lambda: form_ask("Action=ListUsers&Version=2010-05-08&MaxItems=" + "9" * MEGABYTES_8),
    "form: a time of 8 MB": lambda: form_ask(f"{METRICS}&MetricData.member.1.Timestamp=" + "0" * MEGABYTES_8, CBOR),
    "form: a number of 8 MB": lambda: form_ask(f"{METRICS}&MetricData.member.1.Value=0." + "1" * MEGABYTES_8, CBOR),
    "json: 8 MB of [": lambda: put(b"[" * MEGABYTES_8),
    "json: 8 MB of open objects": lambda: put(b'{"a":' * (MEGABYTES_8 // 5)),
    "json: 100,000 deep": lambda: put(nested_json(100_000)),
    "json: 100,000 deep, with an escape": lambda: put(nested_json(100_000).replace(b'"x"', b'"\\u0078"')),
    "json: a string that does not end": lambda: put(b'{"a": "' + b"x" * MEGABYTES_8),
    "json: 8 MB of escapes": lambda: put(b'{"TableName": "' + b"\\ud800" * (MEGABYTES_8 // 6) + b'"}'),
    "json: an integer of 8 MB": lambda: put(b'{"TableName": ' + b"9" * MEGABYTES_8 + b"}"),
    "json: a number of 8 MB": lambda: put(b'{"TableName": 0.' + b"9" * MEGABYTES_8 + b"}"),
    "json: one key 800,000 times": lambda: put(b"{" + b",".join([b'"Item":1'] * 800_000) + b"}"),
    "json: 8 MB of space": lambda: put(b" " * MEGABYTES_8 + b"x"),
    "json: 8 MB of base64": lambda: put(ATTRIBUTE.replace("%s", '{"B": "' + "A" * MEGABYTES_8 + '!"}').encode()),
    "json: a document 5,000 deep": lambda: ask(
        "bedrock-runtime.us-east-1.amazonaws.com",
        "POST",
        "/model/m/converse",
        b'{"additionalModelRequestFields": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        {"Content-Type": "application/json"},
    ),
    "cbor: 100,000 deep": lambda: cbor_ask(nested_cbor(100_000)),
    "cbor: 8 MB of open arrays": lambda: cbor_ask(b"\x9f" * MEGABYTES_8),
    "cbor: an array that says to be 4 G long": lambda: cbor_ask(b"\x9a\xff\xff\xff\xff" + b"\x00" * 1_000),
    "cbor: a string that says to be 2^63 long": lambda: cbor_ask(b"\x7b\x7f" + b"\xff" * 7 + b"x" * 1_000),
    "cbor: a map that says to be 4 G long": lambda: cbor_ask(b"\xba\xff\xff\xff\xff\x61a\x00"),
    "cbor: 8 MB of tags": lambda: cbor_ask(b"\xc1" * MEGABYTES_8),
    "cbor: a big number of 8 MB": lambda: cbor_ask(b"\xc2\x5a" + (8_000_000).to_bytes(4) + b"\xff" * MEGABYTES_8),
    "xml: 100,000 deep": lambda: xml_ask("<Tagging>" * 100_000),
    "xml: a billion laughs": lambda: xml_ask(
        '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
        + "]><Tagging>&j;</Tagging>"
    ),
    "xml: 100,000 attributes": lambda: xml_ask("<Tagging " + " ".join(f'a{n}="x"' for n in range(100_000)) + "/>"),
    "xml: 100,000 namespaces": lambda: xml_ask(
        "<Tagging " + " ".join(f'xmlns:a{n}="x"' for n in range(100_000)) + "/>"
    ),
    "xml: 30,000 attributes in another encoding": lambda: xml_ask(
        (
            '<?xml version="1.0" encoding="UTF-16"?><Tagging ' + " ".join(f'a{n}="x"' for n in range(30_000)) + "/>"
        ).encode("utf-16")
    ),
    "xml: 30,000 attributes, an encoding that hides them": lambda: xml_ask(
        '<?xml version="1.0" encoding="UTF-7"?>+ADw-Tagging '
        + " ".join(f"a{n}+AD0AIg-x+ACI-" for n in range(30_000))
        + "/>"
    ),
    "xml: 30,000 attributes that hold a bracket": lambda: xml_ask(
        "<Tagging " + " ".join(f'a{n}=">"' for n in range(30_000)) + "/>"
    ),
    "xml: 8 MB of quotes": lambda: xml_ask("<Tagging>" + "<a '\"'" * 1_000_000 + "</Tagging>"),
    "xml: 8 MB of comments": lambda: xml_ask("<Tagging>" + "<!---->" * 1_000_000 + "</Tagging>"),
    "xml: 500,000 unknown elements": lambda: xml_ask("<Tagging>" + "<A/>" * 500_000 + "</Tagging>"),
    "gzip: a bomb": lambda: ask(
        CBOR,
        "POST",
        "/",
        gzip.compress(b"\0" * (chunked.MAX_BODY + 1_000), 1),
        {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"},
    ),
    "chunked: a million chunks of one byte, one too few": lambda: aws_chunked(
        b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n", 1_000_001
    ),
    "chunked: 8 MB without a line's end": lambda: aws_chunked(b"0" * MEGABYTES_8, 1),
    "chunked: 8 MB of trailers": lambda: aws_chunked(b"0\r\n" + b"a:b\r\n" * 1_600_000, 0),
    "chunked: a chunk that says to be 4 G long": lambda: aws_chunked(b"ffffffff\r\nx\r\n0\r\n\r\n", 1),
    "path: 64 KB of slashes": lambda: ask(LAMBDA, "GET", "/" * 65_000),
    "path: 30,000 segments": lambda: ask(LAMBDA, "GET", "/a" * 30_000),
    "path: 250 segments, greedy labels": lambda: ask(
        "s3-control.us-east-1.amazonaws.com", "GET", "/v20180820" + "/a" * 250, headers={"x-amz-account-id": "1" * 12}
    ),
    "path: 64 KB of escapes": lambda: ask(LAMBDA, "GET", "/" + "%C3" * 21_000),
    "query: 2,000 keys": lambda: ask(
        LAMBDA, "GET", "/2015-03-31/functions?" + "&".join(f"a{n}=1" for n in range(1_999))
    ),
    "query: 64 KB of &": lambda: ask(LAMBDA, "GET", "/2015-03-31/functions?" + "&" * 65_000),
    "head: a header of 1 MB": lambda: ask(LAMBDA, "GET", "/x", headers={"Authorization": "AWS4-HMAC-SHA256 " * 60_000}),
    "head: a scope of 1 MB": lambda: ask(
        LAMBDA, "GET", "/x", headers={"Authorization": "AWS4-HMAC-SHA256 Credential=" + "/" * 1_000_000}
    ),
    "head: spaces of 1 MB": lambda: ask(
        LAMBDA, "GET", "/x", headers={"Authorization": "AWS4-HMAC-SHA256" + " " * 1_000_000 + "x"}
    ),
    "head: a list of spaces": lambda: ask(
        S3, "GET", "/b-1/k?attributes", headers={"x-amz-object-attributes": "a" + " " * 60_000 + 'b"c'}
    ),
    "head: a list of commas": lambda: ask(
        S3, "GET", "/b-1/k?attributes", headers={"x-amz-object-attributes": "," * 60_000 + '"'}
    ),
    "head: a list of 1 MB": lambda: ask(
        S3, "GET", "/b-1/k?attributes", headers={"x-amz-object-attributes": '"' + "\\a" * 500_000}
    ),
    "head: a list of dates of 1 MB": lambda: ask(S3, "GET", "/b-1/k", headers={"If-Modified-Since": "Mon, " * 200_000}),
    "host: 64 KB of labels": lambda: ask("a." * 32_000 + "amazonaws.com", "GET", "/"),
    "host: 250 bytes of dashes": lambda: ask("s3" + "-a" * 110 + ".amazonaws.com", "GET", "/"),
    "host: 250 bytes of regions": lambda: ask("us-east-1." * 23 + "amazonaws.com", "GET", "/"),
    "host: a VPC endpoint of dashes": lambda: ask("vpce-" + "-1.-" * 50 + ".vpce.amazonaws.com", "GET", "/"),
}


def spent(request: HttpRequest) -> tuple[str | None, float]:
    """The reason for a refusal, and the processor seconds that it took."""
    started = time.process_time()
    try:
        wire.decode(request)
        reason = None
    except Undecodable as error:
        reason = error.reason
    return reason, time.process_time() - started


@pytest.mark.parametrize("case", REFUSED)
def test_hostile_shapes_are_refused_in_time(case: str) -> None:
    request = REFUSED[case]()
    wire.host_kind(request.host)
    reason, seconds = spent(request)
    assert reason
    assert len(reason) < 200
    assert seconds < SECONDS


LARGE: dict[str, Callable[[], HttpRequest]] = {
    "form": lambda: form_ask(LIST + "".join(f"&ServiceNamespaces.member.{n}=x" for n in range(1, 49_990))),
    "form, escaped": lambda: form_ask(USER + "&UserName=" + "%C3%A9" * 1_300_000),
    "json": lambda: put((ATTRIBUTE % ('{"L": [' + ",".join(['{"S": "x"}'] * 600_000) + "]}")).encode()),
    "json, escaped": lambda: put((ATTRIBUTE % ('{"S": "' + "\\u00e9" * 1_300_000 + '"}')).encode()),
    "chunked": lambda: aws_chunked(b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n", 100_000),
}


@pytest.mark.parametrize("case", LARGE)
def test_large_but_honest_bodies_take_time_in_proportion(case: str) -> None:
    _, seconds = spent(LARGE[case]())
    assert seconds < 2 * SECONDS


def test_depth_is_bounded_alike_in_all_protocols() -> None:
    assert spent(put(nested_json(20)))[0] is None
    assert spent(put(nested_json(40)))[0] == "the body is nested too deeply"


def test_bodies_above_the_limit_are_not_looked_at() -> None:
    for request in (put(b"{" * (chunked.MAX_BODY + 1)), form_ask("a" * (chunked.MAX_BODY + 1), IAM)):
        assert spent(request)[0] == "the body is too large"
    assert wire.decode(
        ask(
            DYNAMODB,
            "POST",
            "/",
            b"{}",
            {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"},
        )
    )


ALL_SERVICES = """
import pathlib, sys, time
started = time.perf_counter()
from addons import wire
wire.load(pathlib.Path(sys.argv[1]))
form = (("Content-Type", "application/x-www-form-urlencoded"),)
ask = wire.HttpRequest("POST", "sts.us-east-1.amazonaws.com", "/", form, b"Action=GetCallerIdentity&Version=2011-06-15")
wire.decode(ask)
first = time.perf_counter() - started
from addons.wire import models, routes
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 // 1_000_000
def use(service):
    for name in models.service_model(service).operation_names:
        shape = models.operation_model(service, name).input_shape
        for member in shape.members.values() if shape else ():
            member.serialization
    routes.routes(service), models.targets(service)
for service in "dynamodb s3 ec2 sts lambda sqs iam cloudwatch secretsmanager ssm".split():
    use(service)
ten, most = rss(), 0
for service in sorted(models.services()):
    use(service)
    most = max(most, rss())
print(first, ten, most)
"""


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="NOT TESTED: memory is read from /proc")
def test_an_agent_that_touches_every_service_fills_no_memory() -> None:
    """10 services in use: at most 150 MB. All of them, one after the other: 1 GB if none were dropped."""
    found = subprocess.run([sys.executable, "-c", ALL_SERVICES, str(CACHE)], capture_output=True, text=True, check=True)
    first, ten, most = map(float, found.stdout.split())
    assert ten < 150
    assert most < 250
    assert first < 0.7 * 4  # seconds to the first decoded call; the machine may be busy


def test_models_used_longest_ago_are_dropped_whole() -> None:
    models.forget()
    for service in ("sts", "ec2", "dynamodb"):
        models.operation_model(service, models.service_model(service).operation_names[0])
    before, dropped = models.service_model("sts"), weakref.ref(models.service_model("ec2"))
    for service in sorted(models.services())[:60]:
        models.service_model(service)
        models.touch("sts")
    assert models.service_model("sts") is before
    gc.collect()
    assert dropped() is None
    assert len(models._kept) <= models.MAX_SERVICES
    assert sum(models._sizes.values()) <= models.BUDGET
