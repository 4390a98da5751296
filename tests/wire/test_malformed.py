"""Malformed requests of restJson1, kind by kind, as Smithy's suites divide them: each is refused, and its sound
neighbour read.

Smithy's server tests (smithy-aws-protocol-tests, restJson1/malformedRequests) have 104 ids: a kind of value (boolean,
byte, short, integer, long, float, double, blob, string with a media type, timestamps in three formats, list, map,
union), a place (body, path, query, header), and what is wrong (another type, out of range, another form), besides
whole bodies, Content-Type and Accept. The cases here are our own. A made-up service has every kind in every place; what
real operations have of them is tested on those. What is read although Smithy wants it refused stands in `READ_ANYWAY`.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from botocore.model import ServiceModel

from addons import wire
from addons.wire import HttpRequest, Undecodable, hosts, models
from addons.wire.hosts import Candidate
from tests.wire.requests import ask, read, refused

SERVICE, HOST = "made-up", "made-up.example.com"
JSON = {"Content-Type": "application/json"}
PLACES = ("path", "query", "header")
TIMES = {"iso8601": "time-iso8601", "rfc822": "time-rfc822", "unixTimestamp": "time-unix"}

OVERFLOWS = {
    "byte": ("128", "-129", "256", "99999999999999999999"),
    "short": ("32768", "-32769", "65536", "99999999999999999999"),
    "integer": ("2147483648", "-2147483649", "4294967296", "99999999999999999999999"),
    "long": ("9223372036854775808", "-9223372036854775809", "99999999999999999999999"),
}
NO_INTEGERS = (
    "true",
    "2.5",
    "1.0",
    "1e1",
    "7up",
    "0x1F",
    "Infinity",
    "-Infinity",
    "NaN",
    "+1",
    "01",
    "",
    " 1",
    "1_0",
    "١",
)
NO_FLOATS = ("false", "7up", "0x1F", "1.", ".5", "+1.5", "infinity", "inf", "nan", "1_0.0", "", "1e999")
NO_BOOLEANS = ("TRUE", "True", "yes", "YES", "on", "1", "False", "FALSE", "no", "NO", "0", "", "t", " true")
DATE_TIME, HTTP_DATE, EPOCH = "2026-01-02T03:04:05Z", "Fri, 02 Jan 2026 03:04:05 GMT", "1767323045"
NO_DATE_TIMES = (
    HTTP_DATE,
    EPOCH,
    "1767323045.5",
    "0024-11-29T23:59:58Z",
    "2026-01-02T03:04:05+02:00",
    "2026-01-02T03:04:05",
    "2026-01-02",
    "20260102T030405Z",
    "2026-01-02T03:04Z",
    "2026-01-02T03Z",
    "2026-W01-5T03:04:05Z",
    "2026-002T03:04:05Z",
    "2026-01-02T24:00:00Z",
    "2026-01-02 03:04:05Z",
    "2026-13-02T03:04:05Z",
    "+002026-01-02T03:04:05Z",
    "2026-01-02T03:04:05,5Z",
    "",
)
NO_HTTP_DATES = (
    DATE_TIME,
    EPOCH,
    "1767323045.5",
    "0024-11-29T23:59:58Z",
    "2026-01-02T03:04:05-08:00",
    "Friday, 02-Jan-26 03:04:05 GMT",
    "Fri Jan  2 03:04:05 2026",
    "Fri, 02 Jan 2026 03:04:05 +0000",
    "Fri, 2 Jan 2026 03:04:05 GMT",
    "Mon, 02 Jan 2026 03:04:05 GMT",
    "",
)
NO_EPOCHS = (
    DATE_TIME,
    HTTP_DATE,
    "2026-01-02T03:04:05-08:00",
    "true",
    "1767323045s",
    "0x1F",
    "1.2.3",
    "Infinity",
    "-Infinity",
    "NaN",
    "",
)
GOOD = {
    "boolean": ("true", "false"),
    "byte": ("127", "-128"),
    "short": ("32767", "-32768"),
    "integer": ("2147483647", "-2147483648"),
    "long": ("9223372036854775807", "-9223372036854775808"),
    "float": ("1.5", "-0.25e3", "NaN", "Infinity", "-Infinity"),
    "double": ("1.5", "-0.25e3", "NaN", "Infinity", "-Infinity"),
    "time-iso8601": (DATE_TIME, "2026-01-02T03:04:05.25Z"),
    "time-rfc822": (HTTP_DATE, "Thu, 29 Feb 2024 00:00:00 GMT"),
    "time-unix": (EPOCH, "1767323045.25", "-1"),
}
BAD = {
    "boolean": NO_BOOLEANS,
    "float": NO_FLOATS,
    "double": NO_FLOATS,
    "time-iso8601": NO_DATE_TIMES,
    "time-rfc822": NO_HTTP_DATES,
    "time-unix": NO_EPOCHS,
} | {kind: (*NO_INTEGERS, *wrong) for kind, wrong in OVERFLOWS.items()}
# The default format in each place (Smithy's timestampFormat trait).
DEFAULT_TIMES = {"path": "time-iso8601", "query": "time-iso8601", "header": "time-rfc822", "body": "time-unix"}
READ_ANYWAY = {
    "RestJsonWithoutBodyExpectsEmptyContentType": "without a body: the header says nothing about nothing",
    "RestJsonWithPayloadExpectsModeledContentType": "models have no mediaType: a blob is bytes, whatever it is called",
    "RestJsonWithPayloadExpectsImpliedContentType": "likewise",
    "RestJsonWithPayloadExpectsModeledAccept": "the answer is as it is; what is masked goes by the answer itself",
    "RestJsonWithPayloadExpectsImpliedAccept": "likewise",
    "the validation suites (enum, length, pattern, range, required, uniqueItems)": "constraints are the service's to"
    " check: what is read is what the service will see, and policy decides on just that",
}


def shape_of(kind: str) -> dict[str, Any]:
    if kind.startswith("time"):
        form = {name: form for form, name in TIMES.items()}.get(kind)
        return {"type": "timestamp"} | ({"timestampFormat": form} if form else {})
    return {"type": kind}


def model() -> ServiceModel:
    """An operation for each kind and place, and some for what stands in bodies only."""
    shapes: dict[str, Any] = {
        "string": {"type": "string"},
        "blob": {"type": "blob"},
        "integer": {"type": "integer"},
        "json": {"type": "string"},
        "list": {"type": "list", "member": {"shape": "string"}},
        "map": {"type": "map", "key": {"shape": "string"}, "value": {"shape": "string"}},
        "union": {"type": "structure", "union": True, "members": {"n": {"shape": "integer"}, "s": {"shape": "string"}}},
    }
    operations: dict[str, Any] = {}

    def add(name: str, uri: str, members: dict[str, Any], **traits: Any) -> None:
        shapes[f"{name}Input"] = {"type": "structure", "members": members} | traits
        http = {"method": "POST", "requestUri": uri}
        operations[name] = {"name": name, "http": http, "input": {"shape": f"{name}Input"}}

    for kind in (*GOOD, "time-default"):
        shapes[kind] = shape_of(kind)
        add(f"{kind}-path", f"/{kind}/path/{{v}}", {"v": {"shape": kind, "location": "uri", "locationName": "v"}})
        add(f"{kind}-query", f"/{kind}/query", {"v": {"shape": kind, "location": "querystring", "locationName": "v"}})
        add(f"{kind}-header", f"/{kind}/header", {"v": {"shape": kind, "location": "header", "locationName": "x-v"}})
        add(f"{kind}-body", f"/{kind}/body", {"v": {"shape": kind}})
    for kind in ("string", "blob", "list", "map", "union"):
        add(f"{kind}-body", f"/{kind}/body", {"v": {"shape": kind}})
    json_header = {"shape": "json", "location": "header", "locationName": "x-v", "jsonvalue": True}
    add("json-header", "/json/header", {"v": json_header})
    add("blob-payload", "/blob/payload", {"v": {"shape": "blob"}}, payload="v")
    add("union-payload", "/union/payload", {"v": {"shape": "union"}}, payload="v")
    add("nothing", "/nothing", {"v": {"shape": "string", "location": "header", "locationName": "x-v"}})
    operations["no-input"] = {"name": "no-input", "http": {"method": "POST", "requestUri": "/no-input"}}
    metadata = {"protocol": "rest-json", "protocols": ["rest-json"], "apiVersion": "1", "endpointPrefix": SERVICE}
    made = {"metadata": metadata | {"serviceId": SERVICE}, "shapes": shapes, "operations": operations}
    return ServiceModel(made, service_name=SERVICE)


@pytest.fixture(scope="module", autouse=True)
def made_up() -> Iterator[None]:
    """The wire knows the made-up service, beside AWS's own."""
    patch, ours = pytest.MonkeyPatch(), model()
    real_model, real_hosts = models.service_model, hosts.candidates
    there = (Candidate(SERVICE, "aws", "us-east-1", SERVICE, "us-east-1"),)
    patch.setattr(models, "service_model", lambda name: ours if name == SERVICE else real_model(name))
    patch.setattr(hosts, "candidates", lambda host: there if host == HOST else real_hosts(host))
    yield
    patch.undo()
    models.forget()


def encoded(text: str) -> str:
    return quote(text, safe="")


def request(kind: str, place: str, value: str) -> HttpRequest:
    """The value in its place: as text in path, query string or header, as a literal in a JSON body."""
    if place == "path":
        return ask(HOST, "POST", f"/{kind}/path/{encoded(value)}")
    if place == "query":
        return ask(HOST, "POST", f"/{kind}/query?v={encoded(value)}")
    if place == "header":
        return ask(HOST, "POST", f"/{kind}/header", headers={"x-v": value})
    return ask(HOST, "POST", f"/{kind}/body", b'{"v": ' + value.encode() + b"}", JSON)


def sound(kind: str, place: str, value: str) -> Any:
    operation, params = read(request(kind, place, value))
    assert operation == f"{SERVICE}:{kind}-{place}"
    return params["v"]


@pytest.mark.parametrize(("kind", "place"), [(kind, place) for kind in GOOD for place in PLACES])
def test_sound_values_in_path_query_and_header_are_read(kind: str, place: str) -> None:
    found = [sound(kind, place, value) for value in GOOD[kind]]
    assert len({repr(each) for each in found}) == len(found)


@pytest.mark.parametrize(("kind", "place"), [(kind, place) for kind in BAD for place in PLACES])
def test_values_of_another_kind_or_range_are_refused_there(kind: str, place: str) -> None:
    for value in BAD[kind]:
        refused(request(kind, place, value))


def test_each_place_has_its_own_form_of_times() -> None:
    for place, form in DEFAULT_TIMES.items():
        good = f'"{GOOD[form][0]}"' if place == "body" and form != "time-unix" else GOOD[form][0]
        assert sound("time-default", place, good)
        for other in {DATE_TIME, HTTP_DATE, EPOCH} - {GOOD[form][0]}:
            refused(request("time-default", place, f'"{other}"' if place == "body" else other))


@pytest.mark.parametrize("kind", OVERFLOWS)
def test_integers_in_bodies(kind: str) -> None:
    for value in GOOD[kind]:
        assert sound(kind, "body", value) == int(value)
    for value in (
        *OVERFLOWS[kind],
        '"5"',
        "true",
        "1.5",
        "1.0",
        "1e1",
        "7up",
        "0x1F",
        "Infinity",
        "NaN",
        '"NaN"',
        "[]",
        "{}",
    ):
        refused(request(kind, "body", value))


@pytest.mark.parametrize("kind", ["float", "double"])
def test_floats_in_bodies(kind: str) -> None:
    assert sound(kind, "body", "1.5") == 1.5
    assert sound(kind, "body", '"-Infinity"') == float("-inf")
    for value in (
        '"1.5"',
        "true",
        "7up",
        "0x1F",
        "Infinity",
        "-Infinity",
        "NaN",
        '"nan"',
        "[]",
        "1e999",
        ".5",
        "1.",
        "+1",
    ):
        refused(request(kind, "body", value))


def test_booleans_in_bodies() -> None:
    assert sound("boolean", "body", "true") is True
    for value in ('"true"', '"TRUE"', '"yes"', '"1"', '"false"', '"0"', "TRUE", "yes", "1", "0", "1.0", "[]", "no"):
        refused(request("boolean", "body", value))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("time-unix", "1767323045.25", [json.dumps(text) for text in (EPOCH, DATE_TIME, HTTP_DATE)] + ["1e400"]),
        ("time-iso8601", f'"{DATE_TIME}"', [*map(json.dumps, NO_DATE_TIMES), EPOCH, "1767323045.5"]),
        ("time-rfc822", f'"{HTTP_DATE}"', [*map(json.dumps, NO_HTTP_DATES), EPOCH, "1767323045.5"]),
    ],
)
def test_times_in_bodies(kind: str, good: str, bad: list[str]) -> None:
    assert sound(kind, "body", good)
    for value in (*bad, "true", "NaN", "1.2.3", "[]", "{}"):
        refused(request(kind, "body", value))


def test_blobs_in_bodies() -> None:
    assert sound("blob", "body", '"AP8="') == b"\x00\xff"
    for value in ("AP8", "AP8==", "AP", "A", "[x]=", "-_8=", "AP8=\\n", " AP8=", "AP9=", "AP8=AP8="):
        refused(request("blob", "body", f'"{value}"'))
    for value in ("1", "[]", "{}", "true"):
        refused(request("blob", "body", value))


def test_strings_with_a_media_type_in_headers_are_base64_of_json() -> None:
    assert sound("json", "header", "eyJhIjogMX0=") == {"a": 1}
    for value in ("abc", "YWI", "[][]", "-_==", "eyJhIjogMX0", "bm8ganNvbg==", '{"a": 1}'):
        refused(request("json", "header", value))


def test_lists() -> None:
    assert sound("list", "body", '["a", "b"]') == ["a", "b"]
    for value in ('["a", null, "b"]', '["a", "b"', '"a"', '{"0": "a"}', "[1]", '["a",]', '["a" "b"]', '[["a"]]'):
        refused(request("list", "body", value))


def test_maps() -> None:
    assert sound("map", "body", '{"a": "b"}') == {"a": "b"}
    for value in (
        '{null: "b"}',
        '{"a": null}',
        '{1: "b"}',
        '["a", "b"]',
        '{"a": 1}',
        '{"a": "b", "a": "c"}',
        '{"a"}',
        '"a"',
    ):
        refused(request("map", "body", value))


def test_unions() -> None:
    assert sound("union", "body", '{"n": 2}') == {"n": 2}
    assert sound("union", "body", '{"n": 2, "s": null}') == {"n": 2}
    for value in (
        '{"n": 2, "s": "x"}',
        '{"n": 2, "other": "x"}',
        '{"n": null}',
        "{}",
        '["n"]',
        '{"other": 1}',
        '"n"',
        "2",
    ):
        refused(request("union", "body", value))
        refused(ask(HOST, "POST", "/union/payload", value.encode(), JSON))


def test_strings() -> None:
    assert sound("string", "body", '"\\u2603"') == "☃"
    for value in ("1", "true", "[]", "{}", '"\\ud83d"', '"\\x41"', "'a'", '"a\nb"'):
        refused(request("string", "body", value))


def test_whole_bodies() -> None:
    good = b'{"v": 10}'
    assert read(ask(HOST, "POST", "/integer/body", good, JSON))[1] == {"v": 10}
    for body in (
        b"{[", good + b"x", b"x" + good, b'{"v": 10 // ten\n}', b'{"v": /* ten */ 10}', b'{"v":\x0c10}', b"{'v': 10}",
        b'{"v": 10,}', b"[" + good + b"]", b"10", b"null", b'"v"', good + good, b"\xef\xbb\xbf" + good, b"\xff" + good,
        good.decode().encode("utf-16"), b'{"v": 10, "v": 10}', b'{v: 10}', b"{", b" ",
    ):  # fmt: skip
        refused(ask(HOST, "POST", "/integer/body", body, JSON))


def test_content_types() -> None:
    read(ask(HOST, "POST", "/integer/body", b'{"v": 1}', {"Content-Type": "application/json; charset=utf-8"}))
    for kind in (
        "application/hal+json",
        "text/json",
        "application/x-amz-json-1.1",
        "application/xml",
        "image/jpeg",
        "json",
    ):
        refused(ask(HOST, "POST", "/integer/body", b'{"v": 1}', {"Content-Type": kind}))
    refused(ask(HOST, "POST", "/integer/body", b'{"v": 1}'))
    for path in ("/no-input", "/nothing"):
        assert read(ask(HOST, "POST", path))[1] == {}
        refused(ask(HOST, "POST", path, b"{}", JSON))


def test_accept() -> None:
    read(ask(HOST, "POST", "/integer/body", b'{"v": 1}', JSON | {"Accept": "application/json"}))
    for kind in ("application/hal+json", "image/png", "text/plain", "application/xml", "application/json, text/plain"):
        refused(ask(HOST, "POST", "/integer/body", b'{"v": 1}', JSON | {"Accept": kind}))


def test_what_is_read_anyway() -> None:
    assert len(READ_ANYWAY) == 6
    read(ask(HOST, "POST", "/nothing", headers=JSON))
    assert read(ask(HOST, "POST", "/blob/payload", b"{}", JSON))[1] == {"v": b"{}"}
    # Out of range for Lambda (1 to 900), and no runtime that exists: the service's to refuse.
    body = b'{"Timeout": 100000, "Runtime": "cobol"}'
    path = "/2015-03-31/functions/f/configuration"
    found = read(ask("lambda.us-east-1.amazonaws.com", "PUT", path, body, JSON))
    assert found[1] == {"FunctionName": "f", "Timeout": 100000, "Runtime": "cobol"}


# Real operations that have such a member: service, operation, method, target and headers with {} for the value.
DEPLOYMENTS = "/applications/a/environments/e/deployments"
REAL = [
    ("boolean", "appconfig", "StopDeployment", "DELETE", f"{DEPLOYMENTS}/1", {"Allow-Revert": "{}"}),
    ("boolean", "iot", "ListTopicRules", "GET", "/rules?ruleDisabled={}", {}),
    ("integer", "amplify", "ListApps", "GET", "/apps?maxResults={}", {}),
    ("integer", "iot", "DeleteProvisioningTemplateVersion", "DELETE", "/provisioning-templates/t/versions/{}", {}),
    ("integer", "appconfig", "StopDeployment", "DELETE", DEPLOYMENTS + "/{}", {}),
    ("long", "lambda", "GetLayerVersion", "GET", "/2018-10-31/layers/l/versions/{}", {}),
    ("float", "geo-maps", "GetStaticMap", "GET", "/v2/static/map?height=64&width=64&zoom={}", {}),
    ("time-iso8601", "backup", "ListScanJobs", "GET", "/scan/jobs?ByCompleteAfter={}", {}),
    ("time-unix", "wickr", "GetUser", "GET", "/networks/n/users/u?startTime={}", {}),
    ("time-iso8601", "bedrock-runtime", "ListAsyncInvokes", "GET", "/async-invoke?submitTimeAfter={}", {}),
    ("time-rfc822", "connect", "UpdateTestCase", "POST", "/test-cases/i/t", {"x-amz-last-modified-time": "{}"}),
]  # fmt: skip
REAL_HOSTS = {
    "iot": "iot.us-east-1.amazonaws.com",
    "geo-maps": "maps.geo.us-east-1.amazonaws.com",
    "wickr": "admin.wickr.us-east-1.amazonaws.com",
}


@pytest.mark.parametrize(("kind", "service", "operation", "method", "target", "headers"), REAL)
def test_real_operations(
    kind: str, service: str, operation: str, method: str, target: str, headers: dict[str, str]
) -> None:
    host = REAL_HOSTS.get(service, f"{service}.us-east-1.amazonaws.com")

    def with_value(value: str) -> HttpRequest:
        filled = {name: text.replace("{}", value) for name, text in headers.items()}
        return ask(host, method, target.replace("{}", encoded(value)), b"", filled)

    for value in GOOD[kind]:
        assert read(with_value(value))[0] == f"{service}:{operation}"
    for value in BAD[kind]:
        refused(with_value(value))


@pytest.mark.parametrize(
    ("service", "path", "good", "bad"),
    [
        ("iot", "/audit/findings", {"startTime": 1767323045}, [DATE_TIME, HTTP_DATE, EPOCH, True]),
        ("greengrass", "/greengrass/v2/createComponentVersion", {"inlineRecipe": "AP8="}, ["AP8", "-_8=", 7, []]),
        ("lambda", "/2015-03-31/event-source-mappings", {"BatchSize": 5}, ["5", 5.5, True, 2**31]),
        ("lambda", "/2015-03-31/event-source-mappings", {"Topics": ["a"]}, [[None], "a", {"0": "a"}, [1]]),
        ("detective", "/graph", {"Tags": {"a": "b"}}, [{"a": None}, {"a": 1}, [], "a"]),
        ("apigateway", "/apikeys", {"enabled": True}, ["true", 1, "TRUE", 0]),
    ],
)  # fmt: skip
def test_bodies_of_real_operations(service: str, path: str, good: dict[str, Any], bad: list[Any]) -> None:
    host = {"detective": "api.detective.us-east-1.amazonaws.com"}.get(service, f"{service}.us-east-1.amazonaws.com")
    headers = JSON | {"Accept": "application/json"}
    read(ask(host, "POST", path, json.dumps(good).encode(), headers))
    for value in bad:
        refused(ask(host, "POST", path, json.dumps(dict.fromkeys(good, value)).encode(), headers))


def test_nothing_that_is_refused_says_what_it_holds() -> None:
    with pytest.raises(Undecodable) as caught:
        wire.decode(request("integer", "body", '"hunter2"'))
    assert "hunter2" not in caught.value.reason
