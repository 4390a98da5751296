"""authorize: may it. The policies bound to the caller's groups decide; what they don't allow is refused."""

from dataclasses import replace

from mitmproxy import http

from addons.call import Call, Refusal, passing
from addons.flows import refuse
from addons.services import Services
from policy.model import Decision, Request


class Authorize:
    """Fills in `call.decision`."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def request(self, flow: http.HTTPFlow) -> None:
        """Decide, and refuse what is denied."""
        if (call := passing(flow)) is None:
            return
        call.decision = decide(self.services, call)
        if call.decision.effect == "deny":
            refuse(flow, call, Refusal("authorize", "AccessDenied", call.decision.why))


def decide(services: Services, call: Call) -> Decision:
    """Ask the policies of the call's session, as they stand now."""
    assert call.decoded
    assert call.session
    assert services.account
    rules, decoded = services.rules, call.decoded
    request = Request(
        service=decoded.service,
        operation=decoded.operation,
        params=decoded.params,
        region=decoded.region,
        account=services.account,
        partition=decoded.partition,
        candidates=decoded.candidates,
        subject=call.session.subject,
        groups=call.session.groups,
        context={"aws:SourceIp": call.source},
    )
    decision = rules.policies.decide(request, rules.bound(call.session))
    if decision.effect != "deny" and decoded.partition != services.partition:
        why = f"the host is in the partition {decoded.partition}, and the gateway's account in {services.partition}"
        return replace(decision, effect="deny", sid=None, why=why)
    if decision.effect != "deny" and (account := decoded.host_account) not in (None, services.account):
        # Whose resource a plain name means there, AWS does not say: each must be named by its ARN, as SDKs see to it.
        named = {result.item.resource.split(":")[4] for result in decision.items if result.item.resource != "*"}
        if named != {account}:
            why = f"the host is account {account}'s, but the parameters name resources of another"
            return replace(decision, effect="deny", sid=None, why=why)
    if decision.effect != "deny" and decoded.unknown:
        allowed = rules.gateway.config.wire.unknown_members == "allow"  # still: it may have been held for long
        return unmodelled(decision, decoded.unknown, allowed)
    return decision


def unmodelled(decision: Decision, names: tuple[str, ...], allowed: bool) -> Decision:
    """A call with members that no model knows: refused where conditions had a say, as they could not see them all."""
    unknown = f"members that are not known ({', '.join(names)})"
    conditional = any(result.conditional for result in decision.items)
    if allowed and not conditional:
        return replace(decision, why=f"{decision.why}, with {unknown}")
    by = ", and the policy decides it by conditions" if conditional else ""
    why = f"the request has {unknown}{by}: upgrade the gateway's botocore"
    return replace(decision, effect="deny", sid=None, why=why)
