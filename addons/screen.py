"""What the web screen holds and shows: a comment a call, the content view "AWS", and a list that keeps no secret."""

from collections.abc import Sequence

import yaml
from mitmproxy import contentviews, http
from mitmproxy import flow as mitmflow
from mitmproxy.addons import view

from addons import wire
from addons.call import Call, call_of
from addons.text import lines, one_line, short

KEPT = 2_000  # flows on the screen; the oldest finished ones go first
LARGEST = 64 * 1024 * 1024  # bytes of their bodies
GROWTH = 8 << 20  # bytes that come until all are counted again
VERDICTS = {
    "approved": "APPROVED",
    "denied": "DENIED",
    "timed out": "TIMED OUT",
    "gone": "CALLER GONE",
    "superseded": "SUPERSEDED by a retry",
    "shutting down": "GATEWAY STOPPED",
}


def shown_call(flow: mitmflow.Flow) -> Call | None:
    """The AWS call of a flow, if it is one."""
    return call_of(flow) if isinstance(flow, http.HTTPFlow) else None


class AgentView(view.View):
    """mitmproxy's flow list without sign-ins (they hold tokens and minted secrets), forgetting what is long done."""

    grown = 0  # bytes since all were counted; a class's, as mitmproxy's own view becomes one of these

    def add(self, flows: list[mitmflow.Flow]) -> None:  # type: ignore[override]
        """Show flows, the private ones excepted."""
        super().add([f for f in flows if not ((call := shown_call(f)) and call.private)])
        if len(self._store) > KEPT:
            self._forget()

    def _forget(self) -> None:
        """Let go of the oldest calls that have ended, until the rest is few enough and small enough."""
        self.grown = 0
        over, many = sum(map(size, self._store.values())) - LARGEST, len(self._store) - KEPT * 3 // 4
        if over <= 0 and len(self._store) <= KEPT:
            return
        gone: list[mitmflow.Flow] = []
        for f in self._store.values():
            if over <= 0 and many <= len(gone):
                break
            if ended(f):
                gone.append(f)
                over -= size(f)
        self.remove(gone)

    def update(self, flows: Sequence[mitmflow.Flow]) -> None:
        """Say in the list what each call is, and how it stands: while it is held, and when it has ended."""
        due = [f for f in flows if not (call := shown_call(f)) or (not call.private and (call.ticket or call.recorded))]
        for f in due:
            if call := shown_call(f):
                f.comment = comment(call)
        if due:
            super().update(due)
        self.grown += sum(map(size, due))
        if self.grown > GROWTH:
            self._forget()


def ended(flow: mitmflow.Flow) -> bool:
    """Whether nothing more comes of a flow."""
    answered = isinstance(flow, http.HTTPFlow) and flow.response is not None
    return (answered or not flow.live) and not flow.killable


def size(flow: mitmflow.Flow) -> int:
    """Bytes of a flow's bodies."""
    if not isinstance(flow, http.HTTPFlow):
        return 0
    answer = flow.response.raw_content if flow.response else None
    return len(flow.request.raw_content or b"") + len(answer or b"")


class AwsView(contentviews.Contentview):
    """An AWS call as people think of it: who, what, with which parameters, what was decided and what was masked."""

    name = "AWS"
    syntax_highlight = "yaml"

    def prettify(self, data: bytes, metadata: contentviews.Metadata) -> str:
        """The view's text."""
        call = shown_call(metadata.flow) if metadata.flow else None
        if call is None or call.private:
            raise ValueError("not an AWS call of this gateway")
        return summary(call)

    def render_priority(self, data: bytes, metadata: contentviews.Metadata) -> float:
        """Before every other view, for our calls only."""
        call = shown_call(metadata.flow) if metadata.flow else None
        return 100.0 if call is not None and not call.private else -1.0


def comment(call: Call) -> str:
    """One line for the list: how it stands, who, operation, target, rule. Each part has its own room, so that no long
    name pushes another out of sight."""
    words = [state(call) + ":"]
    if call.session:
        words.append(one_line(call.session.subject, 60))
    if call.decoded:
        words.append(one_line(f"{call.decoded.service}:{call.decoded.operation}", 80))
    if call.decision:
        targets = sorted({result.item.resource for result in call.decision.items})
        words += ["on", ", ".join(one_line(t, 120) for t in targets[:2])] if targets else []
        words.append(f"and {len(targets) - 2} more" if len(targets) > 2 else "")
        words.append(f"[{one_line(call.decision.sid, 60)}]" if call.decision.sid else "")
    words.append(f"ticket {call.ticket.id}" if call.ticket else "")
    if call.refusal and not (call.approval and call.approval.verdict != "approved"):
        words.append("- " + one_line(call.refusal.message, 120))
    words.append(f"- {count(call)} masked" if call.masked else "")
    return " ".join(word for word in words if word)


def state(call: Call) -> str:
    """How a call stands, in a word or two."""
    if call.approval and (call.approval.verdict != "approved" or not call.refusal):
        by = f" by {one_line(call.approval.by, 40)}" if call.approval.by else ""
        return VERDICTS.get(call.approval.verdict, call.approval.verdict.upper()) + by
    if call.refusal:
        return "REFUSED"
    if call.ticket:
        return "HELD"
    return "allowed" if call.decision and call.decision.effect == "allow" else "..."


def count(call: Call) -> int:
    """How many values were masked in the answer."""
    return sum(int(m.get("locations", 1)) for m in call.masked)


def summary(call: Call) -> str:
    """A call as YAML text: what a person decides by comes first, the agent's own words last."""
    shown: dict[str, object] = {}
    if decoded := call.decoded:
        shown["operation"] = f"{decoded.service}:{decoded.operation}"
        shown["region"] = decoded.region
    if call.session:
        shown["who"] = {
            "subject": call.session.subject,
            "groups": list(call.session.groups),
            "session": call.session.id,
        } | ({"as": list(call.session.assumed)} if call.session.assumed else {})
    if call.decision:
        shown["decision"] = {"effect": call.decision.effect, "rule": call.decision.sid, "why": call.decision.why}
        shown["needs"] = [f"{r.item.action} on {r.item.resource}" for r in call.decision.items]
    if call.approval:
        shown["approval"] = {"verdict": call.approval.verdict, "by": call.approval.by}
    elif call.ticket:
        shown["approval"] = f"waits for a person, ticket {call.ticket.id}"
    if call.refusal:
        shown["refused"] = {"step": call.refusal.step, "code": call.refusal.code, "message": call.refusal.message}
    if call.sent:
        shown["masked in the answer"] = [dict(m) for m in call.masked] or "nothing"
    if call.decoded and call.decoded.unknown:
        shown["members that are not known"] = list(call.decoded.unknown)
    if call.decoded:
        shown["parameters"] = wire.hide_sensitive_input(call.decoded)
    return lines(yaml.safe_dump(short(shown), sort_keys=False, allow_unicode=True, width=100))
