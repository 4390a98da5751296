"""Ports of this machine: which one is free, and who listens."""

import socket


def unusable(host: str, port: int) -> str:
    """Why nobody can listen on an address now, or ""."""
    try:
        _bound(host, port)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on."""
    return _bound(host, 0)


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _bound(host: str, port: int) -> int:
    """The port that a socket gets, as a server would."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])
