"""botocore's protocol vectors: its input cases read backwards, its output cases read as answers.

Both sides were written from Smithy's protocol tests, by others. What does not come back is named here, with the reason.
"""

import base64
import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.serialize import create_serializer
from botocore.utils import percent_encode_sequence

from addons import wire
from addons.wire import HttpRequest, HttpResponse, Undecodable, hosts, models
from addons.wire.answers import decode_answer
from addons.wire.hosts import Candidate
from scripts.benchmarks.round_trip.compare import plain, same
from tests.wire import botocore_vectors
from tests.wire.botocore_vectors import Vector, typed

FILLED_IN = "00000000-0000-4000-8000-000000000000"  # the vectors' idempotency token

_PATH = "the client's endpoint has a path of its own, which no AWS host has"
_EC2 = "the member has no name of its own, as all of EC2's real ones have; botocore sends another form, too"
_ROOT = "the root is named after a trait that real models write on the member; botocore sends another one, too"
_NAMESPACE = "an element is in another namespace than the root: refused, as readers may or may not tell them apart"
_EMPTY = "an empty header is the empty list and the list of one empty string"
_GZIP = "the operation is compressed by the SDK and has a Content-Encoding of its own, as no real one has"
# Input cases that are one-way, or are refused: the reasons. Nothing else may join them unseen.
NOT_READ = {
    "ec2/Ec2QueryHostWithPath": _PATH,
    "json/AwsJson11HostWithPath": _PATH,
    "json_1_0/AwsJson10HostWithPath": _PATH,
    "query/QueryHostWithPath": _PATH,
    "rest-json/RestJsonHostWithPath": _PATH,
    "ec2/Ec2QueryEndpointTraitWithHostLabel": _EC2,
    "ec2/Ec2ProtocolIdempotencyTokenAutoFill": _EC2,
    "ec2/Ec2ProtocolIdempotencyTokenAutoFillIsSet": _EC2,
    "ec2/Ec2Lists": _EC2,
    "ec2/Ec2TimestampsInput": _EC2,
    "query/QueryFlattenedListArgWithXmlName": "a flattened list under the name of its member; botocore refuses it, too",
    "rest-json/RestJsonToleratesRegexCharsInSegments": "the path holds '(' and '+' as they are: refused",
    "rest-json/MediaTypeHeaderInputBase64": "the text of a JSON value is given, not its value",
    "rest-json/RestJsonNullAndEmptyHeaders": _EMPTY,
    "rest-xml/NullAndEmptyHeaders": _EMPTY,
    "rest-json/SDKAppliedContentEncoding_restJson1": _GZIP,
    "rest-json/SDKAppendedGzipAfterProvidedEncoding_restJson1": _GZIP,
    "rest-xml/SDKAppliedContentEncoding_restXml": _GZIP,
    "rest-xml/SDKAppendedGzipAfterProvidedEncoding_restXml": _GZIP,
    "rest-xml/BodyWithXmlName": _ROOT,
    "rest-xml/RestXmlHttpPayloadWithUnion": _ROOT,
    "rest-xml/HttpPayloadWithXmlName": _ROOT,
    "rest-xml/HttpPayloadWithXmlNamespace": _ROOT,
    "rest-xml/HttpPayloadWithXmlNamespaceAndPrefix": _ROOT,
    "rest-xml/XmlAttributesOnPayload": _ROOT,
    "rest-xml/RestXmlXmlMapWithXmlNamespace": _NAMESPACE,
    "rest-xml/XmlNamespaces": _NAMESPACE,
}
_LISTS = "flattened lists under the names of their members; botocore's parser skips them"
_NOTHING = "an empty body is an empty blob"
_UNSET = "a union with nothing in it is refused"
# Output cases likewise.
NOT_ANSWERED = {
    "ec2/Ec2XmlLists": _LISTS,
    "query/QueryXmlLists": _LISTS,
    "rest-xml/XmlLists": _LISTS,
    "rest-json/RestJsonHttpPayloadTraitsWithNoBlobBody": _NOTHING,
    "rest-xml/HttpPayloadTraitsWithNoBlobBody": _NOTHING,
    "rest-json/RestJsonHttpPayloadWithUnsetUnion": _UNSET,
    "rest-xml/RestXmlHttpPayloadWithUnsetUnion": _UNSET,
    "rest-json/RestJsonDeserializesDenseSetMapAndSkipsNull": "a null in a map is kept, as maps may be sparse",
    "rest-json/MediaTypeHeaderOutputBase64": "the text of a JSON value is expected, not its value",
    "rest-xml/BodyWithXmlName": "the output's root has a name that botocore takes for a wrapper",
}


@pytest.fixture
def models_of_vectors(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Vector]]:
    """Each vector brings a model of its own: put it here, by its service's name, and the wire knows it."""
    known: dict[str, Vector] = {}
    real = models.service_model

    def service_model(name: str) -> Any:
        return known[name].model if name in known else real(name)

    monkeypatch.setattr(models, "service_model", service_model)
    yield known
    models.forget()


def request(vector: Vector) -> HttpRequest:
    """The request that the vector wants; what it leaves open (headers, often the body) is as botocore makes it."""
    wanted, model = vector.case["serialized"], vector.model.operation_model(vector.operation)
    params = typed(vector.case["params"], model.input_shape) if model.input_shape else {}
    made = create_serializer(vector.protocol, False).serialize_to_request(dict(params), model)
    headers = {name.lower(): value for name, value in made["headers"].items()}
    headers |= {name.lower(): value for name, value in wanted.get("headers", {}).items()}
    for name in wanted.get("forbidHeaders", ()):
        headers.pop(name.lower(), None)
    if "body" in wanted:
        body = wanted["body"].encode()
        body = base64.b64decode(body) if vector.protocol == "smithy-rpc-v2-cbor" else body
    else:
        body = made["body"] if isinstance(made["body"], bytes) else b""
        if isinstance(made["body"], dict):
            body = percent_encode_sequence(made["body"]).encode()
        if headers.get("content-encoding", "").endswith("gzip"):
            body = gzip.compress(body)
    host = wanted.get("host", "vectors.example.com").lower()
    return HttpRequest(wanted.get("method", "POST"), host, wanted["uri"], tuple(headers.items()), body)


def as_sent(params: Any, shape: Any) -> Any:
    """The parameters as they stand when they are sent: a token is filled in, a query key that a member names wins over
    the same key of a map (Smithy's httpQueryParams trait)."""
    if shape is None:
        return {}
    made = typed(params, shape)
    named = {
        m.serialization.get("name") for m in shape.members.values() if m.serialization.get("location") == "querystring"
    }
    for name, member in shape.members.items():
        if member.metadata.get("idempotencyToken"):
            made.setdefault(name, FILLED_IN)
        if member.type_name == "map" and member.serialization.get("location") == "querystring" and name in made:
            made[name] = {key: value for key, value in made[name].items() if key not in named}
    return made


def read_backwards(vector: Vector) -> str:
    """What is wrong with the way back; "" where nothing is."""
    shape = vector.model.operation_model(vector.operation).input_shape
    expected = plain(as_sent(vector.case["params"], shape))
    if shape is not None and (payload := shape.serialization.get("payload")):
        traits = shape.members[payload].serialization
        if traits.get("streaming") or traits.get("eventstream"):
            expected.pop(payload, None)
    try:
        found = plain(wire.decode(request(vector)).params)
    except Undecodable as error:
        return f"refused: {error.reason}"
    return "" if same(found, expected) else f"{expected} read as {found}"


def test_requests_are_read_backwards(models_of_vectors: dict[str, Vector], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = botocore_vectors.vectors("input")
    wrong = {}
    for vector in cases:
        models_of_vectors[vector.service] = vector
        endpoint = vector.model.operation_model(vector.operation).endpoint or {}
        there = Candidate(vector.service, "aws", "us-east-1", "vectors", "us-east-1", endpoint.get("hostPrefix", ""))
        monkeypatch.setattr(hosts, "candidates", lambda _, there=there: (there,))
        if problem := read_backwards(vector):
            wrong[vector.name] = problem
    assert len(cases) >= 367
    assert {name: problem for name, problem in wrong.items() if name not in NOT_READ} == {}
    assert len(cases) - len(wrong) >= 340
    assert NOT_READ.keys() - wrong.keys() == set(), "read after all"


def answered(vector: Vector) -> str:
    """What is wrong with an answer as it was read; "" where nothing is."""
    case, given, model = vector.case, vector.case["response"], vector.model.operation_model(vector.operation)
    body = given.get("body", "").encode()
    body = base64.b64decode(body) if vector.protocol == "smithy-rpc-v2-cbor" else body
    if vector.protocol == "query" and model.output_shape and model.output_shape.members:
        model.output_shape.serialization["resultWrapper"] = f"{vector.operation}Result"  # as botocore's own test does
    response = HttpResponse(given["status_code"], tuple(given.get("headers", {}).items()), body)
    try:
        found = decode_answer(vector.service, vector.operation, vector.protocol, response)  # type: ignore[arg-type]
    except Undecodable as error:
        return f"refused: {error.reason}"
    if "error" not in case:
        expected = typed(case.get("result", {}), model.output_shape)
        return "" if found.code is None and same(found.output, expected) else f"{expected} read as {found}"
    if found.output is not None or found.code != case["errorCode"]:
        return f"{case['errorCode']} read as {found}"
    if found.message != case.get("errorMessage", found.message):
        return f"{case['errorMessage']} read as {found.message}"
    members = typed(case["error"], vector.model.shape_for_error_code(case["errorCode"]))
    lacking = {name: value for name, value in members.items() if found.members.get(name) != value}
    lacking = {name: value for name, value in lacking.items() if (name.lower(), value) != ("message", found.message)}
    return f"{lacking} is missing of {found}" if lacking else ""


def test_answers_are_read(models_of_vectors: dict[str, Vector], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = botocore_vectors.vectors("output")
    wrong = {}
    for vector in cases:
        models_of_vectors[vector.service] = vector
        model = vector.model.operation_model(vector.operation)
        monkeypatch.setattr(models, "operation_model", lambda _, __, model=model: model)
        if problem := answered(vector):
            wrong[vector.name] = problem
    assert len(cases) >= 365
    assert {name: problem for name, problem in wrong.items() if name not in NOT_ANSWERED} == {}
    assert NOT_ANSWERED.keys() - wrong.keys() == set(), "read after all"
