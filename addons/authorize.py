"""authorize: may it. The policies bound to the caller's groups decide; what they don't allow is refused.

A session that assumed roles answers to the policies of each role on the way: the worst of their decisions counts.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace

from mitmproxy import http

from addons import custody
from addons.call import Call, Refusal, passing
from addons.flows import refuse
from addons.identity import vended as chained
from addons.identity.session import Session
from addons.services import Services
from addons.wire import Decoded, models
from policy import vended
from policy.evaluate import WORST
from policy.model import Decision, Request


class Authorize:
    """Fills in `call.decision`."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def aws_call(self, flow: http.HTTPFlow) -> None:
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
    rules, decoded, session = services.rules, call.decoded, call.session
    account = call.account = services.account_of(session)
    request = Request(
        service=decoded.service,
        operation=decoded.operation,
        params=decoded.params,
        region=decoded.region,
        account=account,
        partition=decoded.partition,
        candidates=decoded.candidates,
        subject=session.subject,
        groups=session.groups,
        context={"aws:SourceIp": call.source},
    )
    decision = worst([rules.policies.decide(request, rules.bound(session, role)) for role in session.roles])
    if decision.effect != "deny" and decoded.partition != services.partition:
        why = f"the host is in the partition {decoded.partition}, and the gateway's account in {services.partition}"
        return replace(decision, effect="deny", sid=None, why=why)
    # Said before that no statement allows it: no statement could.
    by_policy = decision.effect == "deny" and decision.sid
    if not by_policy and (why := not_to_be_returned(services, session, decoded)):
        return replace(decision, effect="deny", sid=None, why=why)
    if decision.effect != "deny" and (why := custody.foreign_owner(services, session, decoded)):
        return replace(decision, effect="deny", sid=None, why=why)
    if decision.effect != "deny" and (owner := decoded.host_account) not in (None, account):
        # Whose resource a plain name means there, AWS does not say: each must be named by its ARN, as SDKs see to it.
        named = {result.item.resource.split(":")[4] for result in decision.items if result.item.resource != "*"}
        if named != {owner}:
            why = f"the host is account {owner}'s, but the parameters name resources of another"
            return replace(decision, effect="deny", sid=None, why=why)
    if decision.effect != "deny" and decoded.unknown:
        allowed = rules.gateway.config.wire.unknown_members == "allow"  # still: it may have been held for long
        return unmodelled(decision, decoded.unknown, allowed)
    return decision


def worst(decisions: Sequence[Decision]) -> Decision:
    """The decision that counts of several on one call, with what all of them read."""
    found = max(decisions, key=lambda decision: WORST[decision.effect])
    if len(decisions) == 1:
        return found
    return replace(
        found,
        items=tuple(item for decision in decisions for item in decision.items),
        keys={name: value for decision in decisions for name, value in decision.keys.items()},
        missing=tuple(dict.fromkeys(name for decision in decisions for name in decision.missing)),
        policies=tuple(dict.fromkeys(name for decision in decisions for name in decision.policies)),
        charges=tuple(dict.fromkeys(charge for decision in decisions for charge in decision.charges)),
    )


def not_to_be_returned(services: Services, session: Session, decoded: Decoded) -> str:
    """Why the credentials in a call's answer may not go to the agent, not even sealed; "" where there are none."""
    for service, operation in decoded.candidates:
        entry = judged(service, operation)
        if entry.verdict == "deny":
            return f"{service}:{operation} is refused whatever the policies say: {entry.reason}"
        if entry.verdict == "virtualise":
            if len(decoded.candidates) > 1:
                return f"{service}:{operation} returns credentials, and can't be told from another operation"
            bound = services.rules.roles(session.groups)
            role = decoded.params.get(entry.role)
            if entry.role and (why := chained.reason_not_to(session, role, bound, services.partition)):
                return f"{service}:{operation} is refused: {why}"
    return ""


@functools.lru_cache(maxsize=4096)
def judged(service: str, operation: str) -> vended.Entry:
    """What is done about the credentials in an operation's answer."""
    return vended.judge(service, operation, models.operation_model(service, operation).output_shape)


def unmodelled(decision: Decision, names: tuple[str, ...], allowed: bool) -> Decision:
    """A call with members that no model knows: refused where conditions had a say, as they could not see them all."""
    unknown = f"members that are not known ({', '.join(names)})"
    conditional = any(result.conditional for result in decision.items)
    if allowed and not conditional:
        return replace(decision, why=f"{decision.why}, with {unknown}")
    by = ", and the policy decides it by conditions" if conditional else ""
    why = f"the request has {unknown}{by}: upgrade the gateway's botocore"
    return replace(decision, effect="deny", sid=None, why=why)
