"""What the steps share: everything that is opened once from the configuration, and swapped whole by a reload."""

import asyncio
import logging
import secrets
import sys
from dataclasses import dataclass, replace
from typing import Any, Self

from addons import config, wire
from addons.approvals.tickets import Tickets
from addons.identity import private_file
from addons.identity.local import LocalIssuer
from addons.identity.oidc import Issuer, Verifier
from addons.identity.sealed import KeyRing
from addons.identity.session import Session
from addons.identity.upstream import Upstream
from addons.ledger.log import Ledger, LedgerUnavailable
from addons.ledger.recording import SessionRecorder
from certs.authority import Authority
from policy.policies import PolicySet, load_policies
from policy.problems import Invalid
from policy.redaction import RuleSet, load_rules

RELOADED = ("groups", "redaction", "access_request", "other_hosts", "limits", "wire")  # keys that a reload applies
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a reload replaces, in one assignment."""

    gateway: config.Gateway
    policies: PolicySet
    redaction: RuleSet

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
        except Invalid as error:
            problems += error.problems
        if problems:
            raise Invalid(problems)
        return cls(gateway, policies, redaction)

    def bound(self, session: Session) -> tuple[str, ...]:
        """The policy files of a session: those of its groups that have the role that it signed in to."""
        groups = self.gateway.config.groups
        names = [
            str(self.gateway.policies[name])
            for group in session.groups
            if group in groups and session.role in groups[group].roles
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
        issuers = [Issuer(str(i.issuer), i.audience, i.groups_claim) for i in settings.identity.issuers]
        if settings.identity.local:
            issuers.append(LocalIssuer.open(gateway.state).issuer())
        self.verifier = Verifier(issuers, ca_bundle=gateway.ca, proxy=settings.upstream.proxy)
        self.upstream = Upstream(
            profile=settings.upstream.credentials.profile,
            endpoint=settings.upstream.endpoint,
            ca=gateway.ca,
            proxy=settings.upstream.proxy,
            connect_timeout=settings.upstream.connect_timeout,
            read_timeout=settings.upstream.read_timeout,
        )
        self.mask_key = private_file.read_or_create(gateway.state / "mask.key", secrets.token_bytes(32))
        self.ledger = Ledger(gateway.audit)
        self.recorder = SessionRecorder(gateway.sessions)
        self.tickets = Tickets(settings.approvals.timeout)
        self.account: str | None = None
        self.partition = ""  # of the account; known with it
        self.stale = ""  # why the last reload did not count

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
        await self.note("stop")
        await self.ledger.close()
        self.recorder.close()

    async def reload(self) -> bool:
        """Read the configuration and its files again; a broken one leaves the old in force, loudly."""
        file = self.rules.gateway.file
        try:
            new = await asyncio.to_thread(lambda: Rules.load(config.load(file)))
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

    async def note(self, kind: str, **fields: Any) -> None:
        """Write an event that nothing waits for; where it can't be written, standard error says so."""
        try:
            await self.ledger.event(kind, **fields)
        except LedgerUnavailable as error:
            print(f"sluicegate: the event {kind} could not be written: {error}", file=sys.stderr, flush=True)
