"""S3 calls as items: S3's operations and its actions have grown apart, and many calls need several actions.

Source: AWS Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3", and the
"Permissions" section of each operation in the Amazon S3 API Reference.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from policy import table
from policy.model import Item, Request

# Object actions that have another name when the call names a version.
VERSIONED = {
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:DeleteObjectAnnotation": "s3:DeleteObjectVersionAnnotation",
    "s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:GetObjectAcl": "s3:GetObjectVersionAcl",
    "s3:GetObjectAnnotation": "s3:GetObjectVersionAnnotation",
    "s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
    "s3:ListObjectAnnotations": "s3:ListObjectVersionAnnotations",
    "s3:PutObjectAcl": "s3:PutObjectVersionAcl",
    "s3:PutObjectAnnotation": "s3:PutObjectVersionAnnotation",
    "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
}
ACCESS_POINT = re.compile(r"(arn:[^:]+:s3:[^:]*:[0-9]{12}:accesspoint)[:/]([^:/]+)")
ALIASES = ("-s3alias", "--ol-s3", "--op-s3", ".mrap")  # names of access points that are given as a bucket's
DIRECTORY = ("--x-s3", "--xa-s3")  # S3 Express: other actions, another way to sign
TABLES = "--table-s3"  # S3 Tables' own buckets: their objects are read by s3tables:GetTableData
ELSEWHERE = {  # operations whose actions belong to a sister service
    "CreateSession": "s3express:CreateSession",
    "ListDirectoryBuckets": "s3express:ListAllMyDirectoryBuckets",
    "RenameObject": "s3express:CreateSession",
    "WriteGetObjectResponse": "s3-object-lambda:WriteGetObjectResponse",
}
SESSION = {"HeadBucket", "ListMultipartUploads", "ListObjects", "ListObjectsV2"}  # by a session, as all on objects
ACLS = ("ACL", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")


def items(request: Request, row: table.Row) -> Iterator[Item]:
    """What one call needs, by its row in the table."""
    for item in _items(request, row):
        _, found, key = item.resource.partition(":accesspoint/")
        if found:  # its bucket, which the call doesn't tell: a Deny of that bucket must not be walked around
            key = key.partition("/object/")[2]
            yield replace(item, behind=f"arn:{request.partition}:s3:::*" + (f"/{key}" if key else ""))
        else:
            yield item


def _items(request: Request, row: table.Row) -> Iterator[Item]:
    params, operation = request.params, request.operation
    if str(params.get("Bucket", "")).endswith(DIRECTORY):
        by_session = "{Key}" in row.template or operation in SESSION
        yield Item("s3express:CreateSession" if by_session else f"s3express:{operation}", "*", "unresolved")
        return
    if str(params.get("Bucket", "")).endswith(TABLES):
        yield Item(f"s3tables:{operation}", "*", "unresolved")
        return
    if "{Bucket}" not in row.template:
        yield from (Item(row.action, resource, "exact") for resource in table.bind(row.template, request))
        return
    target = resource(request, params.get("Bucket"), params.get("Key") if "{Key}" in row.template else None)
    if "{Key}" in row.template:
        yield from _object_items(request, row, target)
    else:
        yield from _bucket_items(request, row, target)


def elsewhere(request: Request) -> Iterator[Item]:
    """An operation of S3 whose action is another service's."""
    yield Item(ELSEWHERE[request.operation], "*", "unresolved")


def _object_items(request: Request, row: table.Row, target: str) -> Iterator[Item]:
    params, operation = request.params, request.operation
    if operation == "DeleteObjects":
        for entry in params["Delete"]["Objects"]:
            place = resource(request, params.get("Bucket"), entry.get("Key"))
            yield _versioned("s3:DeleteObject", place, entry.get("VersionId"))
            yield from _bypass(params, place)
        return
    if operation == "RestoreObject" and (params.get("RestoreRequest") or {}).get("OutputLocation"):
        yield Item(row.action, "*", "unresolved")  # writes the answer of a query to another bucket
        return
    yield _versioned(row.action, target, params.get("VersionId"))
    yield from _bypass(params, target)
    if operation == "GetObjectAttributes":
        yield _versioned("s3:GetObject", target, params.get("VersionId"))
    if operation in ("PutObject", "CopyObject", "CreateMultipartUpload"):
        yield from _written_along(params, target)
    if operation in ("CopyObject", "UploadPartCopy"):
        yield _copy_source(request)


def _written_along(params: Mapping[str, Any], target: str) -> Iterator[Item]:
    if any(params.get(name) for name in ACLS):
        yield Item("s3:PutObjectAcl", target, "exact")
    if params.get("Tagging") or params.get("TaggingDirective") == "REPLACE":
        yield Item("s3:PutObjectTagging", target, "exact")
    if params.get("ObjectLockMode") or params.get("ObjectLockRetainUntilDate"):
        yield Item("s3:PutObjectRetention", target, "exact")
    if params.get("ObjectLockLegalHoldStatus"):
        yield Item("s3:PutObjectLegalHold", target, "exact")


def _bucket_items(request: Request, row: table.Row, target: str) -> Iterator[Item]:
    params = request.params
    yield Item(row.action, target, "exact")
    if request.operation == "CreateBucket":
        if any(params.get(name) for name in ACLS):
            yield Item("s3:PutBucketAcl", target, "exact")
        if params.get("ObjectLockEnabledForBucket"):
            yield Item("s3:PutBucketObjectLockConfiguration", target, "exact")
            yield Item("s3:PutBucketVersioning", target, "exact")
        if params.get("ObjectOwnership"):
            yield Item("s3:PutBucketOwnershipControls", target, "exact")
        if (params.get("CreateBucketConfiguration") or {}).get("Tags"):
            yield Item("s3:TagResource", target, "exact")
    if request.operation == "PutBucketReplication":
        role = (params.get("ReplicationConfiguration") or {}).get("Role")
        yield Item("iam:PassRole", str(role) if is_role(role) else table.UNKNOWN, "exact")


def resource(request: Request, bucket: object, key: object = None) -> str:
    """The ARN of a bucket, or of an object where a key is wanted (`*`: unknown); access points have their own."""
    if not isinstance(bucket, str) or not bucket or bucket.endswith(ALIASES):
        return "arn:*:s3:*:*:*"
    if isinstance(key, str) and len(key) > table.LONGEST:
        key = "*"
    if bucket.startswith("arn:") or "/" in bucket or ":" in bucket:
        if not (point := ACCESS_POINT.fullmatch(bucket)):
            return table.UNKNOWN
        return f"{point[1]}/{point[2]}" + (f"/object/{key}" if isinstance(key, str) else "")
    return f"arn:{request.partition}:s3:::{bucket}" + (f"/{key}" if isinstance(key, str) else "")


def is_role(value: object) -> bool:
    """Whether a parameter is a role's ARN."""
    return isinstance(value, str) and bool(re.fullmatch(r"arn:[^:]+:iam::[0-9]{12}:role/.+", value, re.DOTALL))


def _versioned(action: str, target: str, version: object) -> Item:
    return Item(VERSIONED.get(action, action) if version is not None else action, target, "exact")


def _bypass(params: Mapping[str, Any], target: str) -> Iterator[Item]:
    if params.get("BypassGovernanceRetention"):
        yield Item("s3:BypassGovernanceRetention", target, "exact")


def _copy_source(request: Request) -> Item:
    """`CopySource` is BUCKET/KEY or ACCESS-POINT-ARN/object/KEY, URL-encoded, then perhaps ?versionId=ID.

    What S3 may decode otherwise is unresolved: a bare "+", bytes that are not encoded or not UTF-8, a mark that is
    only there once the key is decoded.
    """
    source = request.params.get("CopySource")
    path, mark, query = source.partition("?") if isinstance(source, str) else ("", "", "")
    action = "s3:GetObjectVersion" if query.startswith("versionId=") else "s3:GetObject"
    plain = path.isascii() and "+" not in path
    path = unquote(path, errors="strict").removeprefix("/")
    bucket, _, key = path.partition("/object/" if path.startswith("arn:") else "/")
    if not plain or not bucket or not key or "?versionId=" in key or (mark and not query.startswith("versionId=")):
        return Item(action, "*", "unresolved")
    if bucket.endswith(DIRECTORY):
        return Item("s3express:CreateSession", "*", "unresolved")
    if bucket.endswith(TABLES):
        return Item("s3tables:GetTableData", "*", "unresolved")
    return Item(action, resource(request, bucket, key), "exact")
