"""custody: which real credentials a call is signed with, and what is added to it so that they serve no stranger.

A session whose role is assumed for real (`assume` of its groups) has credentials of its own, every other the gateway's.
Both belong to one account, which is the account of the call's resources.
"""

import asyncio
import logging
from collections.abc import Sequence

from addons.call import Call
from addons.config import Assume
from addons.identity.assumed import Assumption
from addons.identity.session import Keys, Session
from addons.identity.upstream import UpstreamUnavailable
from addons.services import Services
from addons.wire import Decoded, Headers, owners
from policy import session_policy
from policy.evaluate import Statement
from policy.session_policy import SessionPolicy

log = logging.getLogger(__name__)


async def credentials(services: Services, call: Call) -> Keys:
    """What to sign a decided call with. Raises `UpstreamUnavailable`."""
    assert call.session
    assert call.decision
    session = call.session
    if services.account_of(session) != call.account:
        raise UpstreamUnavailable("the groups were reloaded while this call was decided on: repeat it.")
    if session.keys:  # it assumed a role through the gateway, and acts with what AWS gave it for that
        return session.keys
    if (role := services.rules.assumes.get(session.role)) is None:
        return await services.upstream.credentials()
    policies = await _policies(services, call, session, role)
    call.signed_as = {"role": role.role, "sessionPolicy": policies[0].form if policies else "none"}
    return await services.assumed.credentials(Assumption.of(session, role.role, role.external_id, policies))


async def _policies(services: Services, call: Call, session: Session, role: Assume) -> tuple[SessionPolicy, ...]:
    """The session policy, the finest form first; none where none is wanted."""
    if role.session_policy == "none":
        return ()
    rules = services.rules
    bound = rules.bound(session, session.role)
    if role.session_policy == "call":
        assert call.decision
        accounts = _accounts(services, session) | session_policy.named_accounts(rules.policies.statements(bound))
        return session_policy.of_items([result.item for result in call.decision.items], accounts)
    key = (role.role, *bound)
    if (made := rules.session_policies.get(key)) is None:
        statements, accounts = rules.policies.statements(bound), _accounts(services, session)
        work = asyncio.to_thread(_compiled, role.role, statements, accounts)  # some 10 ms, once
        made = rules.session_policies[key] = asyncio.ensure_future(work)
    return made.result() if made.done() else await asyncio.shield(made)


def _compiled(role: str, statements: Sequence[Statement], accounts: set[str]) -> tuple[SessionPolicy, ...]:
    made = session_policy.of_statements(statements, accounts)
    if made[0].form != session_policy.FINEST:
        text = "sluicegate: the policies are too long for a session policy of %s, which has the form %r instead"
        log.warning(text, role, made[0].form)
    return made


def _accounts(services: Services, session: Session) -> set[str]:
    """The accounts that are no strangers' to a session."""
    return {services.account_of(session), *services.rules.gateway.config.upstream.accounts}


def foreign_owner(services: Services, session: Session, decoded: Decoded) -> str:
    """Why a call may not name the owner of a bucket that it names, or ""."""
    if decoded.service != "s3":
        return ""
    if owners.stranger(decoded, _accounts(services, session)) is not None:
        return "the call expects a bucket of an account that is neither its own nor in upstream.accounts"
    return ""


def owner_headers(services: Services, call: Call) -> Headers:
    """The headers by which AWS serves a call only if the bucket is ours, where the agent did not send them."""
    assert call.decoded
    return owners.missing(call.decoded, call.account, services.rules.gateway.config.upstream.accounts)
