"""Masking one answer by the rules of its operation: find every place first, then edit the wire tree.

What isn't located stays as it is, and an answer in which nothing was located is the very same object. Whatever is in
doubt raises `Unredactable`: the caller refuses the call. Neither results nor exceptions hold a value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from addons.redaction.effects import check_content_type, decoded_body, with_body
from addons.redaction.masks import Masker
from addons.redaction.parts import HeaderTree, RawTree
from addons.redaction.plain import Plain
from addons.redaction.tree import Place, Tree, Unredactable, follow
from addons.redaction.xml import Xml
from addons.wire.message import Decoded, HttpResponse, Protocol
from policy.redaction import Chain, CompiledRule, RuleSet, Target

FIRST_ERROR = 301  # as in botocore's parser


@dataclass(frozen=True, slots=True)
class Masked:
    """What one rule did to one answer: counts and fingerprints, never a value."""

    rule: str  # "secretsmanager:GetSecretValue:[SecretString, SecretBinary]"
    mask: str
    locations: int  # places masked or dropped
    fingerprint: str  # HMAC of the value, or of all fingerprints where there were several


@dataclass(frozen=True, slots=True)
class Redacted:
    """The answer to deliver, and what was done to it."""

    response: HttpResponse
    masked: tuple[Masked, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    tree: Tree
    place: Place
    shape: Any
    rule: CompiledRule
    operation: str


def redact(
    rules: RuleSet, decoded: Decoded, response: HttpResponse, key: bytes, spare: Target | None = None
) -> Redacted:
    """Mask what the rules for the call (and for every call it could be) locate in its answer.

    `spare` leads to places that no rule of their own masks: synthetic credentials, made for the agent.
    `key` is secret bytes of this gateway: masks are HMACs under it. Raises `Unredactable` whenever masking can't be
    certain: undecodable or contradictory bodies, duplicate keys, streams that a rule reaches, any failure at all.
    """
    try:
        return _redact(rules, decoded, response, key, spare)
    except Unredactable as error:
        reason = error.reason
    except Exception as error:
        reason = f"the answer could not be read ({type(error).__name__})"
    raise Unredactable(reason)  # outside of the handlers: a decoder's exception holds the document it failed on


def _redact(rules: RuleSet, decoded: Decoded, response: HttpResponse, key: bytes, spare: Target | None) -> Redacted:
    calls = dict.fromkeys(((decoded.service, decoded.operation), *decoded.candidates))
    error = response.status >= FIRST_ERROR
    answer = Answer(response, decoded.protocol, error)
    found: list[_Found] = []
    for service, operation in calls:
        for rule in rules.for_operation(service, operation):
            # An error isn't identified by its code: what any of the operation's errors would hold is masked.
            targets = rule.errors if error else (rule.output,) if rule.output else ()
            for target in targets:
                for tree, place, shape in answer.locate(target):
                    found.append(_Found(tree, place, shape, rule, operation))
    if spare and found:
        spared = {place.path for _, place, _ in answer.locate(spare)}
        found = [each for each in found if each.place.path not in spared]
    masked = _apply(_outermost(found), Masker(key))
    return Redacted(answer.edited(), masked) if masked else Redacted(response)


def request_headers_to_drop(rules: RuleSet, decoded: Decoded) -> frozenset[str]:
    """Lower-case names of request headers not to forward with a call whose answer rules may change.

    They ask for checksums over the original body (Java's append-md5 inside the body itself), for a part of it, or for
    an encoding. The request is signed anew, so leaving them out is sound.
    """
    calls = dict.fromkeys(((decoded.service, decoded.operation), *decoded.candidates))
    found = [rule for service, operation in calls for rule in rules.for_operation(service, operation)]
    if not found:
        return frozenset()
    names = {"accept-encoding", "x-amz-checksum-mode", "x-amz-te"}
    outputs = [rule.output for rule in found if rule.output]
    if any(_in_body(target, chain, decoded.protocol) for target in outputs for chain in target.chains):
        names |= {"range", "if-range"}
    return frozenset(names)


def _in_body(target: Target, chain: Chain, protocol: Protocol) -> bool:
    location = target.shape.members[chain[0].name].serialization.get("location")
    return not (protocol.startswith("rest-") and location)


class Answer:
    """One response and the trees made of it so far."""

    def __init__(self, response: HttpResponse, protocol: Protocol, error: bool) -> None:
        self._response = response
        self._protocol = protocol
        self._error = error
        self._headers: HeaderTree | None = None
        self._raw: RawTree | None = None
        self._etag_is_version = False
        self._bodies: dict[str | None, Plain | Xml] = {}

    def locate(self, target: Target) -> Iterator[tuple[Tree, Place, Any]]:
        """Every place that a target's ways lead to in this answer."""
        bound = (member.serialization for member in target.shape.members.values())
        names = {serialization.get("name", "").lower() for serialization in bound if serialization.get("location")}
        self._etag_is_version |= "etag" in names and self._protocol.startswith("rest-")
        for chain in target.chains:
            yield from self._locate(target.shape, chain)

    def _locate(self, root: Any, chain: Chain) -> Iterator[tuple[Tree, Place, Any]]:
        name = chain[0].name
        member = root.members[name]
        rest = self._protocol.startswith("rest-")
        if rest and member.serialization.get("location"):
            if self._headers is None:
                self._headers = HeaderTree(self._response.headers)
            yield from _with(self._headers, self._headers.root, root, chain)
            return
        if root.event_stream_name or member.serialization.get("streaming"):
            raise Unredactable("a rule reaches into a streamed answer")
        payload = root.serialization.get("payload") if rest else None
        if payload is None:
            body = self._body(root)
            if body:
                yield from _with(body, body.root, root, chain)
        elif payload == name and member.type_name in ("string", "blob"):
            body_bytes = decoded_body(self._response)
            if body_bytes:
                self._raw = self._raw or RawTree(body_bytes)
                yield from _with(self._raw, self._raw.root, root, chain)
        elif payload == name:
            body = self._body(root)
            if body:
                yield from _with(body, body.root, member, chain[1:])

    def _body(self, root: Any) -> Plain | Xml | None:
        """The body's tree from the place where the root shape's members are; None without a body."""
        wrapper = root.serialization.get("resultWrapper") if self._protocol == "query" else None
        if wrapper not in self._bodies:
            body = decoded_body(self._response)
            if not body:
                return None
            if self._bodies:
                raise Unredactable("the call could be of two operations with different answers")
            check_content_type(self._response, self._protocol)
            if self._protocol in ("query", "ec2", "rest-xml"):
                self._bodies[wrapper] = Xml(body, wrapper, self._error)
            else:
                self._bodies[wrapper] = Plain(body, cbor=self._protocol == "smithy-rpc-v2-cbor")
        return self._bodies[wrapper]

    def edited(self) -> HttpResponse:
        """The answer after its trees were edited."""
        headers = self._headers.result() if self._headers else self._response.headers
        bodies = [tree.dump() for tree in self._bodies.values() if tree.edited]
        if self._raw and self._raw.edited:
            bodies.append(self._raw.body)
        if len(bodies) > 1:
            raise Unredactable("the body is two things at once")
        if not bodies:
            return HttpResponse(self._response.status, headers, self._response.body)
        keep_etag = self._etag_is_version and not (self._raw and self._raw.edited)
        return HttpResponse(self._response.status, with_body(headers, bodies[0], keep_etag), bodies[0])


def _with(tree: Tree, place: Place, shape: Any, steps: Chain) -> Iterator[tuple[Tree, Place, Any]]:
    return ((tree, below, inner) for below, inner in follow(tree, place, shape, steps))


def _outermost(found: list[_Found]) -> list[_Found]:
    """One entry per place: where rules overlap the outer one wins, and dropping wins over masking."""
    best: dict[tuple[int, tuple[str | int, ...]], _Found] = {}
    for entry in found:
        place = (id(entry.tree), entry.place.path)
        if place not in best or (entry.rule.rule.mask == "drop" and best[place].rule.rule.mask != "drop"):
            best[place] = entry
    return [
        entry
        for (tree, path), entry in best.items()
        if not any((tree, path[:length]) in best for length in range(len(path)))
    ]


def _apply(found: list[_Found], masker: Masker) -> tuple[Masked, ...]:
    """Mask first, remove last (removing renumbers lists), and tell what each rule did."""
    removals: dict[int, tuple[Tree, list[Place]]] = {}
    done: dict[tuple[str, str], list[str]] = {}
    for entry in found:
        rule = entry.rule.rule
        tree, place = entry.tree, entry.place
        before = len(masker.fingerprints)
        if rule.mask == "drop":
            masker.text(tree.value(place))
            removals.setdefault(id(tree), (tree, []))[1].append(place)
        else:
            for leaf, shape in list(tree.leaves(place, entry.shape)):
                if not tree.mask(leaf, shape, masker):
                    removals.setdefault(id(tree), (tree, []))[1].append(leaf)
        fresh = masker.fingerprints[before:]
        if fresh:
            tree.edited = True
            done.setdefault((f"{rule.service}:{entry.operation}:{rule.path}", rule.mask), []).extend(fresh)
    for tree, places in removals.values():
        tree.remove(places)
    return tuple(Masked(name, mask, len(prints), masker.join(prints)) for (name, mask), prints in done.items())
