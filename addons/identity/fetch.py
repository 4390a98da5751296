"""One bounded GET for OIDC documents: https only, no redirects, 1 MB, 5 s in all, no proxy from the environment.

An identity provider is trusted to say who is who, not to hold a gateway's threads or memory: an answer that drips
one byte at a time is cut by a timer on the socket itself, wherever the exchange stands (TLS, headers or body).
"""

import contextlib
import http.client
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from addons.identity.urls import is_acceptable, is_loopback

TOTAL_SECONDS = 5.0
CONNECT_SECONDS = 3.0
MAX_BYTES = 1_000_000


class FetchFailed(Exception):
    """The document was not had. The message names the cause; it quotes nothing that the server sent."""


def get(url: str, *, ca_bundle: Path | None = None, proxy: str | None = None) -> bytes:
    """The body of a 200 answer. Blocking. Raises `FetchFailed`; name resolution alone has no bound of ours."""
    if not is_acceptable(url):
        raise FetchFailed("its URL is not https, or has a user in it")
    settings: dict[str, Any] = {"cert_reqs": "CERT_REQUIRED"}
    if ca_bundle:
        settings["ca_certs"] = str(ca_bundle)
    direct = proxy is None or is_loopback(urlsplit(url).hostname or "")
    manager = urllib3.PoolManager(**settings) if direct else urllib3.ProxyManager(str(proxy), **settings)
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    started = time.monotonic()
    try:
        with manager:
            body = _get(manager, url)
        # Where the timer cut the headers, http.client takes the end of the stream for their end.
        if time.monotonic() - started >= TOTAL_SECONDS:
            raise FetchFailed("it took too long")
        return body
    except (HTTPError, OSError, ValueError, http.client.HTTPException) as error:
        late = time.monotonic() - started >= TOTAL_SECONDS
        raise FetchFailed("it took too long" if late else _cause(error)) from None


def _get(manager: urllib3.PoolManager, url: str) -> bytes:
    response = manager.request(
        "GET",
        url,
        headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "sluicegate"},
        redirect=False,
        retries=False,
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=TOTAL_SECONDS),
        preload_content=False,
        decode_content=False,
    )
    try:
        if 300 <= response.status < 400:
            raise FetchFailed("it answers with a redirect, which is not followed")
        if response.status != 200:
            raise FetchFailed(f"it answers HTTP {response.status}")
        body = bytearray()
        while piece := response.read1(65536):
            body += piece
            if len(body) > MAX_BYTES:
                raise FetchFailed(f"its answer is larger than {MAX_BYTES} bytes")
        return bytes(body)
    finally:
        response.close()


def _cause(error: Exception) -> str:
    """What went wrong, in words of ours: exception texts may quote the server."""
    if isinstance(error, urllib3.exceptions.ProxyError):
        return "the proxy refused or failed"
    if isinstance(error, urllib3.exceptions.SSLError):
        return "its TLS certificate or handshake was refused"
    if isinstance(error, NameResolutionError):
        return "its name does not resolve"
    if isinstance(error, NewConnectionError):
        return "it refuses connections"
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
        return "it took too long"
    return f"the exchange failed ({type(error).__name__})"


class _Bounded:
    """Mixed into urllib3's connections: a timer that shuts the socket, as read time-outs start anew at every byte."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._ends = time.monotonic() + TOTAL_SECONDS
        self._guard: socket.socket | None = None
        self._timer: threading.Timer | None = None
        super().__init__(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        # A duplicate, as TLS takes the original away; shutdown works on the connection that both name.
        self._guard = made.dup()
        self._timer = threading.Timer(max(self._ends - time.monotonic(), 0), _shut, [self._guard])
        self._timer.daemon = True
        self._timer.start()
        return made

    def close(self) -> None:
        if self._timer and self._guard:
            self._timer.cancel()
            self._guard.close()
            self._timer = self._guard = None
        super().close()  # type: ignore[misc]


def _shut(guard: socket.socket) -> None:
    with contextlib.suppress(OSError), guard:
        guard.shutdown(socket.SHUT_RDWR)


class _HttpConnection(_Bounded, HTTPConnection): ...


class _HttpsConnection(_Bounded, HTTPSConnection): ...


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
