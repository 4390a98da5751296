"""The shipped table against botocore's models, read here by botocore itself."""

import functools
import re

import botocore.session
import pytest
from botocore.model import ServiceModel

from policy import models, strict, table
from policy.items import SPECIAL


@functools.cache
def model(service: str) -> ServiceModel:
    return botocore.session.Session().get_service_model(service)


def test_the_table_is_good_under_the_strict_loader() -> None:
    assert strict.load(table.FILE, dict[str, table.Service]).value == dict(table.services())


@pytest.mark.parametrize("service", sorted(table.services()))
def test_operations_exist_and_stand_once(service: str) -> None:
    written = table.services()[service].resources
    operations = [entry.partition("=")[0] for entries in written.values() for entry in entries]
    assert len(operations) == len(set(operations))
    assert set(operations) <= set(model(service).operation_names)


@pytest.mark.parametrize("service", sorted(table.services()))
def test_templates_are_arns_of_parameters_that_exist(service: str) -> None:
    for operation, row in table.rows(service).items():
        if row.template == "*":
            continue
        assert re.match(r"arn:\{partition\}:[a-z0-9-]+:(\{region\}|\*)?:", row.template)
        shape = model(service).operation_model(operation).input_shape
        for name, many, filtered in table.FIELD.findall(row.template):
            if name in ("partition", "region", "account") or (service, operation) in SPECIAL:
                continue
            if service == "s3" and name == "Key" and operation == "DeleteObjects":
                continue
            member = shape.members[name] if shape else None
            assert member is not None, f"{operation} {name}"
            assert member.type_name == ("list" if many else "string"), f"{operation} {name}"
            assert not filtered or filtered in table.FILTERS


def test_s3_is_complete_but_for_its_sister_services() -> None:
    """S3 Express, Object Lambda and access grants have other prefixes: these operations stay derived or unresolved."""
    missing = set(model("s3").operation_names) - set(table.rows("s3"))
    assert missing == {"CreateSession", "ListDirectoryBuckets", "RenameObject", "WriteGetObjectResponse"}


@pytest.mark.parametrize(
    "service",
    ["s3", "ec2", "sts", "cloudwatch", "stepfunctions", "bedrock-runtime", "cloudfront", "mediapackage"],
)
def test_names_are_those_of_botocore(service: str) -> None:
    assert models.operations(service) == set(model(service).operation_names)
    assert models.prefix(service) == model(service).signing_name


def test_prefixes_are_iams() -> None:
    """AWS's own names for the services whose endpoint is called otherwise."""
    known = {
        "cloudwatch": "cloudwatch",
        "stepfunctions": "states",
        "elbv2": "elasticloadbalancing",
        "ecr": "ecr",
        "ses": "ses",
    }
    assert {service: table.prefix(service) for service in known} == known
    assert table.prefix("../../etc") == "../../etc"


def test_parameters_are_found_at_any_depth() -> None:
    assert models.has_parameter("ec2", "MaxCount")
    assert models.has_parameter("ec2", "Placement.Tenancy")
    assert not models.has_parameter("ec2", "Placement.Nothing")
    assert not models.has_parameter("ec2", "maxcount")
    assert models.has_parameter("lambda", "Environment.Variables.ANYTHING")
