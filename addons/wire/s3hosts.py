"""The host grammar of S3: buckets, access points, S3 Express, Outposts, Object Lambda and the control plane.

S3's rule set needs the call's own bucket, so its hosts can't be listed; they have a grammar instead:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html and .../access-points-naming.html
"""

import re
from dataclasses import dataclass
from functools import cache

from addons.wire import models


@dataclass(frozen=True, slots=True)
class S3Host:
    """What an S3 host says. `service` is botocore's: s3, s3control or s3outposts."""

    service: str
    partition: str
    region: str | None  # None: the host names none
    signing_name: str
    signing_region: str | None  # None: the credential scope's (s3-accelerate is one host for all regions); "*": SigV4a
    bucket: str | None = None  # from the host: a bucket's name, or an access point's ARN
    label: str | None = None  # the label in front, where it is an account or a request route


_REGION = r"[a-z]{2,4}(?:-[a-z]+)?-[a-z]+-\d+"


@cache
def _grammar() -> re.Pattern[str]:
    suffixes = {p["outputs"][key] for p in models.partitions() for key in ("dnsSuffix", "dualStackDnsSuffix")}
    suffix = "|".join(re.escape(each) for each in sorted(suffixes, key=len, reverse=True))
    return re.compile(
        r"(?:(?P<left>[a-z0-9_.-]{1,200})\.)?"
        r"(?P<kind>s3|s3-fips|s3-accelerate|s3-website|s3-external-1|accesspoint\.s3-global"
        r"|s3-(?:accesspoint|control|object-lambda|outposts)(?:-fips)?"
        r"|s3express-control(?:-fips)?|s3express(?:-fips)?-[a-z0-9-]+)"
        rf"(?:[.-]dualstack)?(?:[.-](?P<region>{_REGION}))?\.(?P<suffix>{suffix})",
        re.ASCII,
    )


def parse(host: str) -> list[S3Host]:
    """The services that an S3 host serves; empty for every other host."""
    found = _grammar().fullmatch(host)
    if found is None:
        return []
    kind, left, region = found["kind"].removesuffix("-fips"), found["left"], found["region"]
    partition = _partition(found["suffix"], region)
    if partition is None or kind == "s3-website":
        return []
    if kind.startswith("s3express-fips-"):
        kind = "s3express-" + kind.removeprefix("s3express-fips-")
    if kind == "s3-external-1":
        region, kind = "us-east-1", "s3"
    signing_region = region
    if region is None:
        # The nameless endpoints are us-east-1's, but for acceleration and multi-region access points.
        signing_region = None if kind == "s3-accelerate" else _home(partition)

    def made(service: str, name: str, **more: str | None) -> S3Host:
        return S3Host(service, partition, region, name, signing_region, **more)

    if kind == "accesspoint.s3-global":  # signed with SigV4a only; the bucket behind it is not on the wire
        return [S3Host("s3", partition, None, "s3", "*", bucket=left)] if left else []
    if kind in ("s3", "s3-accelerate"):
        return [made("s3", "s3", bucket=left)]
    if kind.startswith("s3express-control"):
        return [made("s3", "s3express", bucket=left), made("s3control", "s3express", label=left)]
    if kind.startswith("s3express-"):
        return [made("s3", "s3express", bucket=left)]
    if region is None:
        return []
    if kind == "s3-accesspoint":
        arn = _access_point(left, partition, "s3", region)
        return [made("s3", "s3", bucket=arn)] if arn else []
    if kind == "s3-control":
        return [made("s3control", "s3", label=left)]
    if kind == "s3-object-lambda":
        found_here = [made("s3", "s3-object-lambda", label=left)] if left else []
        if arn := _access_point(left, partition, "s3-object-lambda", region):
            found_here.insert(0, made("s3", "s3-object-lambda", bucket=arn))
        return found_here
    if left is None:
        return [made("s3outposts", "s3-outposts"), made("s3control", "s3-outposts")]
    arn = _outpost_access_point(left, partition, region)
    return [made("s3", "s3-outposts", bucket=arn)] if arn else []


def _home(partition: str) -> str | None:
    return "us-east-1" if partition == "aws" else None


def _partition(suffix: str, region: str | None) -> str | None:
    for each in models.partitions():
        if suffix in (each["outputs"]["dnsSuffix"], each["outputs"]["dualStackDnsSuffix"]) and (
            region is None or region in each["regions"] or re.fullmatch(each["regionRegex"].strip("^$"), region)
        ):
            return str(each["id"])
    return None


def _access_point(left: str | None, partition: str, service: str, region: str) -> str | None:
    """`name-123456789012` as an ARN."""
    found = re.fullmatch(r"([a-z0-9][a-z0-9-]*)-(\d{12})", left or "", re.ASCII)
    return f"arn:{partition}:{service}:{region}:{found[2]}:accesspoint/{found[1]}" if found else None


def _outpost_access_point(left: str, partition: str, region: str) -> str | None:
    """`name-123456789012.op-0123` as an ARN."""
    found = re.fullmatch(r"([a-z0-9][a-z0-9-]*)-(\d{12})\.([a-z0-9-]+)", left, re.ASCII)
    if found is None:
        return None
    return f"arn:{partition}:s3-outposts:{region}:{found[2]}:outpost/{found[3]}/accesspoint/{found[1]}"
