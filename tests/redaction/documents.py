"""Random answers for any operation: every leaf has a value of its own, so that a value names its place."""

import datetime
import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import cbor2
from botocore.awsrequest import HeadersDict
from botocore.loaders import Loader
from botocore.parsers import create_parser
from moto.core.model import ServiceModel
from moto.core.serialize import get_serializer_class

from addons.wire.message import Decoded, HttpResponse, Protocol


@lru_cache(maxsize=8)
def model(service: str) -> Any:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)


def protocols(service: str) -> list[Protocol]:
    """What the service may be spoken to in, of the six that there are."""
    metadata = model(service).metadata
    known = ["query", "ec2", "json", "rest-json", "rest-xml", "smithy-rpc-v2-cbor"]
    return [name for name in metadata.get("protocols", [metadata["protocol"]]) if name in known]


class Writer:
    """Makes documents; `variant` says which member of each union is there."""

    def __init__(self, variant: int = 0) -> None:
        self.variant = variant
        self.count = itertools.count(100_000)

    def value(self, shape: Any, stack: tuple[str, ...] = ()) -> Any:
        number = next(self.count)
        match shape.type_name:
            case "structure":
                if getattr(shape, "is_document_type", False):
                    return {"anything": f"d{number}é<&>"}
                if stack.count(shape.name) == 2:
                    return {}
                members = list(shape.members.items())
                if getattr(shape, "is_tagged_union", False):
                    members = [members[self.variant % len(members)]]
                inside = (*stack, shape.name)
                return {name: self.value(member, inside) for name, member in members}
            case "list":
                return [self.value(shape.member, stack) for _ in range(2 if len(stack) < 4 else 1)]
            case "map":
                return {f"k{next(self.count)}": self.value(shape.value, stack) for _ in range(2)}
            case "boolean":
                return True
            case "integer" | "long" | "short" | "byte":
                return number
            case "float" | "double":
                return number + 0.5
            case "timestamp":
                return datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=number)
            case "blob":
                return b"\x00blob%d" % number
        in_header = "location" in shape.serialization
        return f"s{number}" if in_header or shape.type_name == "character" else f"s{number}é<&>\"'"


def written(service: str, operation: str, protocol: Protocol, result: Any) -> HttpResponse:
    """The answer on the wire, by moto's serialisers; CBOR by cbor2 with timestamps as Smithy wants them."""
    shape = model(service).operation_model(operation)
    if protocol == "smithy-rpc-v2-cbor":
        body = cbor2.dumps(result, datetime_as_timestamp=True)
        return HttpResponse(200, (("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")), body)
    raw = get_serializer_class(service, protocol)(shape).serialize(result)
    body = raw["body"].encode() if isinstance(raw["body"], str) else raw["body"]
    return HttpResponse(200, tuple((key, str(value)) for key, value in raw["headers"].items()), body)


def read(service: str, operation: str, protocol: Protocol, response: HttpResponse) -> Any:
    """The answer as botocore sees it."""
    shape = model(service).operation_model(operation).output_shape
    headers = HeadersDict(dict(response.headers))
    raw = {"body": response.body, "headers": headers, "status_code": response.status}
    parsed = create_parser(protocol).parse(raw, shape)
    parsed.pop("ResponseMetadata", None)
    return parsed


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every scalar with its path."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if items is None:
        yield path, node
        return
    for key, value in items:
        yield from leaves(value, (*path, key))


def call(service: str, operation: str, protocol: Protocol) -> Decoded:
    return Decoded(
        candidates=((service, operation),),
        service=service,
        operation=operation,
        region="us-east-1",
        partition="aws",
        params={},
        protocol=protocol,
        signing_name=service,
        signing_region="us-east-1",
    )
