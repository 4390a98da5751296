"""approve: hold a call until a named person decides, inside the hook of the steps.

mitmproxy's own `flow.intercept` is not used: a kill of an intercepted flow never answers its client. The web view's
resume and kill buttons call the two methods that are laid over the flow while it waits.
"""

import asyncio
import time
from hashlib import sha256

from mitmproxy import connection, ctx, hooks, http
from mitmproxy import flow as mitmflow

from addons import wire
from addons.approvals.tickets import Ticket, TooMany, Verdict, ask_hash
from addons.authorize import decide
from addons.call import Approval, Call, Refusal, call_of, passing
from addons.flows import has_left, refuse
from addons.identity.refusal import Refused
from addons.identity.session import Session
from addons.services import Services
from addons.text import short

WATCH = 1.0  # seconds between looks for a client that may have left


class Approve:
    """Fills in `call.approval`; afterwards the policies are asked again, for they may have changed."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.held: dict[str, tuple[connection.Client, Ticket]] = {}  # flow id -> who waits

    async def aws_call(self, flow: http.HTTPFlow) -> None:
        """Hold what needs a person, refuse what the person or the clock refused."""
        call = passing(flow)
        if call is None or not call.decision or call.decision.effect != "approve":
            return None
        if ctx.master.addons.get("view") is None:
            return self._refuse(
                flow, call, "this call needs a person's yes, and this gateway has no screen to give it on."
            )
        try:
            call.ticket = ticket = self._ticket(call)
        except TooMany:
            return self._refuse(flow, call, "too many calls wait for a person already; wait for answers first.")
        if ticket.state == "spent":
            text = f"this call was already sent once, under ticket {ticket.id}: {ticket.outcome or 'outcome unknown'}."
            return self._refuse(flow, call, text)
        if ticket.state == "denied":
            return self._refuse(flow, call, f"refused by {ticket.by}, ticket {ticket.id}. {ticket.reason}")
        try:
            await self._ask(flow, call, ticket)
        finally:
            self.services.tickets.release(ticket)

    async def _ask(self, flow: http.HTTPFlow, call: Call, ticket: Ticket) -> None:
        await self.services.ledger.event("hold", ticket=ticket.id, eventID=call.id, **ticket.summary)
        verdict = await self._hold(flow, call, ticket)
        await self.services.ledger.event("hold-ended", ticket=ticket.id, eventID=call.id, verdict=verdict, by=ticket.by)
        if verdict == "gone" or has_left(flow.client_conn):
            call.refusal = Refusal("approve", "ClientGone", "the caller left while its call was held; not sent.")
            if flow.killable:
                flow.kill()
            return None
        if verdict != "approved":
            why = {"denied": f"refused by {ticket.by}. {ticket.reason}", "timed out": "nobody decided in time."}
            return self._refuse(flow, call, f"{why.get(verdict, verdict)} (ticket {ticket.id})")
        try:
            call.session = self._still(flow, call)
        except Refused as error:
            return self._refuse(flow, call, f"approved, but not sent: {error.message}")
        call.decision = decide(self.services, call)
        if call.decision.effect == "deny":
            return self._refuse(flow, call, f"approved, but the policy has changed since: {call.decision.why}")
        if not self.services.tickets.spend(ticket):
            return self._refuse(flow, call, f"ticket {ticket.id} was used already.")
        return None

    def _still(self, flow: http.HTTPFlow, call: Call) -> Session:
        """The caller as it is now: keys, issuers and groups may be others than when the call came. Raises `Refused`."""
        assert call.request
        token = call.request.get("x-amz-security-token") or ""
        session, _ = self.services.ring.unseal(call.access_key or "", token, now=time.time())
        self.services.callers.check(flow.client_conn, session)
        return self.services.current(session)

    def _refuse(self, flow: http.HTTPFlow, call: Call, text: str) -> None:
        refuse(flow, call, Refusal("approve", "AccessDenied", text.strip()))

    def _ticket(self, call: Call) -> Ticket:
        assert call.decoded
        assert call.session
        assert call.decision
        assert call.request
        assert self.services.account
        decoded, session, unknown = call.decoded, call.session, list(call.decoded.unknown)
        # No parameters, but sent: a streamed payload, unknown members. A yes to one content is no yes to another.
        whole = bool(unknown) or wire.has_streaming_input(decoded)
        content = {"(content)": content_of(call)} if whole else {}
        # A yes to the agent's own call is none to the same call with keys that AWS returned to it.
        who = " ".join((session.id, *session.assumed, *(["returned"] if session.keys else [])))
        ask = ask_hash(
            who,
            self.services.account_of(session),
            decoded.region,
            decoded.service,
            decoded.operation,
            wire.ask_params(decoded) | content,
        )
        summary = {
            "subject": session.subject,
            "groups": list(session.groups),
            "sessionId": session.id,
            **({"assumed": list(session.assumed)} if session.assumed else {}),
            "operation": f"{decoded.service}:{decoded.operation}",
            "region": decoded.region,
            "resources": short(sorted({result.item.resource for result in call.decision.items}), 2_000, 100),
            "rule": call.decision.sid,
            # For people, and as long as a question lives: what is longer than a screen would fill memory and disk.
            "params": short(
                wire.hide_sensitive_input(decoded)
                | ({"(not known)": unknown} if unknown else {})
                | ({"(content)": f"not read, {announced(call.request)} bytes"} if call.upload else {})
            ),
            "sourceIPAddress": call.source,
        }
        limits = self.services.rules.gateway.config.limits
        return self.services.tickets.take(
            ask,
            call.request.get("amz-sdk-invocation-id"),
            summary,
            held=limits.held,
            held_each=limits.held_each,
        )

    async def _hold(self, flow: http.HTTPFlow, call: Call, ticket: Ticket) -> Verdict:
        tickets, started = self.services.tickets, time.monotonic()

        def resume() -> None:
            tickets.decide(ticket, "approved", screen_user(flow))

        def kill() -> None:
            tickets.decide(ticket, "denied", screen_user(flow))

        flow.resume, flow.kill = resume, kill  # type: ignore[method-assign]
        self.held[flow.id] = flow.client_conn, ticket
        flow.intercepted = True
        verdict: Verdict = "gone"
        watch: asyncio.Future[None] | None = None
        try:
            await self._show(flow)
            if call.upload:
                watch = asyncio.ensure_future(self._watch(flow.client_conn, ticket))
            if ticket.state == "denied":  # before there was anybody waiting to be told
                verdict = "denied"
            elif flow.client_conn.connected:
                verdict = await tickets.wait(ticket)
        finally:
            if watch:
                watch.cancel()
            del self.held[flow.id], flow.resume, flow.kill
            flow.intercepted = False
            call.approval = Approval(verdict, ticket.by, time.monotonic() - started)
            await self._show(flow)
        return verdict

    async def _watch(self, client: connection.Client, ticket: Ticket) -> None:
        """Look for the end of a client that nobody reads from: its body waits, with the end behind it."""
        while not has_left(client):  # noqa: ASYNC110  the kernel tells nobody
            await asyncio.sleep(WATCH)
        self.services.tickets.gone(ticket)

    async def _show(self, flow: mitmflow.Flow) -> None:
        ctx.master.addons.get("view").add([flow])  # held from its head on, it is not there yet
        await ctx.master.addons.trigger_event(hooks.UpdateHook([flow]))

    def response(self, flow: http.HTTPFlow) -> None:
        """Keep what came of an approved call, for a retry of it: nothing is sent twice."""
        call = call_of(flow)
        if call and call.ticket and call.sent and flow.response:
            whole = call.upstream_status is not None
            told = f"AWS answered with status {call.upstream_status}" if whole else "its body was refused on the way"
            call.ticket.outcome = told

    def client_disconnected(self, client: connection.Client) -> None:
        """A caller that has gone is never served."""
        for waiting, ticket in list(self.held.values()):
            if waiting is client:
                self.services.tickets.gone(ticket)


def content_of(call: Call) -> str:
    """What tells one content from another. A streamed one whose hash nobody states is like no other call's.

    So a yes to it holds for the call that was asked about and the SDK's retries of it, which bring the same.
    """
    assert call.request
    if call.upload is None:
        return sha256(call.request.body or b"").hexdigest()
    return call.upload.stated or call.request.get("amz-sdk-invocation-id") or call.id


def announced(head: wire.HttpRequest) -> str:
    """The size of a content that has not been read, as its sender gives it."""
    return head.get("x-amz-decoded-content-length") or head.get("content-length") or "an unknown number of"


def screen_user(flow: mitmflow.Flow) -> str:
    """Who pressed the button: the web handler names the person; mitmproxy's own commands can't."""
    return str(flow.metadata.get("sluicegate_approver", "local-operator"))
