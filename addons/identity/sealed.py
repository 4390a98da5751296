"""Sealed synthetic credentials: keys that open this gateway and nothing else, with no store behind them.

The session token is the session itself in an AES-256-GCM box; access key and secret are HMACs of that token. So a pair
fits one token only, a changed token fits no pair, and any gateway with the same key ring opens it. What is sealed was
true at sign-in: whoever opens a token still asks whether its groups, role and subject hold now. The box of a session
that assumed a role holds the role's real keys: they need no store either, and only the signer takes them out.

Who reads the key ring can be any session, and can open every token that he finds. It lies in one file (0600); `rotate`
makes a new key and keeps the old ones for `KEEP` seconds, longer than sessions live.
"""

import base64
import binascii
import dataclasses
import hmac
import json
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from addons.identity.refusal import Refused
from addons.identity.session import Keys, Session
from addons.state import private_file

PREFIX = "SLG1"
KEEP = 24 * 3600  # seconds that a replaced key still opens tokens; STS's sets of up to 36 h end with it, too
MAX_TOKEN = 64 * 1024
REMEMBERED = 1_000  # opened tokens
NONCE = 12
_KID = re.compile(r"[0-9a-f]{8}")
_KID_AT = slice(len(PREFIX) + 1, len(PREFIX) + 9)  # in a token
_FIELDS = tuple(field.name for field in dataclasses.fields(Session))
_TUPLES = ("groups", "assumed")


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of the ring: a secret, and what is derived from it, once."""

    kid: str
    secret: bytes = field(repr=False)
    replaced: int | None = None  # seconds since the epoch; None: the current key
    box: AESGCM = field(init=False, repr=False)
    access: bytes = field(init=False, repr=False)
    signing: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", AESGCM(hmac.digest(self.secret, b"seal", "sha256")))
        object.__setattr__(self, "access", hmac.digest(self.secret, b"ak", "sha256"))
        object.__setattr__(self, "signing", hmac.digest(self.secret, b"sk", "sha256"))

    @property
    def associated(self) -> bytes:
        return f"{PREFIX}{self.kid}".encode()

    def outlived(self, now: float) -> bool:
        """Whether it was replaced so long ago that it opens nothing more."""
        return self.replaced is not None and now - self.replaced >= KEEP

    def access_key(self, token: bytes) -> str:
        """20 characters, as an AWS temporary key has."""
        return "ASIA" + base64.b32encode(hmac.digest(self.access, token, "sha256")[:10]).decode()

    def secret_key(self, token: bytes) -> str:
        """40 characters, as an AWS secret has."""
        return base64.b64encode(hmac.digest(self.signing, token, "sha256")[:30]).decode()


class KeyRing:
    """Seals sessions and opens them again. Thread-safe; neither prints nor raises anything secret."""

    def __init__(self, path: Path, keys: dict[str, _Key]) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._opened_before: dict[tuple[str, str], tuple[Session, str]] = {}  # an agent signs every call with one token
        self._use(keys)

    def __repr__(self) -> str:
        return f"KeyRing(current={self._current.kid!r}, keys={len(self._keys)})"

    @classmethod
    def open(cls, path: Path) -> Self:
        """The key ring of a file; made if absent. Raises ValueError with the cure if the file can't be trusted."""
        first = _Key(secrets.token_hex(4), secrets.token_bytes(32))
        return cls(path, _load(private_file.read_or_create(path, _dump([first])), path))

    def rotate(self, *, keep_old: bool = True, now: float | None = None) -> None:
        """Make a new current key, in the file too; keys replaced more than `KEEP` seconds ago are gone.

        Without `keep_old` all others are gone: what they sealed is refused at once. A running gateway of this file
        follows (`reread`); gateways elsewhere must have the file before its tokens reach them.
        """
        moment = int(time.time() if now is None else now)
        with self._lock:
            kept = [
                dataclasses.replace(key, replaced=moment) if key.replaced is None else key
                for key in _load(private_file.read(self.path), self.path).values()
                if keep_old and not key.outlived(moment)
            ]
            fresh = _Key(secrets.token_hex(4), secrets.token_bytes(32))
            private_file.replace(self.path, _dump([fresh, *kept]))
            self._use({key.kid: key for key in (fresh, *kept)})

    def reread(self) -> None:
        """Take up what another process did to the file. Raises ValueError and OSError; then the keys are as before."""
        found = _load(private_file.read(self.path), self.path)
        with self._lock:
            self._use(found)

    def listed(self) -> list[tuple[str, int | None]]:
        """Id of each key, and when it was replaced (seconds since the epoch; None: the current one)."""
        return [(key.kid, key.replaced) for key in self._keys.values()]

    def _use(self, keys: dict[str, _Key]) -> None:
        self._keys = keys
        self._current = next(key for key in keys.values() if key.replaced is None)
        self._opened_before.clear()

    def seal(self, session: Session) -> tuple[str, str, str]:
        """Access key (20 characters), secret key (40) and session token of a session.

        Raises ValueError where the token would be longer than `MAX_TOKEN` characters.
        """
        key, nonce = self._current, os.urandom(NONCE)
        values = {name: getattr(session, name) for name in _FIELDS}
        if session.keys:
            values["keys"] = [session.keys.access_key, session.keys.secret_key, session.keys.token]
        state = json.dumps(list(values.values()), separators=(",", ":")).encode()
        body = base64.urlsafe_b64encode(nonce + key.box.encrypt(nonce, state, key.associated)).rstrip(b"=")
        token = f"{PREFIX}.{key.kid}.".encode() + body
        if len(token) > MAX_TOKEN:
            raise ValueError("the session is too large for a token")
        return key.access_key(token), key.secret_key(token), token.decode()

    def unseal(self, access_key: str, token: str, *, now: float) -> tuple[Session, str]:
        """The session of a token and the secret that its requests are signed with. `now`: seconds since the epoch.

        Raises `Refused`: InvalidClientTokenId for all that this ring did not seal, ExpiredToken after the end.
        """
        found = self._opened_before.get((access_key, token))
        # Opened before or not: the key may have ended since, or another thread have taken it away while it opened this.
        if found is None or (key := self._keys.get(token[_KID_AT])) is None or key.outlived(now):
            found = self._opened(access_key, token, now)
        if found is None:
            raise Refused(
                "InvalidClientTokenId",
                "these are not credentials of this gateway. Unset AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
                "AWS_SESSION_TOKEN and AWS_PROFILE, and sign in with AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN.",
            )
        if len(self._opened_before) >= REMEMBERED:
            self._opened_before.clear()
        self._opened_before[access_key, token] = found
        session, secret = found
        if now >= session.expires:
            raise Refused("ExpiredToken", "the credentials have expired: sign in again.")
        return session, secret

    def _opened(self, access_key: str, token: str, now: float) -> tuple[Session, str] | None:
        parts = token.split(".")
        if len(token) > MAX_TOKEN or not token.isascii() or not access_key.isascii() or len(parts) != 3:
            return None
        prefix, kid, body = parts
        key = self._keys.get(kid)
        raw = token.encode()
        if key is None or key.outlived(now):
            return None
        if prefix != PREFIX or "=" in body or not hmac.compare_digest(key.access_key(raw), access_key):
            return None
        try:
            sealed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            state = json.loads(key.box.decrypt(sealed[:NONCE], sealed[NONCE:], key.associated))
            values = dict(zip(_FIELDS, state, strict=True))  # another length: sealed by another version of sluicegate
        except (binascii.Error, InvalidTag, ValueError):
            return None
        lists = {name: tuple(values[name]) for name in _TUPLES}
        keys = Keys(*values["keys"]) if values["keys"] else None
        return Session(**values | lists | {"keys": keys}), key.secret_key(raw)


def _dump(keys: list[_Key]) -> bytes:
    entries = [{"kid": key.kid, "key": base64.b64encode(key.secret).decode(), "replaced": key.replaced} for key in keys]
    return json.dumps({"version": 1, "keys": entries}, indent=1).encode() + b"\n"


def _load(content: bytes, path: Path) -> dict[str, _Key]:
    """Keys by kid. Every message is of ours: a JSON error would quote the file."""
    try:
        found = json.loads(content)
        keys = [_Key(_kid(e["kid"]), _secret(e["key"]), _moment(e["replaced"])) for e in found["keys"]]
        sound = found["version"] == 1 and [key.replaced for key in keys].count(None) == 1
        sound = sound and len({key.kid for key in keys}) == len(keys)
    except (ValueError, TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise ValueError(f"{path} is no key ring: remove it, and a new one is made (agents sign in again)")
    return {key.kid: key for key in keys}


def _kid(value: Any) -> str:
    if not _KID.fullmatch(value):
        raise ValueError
    return str(value)


def _secret(value: Any) -> bytes:
    secret = base64.b64decode(value, validate=True)
    if len(secret) != 32:
        raise ValueError
    return secret


def _moment(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValueError
    return value
