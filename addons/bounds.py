"""Bounds on what mitmproxy itself leaves open: bodies and heads in memory, and waits for an upstream.

A head that ends in a bound, or that is no HTTP, never becomes a call: a line in the ledger says that it was there.

mitmproxy's `body_size_limit` can't be used as it is: it also refuses announced sizes that would be streamed. Here it
counts only what is really buffered, which is the one bound on chunked bodies. The head of a request has no bound at
all in mitmproxy ("FIXME: protect against header size DoS"). Both are private methods of the pinned version.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, cast
from weakref import WeakKeyDictionary

from mitmproxy import connection, http
from mitmproxy.proxy import commands, server_hooks
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._http1 import Http1Server

from addons.call import call_of
from addons.flows import abort, source_of
from addons.services import Services

LARGEST_BODY = 32 * 1024 * 1024  # bytes of a request
LARGEST_ANSWER = 64 * 1024 * 1024  # bytes of an answer that is buffered
LARGEST_HEAD = 64 * 1024  # bytes of a request line with its headers; AWS's own services allow less

_note: list[Callable[[connection.Client, str], None]] = []  # one at most: where such a head is written down
_check_body_size = HttpStream.check_body_size
_read_headers = Http1Server.read_headers
_writing: set[asyncio.Future[None]] = set()  # asyncio itself keeps no task alive


def _bounded_body(self: HttpStream, request: bool) -> Generator[Any, Any, bool]:
    """Apply `body_size_limit` to what has been buffered, never to what was only announced."""
    if not (self.request_body_buf if request else self.response_body_buf):
        return False
    return (yield from _check_body_size(self, request))


def _bounded_head(self: Http1Server, event: Any) -> Generator[Any, Any, None]:
    """Close a connection whose request's head does not end."""
    before = self.request
    yield from _read_headers(self, event)
    if self.request is not before:
        return
    if self.state == self.done:
        write_down(self.conn, "not HTTP/1.1")
    elif len(self.buf) > LARGEST_HEAD:
        write_down(self.conn, "the request's head does not end")
        yield commands.SendData(self.conn, b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")
        yield commands.CloseConnection(self.conn)
        self.state = self.done


def write_down(client: connection.Connection, why: str) -> None:
    """Write that a connection brought something that is no request."""
    for note in _note:
        note(cast("connection.Client", client), why)


def install(services: Services) -> None:
    """Put the bounds into mitmproxy; doing it twice changes nothing."""

    def note(client: connection.Client, why: str) -> None:
        task = asyncio.ensure_future(services.note("unreadable", why=why, sourceIPAddress=source_of(client)))
        _writing.add(task)
        task.add_done_callback(_writing.discard)

    _note[:] = [note]
    HttpStream.check_body_size = _bounded_body  # type: ignore[method-assign]
    Http1Server.read_headers = _bounded_head  # type: ignore[method-assign]


class Bounds:
    """Ends connections to an upstream that does not connect or does not answer."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.connecting: WeakKeyDictionary[connection.Server, asyncio.TimerHandle] = WeakKeyDictionary()
        self.answering: WeakKeyDictionary[http.HTTPFlow, asyncio.TimerHandle] = WeakKeyDictionary()

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Give a connection `upstream.connect_timeout`. mitmproxy runs this hook in the task that connects."""
        task = asyncio.current_task()
        if data.server.error or task is None:
            return
        wait = self.services.rules.gateway.config.upstream.connect_timeout
        self.connecting[data.server] = asyncio.get_running_loop().call_later(wait, task.cancel)

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """It connected."""
        if timer := self.connecting.pop(data.server, None):
            timer.cancel()

    server_connect_error = server_connected

    def request(self, flow: http.HTTPFlow) -> None:
        """Give a call that is about to leave `upstream.read_timeout` until its answer begins."""
        call = call_of(flow)
        if call is not None and call.sent and not call.refusal:
            self._wait(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """It answered: the same time again for the rest of an answer that is buffered."""
        if self._stop(flow):
            self._wait(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        """It is here."""
        self._stop(flow)

    error = response

    def _wait(self, flow: http.HTTPFlow) -> None:
        wait = self.services.rules.gateway.config.upstream.read_timeout
        self.answering[flow] = asyncio.get_running_loop().call_later(wait, abort_upstream, flow)

    def _stop(self, flow: http.HTTPFlow) -> bool:
        timer = self.answering.pop(flow, None)
        if timer:
            timer.cancel()
        return timer is not None


def abort_upstream(flow: http.HTTPFlow) -> None:
    """Close the connection that a flow waits on: its client gets mitmproxy's 502, the ledger what is known."""
    call = call_of(flow)
    if call and not call.streams:  # a stream may be silent for as long as AWS lets it
        abort(flow.client_conn, flow.server_conn)
