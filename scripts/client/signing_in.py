"""From a web identity token to synthetic credentials: AssumeRoleWithWebIdentity through the gateway, kept while good.

It speaks HTTP by itself: a credential_process runs at every command of the AWS CLI, and botocore takes half a second to
load.
"""

import base64
import binascii
import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import urllib3
from lxml import etree
from urllib3.util import parse_url

from addons.state import private_file
from addons.text import one_line
from scripts.client.device import Client, OAuthError, Question, SignInFailed, Tokens

NEAR = 16 * 60  # seconds: SDKs renew what has 15 minutes left, and should get something that has more
SPARE = 60  # seconds that an ID token must still have
TIMEOUT = 20.0
MAX_BYTES = 1 << 20
DOMAINS = {"aws-cn": "amazonaws.com.cn"}  # of STS, by partition
NAMESPACE = "{https://sts.amazonaws.com/doc/2011-06-15/}"


class Source(Protocol):
    """Where web identity tokens come from."""

    def token(self) -> str:
        """A token that is good now. May block for long. Raises `SignInFailed`."""

    def name(self) -> str:
        """What tells it from other sources."""


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A file that somebody keeps fresh: Kubernetes, `sluicegate token`."""

    path: Path

    def token(self) -> str:
        """What is in the file now."""
        try:
            return self.path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SignInFailed(f"{self.path} can't be read: {getattr(error, 'strerror', 'it is no text')}") from None

    def name(self) -> str:
        """The file and its token: another one may be of somebody else."""
        return f"{self.path.absolute()} {hashlib.sha256(self.token().encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """A person, who signs in once and is refreshed as long as the provider does it."""

    client: Client
    cache: Path
    ask: Callable[[Question], None] | None  # None: nobody is there to be asked
    hint: str = ""  # the command to sign in with

    def name(self) -> str:
        """The provider and we."""
        return json.dumps([self.client.issuer, self.client.client_id, self.client.scope])

    def token(self) -> str:
        """The kept token, a refreshed one, or one for which a person signs in now; in this order."""
        with locked(self.cache):
            kept = _kept(self.cache)
            token, refresh = kept.get("id_token"), kept.get("refresh_token")
            if isinstance(token, str) and _end(token) - time.time() > SPARE:
                return token
            if isinstance(refresh, str):
                with contextlib.suppress(OAuthError):  # it was taken back, or is too old: ask the person
                    return self._keep(self.client.refresh(refresh))
            if self.ask is None:
                raise SignInFailed(f"nobody is signed in: run `{self.hint}` in a terminal")
            return self._keep(self.client.sign_in(self.ask))

    def sign_in(self) -> None:
        """Have a person sign in, whatever is kept."""
        assert self.ask
        with locked(self.cache):
            self._keep(self.client.sign_in(self.ask))

    def _keep(self, tokens: Tokens) -> str:
        private_file.replace(self.cache, json.dumps(asdict(tokens)).encode())
        return tokens.id_token


@dataclass(frozen=True, slots=True)
class Credentials:
    """Synthetic credentials, as the gateway's STS gives them."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expiration: str  # 2026-11-25T12:00:00Z

    @property
    def left(self) -> float:
        """Seconds that they are good for."""
        return datetime.fromisoformat(self.expiration).timestamp() - time.time()


@dataclass(frozen=True, slots=True)
class Gate:
    """The gateway, as a client reaches it, and the role to sign in to."""

    proxy: str
    ca: Path  # the root that its authority's certificates lead to
    role: str  # its ARN
    session_name: str
    region: str

    def exchange(self, token: str) -> Credentials:
        """Sign in with a token. Blocking. Raises `SignInFailed`."""
        host = f"sts.{self.region}.{DOMAINS.get(self.role.split(':')[1], 'amazonaws.com')}"
        user = parse_url(self.proxy).auth
        proxy_headers = urllib3.make_headers(proxy_basic_auth=user) if user else None
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self.role,
            "RoleSessionName": self.session_name,
            "WebIdentityToken": token,
        }
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8", "accept-encoding": "identity"}
        try:
            with urllib3.ProxyManager(
                self.proxy, proxy_headers=proxy_headers, cert_reqs="CERT_REQUIRED", ca_certs=str(self.ca)
            ) as manager:
                answer = manager.request(
                    "POST",
                    f"https://{host}/",
                    body=urlencode(form),
                    headers=headers,
                    redirect=False,
                    retries=False,
                    timeout=TIMEOUT,
                    preload_content=False,
                )
                body = answer.read(MAX_BYTES)
                answer.close()
        except urllib3.exceptions.SSLError:
            raise SignInFailed(f"the gateway's certificate is not of the authority in {self.ca}") from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            place = parse_url(self.proxy)._replace(auth=None)
            raise SignInFailed(f"the gateway at {place} can't be reached ({type(error).__name__})") from None
        return _read(answer.status, body)


def _read(status: int, body: bytes) -> Credentials:
    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        raise SignInFailed(f"what answers for STS is no gateway (HTTP {status})") from None
    found = {str(e.tag).rpartition("}")[2]: e.text or "" for e in root.iter() if isinstance(e.tag, str)}
    if status != 200:
        code, message = one_line(found.get("Code", f"HTTP {status}"), 60), one_line(found.get("Message", ""), 1_000)
        raise SignInFailed(f"{code}: {message}")
    try:
        made = Credentials(*(found[n] for n in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")))
        assert made.left is not None
    except (KeyError, ValueError):
        raise SignInFailed("what answers for STS is no gateway") from None
    return made


@dataclass(slots=True)
class Keeper:
    """Credentials of one role, renewed before an SDK would ask for it; kept in a file where one is named."""

    gate: Gate
    source: Source
    directory: Path | None = None
    _made: Credentials | None = field(default=None, repr=False)

    def credentials(self) -> Credentials:
        """Credentials that are good for `NEAR` seconds where the gateway gives such. Raises `SignInFailed`."""
        if self._made and self._made.left > NEAR:
            return self._made
        if self.directory is None:
            self._made = self.gate.exchange(self.source.token())
            return self._made
        name = hashlib.sha256(json.dumps([asdict(self.gate), self.source.name()], default=str).encode()).hexdigest()
        file = self.directory / f"keys-{name[:32]}.json"
        with locked(file):
            with contextlib.suppress(TypeError, ValueError):
                self._made = Credentials(**_kept(file))
            if self._made is None or self._made.left <= NEAR:
                self._made = self.gate.exchange(self.source.token())
                private_file.replace(file, json.dumps(asdict(self._made)).encode())
        return self._made


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Where a person's tokens are kept (0700)."""
    base = environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path(environ.get("HOME") or Path.home()) / ".cache"
    return root / "sluicegate"


def login_file(directory: Path, client: Client) -> Path:
    """Where the tokens of one provider are kept."""
    name = hashlib.sha256(json.dumps([client.issuer, client.client_id, client.scope]).encode()).hexdigest()
    return directory / f"login-{name[:32]}.json"


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """One process at a time: commands that start together ask a person once, and use a refresh token once."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _kept(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(private_file.read(file))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError):
            return {}
        raise SignInFailed(str(error)) from None
    return found if isinstance(found, dict) else {}


def _end(token: str) -> float:
    """When a token ends, as it says itself; 0 where it does not."""
    try:
        payload = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return 0.0
