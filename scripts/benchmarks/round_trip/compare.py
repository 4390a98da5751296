"""One operation's way there and back: what a real client sent is read as the call that was made.

What does not come back equal is named in `EXCEPTIONS`, and nothing else may join it unseen.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from addons import wire
from addons.wire import Undecodable, models
from scripts.benchmarks.round_trip.canonical import difference
from scripts.benchmarks.round_trip.capture import Client, frozen, operations
from scripts.benchmarks.round_trip.parameters import LENGTHS, Generator
from scripts.benchmarks.round_trip.twins import listed

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

EXCEPTIONS = {  # what does not come back as it was sent: service, operation, member
    **dict.fromkeys(sorted(LENGTHS), "the body's length is HTTP's framing, and read as no parameter"),
    ("s3", "PutBucketLifecycle", "ContentMD5"): "the successor, as which it is read, has no member for this digest",
    ("s3", "PutBucketNotification", "ChecksumAlgorithm"): "the same, of the digest's name",
    ("s3", "PutBucketNotification", "Event"): "has the XML name of the list Events, and comes back within it",
}


def without(
    expected: dict[str, Any], exceptions: Collection[tuple[str, str, str]], service: str, operation: str, read_as: str
) -> dict[str, Any]:
    """What the exceptions leave of the parameters that were sent."""
    made = dict(expected)
    for member in [member for *owner, member in exceptions if owner == [service, operation]]:
        if member == "Event" and (configurations := made.get("NotificationConfiguration")):
            made["NotificationConfiguration"] = {name: _listed(each) for name, each in configurations.items()}
        elif read_as != operation:
            made.pop(member, None)
    return made


def _listed(configuration: dict[str, Any]) -> dict[str, Any]:
    """A configuration with Event among its Events, in the model's order."""
    events: list[str] = []
    for name, value in configuration.items():
        events += [value] if name == "Event" else value if name == "Events" else []
    return {name: value for name, value in configuration.items() if name != "Event"} | {"Events": events}


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


@dataclass(frozen=True, slots=True)
class Way:
    """One request's way: how far it came, and what is wrong with the rest of it."""

    identified: bool = True
    explained: bool = True
    equal: bool = True
    wrong: str = ""


def there_and_back(
    client: Client,
    service: str,
    operation: str,
    everything: bool,
    exceptions: Collection[tuple[str, str, str]] = frozenset(EXCEPTIONS),
) -> Way:
    """One operation's way, with the required members or with all."""
    model = models.operation_model(service, operation)
    request, expected = client.request(operation, Generator(model, everything).parameters())
    label = f"{service}:{operation} {'all' if everything else 'required'}"
    try:
        found = wire.decode(request)
    except Undecodable as error:
        return Way(False, False, False, f"{label}: refused: {error.reason}")
    if (service, operation) not in found.candidates:
        return Way(False, False, False, f"{label}: read as {found.candidates}")
    owners = {owner for owner, _ in found.candidates}
    if found.candidates[0] != (found.service, found.operation):
        wrong = f"{label}: is not its first candidate"
    elif len(owners) > 1 and not listed(owners, operation):
        wrong = f"{label}: twins that test_twins.py does not list: {owners}"
    elif wire.decode(request) != found:
        wrong = f"{label}: differs the second time"
    else:
        wrong = ""
    if wrong:
        return Way(True, False, False, wrong)
    if where := difference(request, found):
        return Way(True, False, False, f"{label}: not explained:{where}")
    payload = model.input_shape.serialization.get("payload") if model.input_shape else None
    if payload:
        traits = model.input_shape.members[payload].serialization
        if traits.get("streaming") or traits.get("eventstream"):
            expected.pop(payload, None)
    params = plain(found.params)
    expected = plain(without(expected, exceptions, service, operation, found.operation))
    if (found.service, found.operation) != (service, operation):  # a twin's own names may be in another case
        params, expected = lowered(params), lowered(expected)
    return Way() if same(params, expected) else Way(True, True, False, f"{label}: {expected} read as {params}")


def problems(
    client: Client,
    service: str,
    operation: str,
    everything: bool,
    exceptions: Collection[tuple[str, str, str]] = frozenset(EXCEPTIONS),
) -> list[str]:
    """What is wrong with one operation's way there and back."""
    way = there_and_back(client, service, operation, everything, exceptions)
    return [way.wrong] if way.wrong else []


def run(service: str, region: str = "us-east-1", **options: Any) -> tuple[int, list[str]]:
    """(requests, problems) of a whole service."""
    found: list[str] = []
    count = 0
    with frozen():
        client = Client(service, region, **options)
        for operation in operations(client):
            for everything in (False, True):
                count += 1
                found += problems(client, service, operation, everything)
    return count, found
