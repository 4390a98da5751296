"""What the web screen holds and shows: the content view "AWS", and a bounded list of flows that keeps no secret."""

import yaml
from mitmproxy import contentviews, http
from mitmproxy import flow as mitmflow
from mitmproxy.addons import view

from addons import wire
from addons.call import Call, call_of
from addons.text import lines

KEPT = 2_000  # flows on the screen; the oldest finished ones go first


class AgentView(view.View):
    """mitmproxy's flow list without sign-ins (they hold tokens and minted secrets), forgetting what is long done."""

    def add(self, flows: list[mitmflow.Flow]) -> None:  # type: ignore[override]
        """Show flows, the private ones excepted."""
        super().add([f for f in flows if not (isinstance(f, http.HTTPFlow) and (c := call_of(f)) and c.private)])
        if len(self._store) > KEPT:
            done = [f for f in self._store.values() if not f.live or (isinstance(f, http.HTTPFlow) and f.response)]
            self.remove([f for f in done if not f.killable][: KEPT // 10])


class AwsView(contentviews.Contentview):
    """An AWS call as people think of it: who, what, with which parameters, what was decided and what was masked."""

    name = "AWS"
    syntax_highlight = "yaml"

    def prettify(self, data: bytes, metadata: contentviews.Metadata) -> str:
        """The view's text."""
        call = call_of(metadata.flow) if isinstance(metadata.flow, http.HTTPFlow) else None
        if call is None or call.decoded is None:
            raise ValueError("not an AWS call that the gateway has read")
        return summary(call)

    def render_priority(self, data: bytes, metadata: contentviews.Metadata) -> float:
        """Before every other view, for our calls only."""
        call = call_of(metadata.flow) if isinstance(metadata.flow, http.HTTPFlow) else None
        return 100.0 if call is not None and call.decoded is not None else -1.0


def summary(call: Call) -> str:
    """A call as YAML text."""
    assert call.decoded
    shown: dict[str, object] = {"operation": f"{call.decoded.service}:{call.decoded.operation}"}
    shown["region"] = call.decoded.region
    if call.session:
        shown["who"] = {
            "subject": call.session.subject,
            "groups": list(call.session.groups),
            "session": call.session.id,
        }
    if call.decision:
        shown["decision"] = {"effect": call.decision.effect, "rule": call.decision.sid, "why": call.decision.why}
        shown["needs"] = [f"{r.item.action} on {r.item.resource}" for r in call.decision.items]
    if call.approval:
        shown["approval"] = {"verdict": call.approval.verdict, "by": call.approval.by}
    if call.refusal:
        shown["refused"] = {"step": call.refusal.step, "code": call.refusal.code, "message": call.refusal.message}
    shown["parameters"] = wire.hide_sensitive_input(call.decoded)
    shown["masked"] = [dict(m) for m in call.masked]
    return lines(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120))
