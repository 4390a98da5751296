"""What the steps share: everything that is opened once from the configuration, and swapped whole by a reload."""

import asyncio
import logging
import secrets
import sys
from dataclasses import dataclass, field, replace
from typing import Any, Self

from addons import config, wire
from addons.approvals.tickets import Tickets
from addons.callers import Callers
from addons.identity import vended as chained
from addons.identity.assumed import AssumedRoles
from addons.identity.oidc import Verifier
from addons.identity.refusal import Refused
from addons.identity.sealed import KeyRing
from addons.identity.session import Session
from addons.identity.upstream import Upstream
from addons.issuers import issuers_of
from addons.ledger.log import Ledger, LedgerUnavailable
from addons.ledger.recording import SessionRecorder
from addons.shared import Shared
from addons.state import private_file, sqlite
from addons.state.store import StoreUnavailable
from certs.authority import Authority
from policy import vended
from policy.policies import PolicySet, load_policies
from policy.problems import Invalid
from policy.redaction import RuleSet, load_rules, rule_set
from policy.session_policy import SessionPolicy

# Keys that a reload applies.
RELOADED = ("identity", "groups", "redaction", "access_request", "other_hosts", "limits", "wire")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a reload replaces, in one assignment."""

    gateway: config.Gateway
    policies: PolicySet
    redaction: RuleSet
    assumes: dict[str, config.Assume] = field(init=False)  # role that was signed in to -> role that is assumed
    session_policies: dict[tuple[str, ...], asyncio.Future[tuple[SessionPolicy, ...]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        groups = self.gateway.config.groups.values()
        assumes = {role: group.assume for group in groups if group.assume for role in group.roles}
        object.__setattr__(self, "assumes", assumes)
        object.__setattr__(self, "session_policies", {})

    @classmethod
    def load(cls, gateway: config.Gateway) -> Self:
        """Load the policies and the redaction rules that a configuration names. Raises `Invalid`."""
        problems = []
        try:
            policies = load_policies(list(gateway.policies.values()))
        except Invalid as error:
            problems += error.problems
        try:
            kept = gateway.state / "rules.checked" if gateway.state.is_dir() else None
            redaction = load_rules(list(gateway.redaction), kept)
            redaction = rule_set((*redaction.rules, *vended.rules()))  # whatever the configuration says
        except Invalid as error:
            problems += error.problems
        if problems:
            raise Invalid(problems)
        return cls(gateway, policies, redaction)

    def bound(self, session: Session, role: str) -> tuple[str, ...]:
        """The policy files that say what a session may do as one of its roles: those of its groups that have it."""
        groups = self.gateway.config.groups
        names = [
            str(self.gateway.policies[name])
            for group in session.groups
            if group in groups and role in groups[group].roles
            for name in groups[group].policies
        ]
        return tuple(dict.fromkeys(names))

    def roles(self, groups: tuple[str, ...]) -> set[str]:
        """The roles that members of these groups may sign in to."""
        bound = self.gateway.config.groups
        return {role for group in groups if group in bound for role in bound[group].roles}


def indexing() -> None:
    """Say on standard error why the first start takes longer."""
    print("sluicegate: making an index of AWS's hosts, once (some seconds) ...", file=sys.stderr, flush=True)


class Services:
    """Opened when made, which touches disk only; started by `start`, which asks AWS who we are."""

    def __init__(self, gateway: config.Gateway) -> None:
        """Open everything. Raises `Invalid` or `ValueError` with what is wrong and how to mend it."""
        settings = gateway.config
        gateway.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if gateway.state.stat().st_mode & 0o077:
            raise ValueError(f"others can look into {gateway.state}, where the keys are: chmod 700 {gateway.state}")
        self.rules = Rules.load(gateway)
        wire.load(gateway.state / "wire", indexing)
        self.authority = Authority.open(gateway.state / "ca", wire.dns_suffixes())
        self.ring = KeyRing.open(gateway.state / "keyring.json")
        self.verifier = Verifier(issuers_of(gateway), ca_bundle=gateway.ca, proxy=settings.upstream.proxy)
        self.upstream = Upstream(
            profile=settings.upstream.credentials.profile,
            endpoint=settings.upstream.endpoint,
            ca=gateway.ca,
            proxy=settings.upstream.proxy,
            connect_timeout=settings.upstream.connect_timeout,
            read_timeout=settings.upstream.read_timeout,
        )
        self.assumed = AssumedRoles(self.upstream)
        self.mask_key = private_file.read_or_create(gateway.state / "mask.key", secrets.token_bytes(32))
        self.ledger = Ledger(gateway.audit)
        self.recorder = SessionRecorder(gateway.sessions)
        self.tickets = Tickets(settings.approvals.timeout)
        try:
            self.shared = Shared(sqlite.SqliteStore(gateway.state / sqlite.FILE))
        except StoreUnavailable as error:
            raise ValueError(str(error)) from None
        self.callers = Callers(
            self.verifier,
            self.shared,
            lambda: self.rules.gateway.config.identity.proxy_authorization == "required",
        )
        self.account: str | None = None
        self.partition = ""  # of the account; known with it
        self.stale = ""  # why the last reload did not count

    def current(self, session: Session) -> Session:
        """A session with the groups that it has now, whatever it had at sign-in.

        Raises `Refused` where its issuer no longer signs anybody in, or its groups no longer have one of its roles.
        """
        found = replace(session, groups=self.verifier.groups(session.issuer, session.claims))
        bound = self.rules.roles(found.groups)
        for role in found.roles:
            if role not in bound:
                raise Refused("AccessDenied", f"the groups of {found.subject} no longer have the role {role}.")
        return found

    def account_of_role(self, role: str) -> str:
        """The account that calls of a role go to: that of the role which is assumed for it, or the gateway's own."""
        assume = self.rules.assumes.get(role)
        return assume.role.split(":")[4] if assume else self.account or ""

    def account_of(self, session: Session | None) -> str:
        """The account that a session's calls go to; without a session, the gateway's own."""
        return chained.account(session, self.account_of_role(session.role)) if session else self.account or ""

    @property
    def ready(self) -> bool:
        """Whether calls may be decided: the account is known and the ledger was opened."""
        return self.account is not None

    @property
    def problem(self) -> str:
        """Why no call can be served now, or ""."""
        if not self.ready:
            return "starting"
        return "" if self.ledger.healthy else "the audit log can't be written"

    @property
    def warning(self) -> str:
        """What an operator should see to though calls are served, or ""."""
        if frozen := self.shared.stops.frozen():
            return f"every call is refused: frozen by {frozen.by}"
        return self.stale or ("" if self.recorder.healthy else "sessions can't be recorded")

    async def start(self) -> None:
        """Open the ledger and learn the account, once. Raises `LedgerUnavailable` or `UpstreamUnavailable`."""
        if self.ready:
            return
        await self.ledger.start()
        found = await asyncio.to_thread(self.upstream.identity)
        detail = {"account": found.account, "partition": found.partition, "policy": self.rules.policies.hash}
        await self.ledger.event("start", config=str(self.rules.gateway.file), **detail)
        self.account, self.partition = found.account, found.partition

    async def stop(self) -> None:
        """Write the closing event."""
        self.account = None
        self.tickets.close()
        self.assumed.close()
        await self.note("stop")
        await self.ledger.close()
        self.recorder.close()
        await self.shared.close()

    async def reload(self) -> bool:
        """Read the configuration and its files again; a broken one leaves the old in force, loudly."""
        file = self.rules.gateway.file
        try:
            new = await asyncio.to_thread(lambda: Rules.load(config.load(file)))
            state = self.rules.gateway.state
            issuers = await asyncio.to_thread(issuers_of, replace(new.gateway, state=state))
            self.verifier.configure(issuers)
        except Exception as error:  # whatever it is: who watches the files must go on, and people must know
            broken = error.problems if isinstance(error, Invalid) else [f"internal error ({type(error).__name__})"]
            problems = [str(problem) for problem in broken]
            self.stale = "the last reload was refused, the old policy is in force: see standard error"
            text = "\n".join(problems)
            print(f"sluicegate: reload refused, the old policy stays in force:\n{text}", file=sys.stderr, flush=True)
            await self.note("reload-failed", problems=problems)
            return False
        old, read = self.rules.gateway.config, new.gateway.config
        # What was opened once at the start stays as it is, whole: half of a change would be neither.
        kept = replace(old, **{name: getattr(read, name) for name in RELOADED})
        self.rules, self.stale = replace(new, gateway=replace(new.gateway, config=kept)), ""
        if restart := [
            name for name in config.Config.__dataclass_fields__ if getattr(kept, name) != getattr(read, name)
        ]:
            log.warning("sluicegate: changed, and read at the next start only: %s", ", ".join(restart))
        await self.note("reload", policy=new.policies.hash, needsRestart=restart)
        return True

    async def reread_keys(self) -> None:
        """Take up a rotation of the keys that seal credentials; where the file is broken, go on with those before."""
        try:
            await asyncio.to_thread(self.ring.reread)
        except (OSError, ValueError) as error:
            print(f"sluicegate: the key ring can't be read, the old keys stay: {error}", file=sys.stderr, flush=True)
            await self.note("keys-unreadable")
            return
        await self.note("keys-reread", keys=[kid for kid, _ in self.ring.listed()])

    async def note(self, kind: str, **fields: Any) -> None:
        """Write an event that nothing waits for; where it can't be written, standard error says so."""
        try:
            await self.ledger.event(kind, **fields)
        except LedgerUnavailable as error:
            print(f"sluicegate: the event {kind} could not be written: {error}", file=sys.stderr, flush=True)
