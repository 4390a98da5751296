"""From the operations that a request may be to the one call that it is.

True twins, alike on the wire and of the same name in several services, come back as one class: policy must allow each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from addons.wire import models
from addons.wire.hosts import Candidate
from addons.wire.message import Decoded, Protocol, Undecodable
from addons.wire.scalars import deny


@dataclass(slots=True)
class Found:
    """An operation that the request may be."""

    candidate: Candidate
    operation: str
    protocol: str
    params: Callable[[], dict[str, Any]]
    deprecated: bool = False


def one(found: list[Found], scope: tuple[str, str] | None) -> Decoded:
    """The call; true twins (alike on the wire, of the same name) come back as one class."""
    if len(found) == 1:
        return _decoded(found, _with_label(found[0], found[0].params()), scope)
    read: list[tuple[Found, dict[str, Any]]] = []
    refused: Undecodable | None = None
    for each in sorted(found, key=lambda f: (f.deprecated, f.candidate.service != f.candidate.signing_name)):
        try:
            read.append((each, _with_label(each, each.params())))
        except Undecodable as error:
            refused = refused or error
    if not read:
        raise refused or Undecodable("the request is no call that is known")
    first, params = read[0]
    same_service = {each.candidate.service for each in found} == {first.candidate.service}
    if same_service and len(found) > 1:
        # Only s3's deprecated operations with their successors: policy must allow both, the successor is what is read.
        if sum(not each.deprecated for each in found) != 1:
            deny("the request is two operations at once: " + " and ".join(sorted(f.operation for f in found)))
        twins = found
    else:
        twins = [each for each, _ in read]
        if len({each.operation for each in twins}) > 1 or not all(_same(params, other) for _, other in read[1:]):
            deny(
                "the request is two operations at once: "
                + " and ".join(sorted(f"{f.candidate.service}:{f.operation}" for f in twins))
            )
    signing = {(f.candidate.signing_name, f.candidate.signing_region, f.candidate.partition) for f in twins}
    if len(signing) != 1:
        deny("the request's services are signed differently")
    return _decoded([first, *(each for each in twins if each is not first)], params, scope)


def _decoded(twins: list[Found], params: dict[str, Any], scope: tuple[str, str] | None) -> Decoded:
    """The call of the first of twins; each of them is a candidate."""
    first = twins[0]
    where = first.candidate
    # A host without a region: acceleration has the scope's, the few services without SigV4 their partition's.
    signing_region = where.signing_region or (scope[0] if scope else _home(where.partition))
    return Decoded(
        candidates=tuple((each.candidate.service, each.operation) for each in twins),
        service=where.service,
        operation=first.operation,
        region=where.region or signing_region,
        partition=where.partition,
        params=params,
        protocol=cast(Protocol, first.protocol),
        signing_name=where.signing_name,
        signing_region=signing_region,
        host_region=where.region,
    )


def _home(partition: str) -> str:
    """The region that a partition's global services are in."""
    return str(next(p["outputs"]["implicitGlobalRegion"] for p in models.partitions() if p["id"] == partition))


def _same(one: Any, other: Any) -> bool:
    """Whether two twins' parameters are the same; greengrass and greengrassv2 write members in another case."""
    if isinstance(one, dict) and isinstance(other, dict):
        lower = {key.lower(): value for key, value in other.items()}
        return (
            len(one) == len(other) == len(lower)
            and {key.lower() for key in one} == lower.keys()
            and all(_same(value, lower[key.lower()]) for key, value in one.items())
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _with_label(found: Found, params: dict[str, Any]) -> dict[str, Any]:
    """The member that stands in the host; where it stands elsewhere too, both must say the same."""
    label, prefix = found.candidate.label, found.candidate.prefix
    if label is None:
        return params
    name = prefix.partition("{")[2].partition("}")[0]
    if prefix != "{" + name + "}.":
        deny("the host's prefix is of a kind that is not known")
    if str(params.setdefault(name, label)).lower() != label:
        deny(f"the host and the request name different values of {name}")
    return params
