"""Objects of S3 that another service reads with the caller's own permissions: they are needs of the call, too.

An agent that may ask a model, but not read a bucket, must not have the model read it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from policy import s3
from policy.model import Item, Request

LOCATIONS = frozenset({"s3location", "s3uri", "s3_location", "s3_uri"})  # members that hold an S3 URI, in lower case
URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]*)/(.+)", re.DOTALL)


def items(request: Request) -> Iterator[Item]:
    """The reads of S3 behind a call of one of the services that are known to do it."""
    params = request.params
    match request.service, request.operation:
        case "bedrock-runtime", _:
            yield from _attachments(request)
        case "cloudformation", _ if params.get("TemplateURL"):
            yield _read(request, None, None)
        case "lambda", "PublishLayerVersion" if (content := params.get("Content") or {}).get("S3Bucket"):
            yield _read(request, content["S3Bucket"], content.get("S3Key"), content.get("S3ObjectVersion"))
        case "dynamodb", "ImportTable":
            source = params.get("S3BucketSource") or {}
            yield _read(request, source.get("S3Bucket"), f"{source.get('S3KeyPrefix') or ''}*")


def _read(request: Request, bucket: object, key: object, version: object = None) -> Item:
    action = "s3:GetObject" if version is None else "s3:GetObjectVersion"
    return Item(action, s3.resource(request, bucket, key) if bucket else f"arn:{request.partition}:s3:::*", "exact")


def _attachments(request: Request) -> Iterator[Item]:
    """Documents, images and videos of a prompt. Source: Bedrock API Reference, S3Location; Amazon Nova, request schema.

    InvokeModel's body is the model's own JSON; what can't be read might hold anything.
    """
    params: Any = {name: value for name, value in request.params.items() if name != "body"}
    body = request.params.get("body")
    if isinstance(body, bytes) and (b"s3" in body.lower() or b"\\u" in body or b"\0" in body):
        try:
            params = [params, json.loads(body.decode(), object_pairs_hook=list)]  # pairs: a key may stand twice
        except (ValueError, RecursionError):
            yield _read(request, None, None)
    for value in _locations(params):
        found = URI.fullmatch(value) if isinstance(value, str) else None
        yield _read(request, *found.groups()) if found else _read(request, None, None)


def _locations(value: Any) -> Iterator[object]:
    """What stands below the members that hold a location: texts that should be S3 URIs."""
    if isinstance(value, Mapping):
        value = list(value.items())
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        name, inner = value
        if name.lower() in LOCATIONS:
            uris = [text for text in _texts(inner) if text.lower().startswith("s3:")]
            yield from uris
            if not uris:
                yield None
        else:
            yield from _locations(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _locations(inner)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
