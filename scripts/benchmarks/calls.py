"""The AWS calls that are measured: what the agent sends, signed as an SDK signs it, and what the upstream answers.

Both sides of a measurement get the same bytes: to the gateway they are an agent's calls, to bare mitmdump any HTTPS.
"""

import json
import zlib
from dataclasses import dataclass
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "us-east-1"
ACCOUNT = "123456789012"
MARK = "hunter2"  # stands in everything that the redaction pack has to mask in the answers below
DISTINCT = 64  # different requests of one kind, sent in turn
JSON10 = {"content-type": "application/x-amz-json-1.0"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the upstream says, status 200."""

    headers: tuple[tuple[str, str], ...]
    body: bytes

    def encoded(self) -> bytes:
        """The whole HTTP message."""
        lines = [f"{name}: {value}\r\n" for name, value in (*self.headers, ("Content-Length", str(len(self.body))))]
        return (
            b"HTTP/1.1 200 OK\r\nServer: Server\r\nConnection: keep-alive\r\n"
            + "".join(lines).encode()
            + b"\r\n"
            + self.body
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of call. `key` is how the upstream knows it: X-Amz-Target, or else the path."""

    name: str
    service: str
    method: str
    path: str
    headers: dict[str, str]
    bodies: tuple[bytes, ...]
    answer: Answer
    denied: bool = False  # by the bench's policy: the gateway refuses it, bare mitmdump passes it

    @property
    def host(self) -> str:
        """The AWS name that CONNECT, SNI and Host agree on."""
        return f"{self.service}.{REGION}.amazonaws.com"

    @property
    def key(self) -> str:
        """What the upstream looks its answer up by."""
        return self.headers.get("x-amz-target") or self.path


@dataclass(frozen=True, slots=True)
class Keys:
    """The agent's synthetic credentials."""

    access_key: str
    secret_key: str
    token: str


def signed(call: Call, keys: Keys) -> list[bytes]:
    """The requests of one kind, each signed now by botocore: good for the five minutes that AWS gives a signature."""
    signer = SigV4Auth(Credentials(keys.access_key, keys.secret_key, keys.token), call.service, REGION)
    made = []
    for body in call.bodies:
        request = AWSRequest(call.method, f"https://{call.host}{call.path}", headers=dict(call.headers), data=body)
        signer.add_auth(request)
        lines = [f"{name}: {value}\r\n" for name, value in request.headers.items()]
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{call.method} {call.path} HTTP/1.1\r\nHost: {call.host}\r\n{''.join(lines)}{AGENT}{length}\r\n"
        made.append(head.encode() + body)
    return made


AGENT = (  # what botocore adds beside the signature
    "User-Agent: Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.13.0 "
    "cfg/retry-mode#standard\r\n"
    "amz-sdk-request: attempt=1\r\nAccept-Encoding: identity\r\n"
)


def _json(value: Any, content_type: str = "application/x-amz-json-1.0") -> Answer:
    body = json.dumps(value, separators=(",", ":")).encode()
    headers = [("Content-Type", content_type), ("x-amzn-RequestId", "BENCH4UNIRT0GRPJ7MSQRIDENT66Q9ASUAAJG")]
    if content_type.endswith("json-1.0"):
        headers.append(("x-amz-crc32", str(zlib.crc32(body))))
    return Answer(tuple(headers), body)


def _item() -> dict[str, Any]:
    """A DynamoDB item of 0.9 KB."""
    item: dict[str, Any] = {"id": {"S": "order-1"}, "total": {"N": "42.50"}, "paid": {"BOOL": True}}
    item |= {f"attribute-{n:02}": {"S": f"value {n:02} of this order"} for n in range(14)}
    return {"Item": item | {"lines": {"L": [{"M": {"sku": {"S": f"sku-{n}"}, "count": {"N": "2"}}} for n in range(4)]}}}


def _functions() -> dict[str, Any]:
    """Lambda's list of functions with an environment in each: 93 KB, of which the redaction pack masks 308 values."""
    return {"Functions": [_function(n) for n in range(77)]}


def _function(number: int) -> dict[str, Any]:
    name = f"function-{number:03}"
    return {
        "FunctionName": name,
        "FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}",
        "Runtime": "python3.13",
        "Role": f"arn:aws:iam::{ACCOUNT}:role/service-role/{name}",
        "Handler": "app.handler",
        "CodeSize": 1_234_567 + number,
        "Description": "Moves orders from the queue to the table, and tells the warehouse about each of them. " * 2,
        "Timeout": 30,
        "MemorySize": 512,
        "LastModified": "2026-01-31T12:00:00.000+0000",
        "CodeSha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "Version": "$LATEST",
        "Environment": {
            "Variables": {f"SETTING_{n}": f"{MARK}-{number:03}-{n} a value of an environment" for n in range(4)}
        },
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": f"5bd0b2b7-0f3f-4b8c-9d0e-{number:012}",
        "Layers": [{"Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:shared:{n}", "CodeSize": 4096} for n in range(2)],
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
    }


GET_ITEM = Call(
    name="GetItem",
    service="dynamodb",
    method="POST",
    path="/",
    headers=JSON10 | {"x-amz-target": "DynamoDB_20120810.GetItem"},
    bodies=tuple(
        json.dumps({"TableName": "orders", "Key": {"id": {"S": f"order-{n}"}}, "ConsistentRead": True}).encode()
        for n in range(DISTINCT)
    ),
    answer=_json(_item()),
)
DELETE_TABLE = Call(
    name="DeleteTable",
    service="dynamodb",
    method="POST",
    path="/",
    headers=JSON10 | {"x-amz-target": "DynamoDB_20120810.DeleteTable"},
    bodies=tuple(json.dumps({"TableName": f"orders-{n}"}).encode() for n in range(DISTINCT)),
    answer=_json({"TableDescription": {"TableName": "orders", "TableStatus": "DELETING"}}),
    denied=True,
)
LIST_FUNCTIONS = Call(
    name="ListFunctions",
    service="lambda",
    method="GET",
    path="/2015-03-31/functions",
    headers={},
    bodies=(b"",) * DISTINCT,
    answer=_json(_functions(), "application/json"),
)
CALLS = (GET_ITEM, DELETE_TABLE, LIST_FUNCTIONS)
IDENTITY = Answer(
    (("Content-Type", "text/xml"),),
    (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        f"<Arn>arn:aws:iam::{ACCOUNT}:user/gateway</Arn><UserId>U</UserId><Account>{ACCOUNT}</Account>"
        "</GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    ).encode(),
)
POLICY = f"""\
version: 1
policies:
- name: bench
  statements:
  - sid: read-orders
    effect: allow
    actions: ["dynamodb:GetItem"]
    resources: ["arn:aws:dynamodb:*:{ACCOUNT}:table/orders"]
  - sid: look
    effect: allow
    actions: ["lambda:ListFunctions"]
    resources: ["*"]
"""
