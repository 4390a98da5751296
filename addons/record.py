"""record: the outcome, durable before the answer is delivered, and the scrubbed copy of the flow.

Exactly one line per HTTP attempt, in whatever way it ended: answered, refused, killed, failed upstream, client gone.
"""

import asyncio
import contextlib
import functools
import hashlib
import json
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from weakref import WeakKeyDictionary

from mitmproxy import http

from addons import wire
from addons.call import Call, Refusal, call_of
from addons.flows import refuse, response_of, unknown
from addons.ledger import answers
from addons.ledger.cloudtrail import CallRecord, line
from addons.ledger.encoding import plain
from addons.ledger.log import LedgerUnavailable
from addons.seldom import Seldom
from addons.services import Services

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"  # CloudTrail's own word
KEPT = "the content is kept as its size and hash"
LARGE = 256 << 10  # bytes; hashing or recording more would stall the other calls
LARGEST = 16 << 20  # bytes of a body that is recorded; DynamoDB's largest answer
ATTEMPT = re.compile(r"(?:^|;)\s*attempt=([0-9]{1,4})\s*(?:;|$)")


class Record:
    """The last step: writes the line and the recording."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.digests: WeakKeyDictionary[http.HTTPFlow, Any] = WeakKeyDictionary()  # of streamed answers
        self.may_complain = Seldom(1)
        self.open: set[str] = set()  # calls without a line yet
        self.idle = asyncio.Event()
        self.large = asyncio.Lock()  # one at a time: a recording is made in memory

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A call has begun; `response` or `error` ends it."""
        if call := call_of(flow):
            self.open.add(call.id)

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Pass on a stream in which nothing is masked, after a durable note that delivery begins."""
        call = call_of(flow)
        if call and call.streams and flow.response is not None:
            await self.services.ledger.event("delivering", eventID=call.id, status=flow.response.status_code)
            call.streamed = 0
            digest = self.digests[flow] = hashlib.sha256()

            def count(chunk: bytes) -> bytes | list[bytes]:
                call.streamed = (call.streamed or 0) + len(chunk)
                digest.update(chunk)
                return chunk or []  # b"" would end a chunked message

            flow.response.stream = count

    async def response(self, flow: http.HTTPFlow) -> None:
        """Write how it ended, then let the answer go."""
        await self._once(flow)

    async def error(self, flow: http.HTTPFlow) -> None:
        """Write a call that ended without an answer."""
        await self._once(flow)

    async def _once(self, flow: http.HTTPFlow) -> None:
        call = call_of(flow)
        if call is None or call.recorded:
            return
        call.recorded = True
        try:
            await self._record(flow, call)
        finally:
            self.open.discard(call.id)
            if not self.open:
                self.idle.set()

    async def drain(self, seconds: float) -> None:
        """Wait until every call has its line, but not for long: the gateway stops."""
        if self.open:
            self.idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.idle.wait(), seconds)

    async def _record(self, flow: http.HTTPFlow, call: Call) -> None:
        answer = response_of(flow) if flow.response else None
        record = describe(self.services, flow, call, answer)
        if record.body_sha256 is None and call.request and not call.upload:
            record.body_sha256 = (await asyncio.to_thread(hashlib.sha256, call.request.body or b"")).hexdigest()
        copy = None
        if call.session and call.decoded and call.request and not call.private:
            copy = functools.partial(self._copy, flow, call, answer, record.params or {})
            if max(record.bytes_in, record.bytes_out) > LARGE:
                async with self.large:
                    record.flow = await asyncio.to_thread(copy)
                copy = None
        try:
            await self.services.ledger.outcome(line(record), copy)
        except LedgerUnavailable as error:
            self._complain(f"the audit log can't be written: {error}")
            if call.sent and flow.response is not None and call.streamed is None:
                text = f"the call was carried out, but its record can't be written ({error}); the answer is withheld."
                refuse(flow, call, Refusal("record", "ServiceUnavailable", text, 400))

    def _complain(self, text: str) -> None:
        if self.may_complain():
            print(f"sluicegate: {text}", file=sys.stderr, flush=True)

    def _copy(
        self, flow: http.HTTPFlow, call: Call, answered: wire.HttpResponse | None, hidden: Mapping[str, Any]
    ) -> str | None:
        """Record a call; where that fails, in whatever way, its line is what counts."""
        try:
            return self._save(flow, call, answered, hidden)
        except LedgerUnavailable as error:
            self._complain(str(error))
        except Exception as error:
            self._complain(f"a call can't be recorded: internal error ({type(error).__name__})")
        return None

    def _save(
        self, flow: http.HTTPFlow, call: Call, answered: wire.HttpResponse | None, hidden: Mapping[str, Any]
    ) -> str:
        assert call.session
        assert call.request
        assert call.decoded
        full = self.services.recorder.size(call.session.id) >= self.services.rules.gateway.config.limits.recording
        body, note, secret = request_to_keep(call, hidden, full)
        headers: wire.Headers = ()
        answer, content = b"", ""
        if answered is not None:
            headers, answer = answered.headers, answered.body
            if call.streamed is not None:
                answer = summary(call.streamed, self.digests[flow].hexdigest())
                content = KEPT
            elif len(answer) > (0 if full else LARGEST) or (
                answer and not call.refusal and wire.response_is_streaming_blob(call.decoded)
            ):
                answer = summary(len(answer), hashlib.sha256(answer).hexdigest())
                content = KEPT
        return self.services.recorder.append(
            call.session.id,
            flow,
            request_headers=call.request.headers,
            request_body=body,
            response_headers=headers,
            response_body=answer,
            scheme="https",
            host=call.request.host,
            port=443,
            metadata=plain_metadata(call),
            request_note=note,
            request_hidden=secret,
            response_note=content,
        )


def summary(size: int, sha256: str) -> bytes:
    """What stands for content in a recording."""
    return f"[{size} bytes, sha256 {sha256}]".encode()


def request_to_keep(
    call: Call, hidden: Mapping[str, Any], full: bool = False
) -> tuple[bytes, str, tuple[str, ...] | None]:
    """The request's body for the recording, a note where it is not what was sent, and the texts hidden, if any are.

    `hidden`: the call's parameters as the line has them. `full`: the session's recording is as large as it may be.
    """
    assert call.request
    assert call.decoded
    body, params = call.request.body or b"", call.decoded.params
    secret: tuple[str, ...] | None = None
    if conceals(hidden):
        secret = tuple(v for name, v in params.items() if isinstance(v, str) and conceals(hidden.get(name)))
    if call.upload:
        return summary(call.upload.size, call.upload.sha256 or "of the whole not known"), KEPT, secret
    if len(body) > (0 if full else LARGEST) or call.decoded.unknown or wire.has_streaming_input(call.decoded):
        return summary(len(body), hashlib.sha256(body).hexdigest()) if body else b"", KEPT, secret
    if secret is not None:
        note = "sensitive parameters are hidden: these are the parameters as JSON"
        return json.dumps(plain(hidden)).encode(), note, secret
    return body, "", None


def plain_metadata(call: Call) -> dict[str, Any]:
    """What a recording says about its call: plain values only, or mitmproxy drops the flow."""
    return {
        "eventID": call.id,
        "service": call.decoded.service if call.decoded else "",
        "operation": call.decoded.operation if call.decoded else "",
        "subject": call.session.subject if call.session else "",
        "decision": call.decision.effect if call.decision else "",
        "rule": (call.decision.sid if call.decision else "") or "",
        "refusal": call.refusal.message if call.refusal else "",
    }


def describe(services: Services, flow: http.HTTPFlow, call: Call, answer: wire.HttpResponse | None) -> CallRecord:
    """A call as the ledger takes it: strings, numbers and dicts, every secret in the parameters hidden."""
    request = call.request or unknown(flow)
    body = request.body or b""
    head = {name.lower(): value for name, value in reversed(request.headers)}  # of several, the first
    record = CallRecord(
        id=call.id,
        started=call.started,
        ended=time.time(),
        outcome=outcome(flow, call),
        host=request.host,
        source=call.source,
        user_agent=head.get("user-agent", ""),
        account=call.account or services.account_of(call.session),
        access_key=call.access_key,
        status=answer.status if answer else None,
        upstream_status=call.upstream_status,
        refused_by=call.refusal.step if call.refusal else None,
        approval=asdict(call.approval) if call.approval else None,
        masked=call.masked,
        returned=call.returned,
        signed_as=call.signed_as,
        added=dict(call.added),
        bytes_in=call.upload.size if call.upload else len(body),
        compressed="content-encoding" in head,
        bytes_out=call.streamed if call.streamed is not None else len(answer.body) if answer else 0,
        streamed=call.streamed is not None,
        invocation=head.get("amz-sdk-invocation-id"),
        attempt=int(match[1]) if (match := ATTEMPT.search(head.get("amz-sdk-request", ""))) else None,
        traceparent=head.get("traceparent"),
        body_sha256=hashlib.sha256(body).hexdigest() if len(body) <= LARGE else None,
    )
    if call.upload:
        record.body_sha256 = call.upload.sha256
    if call.sent and answer and not call.refusal:
        record.request_id = answers.request_id(answer.headers, answer.body)
    if found := error_of(flow, call, record.outcome, answer):
        record.error_code, record.error_message = found
    hidden: Mapping[str, Any] = {}
    if decoded := call.decoded:
        record.service, record.operation, record.region = decoded.service, decoded.operation, decoded.region
        record.signing_name, record.protocol = decoded.signing_name, decoded.protocol
        record.params = hidden = wire.hide_sensitive_input(decoded)
    elif call.private and call.answered:  # its parameters held the token
        record.service = record.signing_name = "sts"
        record.operation = "AssumeRoleWithWebIdentity"
    if session := call.session:
        record.session, record.role, record.label, record.groups = (
            session.id,
            session.roles[-1],
            session.label,
            session.groups,
        )
        record.assumed = session.assumed
        record.subject, record.issuer, record.token_id = session.subject, session.issuer, session.token_id
        if call.answered:
            record.params = {"RoleArn": session.role, "RoleSessionName": session.label}
    if decision := call.decision:
        record.effect, record.sid, record.why = decision.effect, decision.sid, decision.why
        record.policy_hash, record.policies, record.missing = decision.policy_hash, decision.policies, decision.missing
        record.items = tuple(
            {
                "action": result.item.action,
                "resource": result.item.resource,
                "state": result.item.state,
                "effect": result.effect,
                "sid": result.sid,
            }
            for result in decision.items
        )
        record.context = {name: without_secret(name, value, hidden) for name, value in decision.keys.items()}
    return record


def outcome(flow: http.HTTPFlow, call: Call) -> str:
    """How the attempt ended, in the ledger's words (`cloudtrail.OUTCOMES`)."""
    if not call.sent:
        return "refused" if call.refusal else "local" if call.answered else "failed"
    if call.upstream_status is not None:
        return "answered"
    if call.upload and call.upload.failed:
        return "refused"  # in the middle: its end was never sent
    if call.upload and not call.upload.whole and call.decoded and call.decoded.service == "s3":
        return "failed"  # S3 adds no partial objects (PutObject, API reference)
    server = flow.server_conn
    connected = server.timestamp_tcp_setup is not None and (not server.tls or server.timestamp_tls_setup is not None)
    return "unknown" if connected else "failed"


def error_of(flow: http.HTTPFlow, call: Call, ended: str, answer: wire.HttpResponse | None) -> tuple[str, str] | None:
    """(errorCode, errorMessage) for the line; None where the call was, or may have been, carried out."""
    if ended == "answered":
        status = call.upstream_status or 0
        if call.refusal or answer is None:  # it was withheld: what AWS did counts, not what the agent saw
            return answers.error(status, (), b"")
        return answers.error(status, answer.headers, answer.body)
    if ended in ("local", "unknown"):
        return None
    if call.refusal:
        return call.refusal.code, f"sluicegate: {call.refusal.message}"
    why = flow.error.msg if flow.error else "the client left"
    return ("ServiceUnavailable" if call.sent else "ClientGone"), f"sluicegate: not carried out: {why}"


def without_secret(name: str, value: object, hidden: Mapping[str, Any]) -> object:
    """A condition key's value; a parameter that is hidden in the line is hidden here too."""
    top = re.split(r"[./\[]", name.removeprefix("req:"), maxsplit=1)[0]
    return HIDDEN if name.startswith("req:") and conceals(hidden.get(top)) else value


def conceals(value: object) -> bool:
    """Whether anything in parameters made for showing is hidden. The agent's own such word counts too, at no cost."""
    if isinstance(value, str):
        return value == HIDDEN
    if isinstance(value, Mapping):
        return any(map(conceals, value.values()))
    return isinstance(value, list | tuple) and any(map(conceals, value))
