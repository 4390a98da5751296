"""A host, and the services that it may be: by the host index, by S3's grammar, and by a few rules of our own.

The host comes first in routing, as AWS does it: target, Version and path are read inside the host's candidates only.
"""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from addons.wire import index, models, s3hosts
from addons.wire.index import REGION, Endpoint


@dataclass(frozen=True, slots=True)
class Candidate:
    """One service that a host serves."""

    service: str
    partition: str
    region: str | None  # the host's
    signing_name: str  # "": takes no signature
    signing_region: str | None  # None: the credential scope's; "*": the region set of SigV4a, which alone is taken
    prefix: str = ""  # the hostPrefix that was found in front
    label: str | None = None  # the host's first label, where a hostPrefix has a label: an account, a graph, a route
    bucket: str | None = None  # S3: the bucket or access point that the host names


# Suffixes of AWS's that only rules write out, or that serve no API: a test compares them with all rule sets.
WRITTEN_OUT = (
    "on.aws",
    "signin.aws",
    "signin.aws.amazon.com",
    "amazonaws.cn",
    "amazonaws-us-gov.com",
    "amazonaws-eusc.eu",
    "signin.c2shome.ic.gov",
    "signin.sc2shome.sgov.gov",
    "signin.csphome.adc-e.uk",
    "signin.csphome.hci.ic.gov",
)
NO_API = ("cloudfront.net", "awsapps.com", "console.aws.amazon.com", "aws", "amazonaws.com", "amazonaws.com.cn")

_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}", re.ASCII)
_IN_HOST = re.compile(r"(?<![a-z0-9])[a-z]{2,4}(?:-[a-z]+)?-[a-z]+-[0-9]+(?![a-z0-9])", re.ASCII)
# Hosts that no rule set names, as the host that they stand for.
_STANDS_FOR: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.ASCII), host)
    for pattern, host in (
        (r"(?:queue|us-east-1\.queue)\.amazonaws\.com", "sqs.us-east-1.amazonaws.com"),
        (r"([a-z0-9-]+)\.queue\.(amazonaws\.com(?:\.cn)?)", r"sqs.\1.\2"),
        (r"realtime\.machinelearning\.([a-z0-9-]+)\.amazonaws\.com", r"machinelearning.\1.amazonaws.com"),
        (r"(query|ingest)(?:-[a-z0-9]+)?\.timestream\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?)", r"\1.timestream.\2.\3"),
        (
            r"(?:search|doc)-[a-z0-9-]+\.([a-z0-9-]+)\.cloudsearch\.amazonaws\.com",
            r"cloudsearchdomain.\1.amazonaws.com",
        ),
        (r"[a-z0-9]+-ats\.iot\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?)", r"data-ats.iot.\1.\2"),
        (r"[bsm]-[0-9a-f]+\.kinesisvideo\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?)", r"kinesisvideo.\1.\2"),
    )
)
# https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html
_VPC_ENDPOINT = re.compile(
    r"(?:(?P<left>.+)\.)?vpce-[0-9a-z-]+\.(?P<service>[a-z0-9.-]+)\.(?P<region>[a-z]{2,4}(?:-[a-z]+)?-[a-z]+-[0-9]+)"
    r"\.vpce\.(?P<suffix>amazonaws\.com(?:\.cn)?)",
    re.ASCII,
)

_lock = threading.Lock()
_loaded: index.Index | None = None


def load(cache_directory: Path | None = None, building: Callable[[], None] = lambda: None) -> index.Index:
    """Read or build the index; the first call decides where it is kept. `building` is called before it is built."""
    global _loaded
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _loaded = index.load(cache_directory, building)
    return _loaded


@cache
def dns_suffixes() -> tuple[str, ...]:
    """Every DNS suffix under which AWS serves its API, from botocore's partitions and rule sets."""
    found = {p["outputs"][key] for p in models.partitions() for key in ("dnsSuffix", "dualStackDnsSuffix")}
    return tuple(sorted(found | set(WRITTEN_OUT)))


@lru_cache(maxsize=4096)
def candidates(host: str) -> tuple[Candidate, ...]:
    """Every service that a lower-cased host name serves. Empty: no API host."""
    return tuple(_candidates(host))


def _candidates(host: str) -> list[Candidate]:
    if len(host) > 253 or not _HOST.fullmatch(host):
        return []
    if found := _VPC_ENDPOINT.fullmatch(host):
        return _candidates(_public(found))
    if made := [_s3(found) for found in s3hosts.parse(host)]:
        return made
    if made := _indexed(host):
        return made
    for pattern, other in _STANDS_FOR:
        if pattern.fullmatch(host):
            return _indexed(pattern.sub(other, host))
    return []


def _s3(found: s3hosts.S3Host) -> Candidate:
    prefix = {"s3": "{RequestRoute}.", "s3control": "{AccountId}."}[found.service] if found.label else ""
    return Candidate(
        found.service,
        found.partition,
        found.region,
        found.signing_name,
        found.signing_region,
        prefix,
        found.label,
        found.bucket,
    )


def _public(found: re.Match[str]) -> str:
    """The public host that a VPC endpoint's host stands for."""
    left, service, rest = found["left"], found["service"], f"{found['region']}.{found['suffix']}"
    if service == "s3" and left:
        front, _, kind = left.rpartition(".")
        names = {"bucket": "s3", "accesspoint": "s3-accesspoint", "control": "s3-control"}
        if kind not in names:
            return ""
        return (front + "." if front else "") + f"{names[kind]}.{rest}"
    return (left + "." if left else "") + f"{service}.{rest}"


def _indexed(host: str) -> list[Candidate]:
    table = load()
    found: dict[str, Candidate] = {}
    one, *more = host.split(".")
    for front, name in ((None, host), (one, "*." + ".".join(more)), (None, "*.*." + ".".join(more[1:]))):
        # What is written out for a region goes before what holds for all.
        _add(found, table.get(name, ()), host, None, front)
        for region in _IN_HOST.finditer(name):
            template = name[: region.start()] + REGION + name[region.end() :]
            _add(found, table.get(template, ()), host, region[0], front)
    return list(found.values())


def _add(
    found: dict[str, Candidate], endpoints: Sequence[Endpoint], host: str, region: str | None, label: str | None
) -> None:
    for endpoint in endpoints:
        if endpoint.service in found or (region and not in_partition(region, endpoint.partition)):
            continue
        named = endpoint.region.replace(REGION, region or "") or _named(host, endpoint.partition)
        signing = endpoint.signing_region.replace(REGION, region or "") or None
        found[endpoint.service] = Candidate(
            endpoint.service,
            endpoint.partition,
            named,
            endpoint.signing_name,
            signing,
            endpoint.prefix,
            label if "{" in endpoint.prefix else None,
        )


def _named(host: str, partition: str) -> str | None:
    """The region in a host that is written out whole, as that of a partition's global service."""
    return next((found[0] for found in _IN_HOST.finditer(host) if in_partition(found[0], partition)), None)


@cache
def _region_patterns() -> dict[str, tuple[frozenset[str], re.Pattern[str]]]:
    return {
        p["id"]: (frozenset(p["regions"]), re.compile(p["regionRegex"].strip("^$"), re.ASCII))
        for p in models.partitions()
    }


def in_partition(region: str, partition: str) -> bool:
    """Whether a partition has this region, or names like it."""
    regions, pattern = _region_patterns()[partition]
    return region in regions or pattern.fullmatch(region) is not None


def is_opaque(host: str) -> bool:
    """Whether a host is AWS's but serves no API that we read: registries, clusters, function URLs, websites.

    So are the stages of API Gateway (`<id>.execute-api.*`): they serve what a customer has put there, under any path,
    and `/@connections` of apigatewaymanagementapi is one path among those. They pass only when they are named.
    """
    name = host.lower().rstrip(".")
    return any(name == suffix or name.endswith("." + suffix) for suffix in (*dns_suffixes(), *NO_API))
