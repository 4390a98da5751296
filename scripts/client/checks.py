"""The checks of `sluicegate doctor`: each says what it found and, where that is not good, how to mend it.

They stop where nothing more can be said: without a good configuration there is no gateway to call.
"""

import importlib.metadata
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

import botocore
import botocore.session
import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from addons import config, wire
from addons.identity.jwks import Unavailable
from addons.identity.local import LocalIssuer
from addons.identity.oidc import published_keys
from addons.identity.upstream import Upstream, UpstreamUnavailable
from addons.issuers import issuer_of
from certs import authority
from policy.problems import Invalid
from scripts.client import defaults, gateway, sandbox
from scripts.client.environment import KEYS, ways_around
from scripts.client.ports import unusable

SKEW = 300  # seconds: what SigV4 forgives
NEAR = 60
LEAST_PYTHON = (3, 12)
CLEARED = "start agents by `sluicegate run`, or after the script of `sluicegate env`: both clear what is set here"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "warning", "wrong"]
    found: str
    mend: str = ""


def run(file: Path | None, environ: Mapping[str, str]) -> Iterator[Check]:
    """All checks, one after the other; `file` None means the configuration that `sluicegate run` makes.

    Never ./gateway.yaml by itself: an agent that worked here could have written it, and the checks start a gateway of
    it that has the operator's keys.
    """
    yield python()
    yield mitmproxy()
    yield walls()
    yield from keys(environ)
    if file is None:
        if Path("gateway.yaml").exists():
            mend = "name it with --config if you trust it"
            yield Check("configuration", "warning", "gateway.yaml in this directory is not used", mend)
        try:
            file, _, _ = defaults.configuration(environ, region=None, bedrock=False, endpoint=None)
        except UpstreamUnavailable as error:
            yield Check("credentials", "wrong", str(error), "or name a configuration with --config")
            return
    try:
        found = config.load(file)
    except Invalid as error:
        for problem in error.problems:
            yield Check("configuration", "wrong", str(problem), "correct that line; `sluicegate check` shows all")
        return
    yield Check("configuration", "ok", str(found.file))
    yield from certificates(found)
    yield from identity(found)
    account = credentials(found)
    yield account
    yield clock(found)
    try:
        running = gateway.find(found)
    except gateway.Unavailable as error:
        text, _, mend = str(error).partition(": ")
        yield Check("gateway", "wrong", text, mend)
        return
    yield around(environ, running)
    yield from ports(found, running)
    if account.state == "ok":
        yield from call(found, environ, running)


def python() -> Check:
    """The Python that runs this, and whether it is one that the project supports."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < LEAST_PYTHON:
        return Check("python", "wrong", f"Python {version} is too old", "install Python 3.12 or newer")
    return Check("python", "ok", f"Python {version}, {sys.executable}")


def mitmproxy() -> Check:
    """The version that the fail-closed dispatcher was made for, and no other."""
    version = importlib.metadata.version("mitmproxy")
    wanted = ""
    for line in importlib.metadata.requires("sluicegate") or ():
        if match := re.match(r"mitmproxy\s*==\s*([\w.]+)", line):
            wanted = match[1]
    if wanted and version != wanted:
        return Check("mitmproxy", "wrong", f"mitmproxy {version}", f"install mitmproxy {wanted}: `uv sync`")
    return Check("mitmproxy", "ok", f"mitmproxy {version}, botocore {botocore.__version__}")


def walls() -> Check:
    """Whether `run` can keep the agent from the operator's keys."""
    means = sandbox.find()
    if means.kind == "none":
        mend = "install bubblewrap (`bwrap`), or run the gateway as another user than the agent"
        return Check("sandbox", "wrong", f"no sandbox: {means.text}; an agent could approve its own calls", mend)
    return Check("sandbox", "ok", f"{means.text}: what `run` starts can't see your keys or the gateway's state")


def keys(environ: Mapping[str, str]) -> Iterator[Check]:
    """Real credentials that an agent could use without the gateway."""
    if named := [name for name in KEYS if environ.get(name)]:
        yield Check(
            "real keys",
            "warning",
            f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} set here",
            CLEARED,
        )
    else:
        yield Check("real keys", "ok", "no AWS keys in this environment")
    vendor = Path("/sys/class/dmi/id/board_vendor")
    if vendor.is_file() and "Amazon EC2" in vendor.read_text(errors="replace"):
        yield Check(
            "instance role",
            "warning",
            "this is an EC2 instance: its role's credentials can be had at 169.254.169.254",
            "block that address for the agent (a container with hop limit 1, or a firewall rule by user)",
        )


def around(environ: Mapping[str, str], running: gateway.Running | None) -> Check:
    """Settings of this environment by which an agent's calls would not come to the gateway."""
    if names := ways_around(environ, running.proxy if running else None, wire.dns_suffixes()):
        return Check("ways around", "warning", f"set here, and leading around the gateway: {', '.join(names)}", CLEARED)
    return Check("ways around", "ok", "no other proxy or endpoint in this environment")


def certificates(found: config.Gateway) -> Iterator[Check]:
    """The certificate authority on disk."""
    directory = found.state / "ca"
    if found.state.exists() and found.state.stat().st_mode & 0o077:
        yield Check("state", "wrong", f"{found.state} can be read by others", f"chmod 700 {found.state}")
    if not (directory / authority.KEY_FILE).exists():
        yield Check("authority", "ok", f"none yet in {directory}: the first start makes it")
        return
    try:
        shown = authority.show(directory)
    except ValueError as error:
        text, _, mend = str(error).partition(". ")
        yield Check("authority", "wrong", text, mend or text)
        return
    missing = sorted(set(wire.dns_suffixes()) - set(shown.permitted))
    left = shown.not_after.timestamp() - time.time()
    renew = "run `sluicegate ca renew`, restart the gateway, give clients root.pem again"
    if missing:
        yield Check("authority", "warning", f"made without {', '.join(missing)}", renew)
    elif left < authority.SOON.total_seconds():
        yield Check("authority", "warning", f"ends on {shown.not_after:%Y-%m-%d}", renew)
    else:
        yield Check("authority", "ok", f"{directory / authority.ROOT_FILE}, until {shown.not_after:%Y-%m-%d}")


def identity(found: config.Gateway) -> Iterator[Check]:
    """Whether agents can sign in."""
    if found.config.identity.local:
        try:
            issuer = LocalIssuer.open(found.state)
            yield Check("identity", "ok", f"built-in issuer {issuer.name}")
        except (OSError, ValueError) as error:
            yield Check("identity", "wrong", "the built-in issuer can't be used", str(error))
    for configured in found.config.identity.issuers:
        name = str(configured.issuer)
        try:
            keys = published_keys(issuer_of(found, configured), ca_bundle=found.ca, proxy=found.config.upstream.proxy)
            yield Check("identity", "ok", f"{name} answers, with {keys} key{'s' * (keys > 1)}")
        except Unavailable as error:
            mend = "check identity.issuers, the network, upstream.proxy, and ca of the issuer or upstream"
            yield Check("identity", "wrong", f"{name}: {error}", mend)


def credentials(found: config.Gateway) -> Check:
    """The gateway's own credentials, by GetCallerIdentity."""
    settings = found.config.upstream
    upstream = Upstream(
        profile=settings.credentials.profile,
        endpoint=settings.endpoint,
        ca=found.ca,
        proxy=settings.proxy,
        connect_timeout=min(settings.connect_timeout, 10),
        read_timeout=min(settings.read_timeout, 20),
    )
    try:
        account = upstream.account()
    except UpstreamUnavailable as error:
        text, _, mend = str(error).partition(": ")
        return Check("credentials", "wrong", text, mend)
    roles = {role for group in found.config.groups.values() for role in group.roles}
    if foreign := sorted(role for role in roles if role.split(":")[4] != account):
        return Check(
            "credentials",
            "warning",
            f"account {account}, and roles of another: {', '.join(foreign)}",
            "correct groups.*.roles, or upstream.credentials.profile",
        )
    return Check("credentials", "ok", f"account {account}")


def clock(found: config.Gateway) -> Check:
    """This clock against the one of AWS's answers: signatures carry the time."""
    settings = found.config.upstream
    url = str(settings.endpoint or "https://sts.amazonaws.com/")
    options: dict[str, Any] = {"ca_certs": str(found.ca)} if found.ca else {}
    manager = urllib3.ProxyManager(settings.proxy, **options) if settings.proxy else urllib3.PoolManager(**options)
    mend = "set the clock: `timedatectl set-ntp true`, or your system's equivalent"
    try:
        answer = manager.request("GET", url, timeout=10, retries=False, redirect=False, preload_content=False)
        there = parsedate_to_datetime(answer.headers["date"]).timestamp()
        answer.close()
    except (urllib3.exceptions.HTTPError, KeyError, ValueError):
        return Check("clock", "warning", f"{url} tells no time to compare with", mend)
    off = time.time() - there
    text = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} {url}"
    if abs(off) >= SKEW:
        return Check("clock", "wrong", text + ": AWS refuses every signature", mend)
    if abs(off) >= NEAR:
        return Check("clock", "warning", text, mend)
    return Check("clock", "ok", "agrees with " + url)


def ports(found: config.Gateway, running: gateway.Running | None) -> Iterator[Check]:
    """The ports that the gateway is to have: free, or its own already."""
    if running:
        yield Check("ports", "ok", f"the gateway runs: {running.proxy}, screen {running.web}")
        return
    for name, address in (("listen", found.config.listen), ("web.listen", found.config.web.listen)):
        if taken := unusable(address.host, address.port):
            mend = f"end the program that has it (`ss -ltnp`), or change `{name}` in {found.file}"
            yield Check("ports", "wrong", f"{name} {address.host}:{address.port}: {taken}", mend)
        else:
            yield Check("ports", "ok", f"{name} {address.host}:{address.port or 'any'} is free")


def call(found: config.Gateway, environ: Mapping[str, str], running: gateway.Running | None) -> Iterator[Check]:
    """A real sign-in and a real call, as an agent makes them, through the gateway that runs or one for this check."""
    try:
        with gateway.lease(found, None, environ) as used:
            started = "" if running else " (started for this check)"
            yield Check("gateway", "ok", f"{used.proxy}{started} shows a certificate of our authority")
            if found.config.identity.local:
                yield signed_call(found, used)
    except gateway.Unavailable as error:
        lines = str(error).strip().splitlines()
        yield Check("gateway", "wrong", lines[0], lines[-1] if len(lines) > 1 else "")


def signed_call(found: config.Gateway, used: gateway.Running) -> Check:
    """Sign in as `doctor` and ask AWS who that is; a policy may refuse the second, which shows as much."""
    group, settings = next(iter(found.config.groups.items()))
    token = LocalIssuer.open(found.state).token(f"doctor/{os.getuid()}", [group], duration=300)
    options = Config(
        proxies={"https": used.proxy}, retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=30
    )
    session = botocore.session.Session()
    region = session.get_config_variable("region") or "us-east-1"

    def client(access: str, secret: str, given: str | None) -> Any:
        return session.create_client(
            "sts", region, verify=str(used.root), config=options, endpoint_url=f"https://sts.{region}.amazonaws.com",
            aws_access_key_id=access, aws_secret_access_key=secret, aws_session_token=given,
        )  # fmt: skip

    try:
        keys = client("none", "none", None).assume_role_with_web_identity(
            RoleArn=settings.roles[0], RoleSessionName="doctor", WebIdentityToken=token
        )["Credentials"]
    except (BotoCoreError, ClientError) as error:
        return Check("sign-in", "wrong", f"the gateway refused a sign-in: {error}", "read the gateway's own messages")
    try:
        asked = client(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
        arn = asked.get_caller_identity()["Arn"]
    except ClientError as error:
        if error.response["Error"]["Code"].startswith("AccessDenied") and "sluicegate" in str(error):
            return Check("call", "ok", "a signed call was decoded and refused by the policy of " + group)
        return Check("call", "wrong", f"a signed call failed: {error}", "read the gateway's own messages")
    except BotoCoreError as error:
        return Check("call", "wrong", f"a signed call failed: {error}", "read the gateway's own messages")
    return Check("call", "ok", f"signed in to {settings.roles[0]}; AWS answers as {arn}")
