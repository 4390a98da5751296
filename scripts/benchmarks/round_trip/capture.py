"""Requests as real botocore clients make them, caught before they are sent: every client-side handler has been at work.

The clock and UUIDs stand still, nothing is read from the environment, no socket is opened.

What a call means is told by botocore, never by the reader: the parameters as they stand when the request is built, and
what later handlers put into it or took out of it, as its form's fields and its headers show.
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

import botocore.auth
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.loaders import Loader
from botocore.model import OperationModel
from botocore.serialize import create_serializer

from addons.wire import models
from addons.wire.message import HttpRequest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENDPOINTS = {  # services that ask for an endpoint of their own, or would look one up first
    "timestream-query": "https://query.timestream.us-east-1.amazonaws.com",
    "timestream-write": "https://ingest.timestream.us-east-1.amazonaws.com",
    "cloudsearchdomain": "https://search-films-abc123.us-east-1.cloudsearch.amazonaws.com",
}
FRAMING = frozenset({"content-length", "content-encoding"})  # of HTTP and of aws-chunked: no parameters


@cache
def loader() -> Loader:
    """A loader of the clients' own: botocore's S3 handlers change the models that they were given."""
    made = Loader(include_default_search_paths=False)
    made.search_paths.append(models.DATA)
    return made


class SigV4a(botocore.auth.SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """SigV4a's marks, of botocore's own signer for SigV4: its scope has no region, which stands in a header.

    botocore needs awscrt for the signature. It is not verified here, so that it may be SigV4's.
    """

    def scope(self, request: Any) -> str:
        day = request.context["timestamp"][:8]
        return f"{self.credentials.access_key}/{day}/{self._service_name}/aws4_request"

    def _modify_request_before_signing(self, request: Any) -> None:
        super()._modify_request_before_signing(request)
        request.headers["X-Amz-Region-Set"] = self._region_name

    def _inject_signature_to_request(self, request: Any, signature: str) -> Any:
        super()._inject_signature_to_request(request, signature)
        name = request.headers["Authorization"].replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")
        request.headers.replace_header("Authorization", name)
        return request


class Caught(Exception):
    """Carries a prepared request out of a client."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


@contextlib.contextmanager
def frozen() -> Iterator[None]:
    """Stop the clock and the UUIDs of botocore; it signs with SigV4a too."""
    with (
        mock.patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)),
        mock.patch("uuid.uuid4", return_value=uuid.UUID(int=7)),
        mock.patch.dict(botocore.auth.AUTH_TYPE_MAPS, v4a=SigV4a),
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
        self._form: dict[str, Any] = {}
        events = self.client.meta.events
        # The parameters as they stand after botocore's own before-parameter-build handlers.
        self._convert = self.client._convert_to_request_dict
        self.client._convert_to_request_dict = self._expect
        self._make = self.client._make_request
        self.client._make_request = self._called
        events.register_first("before-send.*.*", self._catch)

    def _speak(self, protocol: str) -> None:
        """Serialise in another of the service's protocols than botocore would choose."""
        self.client._serializer = create_serializer(protocol, True)

    def _expect(self, api_params: dict[str, Any], **options: Any) -> Any:
        self.expected = copy.deepcopy(api_params)
        made = self._convert(api_params=api_params, **options)
        self._form = dict(made["body"]) if isinstance(made["body"], dict) else {}
        return made

    def _called(self, model: OperationModel, made: dict[str, Any], context: Any) -> Any:
        """Handlers may have changed the form since (a copy between regions: presigned for the other one)."""
        form = made["body"]
        if isinstance(form, dict) and form.keys() != self._form.keys():
            serializer = self.client._serializer._serializer  # within the one that validates
            for name, member in model.input_shape.members.items():
                key = serializer._get_serialized_name(member, name)
                if key in self._form and key not in form:
                    del self.expected[name]
                elif key in form and key not in self._form:
                    self.expected[name] = form[key]
        return self._make(model, made, context)

    def _catch(self, request: Any, **_: Any) -> None:
        raise Caught(request)

    def request(self, operation: str, params: dict[str, Any]) -> tuple[HttpRequest, dict[str, Any]]:
        """The request of one call, and the parameters that it was sent with."""
        try:
            self.client._make_api_call(operation, params)
        except Caught as caught:
            made = as_request(caught.request)
        else:
            raise AssertionError("nothing was sent")
        shape = self.client.meta.service_model.operation_model(operation).input_shape
        headers = {name.lower(): value for name, value in made.headers}
        for name, member in shape.members.items() if shape else ():
            header = member.serialization.get("name", name).lower()
            if member.serialization.get("location") == "header" and header in headers and header not in FRAMING:
                self.expected.setdefault(name, headers[header])  # a checksum, a content type: of the client itself
        return made, self.expected


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
    """All operations of a service, those among them that botocore's clients have no method for (event-stream input)."""
    return sorted(client.client.meta.service_model.operation_names)
