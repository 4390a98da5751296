"""Role chaining: the session that acts with credentials which AWS returned to another, as the agent gets it, sealed.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining. The new session is the old one
with the role's ARN added: the same subject, the same id, so that whoever revokes or freezes the one ends the other, and
every role that was assumed on the way must be bound to the subject's groups at each call. It ends when AWS says so.
"""

import re
from collections.abc import Collection
from dataclasses import replace

from addons.identity.session import Keys, Session

LONGEST = 5  # roles assumed one from the other
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}):role/[\w+=,.@/-]{1,512}", re.ASCII)


def reason_not_to(session: Session, role: object, bound: Collection[str], partition: str) -> str:
    """Why a session may not assume a role, and what would help; "" where it may, as far as the configuration goes.

    `bound`: the ARNs of the roles that the session's groups are bound to.
    """
    if not isinstance(role, str) or not (arn := _ROLE.fullmatch(role)):
        return "the role's ARN is missing, or is none: arn:aws:iam::111122223333:role/NAME"
    if role not in bound:
        return (
            f"no group of {session.subject} has the role {role}: what is done with it would answer to no policy. "
            "Add it to the roles of a group in gateway.yaml"
        )
    if arn[1] != partition:
        return f"the role is in the partition {arn[1]}, and the gateway's account in {partition}"
    if len(session.assumed) >= LONGEST:
        return f"{LONGEST} roles were assumed one from the other already"
    return ""


def account(session: Session, own: str) -> str:
    """The 12 digits of the account that a session's calls go to; `own`: the gateway's."""
    return session.assumed[-1].split(":")[4] if session.assumed else own


def acting(session: Session, keys: Keys, expires: float, *, role: str | None = None, label: str = "") -> Session:
    """The session that acts with keys which AWS returned to `session`, until `expires` (seconds since the epoch).

    `role`: the ARN that the keys act as, under the name `label`; None: they act for the session itself.
    """
    found = replace(session, keys=keys, expires=int(expires), groups=())  # which are decided at each call, from claims
    return replace(found, assumed=(*session.assumed, role), label=label) if role else found
