"""The built-in issuer, for one machine: OIDC tokens signed with a key in the state directory, with no server.

Its name ends in `.invalid` (RFC 2606), so it can never be confused with a provider on the network, and carries the
key's id, so a token of another machine's built-in issuer is a token of an unknown issuer. Who can read the key can be
anybody.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from addons.identity.oidc import Issuer
from addons.state import private_file

FILE = "issuer.json"
AUDIENCE = "sluicegate"
_REGISTRY = jws.JWSRegistry(algorithms=["Ed25519"])


class LocalIssuer:
    """Makes tokens. The key stays in this object: nothing shows it."""

    def __init__(self, key: OKPKey) -> None:
        public = key.as_dict(private=False)
        self._key = key
        self.key_id = hashlib.sha256(str(public["x"]).encode()).hexdigest()[:16]
        self.name = f"https://local.sluicegate.invalid/{self.key_id}"
        self._jwks = {"keys": [{**public, "kid": self.key_id, "use": "sig", "alg": "Ed25519"}]}

    def __repr__(self) -> str:
        return f"LocalIssuer({self.name!r})"

    @classmethod
    def open(cls, state: Path) -> Self:
        """The issuer of a state directory; its key is made at first. Raises ValueError if the file can't be trusted."""
        fresh = OKPKey.generate_key("Ed25519").as_dict(private=True)
        content = private_file.read_or_create(state / FILE, json.dumps(fresh).encode())
        try:
            key = OKPKey.import_key(json.loads(content))
            private = key.is_private and key.curve_name == "Ed25519"
        except (JoseError, ValueError, TypeError, KeyError):
            private = False
        if not private:
            raise ValueError(f"{state / FILE} holds no Ed25519 key: remove it, and a new one is made (tokens end)")
        return cls(key)

    def issuer(self) -> Issuer:
        """This issuer for a `Verifier`, its public key included."""
        return Issuer(self.name, AUDIENCE, keys=self._jwks)

    def token(
        self,
        subject: str,
        groups: Sequence[str],
        *,
        audience: str = AUDIENCE,
        duration: int = 3600,
        session_id: str | None = None,
        now: float | None = None,
    ) -> str:
        """A signed token. `duration` in seconds; `session_id` becomes `sid`: tokens with one `sid` are one session."""
        issued = int(time.time() if now is None else now)
        claims: dict[str, object] = {
            "iss": self.name,
            "sub": subject,
            "aud": audience,
            "iat": issued,
            "exp": issued + duration,
            "jti": secrets.token_hex(16),
            "groups": list(groups),
        }
        if session_id is not None:
            claims["sid"] = session_id
        header = {"alg": "Ed25519", "kid": self.key_id, "typ": "JWT"}
        return jws.serialize_compact(header, json.dumps(claims), self._key, registry=_REGISTRY)
