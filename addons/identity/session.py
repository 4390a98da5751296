"""Who is calling: the session that sealed credentials carry and every step after authenticate reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Keys:
    """Real credentials, for one signature."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """Issuer + subject + the token's `sid` or `jti`; the same however often the SDK signs in.

    A session that assumed a role through the gateway is the same session with one more ARN in `assumed`, the keys that
    AWS gave it and their end: who ends the caller's session ends it too.
    """

    id: str
    issuer: str
    subject: str
    groups: tuple[str, ...]  # decided anew at each call, from `claims`
    role: str  # ARN of the role that was signed in to
    label: str  # RoleSessionName, the agent's own word: never an identity
    token_id: str  # jti
    issued: int  # seconds since the epoch
    expires: int
    assumed: tuple[str, ...] = ()  # ARNs of the roles assumed from there, each from the one before
    token_issued: int = 0  # iat of the web identity token: seconds since the epoch
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)  # those that groups come from
    keys: Keys | None = field(default=None, repr=False)  # what its calls are signed with; None: the gateway's own

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role that has a say in what the session may do: its own, and those that it assumed."""
        return (self.role, *self.assumed)
