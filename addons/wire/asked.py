"""What a request's head asks for beside the call itself: a version of the API, and a form of answer."""

from collections.abc import Mapping

from addons.wire import models
from addons.wire.message import Decoded
from addons.wire.scalars import UPGRADE, deny

VERSIONS = ("x-amz-api-version", "x-amz-glacier-version")  # which of a service's APIs the sender means
STREAM = "application/vnd.amazon.eventstream"
ANY = frozenset({"", "*", "*/*", "text/html", "image/gif", "image/jpeg"})  # the last ones: Java's HttpURLConnection
OWN: Mapping[str, frozenset[str]] = {  # the protocol's own forms, for operations whose model knows no Accept
    "query": frozenset({"application/xml", "text/xml"}),
    "ec2": frozenset({"application/xml", "text/xml"}),
    "rest-xml": frozenset({"application/xml", "text/xml", STREAM}),
    "json": frozenset(
        {
            "application/json",
            "application/x-amz-json-1.0",
            "application/x-amz-json-1.1",
            "application/x-amz-cbor-1.1",
            STREAM,
        }
    ),
    "rest-json": frozenset({"application/json", STREAM}),
    "smithy-rpc-v2-cbor": frozenset({"application/cbor", STREAM}),
    "smithy-rpc-v2-json": frozenset({"application/json", STREAM}),
}


def check(headers: Mapping[str, str], decoded: Decoded) -> None:
    """Refuse a head (names in lower case) that asks for something else than what was decoded. Raises `Undecodable`."""
    _check_versions(headers, decoded)
    _check_accept(headers.get("accept", "").strip().lower(), decoded)


def _check_versions(headers: Mapping[str, str], decoded: Decoded) -> None:
    """Another version of the API could give the same parameters another meaning."""
    for name in VERSIONS:
        if name in headers and headers[name] != models.service_model(decoded.service).metadata["apiVersion"]:
            deny(f"{name} names another version of the API than the model's", UPGRADE)


def _check_accept(accept: str, decoded: Decoded) -> None:
    """An answer in another form than the model's could not be masked, or, worse, seem to have nothing to mask.

    Query services answer in JSON when asked to; API Gateway answers in HAL (application/hal+json), with all members
    in other places, unless it is asked for application/json, as every SDK does (API Gateway REST API reference).
    """
    if decoded.service != "apigateway" and accept in ANY:
        return
    shape = models.operation_model(decoded.service, decoded.operation).input_shape
    bound = (member.serialization for member in (shape.members.values() if shape else ()))
    if any(traits.get("location") == "header" and traits["name"].lower() == "accept" for traits in bound):
        return
    if decoded.service == "apigateway":
        if accept != "application/json":
            deny("API Gateway is read as application/json only", "Send Accept: application/json, as SDKs do.")
    elif not {part.partition(";")[0].strip() for part in accept.split(",")} <= ANY | OWN[decoded.protocol]:
        deny("the Accept header asks for another form of answer than the protocol's")
