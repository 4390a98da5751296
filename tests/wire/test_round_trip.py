"""Every operation of AWS, there and back: a real botocore client's request is read as the call that made it, and what
was read, encoded again, is the same request.

A dozen services of all protocols run on every push; all 445, with required members only and with all of them, run in
the long suite. What does not come back equal is named here, and nothing else may join it unseen.
"""

import json
from dataclasses import replace
from typing import Any

import pytest

from addons import wire
from addons.wire import Undecodable, models
from tests.wire import capture
from tests.wire.canonical import difference
from tests.wire.capture import Client, frozen, operations
from tests.wire.parameters import Generator
from tests.wire.test_twins import listed

SAMPLE = (
    "sts",  # query
    "sns",
    "dynamodb",  # json 1.0
    "secretsmanager",  # json 1.1
    "sqs",
    "lambda",  # rest-json
    "apigatewaymanagementapi",
    "s3",  # rest-xml
    "s3control",
    "route53",
    "eventbridgev2",  # cbor
    "greengrassv2",  # a twin
    "cloudsearchdomain",
    "neptune-graph",  # a member in the host
)
# What a client adds to a request after its parameters were fixed, and what it takes out.
ADDED = {
    ("apigateway", "GetExport"): {"accepts"},  # botocore's handler for Accept
    ("bedrock-agentcore", "InvokeAgentRuntimeCommand"): {"contentType"},  # the serializer's Content-Type
    ("ec2", "CopySnapshot"): {"PresignedUrl", "DestinationRegion"},  # presigned for the source region
    ("glacier", "UploadArchive"): {"checksum"},  # the tree hash
    ("glacier", "UploadMultipartPart"): {"checksum"},
}
ADDED_EVERYWHERE = {"s3": {"ChecksumAlgorithm"}, "s3control": {"ChecksumAlgorithm"}}  # botocore's default checksum
NEVER_SENT = {"rds": {"SourceRegion"}, "neptune": {"SourceRegion"}, "docdb": {"SourceRegion"}}  # for presigning only
# Two members of the deprecated operation share one XML name, and its successor's elements are others.
NOT_DECODED = {("s3", "PutBucketNotification")}
# Signed with SigV4a by the model's rules; botocore needs awscrt to make them.
NOT_SENT = {"cloudfront-keyvaluestore"}


def plain(value: Any) -> Any:
    """Without None and without what a protocol has no form for: empty structures and lists."""
    if isinstance(value, dict):
        made = {key: plain(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in made.items() if item not in ({}, [])}
    if isinstance(value, (list, tuple)):
        return [item for item in map(plain, value) if item not in ({}, [])]
    return bytes(value) if isinstance(value, bytearray) else value


def same(one: Any, other: Any) -> bool:
    """Equal in value and type: True is not 1, and 1 is not 1.0."""
    return json.dumps(one, default=repr, sort_keys=True) == json.dumps(other, default=repr, sort_keys=True)


def lowered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.lower(): lowered(item) for key, item in value.items()}
    return [lowered(item) for item in value] if isinstance(value, list) else value


def problems(client: Client, service: str, operation: str, everything: bool) -> list[str]:
    """What is wrong with one operation's way there and back."""
    model = models.operation_model(service, operation)
    request, expected = client.request(operation, Generator(model, everything).parameters())
    label = f"{service}:{operation} {'all' if everything else 'required'}"
    try:
        found = wire.decode(request)
    except Undecodable as error:
        return [f"{label}: refused: {error.reason}"]
    if wire.decode(request) != found:
        return [f"{label}: differs the second time"]
    if (service, operation) not in found.candidates:
        return [f"{label}: read as {found.candidates}"]
    if found.candidates[0] != (found.service, found.operation):
        return [f"{label}: is not its first candidate"]
    owners = {owner for owner, _ in found.candidates}
    if len(owners) > 1 and not listed(owners, operation):
        return [f"{label}: twins that test_twins.py does not list: {owners}"]
    if where := difference(request, found):
        return [f"{label}: not explained:{where}"]
    payload = model.input_shape.serialization.get("payload") if model.input_shape else None
    if payload:
        traits = model.input_shape.members[payload].serialization
        if traits.get("streaming") or traits.get("eventstream"):
            expected.pop(payload, None)
    params = plain(found.params)
    expected = plain(expected)
    for name in ADDED.get((service, operation), set()) | ADDED_EVERYWHERE.get(service, set()):
        if name not in expected or service in ADDED_EVERYWHERE:
            params.pop(name, None)
        if service in ADDED_EVERYWHERE:
            expected.pop(name, None)
    for name in NEVER_SENT.get(service, ()):
        expected.pop(name, None)
    if (found.service, found.operation) != (service, operation):  # a twin's own names may be in another case
        params, expected = lowered(params), lowered(expected)
    return [] if same(params, expected) else [f"{label}: {expected} read as {params}"]


def run(service: str, region: str = "us-east-1", **options: Any) -> tuple[int, list[str]]:
    """(requests, problems) of a whole service."""
    found, count = [], 0
    with frozen():
        client = Client(service, region, **options)
        for operation in operations(client):
            for everything in (False, True):
                count += 1
                if (service, operation) in NOT_DECODED and everything:
                    continue
                found += problems(client, service, operation, everything)
    return count, found


@pytest.mark.parametrize("service", SAMPLE)
def test_a_sample_of_services(service: str) -> None:
    count, found = run(service)
    assert count
    assert found == []


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_every_operation() -> None:
    requests, found = 0, []
    for service in sorted(models.services() - NOT_SENT):
        count, more = run(service)
        requests, found = requests + count, found + more
        capture.loader.cache_clear()  # all models at once are a gigabyte
    assert requests > 39_000
    assert found == []


def cbor_and_more() -> list[str]:
    return sorted(s for s in models.services() if len(models.protocols(s)) > 1)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("protocol", ["smithy-rpc-v2-cbor", "query"])
def test_other_protocols_of_the_same_services(protocol: str) -> None:
    found: list[str] = []
    for service in cbor_and_more():
        if protocol in models.protocols(service):
            found += run(service, protocol=protocol)[1]
    assert found == []


def test_what_the_request_speaks_counts() -> None:
    spoken = set()
    with frozen():
        for protocol in ("json", "query", "smithy-rpc-v2-cbor"):
            client = Client("cloudwatch", protocol=protocol)
            params = {"Namespace": "n", "Dimensions": [{"Name": "a", "Value": "b"}]}
            request, _ = client.request("ListMetrics", params)
            found = wire.decode(request)
            assert found.params == params
            spoken.add(found.protocol)
    assert spoken == {"json", "query", "smithy-rpc-v2-cbor"}


@pytest.mark.parametrize(
    ("service", "operation", "twins"),
    [
        ("rds", "DescribeDBClusters", {"rds", "neptune", "docdb"}),
        ("neptune", "DescribeDBClusters", {"rds", "neptune", "docdb"}),
        ("rds", "StopDBInstance", {"rds"}),
        ("greengrassv2", "ListTagsForResource", {"greengrass", "greengrassv2"}),
        ("qconnect", "ListAssistants", {"qconnect", "wisdom"}),
    ],
)
def test_twins_are_one_class(service: str, operation: str, twins: set[str]) -> None:
    with frozen():
        request, _ = Client(service).request(
            operation, Generator(models.operation_model(service, operation), False).parameters()
        )
    found = wire.decode(request)
    assert {name for name, _ in found.candidates} == twins
    assert {name for _, name in found.candidates} == {operation}


def test_a_streamed_body_is_not_a_parameter() -> None:
    with frozen():
        request, _ = Client("s3").request("PutObject", {"Bucket": "b-1", "Key": "k", "Body": b"hello" * 100})
    found = wire.decode(request)
    assert found.params == {"Bucket": "b-1", "Key": "k", "ChecksumAlgorithm": "CRC32"}
    assert wire.decode(replace(request, body=None)) == found
    assert request.body
    with pytest.raises(Undecodable):
        wire.decode(replace(request, body=request.body[:-9]))
