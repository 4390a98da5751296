"""Requests written by hand, as text: what a client of bad faith may send."""

from collections.abc import Mapping

import pytest

from addons import wire
from addons.wire import Decoded, HttpRequest, Undecodable

DYNAMODB = "dynamodb.us-east-1.amazonaws.com"
IAM = "iam.amazonaws.com"
S3 = "s3.us-east-1.amazonaws.com"
LAMBDA = "lambda.us-east-1.amazonaws.com"
CBOR = "monitoring.us-east-1.amazonaws.com"


def ask(
    host: str, method: str = "GET", target: str = "/", body: bytes = b"", headers: Mapping[str, str] | None = None
) -> HttpRequest:
    return HttpRequest(method, host, target, (("Host", host), *(headers or {}).items()), body)


def json_ask(
    body: bytes, target: str = "DynamoDB_20120810.GetItem", host: str = DYNAMODB, **headers: str
) -> HttpRequest:
    given = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0"}
    return ask(host, "POST", "/", body, given | {k.replace("_", "-"): v for k, v in headers.items()})


def form_ask(body: str, host: str = IAM, target: str = "/", **headers: str) -> HttpRequest:
    given = {"Content-Type": "application/x-www-form-urlencoded"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return ask(host, "POST", target, body.encode(), given)


def cbor_ask(body: bytes, operation: str = "ListMetrics", **headers: str) -> HttpRequest:
    given = {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
    given |= {k.replace("_", "-"): v for k, v in headers.items()}
    return ask(CBOR, "POST", f"/service/GraniteServiceVersion20100801/operation/{operation}", body, given)


def xml_ask(body: str | bytes, target: str = "/example-bucket?tagging", **headers: str) -> HttpRequest:
    raw = body.encode() if isinstance(body, str) else body
    return ask(S3, "PUT", target, raw, {k.replace("_", "-"): v for k, v in headers.items()})


def read(request: HttpRequest) -> tuple[str, dict]:
    """The operation and the parameters, the same twice."""
    first, again = wire.decode(request), wire.decode(request)
    assert first == again
    return f"{first.service}:{first.operation}", first.params


def refused(request: HttpRequest) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        wire.decode(request)
    assert len(caught.value.reason) < 300
    return caught.value


def decoded(request: HttpRequest) -> Decoded:
    return wire.decode(request)
