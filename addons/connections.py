"""connections: how many there may be, how long one may take to bring a request, how much it may send unasked.

An agent that opens connections for nothing would otherwise use up the gateway's file descriptors, and with them the
audit log of everybody. mitmproxy bounds none of this; what it offers is an end after ten minutes without a byte.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Generator
from typing import Any, cast
from weakref import WeakKeyDictionary

from mitmproxy import connection, http, tls
from mitmproxy.proxy import commands, events, server, server_hooks
from mitmproxy.proxy.layers.http._http1 import Http1Server

from addons.bounds import write_down
from addons.flows import abort, source_of
from addons.seldom import Seldom
from addons.services import Services

KEPT_BACK = 256  # file descriptors for everything that is no client's
COMPLAIN = 10.0  # seconds between lines in the ledger about connections turned away

_serving: list["Connections"] = []  # one at most
_opening: WeakKeyDictionary[connection.Client, asyncio.Event] = WeakKeyDictionary()  # tunnels on their way
_held_back: WeakKeyDictionary[connection.Client, asyncio.Event] = WeakKeyDictionary()  # uploads not yet let on
_handle_event = Http1Server._handle_event


class Connections:
    """Counts clients, and ends those that are slow on purpose."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.clients: dict[str, str] = {}  # id of each open connection -> its source
        self.sources: Counter[str] = Counter()
        self.arriving: WeakKeyDictionary[connection.Client, asyncio.TimerHandle] = WeakKeyDictionary()
        self.turned_away, self.may_complain = 0, Seldom(COMPLAIN)

    async def client_connected(self, client: connection.Client) -> None:
        """Let a connection in, and start its clock; turn it away where there are too many."""
        limits, source = self.services.rules.gateway.config.limits, source_of(client)
        if (
            len(self.clients) >= min(limits.connections, affordable())
            or self.sources[source] >= limits.connections_each
        ):
            client.error = "sluicegate: too many connections"
            self.turned_away += 1
            if self.may_complain():
                count, self.turned_away = self.turned_away, 0
                await self.services.note("too-many-connections", sourceIPAddress=source, turnedAway=count)
            return
        self.clients[client.id] = source
        self.sources[source] += 1
        self.start_clock(client)

    def client_disconnected(self, client: connection.Client) -> None:
        """Make room."""
        self._stop_clock(client)
        if opening := _opening.pop(client, None):
            opening.set()
        let_on(client)
        if (source := self.clients.pop(client.id, None)) is not None:
            self.sources[source] -= 1
            if not self.sources[source]:
                del self.sources[source]

    def start_clock(self, client: connection.Client) -> None:
        """Give a connection `limits.request_time` from now to bring a whole request."""
        if client not in self.arriving:
            wait = self.services.rules.gateway.config.limits.request_time
            self.arriving[client] = asyncio.get_running_loop().call_later(wait, self._too_slow, client)

    def _stop_clock(self, client: connection.Client) -> None:
        if timer := self.arriving.pop(client, None):
            timer.cancel()

    def _too_slow(self, client: connection.Client) -> None:
        self.arriving.pop(client, None)
        write_down(client, "a request did not arrive in time")
        abort(client)

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """A tunnel has no request to wait for."""
        if data.ignore_connection:
            self._stop_clock(data.context.client)
            _opening[data.context.client] = asyncio.Event()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A request on a connection that was idle: its body has its time, too."""
        if flow.live:
            self.start_clock(flow.client_conn)

    def request(self, flow: http.HTTPFlow) -> None:
        """It is here."""
        self._stop_clock(flow.client_conn)

    def aws_call(self, flow: http.HTTPFlow) -> None:
        """A body that streams has no time of its own, but for each of its pieces: addons/bounds.py."""
        self._stop_clock(flow.client_conn)

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """What a tunnel's client goes on to send has somewhere to go."""
        if opening := _opening.pop(data.client, None):
            opening.set()

    server_connect_error = server_connected


def hold_back(client: connection.Client) -> None:
    """Read no more from a client: its body has nowhere to go yet. What it sends waits in the sockets' own buffers."""
    _held_back[client] = asyncio.Event()


def let_on(client: connection.Client) -> None:
    """Read on, if reading was held back."""
    if held := _held_back.pop(client, None):
        held.set()


def affordable() -> int:
    """How many connections the process has file descriptors for: each may need another one to an upstream."""
    return max(16, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - KEPT_BACK) // 2)


def _bounded_buffer(self: Http1Server, event: Any) -> Generator[Any, Any, None]:
    """End a connection that sends on and on while its call is decided, or within the framing of a chunk."""
    yield from _handle_event(self, event)
    if not isinstance(event, events.DataReceived) or not self.buf or self.state == self.done:
        return
    for serving in _serving:
        if len(self.buf) > serving.services.rules.gateway.config.limits.head:
            write_down(self.conn, "more was sent than a request")
            self.buf.maybe_extract_at_most(len(self.buf))
            abort(cast("connection.Client", self.conn))
            yield commands.CloseConnection(self.conn)
            self.state = self.done
        elif self.state == self.read_headers:
            serving.start_clock(cast("connection.Client", self.conn))


async def _wait_to_read(self: server.ConnectionHandler) -> None:
    """Read no more from a tunnel's client than its hello until the tunnel is there, and no body before its time."""
    mine = self.transports.get(self.client)
    if mine and mine.handler is asyncio.current_task():  # an upstream is read on: its TLS takes more than one piece
        for waiting in (_opening, _held_back):
            if event := waiting.get(self.client):
                await event.wait()
    await _drain(self)


async def _drain(self: server.ConnectionHandler) -> None:
    """What mitmproxy does: wait until what was written has gone, and end what it can't go to. But end it once.

    A handler that has read its last, or was cancelled already, is telling the layers of the end: cancelled in there, it
    would leave them waiting for ever.
    """
    async with self._drain_lock:
        for end, transport in list(self.transports.items()):
            if transport.writer is None:
                continue
            try:
                await transport.writer.drain()
            except OSError as error:
                reads = end.state & connection.ConnectionState.CAN_READ
                if transport.handler and reads and not transport.handler.cancelling():
                    transport.handler.cancel(f"Error sending data: {error}")


def install(serving: Connections) -> None:
    """Put this into mitmproxy; the last gateway's counts."""
    _serving[:] = [serving]
    Http1Server._handle_event = _bounded_buffer  # type: ignore[method-assign, assignment]
    server.ConnectionHandler.drain_writers = _wait_to_read  # type: ignore[method-assign]
