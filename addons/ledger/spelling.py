"""CloudTrail's own spelling of what a call is: event source and name, parameters, read-only, category.

Sources: the pages "CloudTrail record contents", "Amazon S3 CloudTrail events", "Logging AWS Lambda API calls using AWS
CloudTrail" and "Logging Amazon DynamoDB operations by using AWS CloudTrail" of AWS's documentation.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from addons.wire import models

# readOnly: how the operations that change nothing begin, and those that the rule gets wrong.
READS = re.compile(
    "Get|List|Describe|Head|Lookup|Search|BatchGet|Query|Scan|Select|Check|Verify|View|Preview|Simulate|Estimate|Filter"
)
READ_ONLY = {
    ("sts", "AssumeRole"): True,
    ("kms", "Encrypt"): True,
    ("kms", "Decrypt"): True,
    ("kms", "GenerateDataKey"): True,
    ("bedrock-runtime", "InvokeModel"): True,
    ("sts", "GetFederationToken"): False,
}

S3_NAMES = {  # API operation: CloudTrail's name
    "DeletePublicAccessBlock": "DeleteBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketLifecycleConfiguration": "GetBucketLifecycle",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "ListObjectsV2": "ListObjects",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "PutBucketLifecycleConfiguration": "PutBucketLifecycle",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}

# Lambda's names carry the version of the API in which the action last changed.
_LAMBDA_2015 = "CreateAlias CreateEventSourceMapping CreateFunction DeleteAlias DeleteEventSourceMapping DeleteFunction"
_LAMBDA_2015 += " GetAlias GetEventSourceMapping ListAliases ListEventSourceMappings ListFunctions PublishVersion"
_LAMBDA_2015 += " UpdateAlias UpdateEventSourceMapping"
_LAMBDA_2015_V2 = "AddPermission GetFunction GetFunctionConfiguration GetPolicy RemovePermission UpdateFunctionCode"
_LAMBDA_2015_V2 += " UpdateFunctionConfiguration"
_LAMBDA_2018 = "AddLayerVersionPermission DeleteLayerVersion GetLayerVersion PublishLayerVersion"
LAMBDA_NAMES = (
    {name: f"{name}20150331" for name in _LAMBDA_2015.split()}
    | {name: f"{name}20150331v2" for name in _LAMBDA_2015_V2.split()}
    | {name: f"{name}20181031" for name in _LAMBDA_2018.split()}
)

# Services whose members keep their capital letter in CloudTrail.
PASCAL = frozenset({"ce", "devops-guru", "account", "securityhub"})


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


DATA_EVENTS = {  # the data plane; everything else is a management event
    "s3": _names(
        "AbortMultipartUpload CompleteMultipartUpload CopyObject CreateMultipartUpload DeleteObject DeleteObjectTagging"
        " DeleteObjects GetObject GetObjectAcl GetObjectAttributes GetObjectLegalHold GetObjectRetention"
        " GetObjectTagging GetObjectTorrent HeadBucket HeadObject ListMultipartUploads ListObjectVersions ListObjects"
        " ListObjectsV2 ListParts PutObject PutObjectAcl PutObjectLegalHold PutObjectRetention PutObjectTagging"
        " RestoreObject SelectObjectContent UploadPart UploadPartCopy"
    ),
    "dynamodb": _names(
        "BatchExecuteStatement BatchGetItem BatchWriteItem DeleteItem ExecuteStatement ExecuteTransaction GetItem"
        " PutItem Query Scan TransactGetItems TransactWriteItems UpdateItem"
    ),
    "lambda": _names("Invoke InvokeAsync InvokeWithResponseStream"),
    "sns": _names("Publish PublishBatch"),
    "sqs": _names(
        "ChangeMessageVisibility ChangeMessageVisibilityBatch DeleteMessage DeleteMessageBatch ReceiveMessage"
        " SendMessage SendMessageBatch"
    ),
    "kinesis": _names("GetRecords GetShardIterator PutRecord PutRecords SubscribeToShard"),
}

# CloudTrail omits what is carried rather than asked for.
S3_LEFT_OUT = frozenset({"Body", "Bucket", "Key"})
LARGEST_BLOB = 1_024  # bytes shown as base64; larger ones as their hash and size


def event_source(signing_name: str) -> str:
    """The service as CloudTrail names it: by its signing name, which is `monitoring` for CloudWatch, `ses` for SES."""
    return f"{signing_name}.amazonaws.com"


def event_name(service: str, operation: str) -> str:
    """The operation as CloudTrail names it."""
    table = {"s3": S3_NAMES, "lambda": LAMBDA_NAMES}.get(service, {})
    return table.get(operation, operation)


def read_only(service: str, operation: str) -> bool:
    """Whether CloudTrail says that the operation changes nothing."""
    return READ_ONLY.get((service, operation), READS.match(operation) is not None)


def is_data_event(service: str, operation: str) -> bool:
    """Whether CloudTrail takes the operation for one on data rather than on resources."""
    return operation in DATA_EVENTS.get(service, ())


def error_code(service: str, code: str, status: int) -> str:
    """EC2's errors have `Client.` or `Server.` in front in CloudTrail, and its denial a name of its own."""
    if service != "ec2":
        return code
    if code == "AccessDenied":
        return "Client.UnauthorizedOperation"
    return code if code.startswith(("Client.", "Server.")) else f"{'Server' if status >= 500 else 'Client'}.{code}"


def request_parameters(service: str, operation: str, params: Mapping[str, Any], host: str) -> dict[str, Any] | None:
    """The parameters as CloudTrail spells them: members begin with a small letter, the agent's own map keys stay.

    None where there are none, as CloudTrail has it. Blobs are base64, large ones hash and size; times ISO 8601.
    """
    try:
        shape = models.operation_model(service, operation).input_shape
    except KeyError:
        shape = None
    if service == "s3":
        return _s3(params, shape, host)
    return _value(params, shape, service not in PASCAL) or None


def _s3(params: Mapping[str, Any], shape: Shape | None, host: str) -> dict[str, Any]:
    """S3 says bucketName, key and Host, and leaves out the object's body."""
    found: dict[str, Any] = {}
    if "Bucket" in params:
        found["bucketName"] = _value(params["Bucket"], None, True)
    found["Host"] = host
    if "Key" in params:
        found["key"] = _value(params["Key"], None, True)
    rest = {name: value for name, value in params.items() if name not in S3_LEFT_OUT}
    return found | dict(_value(rest, shape, True))


def lowered(name: str) -> str:
    """`DBInstanceIdentifier` -> `dBInstanceIdentifier`."""
    return name[:1].lower() + name[1:]


def _value(value: Any, shape: Shape | None, lower: bool) -> Any:
    if isinstance(value, str):  # most are; the other questions cost more
        return value
    if isinstance(value, Mapping):
        if isinstance(shape, MapShape):
            return {str(key): _value(item, shape.value, lower) for key, item in value.items()}
        members = shape.members if isinstance(shape, StructureShape) else {}
        return {
            lowered(str(name)) if lower and (shape is None or name in members) else str(name): _value(
                item, members.get(name), lower and name in members
            )
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        member = shape.member if isinstance(shape, ListShape) else None
        return [_value(item, member, lower) for item in value]
    if isinstance(value, bytes) and len(value) > LARGEST_BLOB:
        return f"[{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()}]"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
