"""The environment of a program behind the gateway: every AWS client finds the gateway in it, and no key of anybody.

One set of variables suits all clients. `child_environment` gives it to a child, `script` writes it for a shell to read.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from certs.bundles import PASSWORD

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY")  # in both cases
LOOPBACK = "localhost,127.0.0.1,::1"  # the agent's own servers: never AWS
KEYS = (  # credentials that SDKs take before they would sign in
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
)
DROPPED = (  # ways to programs outside of the sandbox, whose sockets are hidden, and what is about the gateway
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_HOST",
    "TMUX",
    "STY",
    "SLUICEGATE_CONFIG",
)
LISTS = ("NODE_OPTIONS", "JAVA_TOOL_OPTIONS")  # ours come after what is there
SCRIPT = """\
# Written by `sluicegate env`, for sh, bash or zsh to read. Start the agent from the shell that did.
# First, what would lead around the gateway is forgotten.
unset {forgotten} $(env | sed -n 's/^\\([Aa][Ww][Ss]_[A-Za-z0-9_]*\\)=.*/\\1/p')
"""


@dataclass(frozen=True, slots=True)
class Files:
    """The files that the variables name (`files.fill` writes them)."""

    root: Path
    bundle: Path
    trust_store: Path
    token: Path
    preload: Path


def variables(*, proxy: str, files: Files, role: str, session_name: str, region: str | None) -> dict[str, str]:
    """What leads every client through the gateway, and signs AWS clients in there.

    The variables for roots name a bundle of the system's roots and ours, as the traffic that is not AWS is tunnelled
    unread. AWS_CA_BUNDLE would have AWS clients trust our root alone. But Go programs that give AWS's SDK a transport
    of their own (rclone 1.60, external-dns) end with "unsupported transport" where it or `ca_bundle` is set at all, and
    botocore takes REQUESTS_CA_BUNDLE without it, Go SSL_CERT_FILE. Only on macOS does Go read that as late as from 1.27
    on (the documentation of crypto/x509), so there AWS_CA_BUNDLE is set.
    """
    bundle, null = str(files.bundle), os.devnull
    found = {
        "HTTPS_PROXY": proxy,
        "HTTP_PROXY": proxy,
        "NO_PROXY": LOOPBACK,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(files.token),
        "AWS_ROLE_ARN": role,
        "AWS_ROLE_SESSION_NAME": re.sub(r"[^\w+=,.@-]", "-", session_name, flags=re.ASCII)[:64],
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": null,
        "AWS_SHARED_CREDENTIALS_FILE": null,
        "SSL_CERT_FILE": bundle,  # OpenSSL, Go, uv, Ruby
        "REQUESTS_CA_BUNDLE": bundle,  # botocore, too
        "CURL_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": bundle,
        "GIT_SSL_CAINFO": bundle,
        "PIP_CERT": bundle,
        "CARGO_HTTP_CAINFO": bundle,
        "DENO_CERT": bundle,
        "NODE_OPTIONS": f"--require={quoted(files.preload)}",
        "JAVA_TOOL_OPTIONS": " ".join(java_options(proxy, files.trust_store)),
    }
    found |= {name.lower(): found[name] for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")}
    if region:
        found |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    if sys.platform == "darwin":
        found["AWS_CA_BUNDLE"] = str(files.root)
    return found


def child_environment(environ: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The operator's environment without its AWS and proxy settings, with `variables` in their place."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith("AWS_") and name.upper() not in PROXIES and name not in DROPPED
    }
    return {**kept, **given, **{name: joined(environ.get(name), given[name]) for name in LISTS}}


def script(given: Mapping[str, str]) -> str:
    """The same for a POSIX shell that reads it: it forgets what it had, and has `variables` in their place."""
    forgotten = [*KEYS, *(name for upper in PROXIES for name in (upper, upper.lower()) if name not in given)]
    text = SCRIPT.format(forgotten=" ".join(forgotten))
    for name, value in given.items():
        before = f'"${{{name}:+${name} }}"' if name in LISTS else ""
        text += f"export {name}={before}{shlex.quote(value)}\n"
    return text


def ways_around(environ: Mapping[str, str], proxy: str | None, suffixes: Iterable[str]) -> list[str]:
    """Variables that lead AWS clients, or the agent's other traffic, past the gateway at `proxy`.

    `suffixes`: AWS's domains, which NO_PROXY must not name. Keys are not looked for here: see `KEYS`.
    """
    found = [name for name in environ if re.match("AWS_(ENDPOINT_URL|CONTAINER_CREDENTIALS_)", name.upper())]
    for name in (name for upper in PROXIES for name in (upper, upper.lower()) if environ.get(name)):
        if name.upper() != "NO_PROXY":
            if environ[name].rstrip("/") != proxy:
                found.append(name)
            continue
        for entry in re.split(r"[\s,]+", environ[name].lower()):
            host = re.sub(r"(?<=[^:]):\d+$", "", entry).lstrip("*.")
            if entry and (not host or any(_within(host, s) or _within(s, host) for s in suffixes)):
                found.append(name)
                break
    return sorted(found)


def _within(host: str, domain: str) -> bool:
    return host == domain or host.endswith("." + domain)


def java_options(proxy: str, trust_store: Path) -> list[str]:
    """The JVM's own names for a proxy and a trust store; it leaves loopback out by itself."""
    parts = urlsplit(proxy)
    found = [
        f"-D{scheme}.proxy{key}={value}"
        for scheme in ("https", "http")
        for key, value in (("Host", parts.hostname), ("Port", parts.port))
    ]
    # The JVM's quotes are a shell's without the backslash, which is how shlex quotes.
    found += [shlex.quote(f"-Djavax.net.ssl.trustStore={trust_store}"), "-Djavax.net.ssl.trustStoreType=PKCS12"]
    return [*found, f"-Djavax.net.ssl.trustStorePassword={PASSWORD}"]


def joined(*options: str | None) -> str:
    """Options in one variable, after those that are there."""
    return " ".join(option for option in options if option)


def quoted(path: Path) -> str:
    """A path as NODE_OPTIONS takes it."""
    text = str(path)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if re.search(r'[\s"\\]', text) else text
