"""The demo's agent: plain boto3, which knows nothing of sluicegate but its environment. Prints JSON lines.

Arguments name the calls to make, as `service:operation`; without any it makes all of them.
"""

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


class Step(NamedTuple):
    """A call, what it shows, and what of its answer is printed."""

    shows: str  # allow, mask, deny, approve, refuse
    call: str  # service:operation
    arguments: dict[str, Any]
    text: Callable[[dict[str, Any]], str] = str


STEPS = [
    Step("allow", "sts:get_caller_identity", {}, lambda r: r["Arn"]),  # query
    Step("allow", "ec2:describe_instances", {}, lambda r: f"{len(r['Reservations'])} instances"),  # ec2
    Step("allow", "s3:list_buckets", {}, lambda r: ", ".join(b["Name"] for b in r["Buckets"])),  # rest-xml
    Step("allow", "s3:get_object", {"Bucket": "reports", "Key": "q3.txt"}, lambda r: r["Body"].read().decode()),
    Step("allow", "lambda:list_functions", {}, lambda r: f"{len(r['Functions'])} functions"),  # rest-json
    Step("allow", "dynamodb:get_item", {"TableName": "orders", "Key": {"id": {"S": "1"}}}, lambda r: str(r["Item"])),
    Step("mask", "secretsmanager:get_secret_value", {"SecretId": "db"}, lambda r: r["SecretString"]),  # json
    Step("mask", "ssm:get_parameter", {"Name": "/db/password"}, lambda r: r["Parameter"]["Value"]),
    Step("deny", "s3:delete_bucket", {"Bucket": "reports"}),
    Step("deny", "iam:create_user", {"UserName": "backdoor"}),
    Step("approve", "dynamodb:delete_table", {"TableName": "scratch"}, lambda r: r["TableDescription"]["TableName"]),
    Step("refuse", "dynamodb:delete_table", {"TableName": "orders"}),
]


def main() -> None:
    """Make the calls, one after the other: a line before each, a line after it."""
    wanted, clients = sys.argv[1:], {}
    for step in STEPS:
        if wanted and step.call not in wanted:
            continue
        service, _, operation = step.call.partition(":")
        print(json.dumps({"call": step.call, "shows": step.shows, "ends": False}), flush=True)
        said: dict[str, Any] = {
            "call": step.call,
            "shows": step.shows,
            "ends": True,
            "ok": False,
            "code": "",
            "tries": 1,
        }
        try:
            if service not in clients:
                # A long wait: the last calls are held until a person has decided.
                config = Config(s3={"addressing_style": "path"}, read_timeout=600)
                clients[service] = boto3.client(service, config=config)
            said |= {"ok": True, "text": step.text(getattr(clients[service], operation)(**step.arguments))}
        except ClientError as error:
            said |= {"code": error.response["Error"]["Code"], "text": error.response["Error"]["Message"]}
            said["tries"] += error.response["ResponseMetadata"].get("RetryAttempts", 0)
        except BotoCoreError as error:
            said |= {"code": type(error).__name__, "text": str(error)}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
