"""The environment of a command behind the gateway: every AWS client finds the gateway in it, and no key of anybody."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from certs.bundles import PASSWORD

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY")  # in both cases
LOOPBACK = "localhost,127.0.0.1,::1"  # the agent's own servers: never AWS
DROPPED = (  # ways to programs outside of the sandbox, whose sockets are hidden, and what is about the gateway
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_HOST",
    "TMUX",
    "STY",
    "SLUICEGATE_CONFIG",
)


@dataclass(frozen=True, slots=True)
class Files:
    """The files in the command's own directory (`files.Directory`)."""

    root: Path
    bundle: Path
    trust_store: Path
    token: Path
    preload: Path


def child_environment(
    environ: Mapping[str, str], *, proxy: str, files: Files, role: str, session_name: str, region: str | None
) -> dict[str, str]:
    """The operator's environment without its AWS and proxy settings, with those that lead through the gateway.

    Only AWS clients trust our root alone. The other variables name the system's roots and ours, as the traffic that
    is not AWS is tunnelled unread.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith("AWS_") and name.upper() not in PROXIES and name not in DROPPED
    }
    bundle, null = str(files.bundle), os.devnull
    found = kept | {
        "HTTPS_PROXY": proxy,
        "HTTP_PROXY": proxy,
        "NO_PROXY": LOOPBACK,
        "AWS_CA_BUNDLE": str(files.root),
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(files.token),
        "AWS_ROLE_ARN": role,
        "AWS_ROLE_SESSION_NAME": re.sub(r"[^\w+=,.@-]", "-", session_name, flags=re.ASCII)[:64],
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": null,
        "AWS_SHARED_CREDENTIALS_FILE": null,
        "SSL_CERT_FILE": bundle,  # OpenSSL, Go, uv, Ruby
        "REQUESTS_CA_BUNDLE": bundle,
        "CURL_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": bundle,
        "GIT_SSL_CAINFO": bundle,
        "PIP_CERT": bundle,
        "CARGO_HTTP_CAINFO": bundle,
        "DENO_CERT": bundle,
        "NODE_OPTIONS": joined(environ.get("NODE_OPTIONS"), f"--require={quoted(files.preload)}"),
        "JAVA_TOOL_OPTIONS": joined(environ.get("JAVA_TOOL_OPTIONS"), *java_options(proxy, files.trust_store)),
    }
    found |= {name.lower(): found[name] for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")}
    if region:
        found |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    return found


def java_options(proxy: str, trust_store: Path) -> list[str]:
    """The JVM's own names for a proxy and a trust store; it leaves loopback out by itself."""
    parts = urlsplit(proxy)
    found = [
        f"-D{scheme}.proxy{key}={value}"
        for scheme in ("https", "http")
        for key, value in (("Host", parts.hostname), ("Port", parts.port))
    ]
    found += [f"-Djavax.net.ssl.trustStore={trust_store}", "-Djavax.net.ssl.trustStoreType=PKCS12"]
    return [*found, f"-Djavax.net.ssl.trustStorePassword={PASSWORD}"]


def joined(*options: str | None) -> str:
    """Options in one variable, after those that are there."""
    return " ".join(option for option in options if option)


def quoted(path: Path) -> str:
    """A path as NODE_OPTIONS takes it."""
    text = str(path)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if re.search(r'[\s"\\]', text) else text
