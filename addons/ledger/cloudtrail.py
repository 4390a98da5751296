"""A call as one line: CloudTrail 1.11's record, and in `additionalEventData.sluicegate` what that has no place for.

Detection rules for CloudTrail read these lines unchanged. So a refusal looks like AWS's own denial, and a call that was
sent but whose outcome nobody knows has no errorCode: it may well have happened, and an agent that hangs up must not
be able to make rules about successful calls look away.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from addons.ledger import spelling
from addons.ledger.encoding import iso, plain

# CloudTrail's own limits, in bytes ("CloudTrail record contents").
LARGEST_PARAMETERS = 100 << 10
LARGEST_ERROR = 1 << 10
LARGEST_BLOCK = 28 << 10
LARGEST_AGENT = 1 << 10

# How a call ended: AWS answered; the gateway itself did; it refused; nothing could be sent; sent, and nobody knows.
OUTCOMES = ("answered", "local", "refused", "failed", "unknown")


@dataclass(slots=True)
class CallRecord:
    """What the ledger is told about one HTTP attempt. Secrets in `params` are hidden before it comes here."""

    id: str
    started: float  # seconds since the epoch
    ended: float
    outcome: str  # one of OUTCOMES
    host: str = ""
    source: str = ""
    user_agent: str = ""
    account: str = ""
    service: str = ""  # botocore's name; "": nobody could read the request
    operation: str = ""
    signing_name: str = ""
    region: str = ""
    protocol: str | None = None
    params: Mapping[str, Any] | None = None
    role: str | None = None  # the ARN of the role that acts: the last one assumed, else the one signed in to
    label: str = ""  # its RoleSessionName
    assumed: tuple[str, ...] = ()  # ARNs of the roles assumed through the gateway, each from the one before
    session: str | None = None
    subject: str | None = None
    issuer: str | None = None
    groups: tuple[str, ...] = ()
    token_id: str | None = None
    access_key: str | None = None  # the synthetic one
    error_code: str | None = None
    error_message: str | None = None
    request_id: str | None = None  # made by the service; the gateway's own for what never got there
    status: int | None = None  # what the agent got
    upstream_status: int | None = None
    effect: str | None = None  # "allow", "approve", "deny"; None: never decided
    sid: str | None = None
    why: str | None = None
    policy_hash: str | None = None
    policies: tuple[str, ...] = ()
    items: tuple[dict[str, Any], ...] = ()  # {"action", "resource", "state", "effect", "sid"} of each thing needed
    context: Mapping[str, Any] = field(default_factory=dict)  # condition keys that the decision read
    missing: tuple[str, ...] = ()
    refused_by: str | None = None  # the step
    approval: Mapping[str, Any] | None = None  # {"verdict", "by", "seconds"}
    masked: tuple[Mapping[str, Any], ...] = ()
    returned: str | None = None  # the synthetic access key in place of the credentials in the answer
    signed_as: Mapping[str, str] = field(default_factory=dict)  # {"role", "sessionPolicy"} where a role was assumed
    added: Mapping[str, str] = field(default_factory=dict)  # headers that the agent did not send
    bytes_in: int = 0
    compressed: bool = False  # the request's body: its parameters may be far larger than it
    bytes_out: int = 0
    streamed: bool = False
    invocation: str | None = None  # amz-sdk-invocation-id: the same for all attempts of one call
    attempt: int | None = None
    traceparent: str | None = None
    body_sha256: str | None = None
    flow: str | None = None


def line(record: CallRecord) -> dict[str, Any]:
    """The record's line. `seq` and `log` are filled in where it is written."""
    service, operation = record.service, record.operation
    data = spelling.is_data_event(service, operation)
    found: dict[str, Any] = {
        "eventVersion": "1.11",
        "eventTime": iso(record.ended),
        "eventID": record.id,
        "eventType": "AwsApiCall",
        "eventCategory": "Data" if data else "Management",
        "managementEvent": not data,
        "readOnly": bool(operation) and spelling.read_only(service, operation),
        "eventSource": spelling.event_source(record.signing_name or record.host.partition(".")[0] or "unknown"),
        "eventName": spelling.event_name(service, operation) or "Unknown",
        "awsRegion": record.region or "us-east-1",
        "recipientAccountId": record.account,
        "sourceIPAddress": record.source,
        "userAgent": f"[{cut(record.user_agent, LARGEST_AGENT)}]",
        "userIdentity": identity(record),
    }
    if record.error_code:
        found["errorCode"] = cut(spelling.error_code(service, record.error_code, record.status or 0), LARGEST_ERROR)
        found["errorMessage"] = cut(record.error_message or "", LARGEST_ERROR)
    return found | {
        "requestParameters": parameters(record),
        "responseElements": None,
        "requestID": record.request_id or record.id,
        "resources": resources(record),
        "tlsDetails": {"clientProvidedHostHeader": record.host},
        "additionalEventData": {"sluicegate": block(record)},
    }


def unknown(intent: Mapping[str, Any]) -> dict[str, Any]:
    """The line of a call whose gateway died between the intent and the outcome."""
    started = float(intent.get("time") or 0.0)
    return line(
        CallRecord(
            id=str(intent.get("eventID")),
            started=started,
            ended=started,
            outcome="unknown",
            service=str(intent.get("service") or ""),
            operation=str(intent.get("operation") or ""),
            signing_name=str(intent.get("signingName") or intent.get("service") or ""),
            region=str(intent.get("region") or ""),
            account=str(intent.get("account") or ""),
            source=str(intent.get("sourceIPAddress") or ""),
            session=intent.get("session"),
            subject=intent.get("subject"),
            sid=intent.get("sid"),
            policy_hash=intent.get("policyHash"),
            body_sha256=intent.get("bodySha256"),
        )
    )


def block(record: CallRecord) -> dict[str, Any]:
    """`additionalEventData.sluicegate`, at most 28 KB."""
    found: dict[str, Any] = {
        "v": 1,
        "seq": None,
        "log": None,
        "sessionId": record.session,
        "subject": record.subject,
        "issuer": record.issuer,
        "groups": list(record.groups),
        "tokenId": record.token_id,
        "agentKey": record.access_key,
        "assumed": list(record.assumed),
        "returnedKey": record.returned,
        "signedAs": dict(record.signed_as) or None,
        "added": dict(record.added),
        "decision": decision(record),
        "approval": dict(record.approval) if record.approval else None,
        "masked": [dict(mask) for mask in record.masked],
        "protocol": record.protocol,
        "start": datetime.fromtimestamp(record.started, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "durationMs": round((record.ended - record.started) * 1000, 1),
        "outcome": record.outcome,
        "refusedBy": record.refused_by,
        "status": record.status,
        "upstreamStatus": record.upstream_status,
        "bytesIn": record.bytes_in,
        "bytesOut": record.bytes_out,
        "streamed": record.streamed,
        "sdkInvocation": cut(record.invocation, 128),
        "attempt": record.attempt,
        "flow": record.flow,
        "bodySha256": record.body_sha256,
        "traceparent": cut(record.traceparent, 128),
    }
    if weight(record) > LARGEST_BLOCK // 4 and size(found) > LARGEST_BLOCK:
        for key in ("context", "actions"):
            found["decision"][key], omitted = fit(found["decision"][key], LARGEST_BLOCK // 3)
            if omitted:
                found["decision"][f"{key}Omitted"] = omitted
        found["masked"], omitted = fit(found["masked"], LARGEST_BLOCK // 4)
        if omitted:
            found["maskedOmitted"] = omitted
    return found


def weight(record: CallRecord) -> int:
    """A rough size of what has no bound of its own: most records need no exact one."""
    items = sum(200 + len(item["resource"]) for item in record.items)
    return items + 400 * len(record.masked) + sum(50 + len(str(value)) for value in record.context.values())


def decision(record: CallRecord) -> dict[str, Any]:
    """Everything that the policies were given, so that another policy can be asked about the log alone."""
    return {
        "effect": record.effect,
        "policy": record.sid.partition("/")[0] if record.sid else None,
        "policyHash": record.policy_hash,
        "rules": [record.sid] if record.sid else [],
        "why": cut(record.why, LARGEST_ERROR),
        "actions": [dict(item) for item in record.items],
        "context": dict(record.context),
        "missing": list(record.missing),
        "policies": list(record.policies),
    }


def fit(value: Any, room: int) -> tuple[Any, dict[str, Any] | None]:
    """The first part of a list or dict that fits into `room` bytes; how many were left out, and a hash of all."""
    if size(value) <= room:
        return value, None
    kept: list[Any] = []
    entries = list(value.items()) if isinstance(value, dict) else list(value)
    for entry in entries:
        if (room := room - size(entry) - 1) < 0:
            break
        kept.append(entry)
    digest = hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()
    omitted = {"count": len(entries) - len(kept), "sha256": digest}
    return (dict(kept) if isinstance(value, dict) else kept), omitted


def size(value: Any) -> int:
    """Bytes of a value as it will stand in the line."""
    return len(json.dumps(plain(value), separators=(",", ":")))


def cut[T: (str, str | None)](text: T, limit: int) -> T:
    """Text of at most `limit` bytes."""
    if text is None or len(text) * 4 <= limit:
        return text
    encoded = text.encode("utf-8", "backslashreplace")
    return text if len(encoded) <= limit else encoded[: limit - 3].decode("utf-8", "ignore") + "..."


def parameters(record: CallRecord) -> Any:
    """requestParameters; where they are too large, CloudTrail's own note that they were omitted."""
    if record.params is None:
        return None
    found = spelling.request_parameters(record.service, record.operation, record.params, record.host)
    # A small request has small parameters, six bytes for one at the most: measuring them costs more than writing them.
    small = not record.compressed and record.bytes_in * 6 <= LARGEST_PARAMETERS // 2
    if not small and (length := size(found)) > LARGEST_PARAMETERS:
        return {"omitted": True, "originalSize": length, "reason": "requestParameters too large"}
    return found


def identity(record: CallRecord) -> dict[str, Any]:
    """The AWS identity that the call has upstream, with the subject as its source identity."""
    if not record.role:
        return {"type": "Unknown", "accountId": record.account}
    name = record.role.rpartition("/")[2]
    _, partition, _, _, account, _ = record.role.split(":", 5)
    return {
        "type": "AssumedRole",
        "arn": f"arn:{partition}:sts::{account}:assumed-role/{name}/{record.label}",
        "accountId": account,
        "sessionContext": {
            "sessionIssuer": {"type": "Role", "arn": record.role, "accountId": account, "userName": name},
            "sourceIdentity": record.subject,
            "webIdFederationData": {"federatedProvider": record.issuer, "attributes": {}},
        },
    }


def resources(record: CallRecord) -> list[dict[str, Any]]:
    """The resources that the call needs, where they are known. `type` is there for S3 alone, as the ARN names it."""
    found: list[dict[str, Any]] = []
    for arn in dict.fromkeys(str(item["resource"]) for item in record.items):
        if not arn.startswith("arn:") or "*" in arn or len(found) == 20:
            continue
        account = arn.split(":", 5)[4] or record.account
        entry = {"ARN": cut(arn, LARGEST_ERROR), "accountId": account}
        if ":s3:::" in arn:
            entry["type"] = "AWS::S3::Object" if "/" in arn else "AWS::S3::Bucket"
        found.append(entry)
    return found
