"""Who opened a connection: a second proof of identity, on CONNECT, beside the signature of each call.

With `identity.proxy_authorization: required` nobody gets a tunnel, or TLS to an AWS host, without a web identity token
as the password of the proxy (RFC 9110, 11.7; RFC 7617), and every call on that connection must be of its subject. So
keys that were carried off are worth nothing without the token. The header is taken out of the flow before anything
else can look at it.
"""

import asyncio
import base64
import binascii
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mitmproxy import connection, http

from addons.identity.exchange import session_id
from addons.identity.oidc import LEEWAY, Verifier
from addons.identity.refusal import Refused
from addons.identity.session import Session
from addons.shared import Shared
from addons.state.store import Stop

HEADER = "Proxy-Authorization"
CHALLENGE = 'Basic realm="sluicegate"'
CHECKING = 4  # tokens verified at one time
MEND = "set HTTPS_PROXY=http://agent:TOKEN@HOST:PORT, with a web identity token in it"


@dataclass(frozen=True, slots=True)
class Caller:
    """What a connection's token says."""

    issuer: str
    subject: str
    session: str
    issued: int  # seconds since the epoch
    expires: int


class Callers:
    """The callers of the open connections."""

    def __init__(self, verifier: Verifier, shared: Shared, required: Callable[[], bool]) -> None:
        """`required`: whether there must be a token now; a reload may change that."""
        self._verifier, self._shared, self._required = verifier, shared, required
        self._known: WeakKeyDictionary[connection.Client, Caller] = WeakKeyDictionary()
        # Not the loop's own threads, and some for each issuer: who waits for one keeps nobody else waiting.
        self._threads: dict[str, ThreadPoolExecutor] = {}

    async def admit(self, flow: http.HTTPFlow) -> str | None:
        """Take the token of a CONNECT, if there must be one: why the connection is refused (407), or None."""
        given = take(flow)
        if not self._required():
            return None
        try:
            token = token_of(given)
            threads = self._threads_of(self._verifier.issuer_of(token))
            verify = functools.partial(self._verifier.verify, token, now=time.time())
            claims = await asyncio.get_running_loop().run_in_executor(threads, verify)
        except Refused as error:
            return error.message
        self._known[flow.client_conn] = Caller(
            claims.issuer, claims.subject, session_id(claims), claims.issued, claims.expires
        )
        return None

    def _threads_of(self, issuer: str) -> ThreadPoolExecutor:
        if issuer not in self._threads:
            self._threads[issuer] = ThreadPoolExecutor(CHECKING, "callers")
        return self._threads[issuer]

    def check(self, client: connection.Client, session: Session) -> None:
        """See that a call is its connection's caller's. Raises `Refused`."""
        if not self._required():
            return
        caller = self._known.get(client)
        if caller is None or (caller.issuer, caller.subject) != (session.issuer, session.subject):
            raise Refused("AccessDenied", f"this connection was opened by another than {session.subject}: {MEND}.")
        if time.time() >= caller.expires + LEEWAY:
            raise Refused("AccessDenied", f"the token that opened this connection has expired: {MEND}.")

    def stop_of(self, client: connection.Client) -> Stop | None:
        """What stops a connection that is no call's: the freeze of all, or what its caller is under."""
        caller = self._known.get(client)
        stops = self._shared.stops
        return stops.of(caller.session, caller.subject, caller.issued) if caller else stops.frozen()


def take(flow: http.HTTPFlow) -> list[str]:
    """Take the header out of a flow: it must be in no dump, view or log."""
    given = flow.request.headers.get_all(HEADER)
    flow.request.headers.pop(HEADER, None)
    return given


def token_of(given: list[str]) -> str:
    """The password in the header. Raises `Refused`."""
    scheme, _, encoded = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    try:
        if scheme.lower() == "basic":
            return base64.b64decode(encoded.strip(), validate=True).decode("ascii").partition(":")[2]
    except (binascii.Error, ValueError):
        pass
    raise Refused("AccessDenied", f"this proxy asks who you are: {MEND}.")
