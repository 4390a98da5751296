"""Whether the gateway did its work on what was measured: signatures judged by botocore, the ledger counted.

A fast proxy that forgets to sign, to mask or to write down is no result. botocore's signer is the judge, as it shares
no code with the gateway's own.
"""

import hmac
import json
import re
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from mitmproxy import io

REAL_KEY, REAL_SECRET = "AKIABENCHREALKEY0001", "bench-real-secret-known-to-gateway-only1"  # stand for AWS's
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/([0-9]{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


class Wrong(Exception):
    """A request is not signed as AWS demands. The message says what is wrong, the same text for the same fault."""


def verify(head: bytes, body: bytes) -> None:
    """Check one request's SigV4 signature against the real key, as AWS would. Raises `Wrong`.

    IAM User Guide, "Create a signed AWS API request": host and every x-amz-* header must be signed, the scope's date is
    that of x-amz-date. The agent's synthetic token must be gone: the real key of the bench has none.
    """
    line, *rest = head.decode().rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    pairs = [(name.lower(), value.strip()) for name, _, value in (text.partition(":") for text in rest)]
    headers = dict(pairs)
    if len(headers) != len(pairs):
        raise Wrong("a header stands twice")
    if not (match := AUTHORIZATION.fullmatch(headers.get("authorization", ""))):
        raise Wrong("no Authorization of SigV4")
    key, date, region, service, names, signature = match.groups()
    signed = names.split(";")
    if key != REAL_KEY:
        raise Wrong("signed with another key than the real one")
    if "x-amz-security-token" in headers:
        raise Wrong("the agent's token was passed on")
    if missing := [name for name in headers if (name == "host" or name.startswith("x-amz-")) and name not in signed]:
        raise Wrong(f"not signed: {', '.join(sorted(missing))}")
    if headers.get("x-amz-date", "")[:8] != date:
        raise Wrong("the scope's date is not that of x-amz-date")
    if not headers["host"].startswith(f"{service}.{region}."):
        raise Wrong("the scope is not that of the host")
    request = AWSRequest(method, f"https://{headers['host']}{target}", data=body)
    for name in signed:
        request.headers[name] = headers.get(name, "")
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(REAL_KEY, REAL_SECRET), service, region)
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if not hmac.compare_digest(expected, signature):
        raise Wrong("the signature does not match the request")


def lines(audit: Path) -> list[str]:
    """The event ids of all calls in a ledger, one for each line. Raises ValueError for a line that is no JSON."""
    found = []
    for path in sorted(audit.rglob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            if record.get("eventType") == "AwsApiCall":
                found.append(str(record["eventID"]))
    return found


def recorded(sessions: Path) -> int:
    """How many flows the session recordings hold, read by mitmproxy's own reader."""
    count = 0
    for path in sorted(sessions.rglob("*.mitm")):
        with path.open("rb") as file:
            count += sum(1 for _ in io.FlowReader(file).stream())
    return count
