"""Roles that the gateway assumes for its agents: real credentials of their own for each session, never shared.

AWS learns who is behind a call: the subject is the role session's name, its source identity and one of its tags, all
of which CloudTrail shows and trust policies can ask for. Tags are transitive: they stay when the agent assumes further
roles. https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html gives parameters and limits; role
chaining, which this is where the gateway's own credentials are a role's, ends after an hour.
"""

import asyncio
import functools
import hashlib
import logging
import re
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from botocore.exceptions import ClientError

from addons.identity.renewing import USABLE, Needed, Renewing, UpstreamUnavailable
from addons.identity.session import Keys, Session
from addons.identity.upstream import Upstream

log = logging.getLogger(__name__)

DURATION = 3600  # seconds: the longest by role chaining, and no role allows less
EARLY = 20 * 60  # seconds before the end from which they are renewed
KEPT = 5_000  # sets of credentials; those used longest ago go first
THREADS = 8  # calls of STS at one time
EACH = 4  # of them for one subject, which may ask for much by `session_policy: call`
NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)  # RoleSessionName, SourceIdentity
VALUE = re.compile(r"[A-Za-z0-9 _.:/=+@-]{0,256}")  # of a tag
TOO_LARGE = "PackedPolicyTooLarge"
Policies = tuple[tuple[str, str], ...]
MENDS = {  # by the beginning of AWS's error code
    "AccessDenied": (
        "let its trust policy allow the gateway's own identity sts:AssumeRole, sts:TagSession and "
        "sts:SetSourceIdentity, and set external_id if it asks for one"
    ),
    TOO_LARGE: "set session_policy: none for its groups",
    "MalformedPolicyDocument": "set session_policy: none for its groups, and report this",
    "ExpiredToken": "sign the gateway in again",
    "RegionDisabled": "set another region in the gateway's AWS profile",
}


@dataclass(frozen=True, slots=True)
class Assumption:
    """What AWS is asked for. Two sessions have no two of them equal."""

    role: str  # ARN
    external_id: str | None = field(repr=False)
    name: str  # RoleSessionName and SourceIdentity
    tags: tuple[tuple[str, str], ...]
    policies: Policies  # (form, session policy), the next one where AWS finds one too large; or none

    @classmethod
    def of(cls, session: Session, role: str, external_id: str | None = None, policies: Policies = ()) -> "Assumption":
        """A role assumed for a session."""
        return _of(session.id, session.issuer, session.subject, role, external_id, policies)

    def parameters(self, policy: str | None) -> dict[str, Any]:
        """The parameters of AssumeRole."""
        optional = {"ExternalId": self.external_id, "Policy": policy}
        return {
            "RoleArn": self.role,
            "RoleSessionName": self.name,
            "SourceIdentity": self.name,
            "Tags": [{"Key": name, "Value": value} for name, value in self.tags],
            "TransitiveTagKeys": [name for name, _ in self.tags],
            "DurationSeconds": DURATION,
        } | {name: value for name, value in optional.items() if value}


@functools.lru_cache(maxsize=KEPT)  # asked for at every call
def _of(session: str, issuer: str, subject: str, role: str, external_id: str | None, policies: Policies) -> Assumption:
    """The session's id is in the tags: it keeps sessions apart."""
    tags = {"issuer": issuer, "session": session, "subject": subject}
    shown = ((name, named(value, VALUE)) for name, value in tags.items())
    return Assumption(role, external_id, named(subject), tuple(shown), policies)


class AssumedRoles:
    """The credentials of all sessions that have any of their own."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        # Not the loop's own threads: an STS that does not answer would keep all else waiting.
        self._threads = ThreadPoolExecutor(THREADS, "assume-role")
        self._kept: OrderedDict[Assumption, Renewing] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # by subject

    def __repr__(self) -> str:
        return f"AssumedRoles({len(self._kept)})"

    async def credentials(self, wanted: Assumption) -> Keys:
        """The credentials to sign with now; see `Renewing.keys`. Raises `UpstreamUnavailable`."""
        if (found := self._kept.get(wanted)) is None:
            turn = self._turns.setdefault(wanted.name, asyncio.Semaphore(EACH))
            found = self._kept[wanted] = Renewing(functools.partial(self._assume, wanted), self._threads, turn)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(wanted)
        return await found.keys()

    def close(self) -> None:
        """Forget all of them, and wait for no thread."""
        self._kept.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _assume(self, wanted: Assumption) -> tuple[Keys, Needed]:
        """Ask AWS. Blocking."""
        for form, policy in wanted.policies or (("none", ""),):
            try:
                answer = self._upstream.assume(wanted.parameters(policy))
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", "unknown"))
                if code.startswith(TOO_LARGE) and form != wanted.policies[-1][0]:
                    log.warning("sluicegate: a session policy of the form %r is too large for %s", form, wanted.role)
                    continue
                raise UpstreamUnavailable(_refused(wanted.role, code)) from None
            return _read(answer)
        raise AssertionError("unreachable")


def named(subject: str, taken: re.Pattern[str] = NAME) -> str:
    """A subject as AWS takes it: itself, or its beginning and a hash where AWS would refuse it."""
    if taken.fullmatch(subject):
        return subject
    digest = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9_+=.@-]', '-', subject)[:47]}-{digest}"


def _read(answer: Any) -> tuple[Keys, Needed]:
    found = answer["Credentials"]
    end: float = found["Expiration"].timestamp()

    def needed(seconds: int | None) -> bool:  # by the clock on the wall: a laptop that slept has to know
        return end - time.time() < (EARLY if seconds is None else seconds)

    if needed(USABLE):
        raise UpstreamUnavailable("AWS gave credentials that have ended already: set the gateway's clock (NTP).")
    return Keys(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]), needed


def _refused(role: str, code: str) -> str:
    """Why a role could not be assumed, by AWS's code alone: its message may quote what only AWS should see."""
    mend = next((mend for start, mend in MENDS.items() if code.startswith(start)), "try `aws sts assume-role` for it")
    return f"AWS refused the role {role} to the gateway ({code}): {mend}."
