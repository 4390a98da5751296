"""Which calls of S3 name the owner of their bucket, and whom."""

import pytest

from addons import wire
from addons.wire import Decoded, models, owners
from tests.wire.requests import ask, json_ask

OWN, FRIEND, STRANGER = "111122223333", "444455556666", "999999999999"
OWNER, SOURCE = "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"
WITHOUT = {  # by the API reference: no bucket, one that is being made, or no such condition
    *("CreateBucket", "CreateSession", "ListBuckets", "ListDirectoryBuckets", "RenameObject", "WriteGetObjectResponse")
}
HOST = "data.s3.us-east-1.amazonaws.com"


def put(host: str = HOST, **headers: str) -> Decoded:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return wire.decode(ask(host, "PUT", "/k", b"", given))


def missing(decoded: Decoded, **others: list[str]) -> dict[str, str]:
    return dict(owners.missing(decoded, OWN, {name[1:]: patterns for name, patterns in others.items()}))


def test_a_bucket_has_to_be_the_accounts_own() -> None:
    assert missing(put()) == {OWNER: OWN}


def test_both_buckets_of_a_copy_have_to() -> None:
    assert missing(put(x_amz_copy_source="theirs/k")) == {OWNER: OWN, SOURCE: OWN}
    part = wire.decode(ask(HOST, "PUT", "/k?partNumber=1&uploadId=u", b"", {"x-amz-copy-source": "theirs/k"}))
    assert part.operation == "UploadPartCopy"
    assert missing(part) == {OWNER: OWN, SOURCE: OWN}


def test_an_owner_that_the_call_names_stays_and_is_judged() -> None:
    named = put(x_amz_expected_bucket_owner=FRIEND, x_amz_copy_source="b/k")
    assert missing(named) == {SOURCE: OWN}
    assert owners.stranger(named, {OWN, FRIEND}) is None
    assert owners.stranger(named, {OWN}) == FRIEND
    assert owners.stranger(put(), {OWN}) is None
    assert owners.stranger(put(x_amz_expected_bucket_owner=""), {OWN}) == ""
    source = put(x_amz_source_expected_bucket_owner=STRANGER, x_amz_copy_source="b/k")
    assert owners.stranger(source, {OWN, FRIEND}) == STRANGER


@pytest.mark.parametrize(
    ("source", "owner"),
    [
        ("shared-1/k", FRIEND),
        ("/shared-1/k", FRIEND),
        ("%73hared-1/k?versionId=1", FRIEND),  # it is URL-encoded
        ("unshared/shared-1/k", OWN),
        (f"arn:aws:s3:us-east-1:{FRIEND}:accesspoint/p/object/k", FRIEND),
        (f"arn:aws:s3:us-east-1:{STRANGER}:accesspoint/p/object/k", OWN),
    ],
)
def test_the_buckets_of_listed_accounts_are_theirs(source: str, owner: str) -> None:
    assert missing(put("shared-9.s3.amazonaws.com"), a444455556666=["shared-*"]) == {OWNER: FRIEND}
    assert missing(put(x_amz_copy_source=source), a444455556666=["shared-*"]) == {OWNER: OWN, SOURCE: owner}


def test_directory_buckets_get_it_where_they_take_it() -> None:
    """botocore's documentation says of each operation which buckets take the header."""
    model, _ = models.read("s3", "service-2")
    inputs = {
        n: model["shapes"][o["input"]["shape"]]["members"] for n, o in model["operations"].items() if "input" in o
    }
    said = {name: members.get("ExpectedBucketOwner", {}).get("documentation", "") for name, members in inputs.items()}
    assert {name for name, text in said.items() if "not supported" in text} == owners.NOT_OF_DIRECTORIES
    host = "data--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com"
    assert missing(wire.decode(ask(host, "PUT", "/k", b""))) == {OWNER: OWN}
    control = "s3express-control.us-east-1.amazonaws.com"
    assert missing(wire.decode(ask(control, "GET", "/data--use1-az4--x-s3?policy"))) == {}


def test_other_services_are_left_alone() -> None:
    assert missing(wire.decode(json_ask(b'{"TableName":"t","Key":{"k":{"S":"v"}}}'))) == {}


def test_every_operation_on_a_bucket_names_its_owner() -> None:
    lacking = {name for name in models.operations("s3") if OWNER not in owners._headers("s3", name).values()}
    assert lacking == WITHOUT
    of_sources = {name for name in models.operations("s3") if SOURCE in owners._headers("s3", name).values()}
    assert of_sources == {"CopyObject", "UploadPartCopy"}
