"""Every operation of AWS, there and back: a real botocore client's request is read as the call that made it, and what
was read, encoded again, is the same request.

A dozen services of all protocols run on every push; all, with required members only and with all of them, run in the
long suite (test_round_trip_rest.py, test_round_trip_rpc.py: one file a worker). What does not come back equal is named
here, and nothing else may join it unseen.
"""

from dataclasses import replace

import pytest

from addons import wire
from addons.wire import Undecodable, models
from scripts.benchmarks.round_trip.capture import Client, frozen
from scripts.benchmarks.round_trip.compare import EXCEPTIONS, SAMPLE, problems, run
from scripts.benchmarks.round_trip.parameters import LENGTHS, Generator


@pytest.mark.parametrize("service", SAMPLE)
def test_a_sample_of_services(service: str) -> None:
    count, found = run(service)
    assert count
    assert found == []


NOT_AS_SENT = {
    ("s3", "PutBucketLifecycle", "ContentMD5"),
    ("s3", "PutBucketNotification", "ChecksumAlgorithm"),
    ("s3", "PutBucketNotification", "Event"),
    ("s3", "PutObject", "ContentLength"),
    ("s3", "UploadPart", "ContentLength"),
    ("s3", "WriteGetObjectResponse", "ContentLength"),
}


def test_the_exceptions_are_these() -> None:
    """At most twelve are allowed, and none joins them unseen."""
    assert EXCEPTIONS.keys() == NOT_AS_SENT
    assert len(NOT_AS_SENT) <= 12


@pytest.mark.parametrize("exception", sorted(NOT_AS_SENT - LENGTHS))
def test_an_exception_is_needed(exception: tuple[str, str, str]) -> None:
    service, operation, member = exception
    with frozen():
        client = Client(service)
        rest = EXCEPTIONS.keys() - {exception}
        found = [each for all_ in (False, True) for each in problems(client, service, operation, all_, rest)]
    assert found
    assert all(member.lower() in problem.lower() for problem in found)


@pytest.mark.parametrize("exception", sorted(LENGTHS))
def test_the_length_of_the_body_is_not_read(exception: tuple[str, str, str]) -> None:
    service, operation, member = exception
    params = Generator(models.operation_model(service, operation), True).parameters()
    with frozen():
        request, expected = Client(service).request(operation, params | {member: len(params["Body"])})
    assert expected[member] == len(params["Body"])
    assert member not in wire.decode(request).params


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


def test_two_members_of_one_xml_name_are_one_list() -> None:
    """s3's deprecated PutBucketNotification: Event, and a flattened list of that name. None of it is lost."""
    queue = {"Id": "i", "Event": "s3:ObjectCreated:Put", "Events": ["s3:ObjectCreated:Post"], "Queue": "q"}
    function = {"CloudFunction": "f", "InvocationRole": "r"}  # of the deprecated operation alone
    given = {"QueueConfiguration": queue, "CloudFunctionConfiguration": function}
    with frozen():
        request, _ = Client("s3").request(
            "PutBucketNotification", {"Bucket": "b-1", "NotificationConfiguration": given}
        )
    found = wire.decode(request)
    assert found.operation == "PutBucketNotification"
    assert found.params["NotificationConfiguration"]["QueueConfiguration"] == {
        "Id": "i",
        "Events": ["s3:ObjectCreated:Put", "s3:ObjectCreated:Post"],
        "Queue": "q",
    }
