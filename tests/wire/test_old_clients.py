"""What clients of 2022 say, AWS CLI 2 of Debian 12 among them, that today's models no longer hold.

SQS over the query protocol is compared with what botocore's own serializer makes from the model of that time.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.model import ServiceModel
from botocore.serialize import create_serializer

from addons.wire import HttpRequest, models, routes
from scripts.benchmarks.round_trip.canonical import form
from scripts.benchmarks.round_trip.parameters import Generator
from tests.wire.requests import LAMBDA, ask, decoded, form_ask, read, refused

OLD_DATA = Path(os.environ.get("SLUICEGATE_OLD_MODELS", "/usr/lib/python3/dist-packages/awscli/botocore/data"))
SQS = "sqs.us-east-1.amazonaws.com"
QUEUE = f"https://{SQS}/123456789012/work"
VERSION = "&Version=2012-11-05"


def old_model(service: str, version: str) -> ServiceModel:
    path = OLD_DATA / service / version / "service-2.json"
    if not path.exists():
        pytest.skip(f"NOT TESTED: {path} is not there (Debian's awscli has it)")
    return ServiceModel(json.loads(path.read_text()), service_name=service)


def old_requests(everything: bool) -> list[tuple[str, dict[str, Any], HttpRequest]]:
    model, made = old_model("sqs", "2012-11-05"), []
    serializer = create_serializer("query", include_validation=True)
    for name in model.operation_names:
        operation = model.operation_model(name)
        params = Generator(operation, everything).parameters()
        if "QueueUrl" in params:
            params["QueueUrl"] = QUEUE
        sent = serializer.serialize_to_request(params, operation)
        made.append((name, params, form_ask(form(sent["body"]), SQS)))
    return made


@pytest.mark.parametrize("everything", [False, True])
def test_every_operation_of_sqs_over_query(everything: bool) -> None:
    for name, params, request in old_requests(everything):
        found = decoded(request)
        assert (found.service, found.operation, found.protocol) == ("sqs", name, "query")
        assert found.params == params
        assert found.candidates == (("sqs", name),)


@pytest.mark.parametrize("target", ["/", "/123456789012/work", "/123456789012/work/"])
def test_a_queues_path_and_its_url_are_one(target: str) -> None:
    body = f"Action=SendMessage{VERSION}&MessageBody=a+b&QueueUrl={QUEUE}"
    assert read(form_ask(body, SQS, target))[1]["QueueUrl"] == QUEUE


def test_the_path_alone_names_the_queue() -> None:
    """The SQS API reference, "Making query API requests": the first example has no QueueUrl in its form."""
    body = (
        "Action=SendMessage&MessageBody=Your%20Message%20Text&Version=2012-11-05&MessageAttribute.1.Name=m"
        "&MessageAttribute.1.Value.StringValue=v&MessageAttribute.1.Value.DataType=String"
    )
    attribute = {"m": {"StringValue": "v", "DataType": "String"}}
    for host in (SQS, "queue.amazonaws.com", "us-east-1.queue.amazonaws.com"):
        found = decoded(form_ask(body, host, "/123456789012/work.fifo"))
        assert found.params == {
            "QueueUrl": f"https://{host}/123456789012/work.fifo",
            "MessageBody": "Your Message Text",
            "MessageAttributes": attribute,
        }
        assert (found.region, found.signing_name, found.signing_region) == ("us-east-1", "sqs", "us-east-1")


def test_a_get_is_read_like_a_post() -> None:
    target = f"/123456789012/work?Action=GetQueueAttributes{VERSION}&AttributeName.1=All"
    assert read(ask(SQS, "GET", target)) == (
        "sqs:GetQueueAttributes",
        {"AttributeNames": ["All"], "QueueUrl": QUEUE},
    )


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/123456789012/work", f"Action=DeleteQueue{VERSION}&QueueUrl=https://{SQS}/123456789012/other"),
        ("/123456789012/work", f"Action=DeleteQueue{VERSION}&QueueUrl=other"),
        ("/123456789012/work", f"Action=ListQueues{VERSION}"),  # about no queue
        ("/123456789012/work//", f"Action=DeleteQueue{VERSION}"),
        ("/123456789012/../work", f"Action=DeleteQueue{VERSION}"),
        ("/12345/work", f"Action=DeleteQueue{VERSION}"),
        ("/123456789012/w%6frk", f"Action=DeleteQueue{VERSION}"),
        ("/", "Action=ListQueues&Version=2011-10-01"),  # an older API: other meanings may stand behind the names
        ("/", "Action=ListQueues"),
        ("/", f"Action=SetQueueAttributes{VERSION}&QueueUrl=q&Attributes.1.Name=a&Attributes.1.Value=b"),
        (
            "/",
            f"Action=SetQueueAttributes{VERSION}&QueueUrl=q&Attribute.1.Name=a&Attribute.1.Value=b&Attribute.3.Name=c",
        ),
        ("/", f"Action=GetQueueAttributes{VERSION}&QueueUrl=q&AttributeName.2=All"),
        ("/", f"Action=GetQueueAttributes{VERSION}&QueueUrl=q&AttributeName.member.1=All"),
    ],
)
def test_refused(target: str, body: str) -> None:
    refused(form_ask(body, SQS, target))


@pytest.mark.parametrize(
    ("target", "operation"),
    [
        ("/2015-03-31/functions/", "ListFunctions"),
        ("/2015-03-31/event-source-mappings/", "ListEventSourceMappings"),
        ("/2020-04-22/code-signing-configs/", "ListCodeSigningConfigs"),
        ("/2016-08-19/account-settings/", "GetAccountSettings"),
    ],
)
def test_lambdas_paths_that_ended_with_a_slash(target: str, operation: str) -> None:
    assert read(ask(LAMBDA, "GET", target)) == (f"lambda:{operation}", {})
    refused(ask(LAMBDA, "GET", target + "/"))
    refused(ask(LAMBDA, "GET", "/" + target))


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/2015-03-31/functions/f/"), ("DELETE", "/2015-03-31/functions/"), ("DELETE", "/2015-03-31/functions/f/")],
)
def test_a_slash_that_could_belong_to_a_name_is_refused(method: str, target: str) -> None:
    refused(ask(LAMBDA, method, target))


@pytest.mark.parametrize(
    ("service", "version"), [("lambda", "2015-03-31"), ("cloudfront", "2020-05-31"), ("dlm", "2018-01-12")]
)
def test_every_slash_of_the_old_models_is_read_as_the_same_operation(service: str, version: str) -> None:
    old, table = old_model(service, version), routes.routes(service)
    assert table
    unread = []
    for name in old.operation_names:
        http = old.operation_model(name).http
        path = http["requestUri"].partition("?")[0]
        if path == "/" or not path.endswith("/") or name not in models.service_model(service).operation_names:
            continue
        segments = [f"x{n}" if part.startswith("{") else part for n, part in enumerate(path[1:].split("/"))]
        found = {match.route.operation for match in table.match(http["method"], segments, {}, {}, "")}
        if found != {name}:
            unread.append((name, path, found))
    assert unread == []
