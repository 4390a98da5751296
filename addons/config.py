"""Every configuration key of `gateway.yaml`, its type and its default; nothing else reads that file.

The file is strict: an unknown key, a duplicate, a bad type or a missing file is a problem, and all problems are
reported at once (`policy.problems.Invalid`). Paths are relative to the file. A key is here only once it works.
"""

import functools
import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from addons.identity.groups import SHARED_ISSUERS, Rule, says_whose
from addons.identity.urls import is_acceptable
from policy import strict
from policy.problems import Invalid, Problem, near

ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}")


class Duration(float):
    """Seconds, written as `90s`, `15m`, `1h` or `400d`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a duration; ValueError says what one looks like."""
        if not (match := re.fullmatch(r"([0-9]{1,9})(s|m|h|d)", text)):
            raise ValueError(f"{text!r} is no duration: write 30s, 15m, 1h or 7d")
        return cls(int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]])


class Size(int):
    """Bytes, written as `64KB`, `32MB` or `1GB` (powers of 1024)."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a size; ValueError says what one looks like."""
        if not (match := re.fullmatch(r"([0-9]{1,9})(KB|MB|GB)", text)):
            raise ValueError(f"{text!r} is no size: write 64KB, 32MB or 1GB")
        return cls(int(match[1]) << {"KB": 10, "MB": 20, "GB": 30}[match[2]])


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a literal address and a port; port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `127.0.0.1:8080` or `[::1]:8080`."""
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{text!r} is no address: write 127.0.0.1:8080 or [::1]:8080") from None
        if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError(f"{text!r} has no port from 0 to 65535")
        return cls(host, int(port))


class Url(str):
    """An http or https URL without user, query or fragment."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL; ValueError says what is wrong with it."""
        parts = urlsplit(text)
        plain = not any(c in text for c in "@?#") and parts.port != 0  # a port out of range is a ValueError, too
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
            raise ValueError(f"{text!r} is no http or https URL without user, query and fragment")
        return cls(text)  # as written: an issuer's name is compared to the letter

    @functools.cached_property
    def scheme(self) -> Literal["http", "https"]:
        """What is spoken there."""
        return "https" if urlsplit(self).scheme == "https" else "http"

    @functools.cached_property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self)
        return parts.hostname or "", parts.port or (443 if self.scheme == "https" else 80)


@dataclass(frozen=True, slots=True)
class Web:
    """The web screen."""

    listen: Address = Address("127.0.0.1", 8081)

    def __post_init__(self) -> None:
        if not ipaddress.ip_address(self.listen.host).is_loopback:
            raise ValueError("web.listen must be a loopback address, as the screen has no TLS: use an SSH tunnel")


@dataclass(frozen=True, slots=True)
class OidcIssuer:
    """One OIDC provider whose tokens sign agents in.

    `groups_claim`: the claim that lists groups; null where tokens have none. `groups_from`: rules over other claims.
    `jwks_uri`: where the keys are, if that is another origin than the issuer's. `ca`: whose certificates it has.
    """

    issuer: Url
    audience: str = "sluicegate"
    groups_claim: str | None = "groups"
    groups_from: list[Rule] = field(default_factory=list)
    jwks_uri: Url | None = None
    ca: Path | None = None

    def __post_init__(self) -> None:
        for url in (self.issuer, self.jwks_uri):
            if url and not is_acceptable(url):
                raise ValueError(
                    f"{url!r} must be https, or http on loopback: who can change its answers can be anybody"
                )
        if not self.audience.strip():
            raise ValueError("audience is empty: name one that stands for this gateway alone")
        if self.audience.rstrip("/").endswith(("amazonaws.com", "amazonaws.com.cn")):
            raise ValueError("audience is AWS's: a token that was made for AWS would sign in here; name your own")
        for rule in self.groups_from:
            if not says_whose(self.issuer, rule):
                names = ", ".join(SHARED_ISSUERS[self.issuer])
                says = f"everybody can get tokens of {self.issuer}"
                raise ValueError(f"{says}: the rule for {rule.group} must say whose, by one of {names}")


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How long synthetic credentials live. SDKs renew 15 minutes before the end, so shorter lives cost a call each."""

    duration: Duration = Duration(3600)

    def __post_init__(self) -> None:
        if not 20 * 60 <= self.duration <= 12 * 3600:
            raise ValueError("session.duration must be from 20m to 12h")


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """Who may sign in."""

    local: bool = False
    issuers: list[OidcIssuer] = field(default_factory=list)
    session: SessionSettings = SessionSettings()
    proxy_authorization: Literal["off", "required"] = (
        "off"  # a web identity token as the proxy's password: a second proof
    )

    def __post_init__(self) -> None:
        if not self.local and not self.issuers:
            raise ValueError("nobody could sign in: set `local: true` or name an issuer")
        names = [issuer.issuer for issuer in self.issuers]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the issuer {min(twice)} stands twice: give it one entry, with all of its rules")


@dataclass(frozen=True, slots=True)
class UpstreamCredentials:
    """Where the real credentials come from: botocore's own chain, for the profile where one is named."""

    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """How AWS is reached."""

    credentials: UpstreamCredentials = UpstreamCredentials()
    endpoint: Url | None = None
    proxy: Url | None = None
    ca: Path | None = None
    connect_timeout: Duration = Duration(10)
    read_timeout: Duration = Duration(300)
    accounts: dict[str, list[str]] = field(default_factory=dict)  # other accounts -> patterns of their buckets' names

    def __post_init__(self) -> None:
        for account, buckets in self.accounts.items():
            if not re.fullmatch("[0-9]{12}", account):
                raise ValueError(f"upstream.accounts: {account!r} is no account, which has twelve digits")
            for bucket in buckets:
                if not re.fullmatch(r"[a-z0-9.*-]{3,63}", bucket):
                    raise ValueError(f"upstream.accounts: {bucket!r} is no bucket's name, or pattern such as acme-*")
        if len(self.accounts) > 20:
            raise ValueError("upstream.accounts lists more than 20 accounts")
        for url in (self.endpoint, self.proxy):
            if url and urlsplit(url).path not in ("", "/"):
                raise ValueError(f"{url!r} has a path: only its scheme, host and port can be used")


@dataclass(frozen=True, slots=True)
class Assume:
    """A role that is assumed for each session, so that AWS knows and limits it too.

    `session_policy`: `policy` sends what the group's policies say, as far as AWS's limits go; `call` the needs of each
    call, at the price of a call to STS for whatever is new; `none` leaves it to the role.
    """

    role: str
    external_id: str | None = None
    session_policy: Literal["policy", "call", "none"] = "policy"

    def __post_init__(self) -> None:
        if not ROLE_ARN.fullmatch(self.role):
            raise ValueError(f"{self.role!r} is no role ARN: write arn:aws:iam::111122223333:role/NAME")
        if self.external_id is not None and not re.fullmatch(r"[\w+=,.@:/-]{2,1224}", self.external_id, re.ASCII):
            raise ValueError(r"external_id must be 2 to 1224 characters of [\w+=,.@:/-]")


@dataclass(frozen=True, slots=True)
class Group:
    """What a group may do, the roles that its members may sign in to, and the role that is assumed for them."""

    policies: list[str]
    roles: list[str]
    assume: Assume | None = None  # None: the gateway's own credentials

    def __post_init__(self) -> None:
        for role in self.roles:
            if not ROLE_ARN.fullmatch(role):
                raise ValueError(f"{role!r} is no role ARN: write arn:aws:iam::111122223333:role/NAME")


@dataclass(frozen=True, slots=True)
class Approvals:
    """How long a held call waits for a person."""

    timeout: Duration = Duration(900)


@dataclass(frozen=True, slots=True)
class Limits:
    """What agents may make the gateway keep: bytes in memory, connections, questions. Streamed answers are not kept."""

    head: Size = Size(64 << 10)  # a request line with its headers
    body: Size = Size(32 << 20)  # of one request that is read whole
    upload: Size = Size(5 << 30)  # of one that streams; what S3 takes at once
    answer: Size = Size(64 << 20)  # of one answer
    buffered: Size = Size(512 << 20)  # all bodies over 256 KB at one time
    connections: int = 4_000  # at one time, as far as the process has file descriptors (2 each)
    connections_each: int = 2_000  # of one client's address
    request_time: Duration = Duration(120)  # for a request to arrive whole, from its connection's or its own beginning
    held: int = 2_000  # calls that wait for a person at one time
    held_each: int = 500  # of one session
    recording: Size = Size(4 << 30)  # of one session on disk; then bodies are kept as their sizes and hashes

    def __post_init__(self) -> None:
        for name in ("connections", "connections_each", "held", "held_each"):
            if getattr(self, name) < 1:
                raise ValueError(f"limits.{name} must be at least 1")
        if self.request_time < 1:
            raise ValueError("limits.request_time must be at least 1s")


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Hosts outside AWS that are passed through unread: patterns such as `*.github.com`, or `all`."""

    tunnel: list[str] | Literal["all"]

    def __post_init__(self) -> None:
        for pattern in [] if self.tunnel == "all" else self.tunnel:
            if not re.fullmatch(r"(\*\.)?[a-z0-9.-]+|[0-9a-f:.]+", pattern):
                raise ValueError(f"{pattern!r} is no host pattern: write api.example.com or *.example.com")


@dataclass(frozen=True, slots=True)
class Wire:
    """What of a request need not be known: members of a body that an SDK newer than the gateway's botocore sends.

    `allow` lets such a call through only where its decision can't depend on them (`policy.model.ItemResult`).
    """

    unknown_members: Literal["deny", "allow"] = "deny"


@dataclass(frozen=True, slots=True)
class Audit:
    """Where the record of every call is written."""

    directory: Path = Path("audit")


@dataclass(frozen=True, slots=True)
class Sessions:
    """Where the recorded sessions are written."""

    directory: Path = Path("sessions")


@dataclass(frozen=True, slots=True)
class Config:
    """One gateway. `file` is where it was read from; the paths in it are absolute."""

    groups: dict[str, Group]
    identity: IdentitySettings
    listen: Address = Address("127.0.0.1", 8080)
    web: Web = Web()
    state_directory: Path = Path("state")
    upstream: Upstream = Upstream()
    redaction: list[str] = field(default_factory=lambda: ["secrets"])
    approvals: Approvals = Approvals()
    limits: Limits = Limits()
    access_request: str = ""
    other_hosts: Literal["deny"] | Tunnel = "deny"
    wire: Wire = Wire()
    audit: Audit = Audit()
    sessions: Sessions = Sessions()

    def __post_init__(self) -> None:
        found: dict[str, str] = {}
        for name, group in self.groups.items():
            for role in group.roles:
                if self.groups[first := found.setdefault(role, name)].assume != group.assume:
                    raise ValueError(f"groups {first} and {name} share {role}, and must `assume` the same for it")
        everywhere = isinstance(self.other_hosts, Tunnel) and self.other_hosts.tunnel == "all"
        if everywhere and not ipaddress.ip_address(self.listen.host).is_loopback:
            raise ValueError("tunnel: all on an address that others reach is an open proxy: list the hosts")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A configuration with the files that it names, found and absolute."""

    config: Config
    file: Path
    state: Path
    audit: Path
    sessions: Path
    policies: dict[str, Path]  # as a group names it -> the file
    redaction: tuple[Path, ...]
    ca: Path | None


def load(path: Path) -> Gateway:
    """Read a configuration and find the files that it names. Raises `Invalid` with every problem."""
    if path.exists() and not path.is_file():  # a FIFO would be waited for, and no reload come after it
        raise Invalid([Problem(str(path), 0, "no regular file")])
    loaded = strict.load(path, Config)
    config, base, problems = loaded.value, path.resolve().parent, []
    policies: dict[str, Path] = {}
    for group, settings in config.groups.items():
        for index, name in enumerate(settings.policies):
            policies[name] = strict.resolve(name, base)
            if not policies[name].is_file():
                line = loaded.lines.get(f"groups.{group}.policies[{index}]", 0)
                problems.append(Problem(str(path), line, f"no policy {name!r}", f"looked for {policies[name]}"))
    redaction = tuple(strict.resolve(name, base) for name in config.redaction)
    for index, (name, file) in enumerate(zip(config.redaction, redaction, strict=True)):
        if not file.is_file():
            line = loaded.lines.get(f"redaction[{index}]", 0)
            problems.append(Problem(str(path), line, f"no redaction rules {name!r}", f"looked for {file}"))
    for index, issuer in enumerate(config.identity.issuers):
        place = f"identity.issuers[{index}]"
        for number, rule in enumerate(issuer.groups_from):
            if rule.group not in config.groups:
                line = loaded.lines.get(f"{place}.groups_from[{number}].group", 0)
                hint = near(rule.group, config.groups) or "groups names the groups"
                problems.append(Problem(str(path), line, f"no group {rule.group!r}", hint))
        problems += _unreadable(base, issuer.ca, str(path), loaded.lines.get(f"{place}.ca", 0))
    problems += _unreadable(base, config.upstream.ca, str(path), loaded.lines.get("upstream.ca", 0))
    if problems:
        raise Invalid(problems)
    return Gateway(
        config=config,
        file=path.resolve(),
        state=base / config.state_directory,
        audit=base / config.audit.directory,
        sessions=base / config.sessions.directory,
        policies=policies,
        redaction=redaction,
        ca=base / config.upstream.ca if config.upstream.ca else None,
    )


def _unreadable(base: Path, ca: Path | None, file: str, line: int) -> list[Problem]:
    """What is wrong with a file of certificates."""
    if ca:
        try:
            ssl.create_default_context(cafile=base / ca)
        except OSError as error:  # ssl's own errors too
            return [Problem(file, line, f"no certificates can be read from {base / ca}", error.strerror or "")]
    return []
