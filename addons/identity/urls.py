"""Where identity documents may come from: https, or this machine."""

from urllib.parse import urlsplit


def is_acceptable(url: str) -> bool:
    """Whether a URL may be fetched: https, or http to a loopback address, and no user or password."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


def is_loopback(host: str) -> bool:
    """Whether a host name or literal address is this machine's own."""
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())
