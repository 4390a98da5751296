"""The hand-written parsers under a coverage-guided fuzzer: what they accept is what an independent reader reads.

The other readers are the standard library's, which accept more; so each check is one way: whatever ours accepts, theirs
reads the same, and it can be written out as it was. Nothing but `Undecodable` may be raised.
"""

import base64
import json
import math
import re
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import pytest

from addons.wire import Undecodable, chunked, forms, hosts, models, plain, rest, s3hosts, scalars, sqsquery
from tests.wire.guided import fuzz


def allowed(read: Callable[[], Any]) -> Any:
    """What a reader says; None for a refusal."""
    try:
        return read()
    except Undecodable:
        return None


def form(text: str) -> None:
    found = allowed(lambda: forms.parameters(text))
    if found is None:
        return
    pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=None)
    assert found == dict(pairs)
    assert len(found) == len(pairs)
    shape = models.operation_model("ec2", "DescribeInstances").input_shape
    for reader, of in ((forms.forms("ec2", True), shape), (sqsquery.READER, SEND)):
        params = allowed(lambda reader=reader, of=of: reader.read(of, forms.tree(dict(found))))
        if params is not None:
            assert leaves(params) == len(found) - sum(
                key.endswith((".Name", ".Key")) and reader.ec2 is False for key in found
            )


def leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    return sum(map(leaves, value)) if isinstance(value, list) else 1


SEND = models.operation_model("sqs", "SendMessage").input_shape


def path(text: str) -> None:
    segments = allowed(lambda: rest.path_segments(text))
    if segments is not None:
        assert segments == ([unquote(part, errors="strict") for part in text[1:].split("/")] if text != "/" else [])
        assert not {".", "..", ""} & set(segments[:-1])
    for bucket in (None, "b"):
        if (
            text.startswith("/")
            and (found := allowed(lambda bucket=bucket: rest.s3_segments(text, bucket))) is not None
        ):
            whole = unquote(text, errors="strict")
            assert "/" + "/".join(found if bucket is None else found[1:]) in (whole, whole.removesuffix("/"))


def query(text: str) -> None:
    pairs = allowed(lambda: scalars.split_pairs(text, limit=100, plus=False))
    if pairs is not None:
        read = parse_qsl(text, keep_blank_values=True, errors="strict", separator="&")
        assert [(key, value or "") for key, value in pairs] == read
        again = "&".join(quote(k, safe="") + ("" if v is None else "=" + quote(v, safe="")) for k, v in pairs)
        assert scalars.split_pairs(again, limit=100, plus=False) == pairs


def scalar(text: str) -> None:
    if (number := allowed(lambda: scalars.integer(text, "long"))) is not None:
        assert str(number) == text
    if (value := allowed(lambda: scalars.floating(text))) is not None:
        assert math.isnan(value) if text == "NaN" else value == float(text)
        assert text in ("NaN", "Infinity", "-Infinity") or isinstance(json.loads(text), (int, float))
    if (raw := allowed(lambda: scalars.blob(text))) is not None:
        assert base64.b64encode(raw).decode() == text
    if (at := allowed(lambda: scalars.timestamp(text, "iso8601"))) is not None:
        assert at == datetime.fromisoformat(text.replace("Z", "+00:00"))
    if (at := allowed(lambda: scalars.timestamp(text, "rfc822"))) is not None:
        assert at == parsedate_to_datetime(re.sub(r"\.0+ GMT", " GMT", text))
    if (at := allowed(lambda: scalars.timestamp(text, "unixtimestamp"))) is not None:
        assert at.timestamp() == pytest.approx(float(text), abs=1e-6)


STRING = SimpleNamespace(type_name="string", serialization={})


def header_list(text: str) -> None:
    items = allowed(lambda: rest.header_items(text, STRING))
    if items is not None:
        quoted = ['"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items]
        assert rest.header_items(",".join(quoted), STRING) == items
        if '"' not in text:
            assert items == [part.strip(" \t") for part in text.split(",")]


def framed(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    for kind, trailer in (
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", None),
    ):
        for length in (0, 1, 4, 5):
            head = {"x-amz-content-sha256": kind, "x-amz-decoded-content-length": str(length)}
            head |= {"x-amz-trailer": trailer} if trailer else {}
            payload = allowed(lambda head=head: chunked.unchunk(head, raw))
            if payload is not None:
                assert len(payload) == length
                assert length == 0 or payload[:1] in raw
                if trailer:
                    assert base64.b64encode(chunked.CHECKSUMS[trailer](payload)) in raw


def document(text: str) -> None:
    value = allowed(lambda: plain.json_value(text.encode("utf-8", "surrogatepass")))
    if value is not None:
        counted = 0

        def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
            nonlocal counted
            counted += len(found) - len(dict(found))
            return dict(found)

        assert value == json.loads(text, object_pairs_hook=pairs)
        assert counted == 0
        assert json.dumps(value, ensure_ascii=False).encode()  # no half of a surrogate pair


def host(text: str) -> None:
    for found in hosts.candidates(text):
        assert text == text.lower()
        assert any(text.endswith("." + suffix) for suffix in hosts.dns_suffixes())
        if found.region and found.partition == "aws":
            assert found.region in text or text == "queue.amazonaws.com" or found.service == "s3"
    s3hosts.parse(text)


ISO, HTTP = "2024-02-29T23:59:58.123456Z", "Thu, 29 Feb 2024 23:59:58 GMT"
CASES: dict[str, tuple[Callable[[str], None], tuple[str, ...], tuple[str, ...], tuple[Any, ...]]] = {
    "forms": (
        form,
        (
            "Filter.1.Name=tag%3Aa&Filter.1.Value.1=x&Filter.1.Value.2=y&InstanceId.1=i-1&MaxResults=5&DryRun=true",
            "QueueUrl=q&MessageBody=a+b&MessageAttribute.1.Name=m&MessageAttribute.1.Value.DataType=String",
        ),
        ("&", "=", ".", "%41", "%C3%A9", "+", "1", "2", "01", "Filter.2.Name=a", "&InstanceId.2=b", ";", "%"),
        (forms, scalars, sqsquery),
    ),
    "paths": (
        path,
        ("/a/b", "/", "/2015-03-31/functions/f%3A1", "/b/k%2Fx/"),
        ("/", "%2F", "%2e", ".", "..", "%", "+", "%C3%A9", "\\"),
        (rest, scalars),
    ),
    "queries": (
        query,
        ("a=1&b", "prefix=a%20b&max-keys=5"),
        ("&", "=", "%26", "%3D", "%", "%C3%A9", "%C3", ";", "+", "a"),
        (scalars,),
    ),
    "scalars": (
        scalar,
        (ISO, HTTP, "0", "-1", "1.5e3", "NaN", "-Infinity", "YQ==", "1700000000.5", "9223372036854775807"),
        (
            "0",
            "1",
            "-",
            "+",
            ".",
            "e",
            "E",
            "_",
            " ",
            "Z",
            "T",
            ":",
            "=",
            "A",
            "GMT",
            "²",
            "٥",
            "+00:00",
            ".000",
            "Feb",
        ),
        (scalars,),
    ),
    "header lists": (header_list, ("a, b", '"a,b", c', '"a\\"b"'), (",", '"', "\\", " ", "\t", "a"), (rest,)),
    "chunked": (
        framed,
        (
            "4\r\ntext\r\n0\r\nx-amz-checksum-crc32:O4unxw==\r\n\r\n",
            "0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
            f"5;chunk-signature={'0' * 64}\r\nhello\r\n0;chunk-signature={'0' * 64}\r\n\r\n",
        ),
        ("\r\n", "0", "4", "5", ";", "chunk-signature=", "x-amz-", ":", "00", "f", "\n", "1\r\nx\r\n"),
        (chunked,),
    ),
    "json": (
        document,
        ('{"a": [1, -2.5e3, "x\\u00e9", true, null]}', '{"a":{"b":1},"c":"d"}', "[]"),
        (
            '"',
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            '"a":1',
            "\\u0022",
            "\\ud83d\\ude00",
            "\\ud800",
            "1e5",
            "9" * 20,
            "NaN",
            " ",
            '"a" :',
        ),
        (plain,),
    ),
    "hosts": (
        host,
        (
            "s3.us-east-1.amazonaws.com",
            "b.s3.dualstack.eu-west-1.amazonaws.com",
            "sts.amazonaws.com",
            "lambda.us-east-1.api.aws",
            "vpce-1.sts.eu-west-1.vpce.amazonaws.com",
            "a-123456789012.s3-accesspoint.us-west-2.amazonaws.com",
        ),
        (
            ".",
            "-",
            "s3",
            "amazonaws.com",
            ".cn",
            "us-east-1",
            "queue.",
            "vpce-1.",
            "dualstack",
            "fips",
            "A",
            "_",
            "*",
            "{region}",
        ),
        (hosts, s3hosts),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_second_of_each(name: str) -> None:
    check, corpus, words, modules = CASES[name]
    tried, kept = fuzz(check, corpus, words, modules, seed=(name, 1), seconds=0.5)
    assert tried > 100
    assert kept >= len(corpus)


@pytest.mark.long
def test_half_a_minute_of_all() -> None:
    """Another seed in each run, which stands in the note of what fails."""
    import secrets

    seed = secrets.randbits(32)
    for name, (check, corpus, words, modules) in CASES.items():
        fuzz(check, corpus, words, modules, seed=(name, seed), seconds=28 / len(CASES))
