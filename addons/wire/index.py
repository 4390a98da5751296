"""The host index: which hosts botocore's endpoint rule sets name, for which service, signed as what.

Every service's rule set is evaluated for a made-up region of each partition, so that the region shows up in the host
as a placeholder, and for every real region that the rules treat apart; with and without FIPS and dual-stack. So the
index follows botocore, with no list of services kept by hand. It is kept on disk as JSON, checked by a digest.
"""

import hashlib
import itertools
import json
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import botocore

from addons.wire import models

FORMAT = 3  # raise when what is built changes
OWN_GRAMMAR = frozenset({"s3", "s3control", "s3outposts"})  # see s3hosts.py
MADE_UP = {  # one region for each partition, that no rule knows by name
    "aws": "us-zzzzzz-9",
    "aws-cn": "cn-zzzzzz-9",
    "aws-us-gov": "us-gov-zzzzzz-9",
    "aws-iso": "us-iso-zzzzzz-9",
    "aws-iso-b": "us-isob-zzzzzz-9",
    "aws-iso-e": "eu-isoe-zzzzzz-9",
    "aws-iso-f": "us-isof-zzzzzz-9",
    "aws-eusc": "eusc-de-zzzzzz-9",
}
REGION = "{region}"


class Endpoint(NamedTuple):
    """One service behind a host. `prefix` is the hostPrefix of the operations that are served there."""

    service: str
    partition: str
    prefix: str  # "" or "data-" or "{AccountId}."
    region: str  # the host's region, "{region}" where the host holds it, "" where it names none
    signing_name: str  # "": takes no signature
    signing_region: str  # "{region}": the host's, or the credential scope's where it names none; "*": SigV4a only


Index = dict[str, list[Endpoint]]  # host template -> endpoints; "*." stands for one label


def build() -> Index:
    """Evaluate all rule sets. Takes seconds."""
    found: dict[str, set[Endpoint]] = defaultdict(set)
    for service in sorted(models.services() - OWN_GRAMMAR):
        for host, endpoint in _service(service):
            found[host].add(endpoint)
    return {host: sorted(endpoints) for host, endpoints in sorted(found.items())}


def _service(service: str) -> set[tuple[str, Endpoint]]:
    from botocore.endpoint_provider import RuleSet  # half a second that a kept index does without
    from botocore.exceptions import EndpointProviderError

    model, _ = models.read(service, "service-2")
    data, _ = models.read(service, "endpoint-rule-set-1")
    rules = RuleSet(
        version=data["version"],
        parameters=data["parameters"],
        rules=data["rules"],
        partitions={"partitions": models.partitions()},
    )
    metadata = model["metadata"]
    signing_name = metadata.get("signingName", metadata["endpointPrefix"])
    prefixes = {""} | {o.get("endpoint", {}).get("hostPrefix", "") for o in model["operations"].values()}
    statics = _static_params(model)
    text = json.dumps(data["rules"])
    named = {value.get("builtIn"): name for name, value in data["parameters"].items()}
    found: set[tuple[str, Endpoint]] = set()
    for partition in models.partitions():
        regions = [r for r in partition["regions"] if f'"{r}"' in text]
        made_up = MADE_UP.get(partition["id"])
        for region in [*([made_up] if made_up else regions or list(partition["regions"])), *regions]:
            for given in _given(named, statics, region):
                try:
                    endpoint = rules.evaluate(given)
                except EndpointProviderError:
                    continue  # an error rule: this combination is not offered
                host = (urlsplit(endpoint.url).hostname or "").replace(region, REGION)
                entry = _entry(service, partition["id"], region, host, endpoint.properties, signing_name)
                if region != made_up:
                    host = host.replace(REGION, region)
                    entry = entry._replace(region=region if REGION in entry.region else "")
                    entry = entry._replace(signing_region=entry.signing_region.replace(REGION, region))
                    general = entry._replace(
                        region=entry.region and REGION, signing_region=entry.signing_region.replace(region, REGION)
                    )
                    if (host.replace(region, REGION), general) in found:
                        continue
                found.add((host, entry))
        for template, properties in _variable_urls(data["rules"]):
            for host in _in_partition(template, partition, statics):
                entry = _entry(service, partition["id"], REGION, host, properties, signing_name)
                found.add((host, entry))
    bare = {host for host, _ in found}
    return {
        (prefix + host if "{" not in prefix else "*." + host, entry._replace(prefix=prefix))
        for host, entry in found
        for prefix in prefixes
        if not (prefix and "{" in prefix and "*." + host in bare)
    }


def _static_params(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The distinct staticContextParams: they move single operations to another host."""
    found = {
        tuple(
            sorted(
                (name, value["value"])
                for name, value in o.get("staticContextParams", {}).items()
                if isinstance(value["value"], (str, bool))
            )
        )
        for o in model["operations"].values()
    }
    return [dict(params) for params in sorted(found | {()}, key=repr)]


def _given(named: dict[str, str], statics: list[dict[str, Any]], region: str) -> list[dict[str, Any]]:
    made = []
    for static, fips, dual in itertools.product(statics, (False, True), (False, True)):
        if (fips and "AWS::UseFIPS" not in named) or (dual and "AWS::UseDualStack" not in named):
            continue
        builtins = {"AWS::Region": region, "AWS::UseFIPS": fips, "AWS::UseDualStack": dual}
        given = static | {named[key]: value for key, value in builtins.items() if key in named}
        made.append(given)
        if legacy := named.get("AWS::STS::UseGlobalEndpoint"):
            made.append(given | {legacy: True})
    return made


def _entry(
    service: str, partition: str, region: str, host: str, properties: dict[str, Any] | None, signing_name: str
) -> Endpoint:
    schemes = (properties or {}).get("authSchemes", [])
    scheme: dict[str, Any] = next((s for s in schemes if s.get("name") in ("sigv4", "sigv4-s3express")), {})
    regional = next((s for s in schemes if s.get("name") == "sigv4a"), None) if not scheme else None
    name = str((regional or scheme).get("signingName", signing_name)) if scheme or regional or not schemes else ""
    signing_region = str(scheme.get("signingRegion") or REGION).replace(region, REGION).replace("{Region}", REGION)
    if regional:
        signing_region = ",".join(regional["signingRegionSet"])  # "*" in every rule set: a test looks
    return Endpoint(service, partition, "", REGION if REGION in host else "", name, signing_region)


def _variable_urls(rules: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The rule set's urls that begin with variables of the call (an account, a stream, a space), with properties."""
    found = []
    for rule in rules:
        if rule["type"] == "tree":
            found += _variable_urls(rule["rules"])
        elif rule["type"] == "endpoint" and isinstance(url := rule["endpoint"]["url"], str):
            host = url.removeprefix("https://")
            if re.match(r"\{(?!url|Region|PartitionResult|OperationType)[^}]*\}\.", host):
                found.append((host, rule["endpoint"].get("properties", {})))
    return found


def _in_partition(template: str, partition: dict[str, Any], statics: list[dict[str, Any]]) -> set[str]:
    """Such a url's hosts in one partition: "*." for each leading variable, suffix and static parameters filled in."""
    several = template.startswith("{EndpointId}.")  # of EventBridge and SES: "abcde.veo", two labels
    template = re.sub(r"^(?:\{(?!OperationType)[^}]*\}\.)+", lambda m: "*." * m[0].count("."), template)
    outputs = partition["outputs"]
    for name in ("dnsSuffix", "dualStackDnsSuffix"):
        template = template.replace("{PartitionResult#" + name + "}", outputs[name])
    template = template.replace("{Region}", REGION)
    made = {template}
    if several:
        made.add("*." + template)
    for name in {name for static in statics for name in static}:
        values = {static[name] for static in statics if isinstance(static.get(name), str)}
        made = {host.replace("{" + name + "}", value) for host in made for value in values or {""}}
    literal = not any(suffix in template for suffix in (outputs["dnsSuffix"], outputs["dualStackDnsSuffix"]))
    if literal and partition["id"] != "aws":
        return set()  # a suffix written out ("on.aws") belongs to the first partition
    return {host for host in made if "{" not in host.replace(REGION, "")}


def load(directory: Path | None, building: Callable[[], None] = lambda: None) -> Index:
    """The index from the cache directory, or a new one, which is then kept there. None: always a new one.

    `building` is called before a new one is built.
    """
    path = directory / "hosts.json" if directory else None
    if path and (index := _read(path)) is not None:
        return index
    building()
    index = build()
    if path:
        _write(path, index)
    return index


def _key() -> str:
    return f"{FORMAT} botocore {botocore.__version__}"


def _digest(payload: str) -> str:
    return hashlib.sha256(f"{_key()}\n{payload}".encode()).hexdigest()


def _read(path: Path) -> Index | None:
    """The kept index, or None where there is none, or it is stale, damaged or not ours alone to write."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return None
            head, _, payload = file.read(64 * 1024 * 1024).decode().partition("\n")
        if head != _digest(payload):
            return None
        data = json.loads(payload)
        endpoints = [Endpoint(*values) for values in data["endpoints"]]
        return {host: [endpoints[number] for number in numbers] for host, numbers in data["hosts"].items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _write(path: Path, index: Index) -> None:
    """Keep the index: whole or not at all. A directory that can't be written to is no failure, only slower."""
    endpoints = {endpoint: number for number, endpoint in enumerate(sorted({e for es in index.values() for e in es}))}
    hosts = {host: [endpoints[e] for e in es] for host, es in index.items()}
    payload = json.dumps({"endpoints": list(endpoints), "hosts": hosts}, separators=(",", ":"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".hosts-")  # 0600
    except OSError:
        return
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{_digest(payload)}\n{payload}")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
