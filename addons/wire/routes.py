"""Which REST operation a method, a path, query keys and headers are: one trie of path segments per service.

Smithy's http trait: literal segments go before labels, labels before greedy ones; then fixed query keys, then required
query and header members decide. A route holds no state of a call.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from addons.wire import models
from addons.wire.scalars import deny

MAX_SEGMENTS = 256
# Operations whose path ended with a slash in botocore's models of 2022, and that another operation of today's models
# stands beside, with a label where the slash's empty segment is. AWS still serves the SDKs of that age.
ENDED_WITH_A_SLASH = frozenset(
    {
        ("dlm", "DeleteLifecyclePolicy"),
        ("dlm", "GetLifecyclePolicy"),
        ("lambda", "ListCodeSigningConfigs"),
        ("lambda", "ListEventSourceMappings"),
        ("lambda", "ListFunctions"),
    }
)
Member = tuple[str, Any]  # the member's name and its shape


@dataclass(slots=True)
class Route:
    """One operation's http binding."""

    operation: str
    method: str
    path: str
    fixed: dict[str, str]
    prefix: str
    deprecated: bool
    shape: Any = None
    uri: dict[str, Member] = field(default_factory=dict)
    query: dict[str, Member] = field(default_factory=dict)
    query_map: Member | None = None
    headers: dict[str, Member] = field(default_factory=dict)
    header_maps: list[tuple[str, str, Any]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)  # host label: member
    payload: Member | None = None
    body: dict[str, Member] = field(default_factory=dict)
    required_query: frozenset[str] = frozenset()
    required_headers: frozenset[str] = frozenset()

    @property
    def events(self) -> bool:
        """Whether the payload is an event stream."""
        return self.payload is not None and bool(self.payload[1].serialization.get("eventstream"))

    @property
    def streams(self) -> bool:
        """Whether the payload is a streaming blob or an event stream: never part of the parameters."""
        if self.payload is None:
            return False
        shape = self.payload[1]
        traits = shape.serialization
        return bool(traits.get("eventstream") or (shape.type_name == "blob" and traits.get("streaming")))


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    label: "_Node | None" = None
    greedy: "_Node | None" = None
    routes: list[tuple[Route, tuple[str, ...]]] = field(default_factory=list)  # with the labels' names, in order


@dataclass(slots=True)
class Match:
    """A route that fits, with its path's labels as decoded text."""

    route: Route
    labels: dict[str, str]
    score: tuple[Any, ...]


class Routes:
    """All the REST operations of one service."""

    def __init__(self, service: str, protocol: str) -> None:
        self.service, self.protocol = service, protocol
        self._roots: dict[str, _Node] = {}
        model = models.service_model(service)
        made = [_route(model.operation_model(name)) for name in model.operation_names]
        ends = [(route, self._insert(route, route.path)) for route in made]
        for route in made:
            if route.path.endswith("/") and route.path != "/":
                # Smithy's own model has no trailing slashes: JavaScript, Go and others leave them out.
                self._insert(route, route.path.rstrip("/"))
        if service not in ("s3", "s3control"):
            for route, end in ends:
                if self._may_end_with_a_slash(route, end):
                    end.literals.setdefault("", _Node()).routes += [each for each in end.routes if each[0] is route]

    def _may_end_with_a_slash(self, route: Route, end: "_Node") -> bool:
        """Whether one slash after a route's path changes nothing, as SDKs of 2022 and before wrote it.

        A reader could take the slash for an empty last segment, or for a part of the last label. So the path must end
        with a literal, and no operation of the method may have a label there; but where the old models had the slash.
        """
        if route.path.endswith("/") or "" in end.literals:
            return False
        if (self.service, route.operation) in ENDED_WITH_A_SLASH:
            return True
        return not (route.path.endswith("}") or end.label or end.greedy)

    def _insert(self, route: Route, path: str) -> _Node:
        node = self._roots.setdefault(route.method, _Node())
        names: list[str] = []
        for segment in split(path):
            if re.fullmatch(r"\{[^{}]+\}", segment):
                names.append(segment[1:-1].rstrip("+"))
                kind = "greedy" if segment.endswith("+}") else "label"
                child = getattr(node, kind) or _Node()
                setattr(node, kind, child)
                node = child
            else:
                node = node.literals.setdefault(segment, _Node())
        node.routes.append((route, tuple(names)))
        return node

    def match(
        self, method: str, segments: list[str], query: dict[str, list[str | None]], headers: dict[str, str], prefix: str
    ) -> list[Match]:
        """The best matches: usually one. `segments` are decoded, header names in lower case."""
        root = self._roots.get(method)
        if root is None:
            return []
        if len(segments) > MAX_SEGMENTS:
            deny("the path has too many segments")
        if segments and segments[0] not in root.literals and not (root.label or root.greedy):
            return []  # most of the services that share a host
        fits = []
        for kinds, values, ends in _walk(root, segments, 0, (), ()):
            for route, names in ends:
                if route.prefix != prefix and self.service not in ("s3", "s3control"):
                    continue
                if route.fixed and not (query and all(_is(query.get(k), value) for k, value in route.fixed.items())):
                    continue
                if route.required_query and not route.required_query <= query.keys():
                    continue
                if route.required_headers and not route.required_headers <= headers.keys():
                    continue
                score = (kinds, len(route.fixed), len(route.required_query) + len(route.required_headers))
                fits.append(Match(route, dict(zip(names, values, strict=True)), score))
        if len(fits) < 2:
            return fits
        best = max(fit.score for fit in fits)
        return sorted((fit for fit in fits if fit.score == best), key=lambda fit: fit.route.deprecated)


def _is(values: list[str | None] | None, fixed: str) -> bool:
    """Whether a fixed query key stands there once with its value; `?acl` and `?acl=` are the same."""
    return values is not None and len(values) == 1 and (values[0] or "") == fixed


def split(path: str) -> list[str]:
    """A path's segments: "/a/b" is ["a", "b"], "/" is []."""
    return path[1:].split("/") if path != "/" else []


def _walk(
    node: _Node, segments: list[str], at: int, kinds: tuple[int, ...], values: tuple[str, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[str, ...], list[tuple[Route, tuple[str, ...]]]]]:
    """Each node that the segments lead to: how well they fit, the labels' values, and the node's routes."""
    if at == len(segments):
        yield kinds, values, node.routes
        return
    segment = segments[at]
    if (child := node.literals.get(segment)) is not None:
        yield from _walk(child, segments, at + 1, (*kinds, 2), values)
    if node.label is not None and segment:
        yield from _walk(node.label, segments, at + 1, (*kinds, 1), (*values, segment))
    if node.greedy is not None:
        plain = not (node.greedy.literals or node.greedy.label or node.greedy.greedy)
        for end in [len(segments)] if plain else range(len(segments), at, -1):
            if value := "/".join(segments[at:end]):
                yield from _walk(node.greedy, segments, end, (*kinds, 0), (*values, value))


def _route(model: Any) -> Route:
    path, _, fixed = model.http.get("requestUri", "/").partition("?")
    pairs = [piece.partition("=") for piece in fixed.split("&") if piece]
    route = Route(
        operation=model.name,
        method=model.http.get("method", "POST"),
        path=path or "/",
        fixed={key: value for key, _, value in pairs},
        prefix=(model.endpoint or {}).get("hostPrefix", ""),
        deprecated=bool(model.deprecated),
    )
    shape = model.input_shape
    if shape is None:
        return route
    route.shape = shape
    payload = shape.serialization.get("payload")
    required = set(shape.required_members)
    required_query, required_headers = set(), set()
    for name, member in shape.members.items():
        traits = member.serialization
        place, wire = traits.get("location"), traits.get("name", name)
        if traits.get("hostLabel"):
            route.labels[name] = name
        if place == "uri":
            route.uri[wire] = (name, member)
        elif place == "querystring":
            if member.type_name == "map":
                route.query_map = (name, member)
            else:
                route.query[wire] = (name, member)
                if name in required and member.type_name != "list":  # an empty list does not appear on the wire
                    required_query.add(wire)
        elif place == "header":
            route.headers[wire.lower()] = (name, member)
            if name in required and member.type_name != "list":
                required_headers.add(wire.lower())
        elif place == "headers":
            route.header_maps.append((wire.lower(), name, member))
        elif name == payload:
            route.payload = (name, member)
        elif place in (None, "statusCode"):
            route.body[wire] = (name, member)
    route.required_query, route.required_headers = frozenset(required_query), frozenset(required_headers)
    return route


@models.PerService
def routes(service: str) -> Routes | None:
    """The routes of one service, made when it is first used; None: it speaks no REST protocol."""
    protocol = next((p for p in models.protocols(service) if p in ("rest-json", "rest-xml")), None)
    return Routes(service, protocol) if protocol else None
