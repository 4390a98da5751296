"""The one entry: an HTTP request as exactly one AWS call, or refused.

    host -> candidate services -> what the request speaks -> operation -> parameters -> twins

What the request speaks is told by its own marks, never by what the model prefers: `smithy-protocol` (rpc-v2-cbor,
rpc-v2-json), `X-Amz-Target` (json), `Action` (query, ec2), or else method and path (rest-json, rest-xml). The
credential scope is a check that must agree with the matched endpoint; it never chooses.

Every byte is explained: a request is read only if what was read, encoded again, is the same request but for what
carries no meaning. No second encoding is needed to know it, as each reader uses up all that it is given, refuses what
it has no member for, and takes each value in spellings of that one value only. tests/wire/test_explained.py encodes
again with botocore's serializer, and compares.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from addons.wire import asked, chunked, forms, hosts, inputevents, models, plain, rest, routes, scalars, sqsquery
from addons.wire.authorization import ECDSA, HMAC, SignatureRefused, in_headers, parse_authorization, presigned
from addons.wire.hosts import Candidate
from addons.wire.message import Decoded, HttpRequest, Undecodable
from addons.wire.scalars import NO_BODY, UPGRADE, deny, shown
from addons.wire.twins import Found, one
from addons.wire.unknown import noting

MAX_HEADERS, MAX_HEAD, MAX_TARGET, MAX_QUERY = 256, 64 * 1024, 64 * 1024, 2_000
_AUTHORIZATIONS = {  # by algorithm: SigV4a has no region in its credential
    name: re.compile(
        rf"{name}\s+Credential=[^/,\s]+/\d{{8}}/{region}(?P<service>[A-Za-z0-9._-]+)/aws4_request\s*,.*", re.ASCII
    )
    for name, region in ((HMAC, "(?P<region>[a-z0-9-]+)/"), (ECDSA, ""))
}
_ACCOUNT = re.compile(r"([0-9]{12})\.", re.ASCII)
_TARGET = re.compile(r"/[\x21\x22\x24-\x7e]*", re.ASCII)  # printable ASCII without space and "#"
_FIELDS = re.compile(rb"[\x21-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # folded lines, bare CR and NUL among them: readers differ
_FORM, _FORMS = "application/x-www-form-urlencoded", frozenset({"query", "ec2"})
_RPC_V2: dict[str, tuple[str, str, Callable[[bytes], Any]]] = {  # by smithy-protocol: name, content type, reader
    "rpc-v2-cbor": ("smithy-rpc-v2-cbor", "application/cbor", plain.cbor_value),
    "rpc-v2-json": ("smithy-rpc-v2-json", "application/json", plain.json_value),
}
_KINESIS_CBOR = "application/x-amz-cbor-1.1"  # the Java SDKs: JSON 1.1's targets and answers with CBOR in both bodies


@dataclass(slots=True)
class Reading:
    """A request while it is read: its head, taken apart once."""

    request: HttpRequest
    headers: dict[str, str]  # lower-case names
    path: str
    query: dict[str, list[str | None]]
    content_type: str
    scope: tuple[str, str] | None  # (region, service); the region of SigV4a is its region set


def decode(request: HttpRequest, unknown: bool = False) -> Decoded:
    """Read a request. Raises `Undecodable`: refused, with the reason and, where there is one, a hint.

    `unknown`: read on where the body holds members that the model does not know, and name them in `Decoded.unknown`.
    """
    try:
        try:
            return _decode(request)
        except Undecodable:
            if not unknown or request.method == "GET":  # a GET has no body: what is unknown there is a query's
                raise
        with noting() as found:
            read = _decode(request)
        return replace(read, unknown=tuple(found))
    except RecursionError:
        raise Undecodable("the request is nested too deeply") from None


def _decode(request: HttpRequest) -> Decoded:
    if request.body is not None and len(request.body) > chunked.MAX_BODY:
        deny("the body is too large")
    reading = _read(request)
    there = hosts.candidates(request.host)
    if not there:
        deny("the host serves no AWS API that is known", UPGRADE)
    for candidate in there:
        models.touch(candidate.service)
    decoded = one(_find(reading, _agreeing(reading, there)), reading.scope)
    asked.check(reading.headers, decoded)
    if decoded.service != "s3" and (account := _ACCOUNT.match(request.host)):
        return replace(decoded, host_account=account[1])
    return decoded


def _read(request: HttpRequest) -> Reading:
    if len(request.headers) > MAX_HEADERS or len(request.target) > MAX_TARGET:
        deny("the request's head is too large")
    if presigned(request.target):
        request = _of_url(request)
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key = name.lower()
        if key in headers:
            deny(f"the header {shown(key)} stands more than once")
        headers[key] = value
    text = "".join(headers.values())
    if len(text) > MAX_HEAD:
        deny("the request's head is too large")
    if _CONTROL.search(text):
        name = next(key for key, value in headers.items() if _CONTROL.search(value))
        deny(f"the header {shown(name)} holds a control character or a folded line")
    if headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
        deny("the transfer encoding is not plainly chunked")
    if not _TARGET.fullmatch(request.target):
        deny("the request target is not a path of printable ASCII")
    path, mark, text = request.target.partition("?")
    query: dict[str, list[str | None]] = {}
    if mark:
        for name, one in scalars.split_pairs(text, limit=MAX_QUERY, plus=False):
            query.setdefault(name, []).append(one)
    scope = _scope(headers)
    kind, _, parameter = headers.get("content-type", "").lower().partition(";")
    kind = kind.strip()
    if parameter and kind == _FORM and parameter.strip().replace('"', "") not in ("", "charset=utf-8"):
        deny("the form is not in UTF-8")
    return Reading(request, headers, path, query, kind, scope)


def _scope(headers: dict[str, str]) -> tuple[str, str] | None:
    """The credential scope as (region, service), or None for an unsigned request or a bearer token."""
    value = headers.get("authorization")
    if value is None or value.lower().startswith("bearer "):
        return None
    algorithm = value.partition(" ")[0]
    pattern = _AUTHORIZATIONS.get(algorithm)
    found = pattern.fullmatch(value) if pattern else None
    if found is None:
        deny("the signature is not SigV4")
    if algorithm != ECDSA:
        return found["region"], found["service"]
    if not (regions := headers.get("x-amz-region-set")):
        deny("a signature of SigV4a without its region set")
    return regions, found["service"]


def _of_url(request: HttpRequest) -> HttpRequest:
    """A presigned request as the call that its URL asks for. Nothing is verified here."""
    try:
        return in_headers(request, parse_authorization(request))
    except SignatureRefused as error:
        deny(f"the query string's signature can't be read: {error.message}")


def _agreeing(reading: Reading, there: tuple[Candidate, ...]) -> list[Candidate]:
    """The candidates that the credential scope agrees with."""
    signable = [c for c in there if c.signing_name]
    if not signable:
        deny("the host takes no signature that is known")
    if reading.scope is None:
        return signable
    region, service = reading.scope
    agreeing = [c for c in signable if c.signing_name == service and _covers(region, c)]
    if not agreeing:
        expected = signable[0]
        place = f"in {expected.signing_region or 'the region of its data'}"
        how = "with SigV4a, for all regions" if expected.signing_region == "*" else place
        deny(
            "the credential scope names another service or region than the host",
            f"The host is signed as {expected.signing_name} {how}.",
        )
    return agreeing


def _covers(region: str, candidate: Candidate) -> bool:
    """Whether the scope's region, or a region of the set that SigV4a has there, is the candidate's."""
    if candidate.signing_region is None:
        return hosts.in_partition(region, candidate.partition)
    if region == candidate.signing_region:
        return True
    return any(each in ("*", candidate.signing_region) for each in region.split(","))


def _find(reading: Reading, there: list[Candidate]) -> list[Found]:
    headers, query = reading.headers, reading.query
    target = headers.get("x-amz-target")
    if "smithy-protocol" in headers:
        if target is not None:
            deny("smithy-protocol and X-Amz-Target together")
        return _rpc_v2(reading, there)
    if target is not None:
        return _json(reading, there, target)
    if reading.content_type == _FORM or (reading.request.method == "GET" and "Action" in query):
        form = [c for c in there if c.service == sqsquery.SERVICE or _FORMS & set(models.protocols(c.service))]
        if form:
            return _form(reading, form)
    if reading.content_type == _FORM and [c.service for c in there] == ["cloudsearchdomain"]:
        reading = _search(reading)
    return _rest(reading, there)


def _search(reading: Reading) -> Reading:
    """CloudSearch's Search is a GET in the model; SDKs send its query string as a form, for its length."""
    request = reading.request
    if request.method != "POST" or request.body is None or chunked.codings(reading.headers):
        deny("a form is sent by POST")
    try:
        pairs = scalars.split_pairs(request.body.decode("ascii"), limit=MAX_QUERY, plus=True)
    except UnicodeDecodeError:
        deny("the form holds bytes that are not encoded")
    query = {key: list(values) for key, values in reading.query.items()}
    for key, value in pairs:
        if key in reading.query:
            deny(f"the parameter {shown(key)} stands twice")
        query.setdefault(key, []).append(value)
    as_get = HttpRequest("GET", request.host, request.target, request.headers, b"")
    return replace(reading, request=as_get, query=query)


def _rpc_v2(reading: Reading, there: list[Candidate]) -> list[Found]:
    """Smithy's RPC v2, in CBOR, or in JSON where a model lists that."""
    request = reading.request
    spoken = _RPC_V2.get(reading.headers["smithy-protocol"])
    if spoken is None:
        deny("smithy-protocol names a protocol that is not known", UPGRADE)
    protocol, content_type, parse = spoken
    found = re.fullmatch(r"/service/([A-Za-z0-9_.-]+)/operation/([A-Za-z0-9_]+)", reading.path, re.ASCII)
    if found is None or request.method != "POST" or reading.query:
        deny("not a POST to /service/NAME/operation/NAME")
    if request.body and reading.content_type != content_type:
        deny(f"the content type is not {content_type}")
    return _rpc(reading, there, f"{found[1]}.{found[2]}", protocol, parse, cbor=parse is plain.cbor_value)


def _json(reading: Reading, there: list[Candidate], target: str) -> list[Found]:
    if reading.request.method != "POST" or reading.path != "/" or reading.query:
        deny("X-Amz-Target on something else than a POST to /")
    there = [c for c in there if "json" in models.protocols(c.service)]
    if reading.content_type == _KINESIS_CBOR and {c.service for c in there} == {"kinesis"}:
        return _rpc(reading, there, target, "json", plain.kinesis_value, cbor=True)
    versions = {f"application/x-amz-json-{models.service_model(c.service).metadata.get('jsonVersion')}" for c in there}
    if there and reading.content_type not in versions:
        deny(f"the content type is not {min(versions)}")
    return _rpc(reading, there, target, "json", plain.json_value)


def _rpc(
    reading: Reading,
    there: list[Candidate],
    target: str,
    protocol: str,
    parse: Callable[[bytes], Any],
    cbor: bool = False,
) -> list[Found]:
    """The operation whose whole target (prefix and name) is this one, in JSON or CBOR."""
    _known_headers(reading)
    made = []
    for candidate in there:
        operation = models.targets(candidate.service).get(target)
        if operation is None or protocol not in models.protocols(candidate.service):
            continue
        model = models.operation_model(candidate.service, operation)
        if (model.endpoint or {}).get("hostPrefix", "") != candidate.prefix:
            continue

        def params(candidate: Candidate = candidate, model: Any = model) -> dict[str, Any]:
            body = _body(reading, model)
            if model.input_shape is None:
                if body and parse(body) != {}:
                    deny("a body on an operation that has none")
                return {}
            if not body and protocol != "json":
                return {}
            reader = plain.readers(candidate.service, cbor).reader(model.input_shape)
            return cast(dict[str, Any], reader(parse(body), 1))

        made.append(Found(candidate, operation, protocol, params))
    if not made:
        deny(f"the host's services have no operation {shown(target)}", UPGRADE)
    return made


def _form(reading: Reading, there: list[Candidate]) -> list[Found]:
    request, query = reading.request, reading.query
    _known_headers(reading)
    if reading.path != "/" and not any(c.service == sqsquery.SERVICE for c in there):
        deny("a form on another path than /")
    codings = chunked.codings(reading.headers)
    compressed = codings == ["gzip"]
    if request.method == "GET":
        if request.body or compressed:
            deny("a GET with a body")
        if any(len(values) > 1 for values in query.values()):
            deny("a parameter stands twice")
        fields = {key: values[0] or "" for key, values in query.items()}
    elif request.method == "POST":
        if query:
            deny("parameters in the query string of a form")
        if codings and not compressed:
            deny("the content encoding is not known")
        if request.body is None:
            deny(NO_BODY)
        body = chunked.gunzip(request.body) if compressed else request.body
        if not _FIELDS.fullmatch(body):
            deny("the form holds bytes that are not encoded")
        fields = forms.parameters(body.decode("ascii"))
    else:
        deny("a form is sent by GET or POST")
    action, version = fields.pop("Action", None), fields.pop("Version", None)
    if action is None or version is None:
        deny("Action and Version are both needed")
    tree, made = forms.tree(fields), []
    for candidate in there:
        if action not in models.operations(candidate.service):
            continue
        if models.service_model(candidate.service).metadata["apiVersion"] != version:
            continue  # older versions too, which AWS may still serve: with the same names, they may mean something else
        if reading.path != "/" and candidate.service != sqsquery.SERVICE:
            continue
        operation = models.operation_model(candidate.service, action)
        if compressed and "gzip" not in (operation.request_compression or {}).get("encodings", ()):
            deny("a compressed body on an operation that takes none")
        if (operation.endpoint or {}).get("hostPrefix", "") != candidate.prefix:
            continue
        protocol = "ec2" if "ec2" in models.protocols(candidate.service) else "query"

        def params(service: str = candidate.service, operation: Any = operation, ec2: bool = protocol == "ec2") -> Any:
            if operation.input_shape is None:
                if tree:
                    deny("parameters on an operation that has none", UPGRADE)
                return {}
            if service == sqsquery.SERVICE:
                read = sqsquery.READER.read(operation.input_shape, tree)
                return sqsquery.with_queue(read, operation.input_shape, reading.request.host, reading.path)
            return forms.forms(service, ec2).read(operation.input_shape, tree)

        made.append(Found(candidate, action, protocol, params))
    if not made:
        deny(f"the host's services have no action {shown(action)} of version {shown(version)}", UPGRADE)
    return made


def _rest(reading: Reading, there: list[Candidate]) -> list[Found]:
    request = reading.request
    matches: list[tuple[routes.Match, Candidate, str]] = []
    plain_segments: list[str] | None = None
    for candidate in there:
        table = routes.routes(candidate.service)
        if table is None:
            continue
        if candidate.service == "s3" and candidate.label is None:
            segments = rest.s3_segments(reading.path, candidate.bucket)
        else:
            segments = plain_segments = plain_segments or rest.path_segments(reading.path)
        found = table.match(request.method, segments, reading.query, reading.headers, candidate.prefix)
        if candidate.service == "s3":
            found = [match for match in found if _fits_host(match.route, candidate)]
        elif "%" in reading.path and any(_slash(match) for match in found):
            flat = [part for segment in segments for part in segment.split("/")]
            other = table.match(request.method, flat, reading.query, reading.headers, candidate.prefix)
            if any(match.route.operation != found[0].route.operation for match in other):
                deny("an encoded slash in the path would make it another operation")
        matches += [(match, candidate, table.protocol) for match in found]
    if not matches:
        spoken = {"json", "query", "ec2", "smithy-rpc-v2-cbor"} & {
            p for c in there for p in models.protocols(c.service)
        }
        hint = UPGRADE if not spoken else f"The service speaks {' and '.join(sorted(spoken))}. {UPGRADE}"
        deny("no operation of the host's services has this method, path, query and headers", hint)
    if len(matches) > 1:
        best = max(match.score for match, _, _ in matches)
        matches = [found for found in matches if found[0].score == best]
    return [_bound(reading, *found) for found in matches]


def _slash(match: routes.Match) -> bool:
    """Whether a label that takes no ARN holds an encoded slash, which a careless reader takes for a plain one."""
    return any(
        "/" in value
        and not (value.startswith("arn:") and "arn" in (label + match.route.uri[label][0]).lower())
        and "{" + label + "+}" not in match.route.path
        for label, value in match.labels.items()
    )


def _fits_host(route: routes.Route, candidate: Candidate) -> bool:
    """S3's operations that share method and path, and differ by host alone."""
    directory = candidate.signing_name == "s3express" and candidate.bucket is None
    if route.operation in ("ListBuckets", "ListDirectoryBuckets"):
        return directory == (route.operation == "ListDirectoryBuckets")
    return bool(route.prefix) == (candidate.label is not None)


def _bound(reading: Reading, match: routes.Match, candidate: Candidate, protocol: str) -> Found:
    route = match.route

    def params() -> dict[str, Any]:
        made = rest.head_parameters(match, reading.query, reading.request.headers)
        body = reading.request.body
        if body is not None and not route.streams:
            body = _body(reading, models.operation_model(candidate.service, route.operation))
        elif body and reading.content_type == asked.STREAM and route.events:
            _check_events(reading, candidate.service, route.operation, protocol)
        return made | rest.body_parameters(match, candidate.service, protocol, reading.headers, body)

    return Found(candidate, route.operation, protocol, params, route.deprecated)


def _check_events(reading: Reading, service: str, operation: str, protocol: str) -> None:
    """An event stream that is there as a whole is read to its end, though only its head is decided on."""
    signed = reading.headers.get("x-amz-content-sha256") == inputevents.SIGNED
    model, readers = models.operation_model(service, operation), plain.readers(service, False)
    for _ in inputevents.read_events(model, protocol, readers, signed, (reading.request.body or b"",)):
        pass


def _body(reading: Reading, model: Any) -> bytes:
    """The body of an operation that does not stream, decompressed where the operation takes that."""
    body = reading.request.body
    if body is None:
        deny(NO_BODY)
    codings = chunked.codings(reading.headers)
    if codings == ["gzip"] and "gzip" in (model.request_compression or {}).get("encodings", ()):
        return chunked.gunzip(body)
    if codings and not (model.input_shape and _takes_encoding(model.input_shape)):
        deny("the content encoding is not one that the operation takes")
    if (reading.headers.get("x-amz-content-sha256") or "").startswith("STREAMING-"):
        deny("an aws-chunked body on an operation that has no stream")
    return body


def _takes_encoding(shape: Any) -> bool:
    return any(m.serialization.get("name", "").lower() == "content-encoding" for m in shape.members.values())


def _known_headers(reading: Reading) -> None:
    if not reading.headers.keys() <= rest.KNOWN_HEADERS:
        for name in reading.headers:
            rest.check_header(name)
