"""An agent that uses boto3 and nothing else: one call a line on standard input, its answer on standard output.

It takes everything from the environment, as agents do. `{"service", "operation", "params"}` -> `{"ok", "value"}` or
`{"ok", "code", "message", "kind"}`.
"""

import json
import sys
from typing import Any

import boto3
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

session = boto3.Session()
clients: dict[str, Any] = {}


def call(service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
    """One call of the SDK."""
    if operation == "credentials":  # what this process holds, for the tests that look for it elsewhere
        found = session.get_credentials().get_frozen_credentials()
        return {"ok": True, "value": {"key": found.access_key, "secret": found.secret_key, "token": found.token}}
    client = clients.get(service)
    if client is None:
        client = clients[service] = session.client(service)
    try:
        if operation == "upload_file":  # the transfer manager, which cuts large files into parts
            client.upload_file(**params)
            return {"ok": True, "value": {}}
        answer = getattr(client, xform_name(operation))(**params)
    except ClientError as error:
        found = error.response["Error"]
        return {"ok": False, "code": found["Code"], "message": found["Message"], "kind": type(error).__name__}
    except BotoCoreError as error:
        return {"ok": False, "code": type(error).__name__, "message": str(error), "kind": type(error).__name__}
    if "Body" in answer:
        answer["Body"] = answer["Body"].read().decode()
    return {"ok": True, "value": answer}


for line in sys.stdin:
    print(json.dumps(call(**json.loads(line)), default=str), flush=True)
