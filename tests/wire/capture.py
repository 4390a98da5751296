"""Requests as real botocore clients make them, caught before they are sent: every client-side handler has been at work.

The clock and UUIDs stand still, nothing is read from the environment, no socket is opened.
"""

import contextlib
import copy
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.loaders import Loader
from botocore.serialize import create_serializer

from addons.wire import models
from addons.wire.message import HttpRequest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENDPOINTS = {  # services that ask for an endpoint of their own, or would look one up first
    "timestream-query": "https://query.timestream.us-east-1.amazonaws.com",
    "timestream-write": "https://ingest.timestream.us-east-1.amazonaws.com",
    "cloudsearchdomain": "https://search-films-abc123.us-east-1.cloudsearch.amazonaws.com",
}


@cache
def loader() -> Loader:
    """A loader of the clients' own: botocore's S3 handlers change the models that they were given."""
    made = Loader(include_default_search_paths=False)
    made.search_paths.append(models.DATA)
    return made


class Caught(Exception):
    """Carries a prepared request out of a client."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


@contextlib.contextmanager
def frozen() -> Iterator[None]:
    """Stop the clock and the UUIDs of botocore."""
    with (
        mock.patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)),
        mock.patch("uuid.uuid4", return_value=uuid.UUID(int=7)),
    ):
        yield


class Client:
    """One service's client, whose calls come back as requests."""

    def __init__(self, service: str, region: str = "us-east-1", **options: Any) -> None:
        session = botocore.session.Session()
        session.set_config_variable("config_file", "/dev/null")
        session.set_config_variable("credentials_file", "/dev/null")
        session.set_credentials("AKIDEXAMPLE", "secret")
        session.set_config_variable("ignore_configured_endpoint_urls", True)
        session.register_component("data_loader", loader())
        protocol = options.pop("protocol", None)
        signature = models.service_model(service).metadata.get("signatureVersion")
        kind = {"bearer": UNSIGNED, "v2": "v4"}.get(str(signature))
        config = Config(
            region_name=region,
            retries={"total_max_attempts": 1},
            **({"signature_version": kind} if kind else {}),
            **options,
        )
        self.client = session.create_client(
            service, region_name=region, config=config, endpoint_url=ENDPOINTS.get(service)
        )
        if protocol:
            self._speak(protocol)
        self.expected: dict[str, Any] = {}
        events = self.client.meta.events
        # The parameters as they stand after botocore's own before-parameter-build handlers.
        self._convert = self.client._convert_to_request_dict
        self.client._convert_to_request_dict = self._expect
        events.register_first("before-send.*.*", self._catch)

    def _speak(self, protocol: str) -> None:
        """Serialise in another of the service's protocols than botocore would choose."""
        self.client._serializer = create_serializer(protocol, True)

    def _expect(self, api_params: dict[str, Any], **options: Any) -> Any:
        self.expected = copy.deepcopy(api_params)
        return self._convert(api_params=api_params, **options)

    def _catch(self, request: Any, **_: Any) -> None:
        raise Caught(request)

    def request(self, operation: str, params: dict[str, Any]) -> tuple[HttpRequest, dict[str, Any]]:
        """The request of one call, and the parameters as they stood when it was built."""
        try:
            self.client._make_api_call(operation, params)
        except Caught as caught:
            return as_request(caught.request), self.expected
        raise AssertionError("nothing was sent")


def as_request(prepared: Any) -> HttpRequest:
    """botocore's prepared request as it would arrive."""
    parts = urlsplit(prepared.url)
    headers = [("Host", parts.netloc)]
    for name, value in prepared.headers.items():
        headers.append((name, value.decode() if isinstance(value, bytes) else str(value)))
    body = prepared.body
    if hasattr(body, "read"):
        body = body.read()
    if isinstance(body, str):
        body = body.encode()
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    return HttpRequest(prepared.method, (parts.hostname or "").lower(), target, tuple(headers), body or b"")


def operations(client: Client) -> list[str]:
    """The operations that a botocore client offers, by their model's names."""
    return sorted(client.client.meta.method_to_api_mapping.values())
