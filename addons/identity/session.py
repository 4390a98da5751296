"""Who is calling: the session that sealed credentials carry and every step after authenticate reads."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """Issuer + subject + the token's `sid` or `jti`; the same however often the SDK signs in."""

    id: str
    issuer: str
    subject: str
    groups: tuple[str, ...]  # as the token said at sign-in; the bindings are read anew at each call
    role: str  # ARN of the role that was signed in to
    label: str  # RoleSessionName, the agent's own word: never an identity
    token_id: str  # jti
    issued: int  # seconds since the epoch
    expires: int
