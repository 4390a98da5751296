"""Valid parameters for any operation, made from its input shape: with required members only, or with all of them.

Seeded by service, operation and variant, so that one failure can be made again alone.
"""

import random
import re
import string
from datetime import UTC, datetime
from typing import Any

from botocore.httpchecksum import _CHECKSUM_CLS
from botocore.model import OperationModel

ACCOUNT = "123456789012"
ARNS = {  # what endpoint rules parse
    "ConsumerARN": "arn:aws:kinesis:us-east-1:123456789012:stream/orders/consumer/reader:1700000000",
    "StreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
    "QueueARN": "arn:aws:kinesis:us-east-1:123456789012:queue/orders",
    "ChannelARN": "arn:aws:kinesis:us-east-1:123456789012:channel/orders",
    "ResourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
    "EventBusArn": "arn:aws:events:us-east-1:123456789012:event-bus/orders",
    "KvsARN": "arn:aws:cloudfront::123456789012:key-value-store/orders",
}
TEXTS = ("plain", "two words", "a+b=c&d", "50%25", "çédille ☃", "semi;colon", "q\"uo'te", "<x/>", "a,b")
FIXED = {
    ("s3", "Bucket"): "example-bucket",
    ("s3control", "AccountId"): ACCOUNT,
    ("s3control", "Bucket"): "example-bucket",
    ("s3", "RequestRoute"): "route1",
    ("s3", "Key"): "folder/a key+é.txt",
    ("s3", "CopySource"): "example-bucket/source key",
    ("neptune-graph", "graphIdentifier"): "g-0123456789",
    ("opensearchmemory", "spaceId"): "space1",
    ("opensearchmemory", "SpaceId"): "space1",
    ("machinelearning", "PredictEndpoint"): "https://realtime.machinelearning.us-east-1.amazonaws.com",
    ("ec2", "SourceRegion"): "us-west-2",
    ("s3control", "OutpostId"): "op-01ac5d28a6a232904",
    ("glacier", "accountId"): ACCOUNT,
    ("events", "EndpointId"): "abcde.veo",
    ("sesv2", "EndpointId"): "abcdef12.g3h",
}

LENGTHS = {  # the body's length, HTTP's own framing: botocore sets it itself, and it is read as no parameter
    ("s3", "PutObject", "ContentLength"),
    ("s3", "UploadPart", "ContentLength"),
    ("s3", "WriteGetObjectResponse", "ContentLength"),
}


class Generator:
    """Makes the parameters of one operation."""

    def __init__(self, operation: OperationModel, everything: bool, seed: str = "") -> None:
        self.service = operation.service_model.service_name
        self.operation, self.everything = operation, everything
        self.name = (self.service, operation.name)
        self.random = random.Random(f"{self.service}:{operation.name}:{everything}:{seed}")  # noqa: S311

    def parameters(self) -> dict[str, Any]:
        shape = self.operation.input_shape
        return self._structure(shape, 0) if shape else {}

    def _structure(self, shape: Any, depth: int) -> dict[str, Any]:
        if getattr(shape, "is_tagged_union", False):
            name = self._shallow(shape)
            return {name: self._value(name, shape.members[name], depth + 1, {})}
        made: dict[str, Any] = {}
        if depth >= 3 and not shape.required_members and shape.members:
            # An empty structure has no form in most protocols.
            name = self._shallow(shape)
            return {name: self._value(name, shape.members[name], depth + 1, {})} if depth < 12 else {}
        for name, member in shape.members.items():
            if name in shape.required_members or (self.everything and depth < 3 and (*self.name, name) not in LENGTHS):
                made[name] = self._value(name, member, depth + 1, member.serialization)
        return made

    def _shallow(self, shape: Any) -> str:
        """A union's member that ends soon."""
        names = [n for n, m in shape.members.items() if m.type_name not in ("structure", "list", "map")]
        return str(self.random.choice(names or list(shape.members)))

    def _value(self, name: str, shape: Any, depth: int, traits: dict[str, Any]) -> Any:
        kind = shape.type_name
        if getattr(shape, "is_document_type", False):
            return {"k": [1, "é", 1.5, True, {"n": None}]}
        if kind == "structure":
            return self._structure(shape, depth)
        if kind == "list":
            count = max(shape.metadata.get("min", 1), 1)
            count = min(count if depth > 3 else count + 1, shape.metadata.get("max", 99), max(count, 4))
            return [self._value(name, shape.member, depth + 1, traits) for _ in range(count)]
        if kind == "map":
            count = min(max(shape.metadata.get("min", 1), 1), 3)
            made: dict[str, Any] = {}
            while len(made) < count:
                key = (
                    f"k{len(made)}"
                    if traits.get("location")
                    else self._text("key", shape.key, traits, unique=len(made))
                )
                made[key] = self._value(name, shape.value, depth + 1, traits)
            return made
        return self._scalar(name, shape, traits)

    def _scalar(self, name: str, shape: Any, traits: dict[str, Any]) -> Any:
        kind, meta, place = shape.type_name, shape.metadata, traits.get("location")
        if kind == "boolean":
            return self.random.choice((True, False))
        if kind in ("integer", "long", "short", "byte", "bigInteger"):
            low, high = int(meta.get("min", 0)), int(meta.get("max", 2_000_000_000 if kind == "integer" else 2**40))
            return self.random.randint(low, max(low, high))
        if kind in ("float", "double", "bigDecimal"):
            return float(meta.get("min", 0)) + self.random.choice((0.0, 0.25, 0.5))
        if kind == "timestamp":
            form = str(shape.serialization.get("timestampFormat", "rfc822" if place == "header" else "iso8601"))
            micro = 0 if place == "header" or form.lower() == "rfc822" else self.random.choice((0, 123456, 1, 120000))
            return datetime(2024, self.random.randint(1, 12), 29, 23, 59, 58, micro, UTC)
        if kind == "blob":
            return self.random.choice((b"\x00\xff binary", b"text", "é".encode())).ljust(int(meta.get("min", 0)), b"x")
        if place == "header" and traits.get("jsonvalue"):
            return {"k": [1, "x", True]}
        return self._text(name, shape, traits)

    def _text(self, name: str, shape: Any, traits: dict[str, Any], unique: int = 0) -> str:
        if (self.service, name) in FIXED:
            return FIXED[self.service, name]
        if enum := getattr(shape, "enum", None):
            if name == "ChecksumAlgorithm":  # the others need awscrt
                enum = [each for each in enum if each.lower() in _CHECKSUM_CLS]
            return str(enum[unique % len(enum)] if unique else self.random.choice(enum))
        low, high = int(shape.metadata.get("min", 0)), int(shape.metadata.get("max", 10_000))
        if name in ARNS and self.service in ("kinesis", "events", "eventbridgev2", "cloudfront-keyvaluestore"):
            return ARNS[name]
        if re.search("arn$", name, re.IGNORECASE) and high >= 60:
            return f"arn:aws:{self.service}:us-east-1:{ACCOUNT}:thing/one".ljust(low, "x")
        if re.search("accountid$", name, re.IGNORECASE):
            return ACCOUNT.ljust(low, "x")
        place = traits.get("location")
        if place == "uri":
            text = self.random.choice(("plain", "two words", "a+b=c&d", "50%25", "çé☃"))
        elif place in ("header", "headers"):
            text = self.random.choice(("plain", "two words", "x=y;z"))
        else:
            text = self.random.choice(TEXTS)
        text = text + (str(unique) if unique else "")
        if len(text) < low:
            text += "".join(self.random.choice(string.ascii_lowercase) for _ in range(low - len(text)))
        return text[:high].strip() or "x" if high else ""
