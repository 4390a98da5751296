"""Hosts: 8 partitions, FIPS and dual-stack, S3's grammar, hosts that no rule names, and hosts that serve no API."""

import itertools
import re
from typing import Any

import pytest
from botocore.exceptions import EndpointProviderError, EndpointVariantError

from addons import wire
from addons.wire import Undecodable, hosts, models
from scripts.benchmarks.round_trip.capture import Client, frozen
from tests.wire.requests import ask

REGIONS = {
    "aws": "eu-west-1",
    "aws-cn": "cn-north-1",
    "aws-us-gov": "us-gov-west-1",
    "aws-iso": "us-iso-east-1",
    "aws-iso-b": "us-isob-east-1",
    "aws-iso-e": "eu-isoe-west-1",
    "aws-iso-f": "us-isof-south-1",
    "aws-eusc": "eusc-de-east-1",
}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "sts": ("GetCallerIdentity", {}),
    "dynamodb": ("ListTables", {}),
    "ec2": ("DescribeRegions", {}),
    "iam": ("ListUsers", {}),
    "lambda": ("ListFunctions", {}),
    "s3": ("GetObject", {"Bucket": "example-bucket", "Key": "k"}),
    "s3control": ("ListJobs", {"AccountId": "123456789012"}),
    "route53": ("ListHostedZones", {}),
    "logs": ("DescribeLogGroups", {}),
}


def test_every_partition_of_botocore_is_covered() -> None:
    assert {p["id"] for p in models.partitions()} == set(REGIONS)


@pytest.mark.parametrize("partition", REGIONS)
@pytest.mark.parametrize("service", CALLS)
def test_partitions_fips_and_dualstack(service: str, partition: str) -> None:
    region = REGIONS[partition]
    operation, params = CALLS[service]
    for fips, dual in itertools.product((False, True), repeat=2):
        with frozen():
            try:
                request, _ = Client(service, region, use_fips_endpoint=fips, use_dualstack_endpoint=dual).request(
                    operation, params
                )
            except (EndpointProviderError, EndpointVariantError):
                continue  # not offered
        found = wire.decode(request)
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", request.get("authorization") or "")
        assert scope
        assert (found.service, found.operation, found.partition) == (service, operation, partition)
        assert (found.signing_region, found.signing_name) == scope.groups()
        assert found.region == (region if region in request.host else scope[1])
        assert (found.host_region is not None) == (region in request.host)
        assert wire.host_kind(request.host) == "api"


@pytest.mark.parametrize(
    ("host", "bucket", "region", "signing"),
    [
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
        ("b.s3.us-west-2.amazonaws.com", "b", "us-west-2", "s3"),
        ("my.dotted.bucket.s3.us-west-2.amazonaws.com", "my.dotted.bucket", "us-west-2", "s3"),
        ("b.s3-us-west-2.amazonaws.com", "b", "us-west-2", "s3"),
        ("b.s3.amazonaws.com", "b", "us-east-1", "s3"),
        ("b.s3.dualstack.us-west-2.amazonaws.com", "b", "us-west-2", "s3"),
        ("b.s3-fips.dualstack.us-gov-west-1.amazonaws.com", "b", "us-gov-west-1", "s3"),
        ("b.s3-external-1.amazonaws.com", "b", "us-east-1", "s3"),
        ("b.s3.cn-north-1.amazonaws.com.cn", "b", "cn-north-1", "s3"),
        ("b.s3.us-iso-east-1.c2s.ic.gov", "b", "us-iso-east-1", "s3"),
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html
        (
            "finance-123456789012.s3-accesspoint.us-west-2.amazonaws.com",
            "arn:aws:s3:us-west-2:123456789012:accesspoint/finance",
            "us-west-2",
            "s3",
        ),
        (
            "o-123456789012.op-01ac.s3-outposts.us-west-2.amazonaws.com",
            "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01ac/accesspoint/o",
            "us-west-2",
            "s3-outposts",
        ),
        (
            "ol-123456789012.s3-object-lambda.us-west-2.amazonaws.com",
            "arn:aws:s3-object-lambda:us-west-2:123456789012:accesspoint/ol",
            "us-west-2",
            "s3-object-lambda",
        ),
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-Regions-and-Zones.html
        ("b--usw2-az1--x-s3.s3express-usw2-az1.us-west-2.amazonaws.com", "b--usw2-az1--x-s3", "us-west-2", "s3express"),
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/privatelink-interface-endpoints.html
        ("b.bucket.vpce-1a2b-5e6f.s3.us-west-2.vpce.amazonaws.com", "b", "us-west-2", "s3"),
    ],
)
def test_s3_hosts(host: str, bucket: str, region: str, signing: str) -> None:
    found = wire.decode(ask(host, "GET", "/a/key"))
    assert (found.operation, found.params) == ("GetObject", {"Bucket": bucket, "Key": "a/key"})
    assert (found.region, found.signing_name) == (region, signing)


def test_s3_acceleration_takes_the_scopes_region() -> None:
    scope = "AWS4-HMAC-SHA256 Credential=A/20260102/{}/s3/aws4_request, SignedHeaders=host, Signature=0"
    host = "b.s3-accelerate.amazonaws.com"
    found = wire.decode(ask(host, "GET", "/k", headers={"Authorization": scope.format("ap-south-1")}))
    assert found.signing_region == "ap-south-1"
    with pytest.raises(Undecodable):
        wire.decode(ask(host, "GET", "/k", headers={"Authorization": scope.format("cn-north-1")}))


@pytest.mark.parametrize(
    ("host", "target", "service", "name"),
    [
        ("mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com", "/k", "s3", "GetObject"),
        ("abc.endpoint.events.amazonaws.com", "/", "events", "PutEvents"),
        ("abcde.veo.endpoint.events.amazonaws.com", "/", "events", "PutEvents"),  # the API reference's EndpointId
        ("abcdef12.g3h.endpoints.email.global.api.aws", "/v2/email/outbound-emails", "ses", "SendEmail"),
        ("abc.endpoints.email.global.api.aws", "/v2/email/outbound-emails", "ses", "SendEmail"),
    ],
)
def test_multi_region_endpoints_take_sigv4a_for_all_regions_only(
    host: str, target: str, service: str, name: str
) -> None:
    """The authSchemes of their rule sets: sigv4a alone, signingRegionSet ["*"]."""
    event = {"x-amz-target": "AWSEvents.PutEvents", "content-type": "application/x-amz-json-1.1"}
    headers, body = (event, b'{"Entries":[]}') if service == "events" else ({}, b"")
    if service == "ses":
        headers, body = {"content-type": "application/json"}, b'{"Content":{}}'
    method = "GET" if service == "s3" else "POST"

    def asked(algorithm: str, scope: str, regions: str | None) -> wire.Decoded:
        more = {
            "Authorization": f"{algorithm} Credential=A/20260102/{scope}aws4_request, SignedHeaders=host, Signature=0"
        }
        more |= {"x-amz-region-set": regions} if regions else {}
        return wire.decode(ask(host, method, target, headers=headers | more, body=body))

    found = asked("AWS4-ECDSA-P256-SHA256", f"{service}/", "*")
    assert (found.operation, found.signing_name, found.signing_region, found.region) == (name, service, "*", "*")
    for scope, regions in ((f"{service}/", None), (f"{service}/", "us-east-1"), ("iam/", "*")):
        with pytest.raises(Undecodable):
            asked("AWS4-ECDSA-P256-SHA256", scope, regions)
    with pytest.raises(Undecodable, match="credential scope"):
        asked("AWS4-HMAC-SHA256", f"us-east-1/{service}/", None)


def test_sigv4a_is_taken_where_its_region_set_covers_the_hosts() -> None:
    def asked(regions: str) -> wire.Decoded:
        value = "AWS4-ECDSA-P256-SHA256 Credential=A/20260102/s3/aws4_request, SignedHeaders=host, Signature=0"
        more = {"Authorization": value, "x-amz-region-set": regions}
        return wire.decode(ask("b.s3.us-west-2.amazonaws.com", "GET", "/k", headers=more))

    for regions in ("*", "us-west-2", "us-east-1,us-west-2"):
        assert asked(regions).signing_region == "us-west-2"
    for regions in ("us-east-1", "us-*", "us-east-1,us-west-1", "us-west-2x"):
        with pytest.raises(Undecodable, match="credential scope"):
            asked(regions)


def test_directory_buckets_are_listed_at_their_own_host() -> None:
    express = wire.decode(ask("s3express-control.us-west-2.amazonaws.com", "GET", "/"))
    assert (express.operation, express.signing_name) == ("ListDirectoryBuckets", "s3express")
    assert wire.decode(ask("s3.us-west-2.amazonaws.com", "GET", "/")).operation == "ListBuckets"


def test_a_member_of_the_host_must_agree() -> None:
    host = "123456789012.s3-control.us-west-2.amazonaws.com"
    good = ask(host, "GET", "/v20180820/jobs", headers={"x-amz-account-id": "123456789012"})
    assert wire.decode(good).params == {"AccountId": "123456789012"}
    with pytest.raises(Undecodable):
        wire.decode(ask(host, "GET", "/v20180820/jobs", headers={"x-amz-account-id": "210987654321"}))


@pytest.mark.parametrize(
    ("host", "service", "region"),
    [
        ("123456789012.ddb.us-east-1.amazonaws.com", "dynamodb", "us-east-1"),
        ("queue.amazonaws.com", "sqs", "us-east-1"),
        ("eu-west-1.queue.amazonaws.com", "sqs", "eu-west-1"),
        ("query-cell1.timestream.us-east-1.amazonaws.com", "timestream-query", "us-east-1"),
        ("a1b2c3-ats.iot.us-east-1.amazonaws.com", "iot-data", "us-east-1"),
        ("vpce-0a1b-2c3d.sts.eu-west-1.vpce.amazonaws.com", "sts", "eu-west-1"),
        ("vpce-0a1b-2c3d-eu-west-1a.secretsmanager.eu-west-1.vpce.amazonaws.com", "secretsmanager", "eu-west-1"),
        ("s3express-control.us-west-2.amazonaws.com", "s3", "us-west-2"),
        ("iam.us-gov.amazonaws.com", "iam", None),
        ("lambda.us-east-1.api.aws", "lambda", "us-east-1"),
    ],
)
def test_hosts_that_need_a_rule_of_their_own(host: str, service: str, region: str | None) -> None:
    found = {c.service: c for c in hosts.candidates(host)}
    assert found[service].region == region


@pytest.mark.parametrize(
    "host",
    [
        "123456789012.dkr.ecr.us-east-1.amazonaws.com",
        "git-codecommit.us-east-1.amazonaws.com",
        "d-123456789012.d.codeartifact.us-east-1.amazonaws.com",
        "ABCDEF.gr7.us-east-1.eks.amazonaws.com",
        "abc123.execute-api.us-east-1.amazonaws.com",
        "abc.lambda-url.us-east-1.on.aws",
        "abc.appsync-api.us-east-1.amazonaws.com",
        "search-x.us-east-1.es.amazonaws.com",
        "x.us-east-1.aoss.amazonaws.com",
        "x.cluster-y.us-east-1.neptune.amazonaws.com",
        "d111.cloudfront.net",
        "x.us-east-1.elb.amazonaws.com",
        "x.awsapps.com",
        "ssmmessages.us-east-1.amazonaws.com",
        "ec2messages.us-east-1.amazonaws.com",
        "transcribestreaming.us-east-1.amazonaws.com",
        "b.s3-website.us-east-1.amazonaws.com",
        "s3.amazonaws.com.",
        "signin.aws.amazon.com",
    ],
)
def test_aws_hosts_that_are_no_api(host: str) -> None:
    assert wire.host_kind(host) == "opaque"
    with pytest.raises(Undecodable):
        wire.decode(ask(host))


@pytest.mark.parametrize(
    "host", ["example.com", "amazonaws.com.evil.com", "evilamazonaws.com", "127.0.0.1", "[::1]", "", ".", "pypi.org"]
)
def test_hosts_that_are_not_aws(host: str) -> None:
    assert wire.host_kind(host) == "other"


def test_suffixes_hold_every_rule_set() -> None:
    """The list of suffixes that only rules write out is kept by hand: this finds the next one."""
    suffixes = wire.dns_suffixes()
    assert {"amazonaws.com", "amazonaws.com.cn", "api.aws", "on.aws", "c2s.ic.gov"} <= set(suffixes)
    for host in hosts.load():
        assert any(host.endswith("." + suffix) for suffix in suffixes), host


def test_nearly_every_service_has_a_host() -> None:
    named = {endpoint.service for endpoints in hosts.load().values() for endpoint in endpoints}
    assert models.services() - named == {"s3", "s3control", "s3outposts"}  # these have their own grammar
