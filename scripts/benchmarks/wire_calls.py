"""The requests that the wire is measured on: made by real botocore clients (`round_trip`)."""

import base64
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from addons import wire
from addons.wire import HttpRequest, models
from scripts.benchmarks.round_trip import capture, compare
from scripts.benchmarks.round_trip import captured as recorded
from scripts.benchmarks.round_trip.capture import Client, frozen, operations
from scripts.benchmarks.round_trip.parameters import Generator

SMALL: tuple[tuple[str, str, dict[str, Any]], ...] = (  # the five of the goal
    ("dynamodb", "GetItem", {"TableName": "orders", "Key": {"id": {"S": "order-1"}}, "ConsistentRead": True}),
    ("s3", "GetObject", {"Bucket": "example-bucket", "Key": "folder/report.txt"}),
    ("ec2", "DescribeInstances", {"Filters": [{"Name": "tag:Name", "Values": ["web"]}], "MaxResults": 50}),
    ("sts", "GetCallerIdentity", {}),
    ("lambda", "Invoke", {"FunctionName": "orders", "Payload": b'{"id": 1}', "InvocationType": "Event"}),
)
LARGE = ("dynamodb", "PutItem")  # 68 KB in 1,000 attributes
SERVICES = ("sts", "dynamodb", "s3", "ec2", "lambda", "iam", "sqs", "sns", "cloudwatch", "kms")  # for the memory


@dataclass(slots=True)
class Counted:
    """Requests, and of how many the call, the parameters and every byte came out right."""

    requests: int = 0
    identified: int = 0
    equal: int = 0
    explained: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Counted") -> None:
        """Count another service in."""
        self.requests += other.requests
        self.identified += other.identified
        self.equal += other.equal
        self.explained += other.explained
        self.wrong += other.wrong


def line(request: HttpRequest, name: str, timed: bool = False) -> dict[str, Any]:
    """A request as a line of `sluicegate decode --jsonl`."""
    return {
        "id": name,
        "method": request.method,
        "url": f"https://{request.host}{request.target}",
        "headers": [list(pair) for pair in request.headers],
        "body": base64.b64encode(request.body or b"").decode(),
        "timed": timed,
    }


def timed() -> list[dict[str, Any]]:
    """The six requests whose reading is timed."""
    item = {"id": {"S": "order-1"}} | {
        f"attribute-{n:04}": {"S": f"value {n:04} of a customer's order, no. {n % 7}"} for n in range(999)
    }
    with frozen():
        made = [(f"{s}:{o}", Client(s).request(o, dict(params))[0]) for s, o, params in SMALL]
        large = Client(LARGE[0]).request(LARGE[1], {"TableName": "orders", "Item": item})[0]
    return [line(request, name, True) for name, request in [*made, (":".join(LARGE), large)]]


def of_ten_services() -> list[dict[str, Any]]:
    """One request of each of ten services, in the order in which an agent may use them."""
    made = []
    with frozen():
        for service in SERVICES:
            client = Client(service)
            operation = operations(client)[0]
            params = Generator(models.operation_model(service, operation), True).parameters()
            made.append(line(client.request(operation, params)[0], f"{service}:{operation}"))
    return made


def captured() -> list[dict[str, Any]]:
    """What AWS CLI v2 and the JavaScript SDK sent (tests/wire/captured)."""
    return [found for client in recorded.CLIENTS for found in recorded.lines(client)]


def count_captured() -> Counted:
    """How many of them are read as the calls that were made."""
    counted = Counted()
    for client in recorded.CLIENTS:
        for each in recorded.lines(client):
            problem = recorded.problem(client, each)
            counted.requests += 1
            counted.equal += not problem
            counted.identified += not problem or "refused" not in problem
            counted.wrong += [f"{client} {problem}"] if problem else []
    return counted


def services(quick: bool) -> list[str]:
    """Those whose operations all make their way there and back: a sample, or all."""
    if quick:
        return list(compare.SAMPLE)
    # The largest first, so that no process is left with one of them at the end.
    size = {
        name: sum(f.stat().st_size for f in Path(models.DATA, name).rglob("service-2*")) for name in models.services()
    }
    return sorted(models.services(), key=lambda name: -size[name])


def count(names: list[str], index: Path) -> Iterator[Counted]:
    """Each service's operations, with required members only and with all, as they are done."""
    workers = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (index,)) as pool:
        yield from pool.map(of_service, names)


def _begin(index: Path) -> None:
    wire.load(index)


def of_service(service: str) -> Counted:
    """One service's operations there and back."""
    counted = Counted()
    with frozen():
        client = Client(service)
        for operation in operations(client):
            for everything in (False, True):
                way = compare.there_and_back(client, service, operation, everything)
                counted.requests += 1
                counted.identified += way.identified
                counted.equal += way.equal
                counted.explained += way.explained
                counted.wrong += [way.wrong] if way.wrong else []
    capture.loader.cache_clear()
    models.forget()
    return counted


def text(lines: list[dict[str, Any]]) -> str:
    """Lines of JSON for a child."""
    return "".join(json.dumps(each) + "\n" for each in lines)
