"""AWS on loopback: moto behind a door that counts what comes in and, as AWS does, checks every signature.

moto accepts any signature. Here each request must be signed with the real key by SigV4 as botocore computes it, or it
is refused; so a call that succeeds in a test shows that the gateway signed it rightly. CBOR, which moto lacks, is
answered at the door.
"""

import hashlib
import hmac
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import boto3
import cbor2
import requests
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from tests.harness import REAL_KEY, REAL_SECRET

SECRET = "correct-horse-battery-staple"
KEYS = re.compile(r"<(AccessKeyId|SecretAccessKey|SessionToken)>([^<]+)</")
UNAVAILABLE = b"<ErrorResponse><Error><Code>ServiceUnavailable</Code><Message>m</Message></Error></ErrorResponse>"
METRICS = {"Metrics": [{"Namespace": "sluice", "MetricName": "flow", "Dimensions": []}]}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that came in. `name`: the target's or the form's operation, else method and path."""

    host: str
    name: str
    headers: dict[str, str]
    body: bytes
    refused: str


class Aws:
    """The server; `asked` holds what the gateway sent, without what `owner` asks."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.keys: dict[str, tuple[str, str | None]] = {REAL_KEY: (REAL_SECRET, None)}  # and those that STS gave out
        self.failures = 0  # so many of the next requests are answered with a 503
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        self.url = "http://{}:{}".format(*self.server.get_host_and_port())
        requests.post(f"{self.url}/moto-api/reset", timeout=20)  # it keeps its state for the whole process
        served: Any = self.server._server
        served.app = self.door(served.app)

    def door(self, inner: Any) -> Any:
        """A WSGI application in front of another."""

        def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            whole = None if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
            body = environ["wsgi.input"].read(*([] if whole is None else [whole]))
            environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            headers = {
                name.removeprefix("HTTP_").replace("_", "-").lower(): value
                for name, value in environ.items()
                if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
            }
            refused = wrong_signature(environ["REQUEST_METHOD"], environ["RAW_URI"], headers, body, self.keys)
            if "owner" not in headers["user-agent"]:
                self.asked.append(Asked(headers["host"], name_of(environ, headers, body), headers, body, refused))
            if refused:
                start_response("403 Forbidden", [("content-type", "text/plain")])
                return [refused.encode()]
            if self.failures:
                self.failures -= 1
                start_response("503 Service Unavailable", [("content-type", "text/xml")])
                return [UNAVAILABLE]
            if headers.get("smithy-protocol") == "rpc-v2-cbor":
                kind = [("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
                start_response("200 OK", kind)
                return [cbor2.dumps(METRICS)]
            answer = b"".join(inner(environ, start_response))
            if b"<SessionToken>" in answer:
                found = dict(KEYS.findall(answer.decode()))
                self.keys[found["AccessKeyId"]] = found["SecretAccessKey"], found["SessionToken"]
            return [answer]

        return serve

    def named(self, name: str) -> list[Asked]:
        """What came in under one name."""
        return [asked for asked in self.asked if asked.name == name]

    def owner(self, service: str) -> Any:
        """A client of the account's owner, past the gateway."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=REAL_KEY,
            aws_secret_access_key=REAL_SECRET,
            config=Config(user_agent_extra="owner"),
        )

    def table(self, name: str) -> str:
        """A DynamoDB table, made."""
        self.owner("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        return name

    def furnish(self) -> None:
        """Put in what the tests ask for."""
        self.owner("s3").create_bucket(Bucket="reports")
        self.owner("s3").put_object(Bucket="reports", Key="q3.txt", Body=b"revenue up")
        self.table("orders")
        self.owner("dynamodb").put_item(TableName="orders", Item={"id": {"S": "1"}, "total": {"N": "42"}})
        self.owner("secretsmanager").create_secret(Name="db", SecretString=SECRET)
        self.owner("sqs").create_queue(QueueName="work")
        self.owner("cloudwatch").put_metric_data(Namespace="sluice", MetricData=[{"MetricName": "flow", "Value": 1.0}])

    def close(self) -> None:
        """Stop it."""
        self.server.stop()


class Listed(SigV4Auth):  # type: ignore[misc]
    """Signs the headers that it is given, all of them."""

    def headers_to_sign(self, request: Any) -> Any:
        return request.headers


class ListedS3(Listed, S3SigV4Auth):  # type: ignore[misc]
    """The same with S3's paths."""


def wrong_signature(
    method: str, target: str, headers: dict[str, str], body: bytes, keys: Mapping[str, tuple[str, str | None]]
) -> str:
    """Why a request is not signed with a real key (each with its secret and token), or ""."""
    try:
        kind, _, rest = headers["authorization"].partition(" ")
        found = dict(part.strip().split("=", 1) for part in rest.split(","))
        key, _, region, service, _ = found["Credential"].split("/")
        names = found["SignedHeaders"].split(";")
    except (KeyError, ValueError):
        return "IncompleteSignature"
    secret, token = keys.get(key, ("", ""))
    if kind != "AWS4-HMAC-SHA256" or not secret or headers.get("x-amz-security-token") != token:
        return "InvalidClientTokenId"
    if not {"host", *(name for name in headers if name.startswith("x-amz-"))} <= set(names):
        return "SignatureDoesNotMatch: not all is signed"
    stated = headers.get("x-amz-content-sha256", "")
    if len(stated) == 64 and stated != hashlib.sha256(body).hexdigest():
        return "XAmzContentSHA256Mismatch"
    request = AWSRequest(method, f"https://{headers['host']}{target}", {name: headers[name] for name in names}, body)
    request.context["timestamp"] = headers["x-amz-date"]
    signer = (ListedS3 if service == "s3" else Listed)(Credentials(key, secret), service, region)
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return "" if hmac.compare_digest(expected, found["Signature"]) else "SignatureDoesNotMatch"


def name_of(environ: dict[str, Any], headers: dict[str, str], body: bytes) -> str:
    """The operation as far as the wire names it."""
    if target := headers.get("x-amz-target"):
        return target.rpartition(".")[2]
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return parse_qs(body.decode())["Action"][0]
    return f"{environ['REQUEST_METHOD']} {environ['RAW_URI']}"
