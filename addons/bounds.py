"""Bounds on what mitmproxy itself leaves open: bodies and heads in memory, and waits for an upstream.

A head that ends in a bound, or that is no HTTP, never becomes a call: a line in the ledger says that it was there.

mitmproxy's `body_size_limit` can't be used: it also refuses announced sizes that would be streamed. Here what counts is
what is really buffered, which is the one bound on chunked bodies. The head of a request has no bound at all in
mitmproxy ("FIXME: protect against header size DoS"). Both are private methods of the pinned version.
"""

import asyncio
import gc
import time
from collections.abc import Generator
from typing import Any, cast
from weakref import WeakKeyDictionary

import h11
from h11._readers import ChunkedReader
from mitmproxy import connection, http
from mitmproxy import flow as mitmflow
from mitmproxy.proxy import commands, server_hooks
from mitmproxy.proxy.layers.http import HttpStream, SendHttp, _http1
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestProtocolError, ResponseProtocolError
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook
from mitmproxy.proxy.layers.http._http1 import Http1Server

from addons.call import call_of
from addons.config import Limits
from addons.flows import abort, source_of
from addons.services import Services

LARGE = 256 << 10  # bytes from which a body counts for the bound on all of them together

LEFT = 64 << 20  # bytes that connections may leave behind until they are looked for

_serving: list[Services] = []  # one at most: whose limits count, and where such a head is written down
_buffered: WeakKeyDictionary[HttpStream, int] = WeakKeyDictionary()  # bytes; an entry goes with its stream
_waiting: WeakKeyDictionary[object, int] = WeakKeyDictionary()  # of uploads: bytes that wait for their signature
_read_headers = Http1Server.read_headers
_flow_done = HttpStream.flow_done
_make_body_reader = _http1.make_body_reader
_writing: set[asyncio.Future[None]] = set()  # asyncio itself keeps no task alive


def _bounded_body(self: HttpStream, request: bool) -> Generator[Any, Any, bool]:
    """End a call of which more is buffered than may be; True if so. Called for every piece that arrives."""
    size = len(self.request_body_buf if request else self.response_body_buf)
    if size < LARGE:
        return False
    _buffered[self] = size
    limits = _limits()
    if size <= (limits.body if request else limits.answer) and _in_all() <= limits.buffered:
        return False
    code = ErrorCode.REQUEST_TOO_LARGE if request else ErrorCode.RESPONSE_TOO_LARGE
    text = "the request's body is too large." if request else "the upstream's answer is too large to be checked."
    self.flow.error = mitmflow.Error(text)
    yield HttpErrorHook(self.flow)
    yield SendHttp(ResponseProtocolError(self.stream_id, text, code), self.context.client)
    self.client_state = self.state_errored
    if not request:
        yield SendHttp(RequestProtocolError(self.stream_id, text, code), self.context.server)
        self.server_state = self.state_errored
    self.flow.live = False
    return True


def _in_all() -> int:
    return sum(_buffered.values()) + sum(_waiting.values())


def room(upload: object, size: int) -> bool:
    """Note how many bytes of an upload are in memory now, and say whether all bodies together have room."""
    if size < LARGE:
        _waiting.pop(upload, None)
        return True
    _waiting[upload] = size
    return _in_all() <= _limits().buffered


def _bounded_head(self: Http1Server, event: Any) -> Generator[Any, Any, None]:
    """Close a connection whose request's head does not end."""
    before = self.request
    yield from _read_headers(self, event)
    if self.request is not before:
        return
    if self.state == self.done:
        write_down(self.conn, "not HTTP/1.1")
    elif len(self.buf) > _limits().head:
        write_down(self.conn, "the request's head does not end")
        yield commands.SendData(self.conn, b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")
        yield commands.CloseConnection(self.conn)
        self.state = self.done


class _WithoutTrailer(ChunkedReader):
    """A body in chunks, whose trailer is an error: mitmproxy raises there, so that the call would have no line."""

    def __call__(self, buf: Any) -> Any:
        event = super().__call__(buf)
        if isinstance(event, h11.EndOfMessage) and event.headers:
            raise h11.RemoteProtocolError("a trailer behind the chunks is not served")
        return event


def _reader_of(size: int | None) -> _http1.TBodyReader:
    return _WithoutTrailer() if size is None else _make_body_reader(size)


def _let_go(self: HttpStream) -> Generator[Any, Any, None]:
    """Free a call's bodies as soon as nobody shows them: a stream refers to itself, so only Python's search for such
    circles would free it, some dozens of large bodies later."""
    yield from _flow_done(self)
    if not self.child_layer:
        self.context.layers.clear()
        self.client_state = self.server_state = _nothing


def _nothing(event: Any) -> Generator[Any, Any, None]:
    """What a stream that has ended makes of events."""
    yield from ()


def _limits() -> Limits:
    return _serving[0].rules.gateway.config.limits if _serving else Limits()


def write_down(client: connection.Connection, why: str) -> None:
    """Write that a connection brought something that is no request."""
    for services in _serving:
        source = source_of(cast("connection.Client", client))
        task = asyncio.ensure_future(services.note("unreadable", why=why, sourceIPAddress=source))
        _writing.add(task)
        task.add_done_callback(_writing.discard)


def install(services: Services) -> None:
    """Put the bounds into mitmproxy; the last gateway's limits count."""
    _serving[:] = [services]
    HttpStream.check_body_size = _bounded_body  # type: ignore[method-assign]
    HttpStream.flow_done = _let_go  # type: ignore[method-assign]
    Http1Server.read_headers = _bounded_head  # type: ignore[method-assign]
    _http1.make_body_reader = _reader_of  # type: ignore[assignment]


class Bounds:
    """Ends connections to an upstream that does not connect or does not answer."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.connecting: WeakKeyDictionary[connection.Server, asyncio.TimerHandle] = WeakKeyDictionary()
        self.answering: WeakKeyDictionary[http.HTTPFlow, asyncio.TimerHandle] = WeakKeyDictionary()
        self.left = 0

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

    def aws_call(self, flow: http.HTTPFlow) -> None:
        """Give a call that is about to leave `upstream.read_timeout` until its answer begins.

        One whose body streams has that time again from each piece: a client or an upstream that stalls is given up.
        """
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

    def error(self, flow: http.HTTPFlow) -> None:
        """Nothing comes any more: what a streamed body has in memory goes at once."""
        self._stop(flow)
        if (call := call_of(flow)) and call.upload:
            call.upload.end()

    def client_disconnected(self, client: connection.Client) -> None:
        """Free what a connection leaves behind that ended midway: its layers refer to each other, and to its bodies."""
        self.left += sum(size for stream, size in _buffered.items() if stream.context.client is client)
        if self.left > LEFT:
            self.left = 0
            asyncio.get_running_loop().call_later(1, gc.collect)

    def _wait(self, flow: http.HTTPFlow) -> None:
        self._later(flow, self.services.rules.gateway.config.upstream.read_timeout)

    def _later(self, flow: http.HTTPFlow, wait: float) -> None:
        self.answering[flow] = asyncio.get_running_loop().call_later(wait, self._overdue, flow)

    def _overdue(self, flow: http.HTTPFlow) -> None:
        call, wait = call_of(flow), self.services.rules.gateway.config.upstream.read_timeout
        if call and call.upload and (left := call.upload.moved + wait - time.monotonic()) > 0:
            self._later(flow, left)
        else:
            abort_upstream(flow)

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
