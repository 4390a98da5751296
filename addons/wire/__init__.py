"""AWS on the wire: which call a request is, its parameters, and answers in its own protocol.

Built on botocore's models alone. Knows neither mitmproxy nor policy. What can't be read as exactly one call is refused.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from addons.wire import hosts, models
from addons.wire.canonical import S3_FAMILY
from addons.wire.errors import refusal
from addons.wire.hosts import dns_suffixes
from addons.wire.message import Decoded, Headers, HttpRequest, HttpResponse, Protocol, Undecodable
from addons.wire.request import decode
from addons.wire.scalars import NO_BODY
from addons.wire.traits import (
    ask_params,
    has_streaming_input,
    hide_sensitive_input,
    response_is_event_stream,
    response_is_streaming_blob,
)

__all__ = [
    "Decoded",
    "Headers",
    "HttpRequest",
    "HttpResponse",
    "Protocol",
    "Undecodable",
    "ask_params",
    "decode",
    "dns_suffixes",
    "has_streaming_input",
    "hide_sensitive_input",
    "host_kind",
    "load",
    "preload",
    "refusal",
    "response_is_event_stream",
    "response_is_streaming_blob",
    "streams",
]


def load(cache: Path | None = None, building: Callable[[], None] = lambda: None) -> None:
    """Read the host index from `cache`, or build it (seconds) and keep it there. Only the first call does anything.

    `cache` is a directory that only the gateway's owner can write to; None builds without keeping.
    `building` is called before it is built: somebody may be waiting.
    """
    hosts.load(cache, building)


def preload(services: Iterable[str]) -> None:
    """Load the models of services that are about to be used. Raises KeyError for a service that botocore has not."""
    for service in services:
        models.service_model(service)


def streams(head: HttpRequest) -> bool:
    """Whether a head (`body` None) is enough to decide on a call, to verify and to sign it, or to refuse it.

    Its body is a streaming blob, and its signature covers the body by a stated hash, chunk by chunk, or not at all. Or
    it can't be read as a call of S3's, whatever its body is.
    """
    try:
        decoded = decode(head)
    except Undecodable as error:
        s3 = any(candidate.signing_name in S3_FAMILY for candidate in hosts.candidates(head.host))
        return s3 and error.reason != NO_BODY
    stated = decoded.signing_name in S3_FAMILY or head.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD"
    return stated and has_streaming_input(decoded)


def host_kind(host: str) -> Literal["api", "opaque", "other"]:
    """Whether a host is an AWS API that we read, another host of AWS's, or not AWS's at all."""
    if hosts.candidates(host):
        return "api"
    return "opaque" if hosts.is_opaque(host) else "other"
