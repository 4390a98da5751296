"""An agent that uses the AWS CLI: each line on standard input becomes one command, in this process's environment.

The CLI's path is the first argument. `{"service", "operation", "params"}` -> `{"ok", "value"}` or `{"ok", "code",
"message", "kind"}`. `service` is a command of the CLI; a `Body` goes in and comes out as a file, as the CLI wants it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SAID = re.compile(r"An error occurred \((\w+)\) when calling the \w+ operation[^:]*: (.*)", re.DOTALL)


def call(service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
    """One command of the CLI."""
    with tempfile.TemporaryDirectory() as name:
        content = Path(name, "content")
        if operation == "upload_file":
            words = ["s3", "cp", "--quiet", params["Filename"], f"s3://{params['Bucket']}/{params['Key']}"]
        else:
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", operation).lower()
            words = ["s3api" if service == "s3" else service, name, "--output", "json"]
            if "Body" in params:
                content.write_text(params.pop("Body"))
                words += ["--body", str(content)]
            if (service, operation) == ("s3", "GetObject"):
                words += ["--bucket", params["Bucket"], "--key", params["Key"], str(content)]
            else:
                words += ["--cli-input-json", json.dumps(params)]
        # No pager: v2 would start one for its output.
        ran = subprocess.run(
            [sys.argv[1], *words], capture_output=True, text=True, check=False, env=os.environ | {"AWS_PAGER": ""}
        )
        if ran.returncode:
            found = SAID.search(ran.stderr)
            code, message = found.groups() if found else ("none", ran.stderr)
            return {"ok": False, "code": code, "message": message.strip(), "kind": f"exit code {ran.returncode}"}
        value = json.loads(ran.stdout) if ran.stdout.strip() else {}
        if (service, operation) == ("s3", "GetObject"):
            value["Body"] = content.read_text()
    return {"ok": True, "value": value}


for line in sys.stdin:
    print(json.dumps(call(**json.loads(line))), flush=True)
