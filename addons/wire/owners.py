"""Whose bucket a call means: the members by which S3 refuses to serve a bucket of any other account.

Source: Amazon S3 User Guide, "Verifying bucket ownership with bucket owner condition". The members are headers in S3's
model alone; what other services call so is a part of what they are told to do.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote

from addons.wire import models
from addons.wire.message import Decoded, Headers

MEMBERS = ("ExpectedBucketOwner", "ExpectedSourceBucketOwner")
# "For directory buckets, this header is not supported in this API operation" and the like (S3 API Reference): 501.
NOT_OF_DIRECTORIES = frozenset(
    f"{verb}Bucket{what}"
    for verbs, what in (
        ("Delete", ""),
        ("Delete Get Put", "Encryption"),
        ("Delete Get Put", "InventoryConfiguration"),
        ("Delete Get Put", "MetricsConfiguration"),
        ("Delete Get Put", "Policy"),
        ("Delete", "Lifecycle"),
        ("Get Put", "LifecycleConfiguration"),
        ("List", "InventoryConfigurations"),
        ("List", "MetricsConfigurations"),
    )
    for verb in verbs.split()
)
_DIRECTORY = "--x-s3"
_ARN = re.compile(r"arn:[^:]*:s3[^:]*:[^:]*:([0-9]{12}):.*", re.DOTALL)


@models.PerService
def _headers(service: str, operation: str) -> Mapping[str, str]:
    """Member -> header, of those that the operation has."""
    shape = models.operation_model(service, operation).input_shape
    members = {} if shape is None else shape.members
    return {name: members[name].serialization["name"] for name in MEMBERS if name in members}


def stranger(decoded: Decoded, accounts: Collection[str]) -> str | None:
    """An owner that the call itself names, whatever it is, and that is none of these accounts; or None."""
    if decoded.service != "s3":
        return None
    named = [decoded.params.get(member) for member in MEMBERS]
    return next((str(owner) for owner in named if owner is not None and owner not in accounts), None)


def missing(decoded: Decoded, account: str, others: Mapping[str, Sequence[str]]) -> Headers:
    """The headers that name the owners where the call left them out: `account`, but for the named buckets of others.

    `others`: account -> patterns of its buckets' names, where `*` is any run of characters.
    """
    if decoded.service != "s3":
        return ()
    found = []
    for member, header in _headers(decoded.service, decoded.operation).items():
        if decoded.params.get(member) is None:
            given = decoded.params.get("Bucket" if member == MEMBERS[0] else "CopySource")
            bucket = str(given) if member == MEMBERS[0] else _source(str(given))
            if bucket.endswith(_DIRECTORY) and decoded.operation in NOT_OF_DIRECTORIES:
                continue
            found.append((header, _owner(bucket, account, others)))
    return tuple(found)


def _source(text: str) -> str:
    """The bucket, or the access point's ARN, of a CopySource: BUCKET/KEY or ARN/object/KEY, URL-encoded."""
    path = unquote(text.partition("?")[0]).removeprefix("/")
    return path.partition("/object/" if path.startswith("arn:") else "/")[0]


def _owner(bucket: str, account: str, others: Mapping[str, Sequence[str]]) -> str:
    if found := _ARN.fullmatch(bucket):
        return found[1] if found[1] in others else account
    return next((owner for owner, names in others.items() if any(fnmatchcase(bucket, n) for n in names)), account)
