"""early: answers that do not wait for the rest of a request, and the reading of a body only once it has a place to go.

mitmproxy answers a request when it has read all of it, so a refused upload would be read, and kept, to its last byte.
Here a response that is set while the body is still to come is sent at once. What the client goes on to send is thrown
away for a while, as SDKs look for an answer only when they have sent all, and a closed connection is none to them.
All of this is private to the pinned version of mitmproxy.
"""

import asyncio
import functools
import weakref
from collections.abc import Generator
from typing import Any

from mitmproxy import connection, http
from mitmproxy.net.http import http1
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._events import RequestEndOfMessage
from mitmproxy.proxy.layers.http._hooks import HttpResponseHeadersHook

from addons import outgoing
from addons.call import Refusal, call_of
from addons.connections import let_on
from addons.flows import abort, refuse

LINGER = 30.0  # seconds that a client may go on to send what nobody reads
_check_killed = HttpStream.check_killed
_start_request_stream = HttpStream.start_request_stream

Commands = Generator[Any, Any, None]


def _answered_or_killed(self: HttpStream, emit_error_hook: bool) -> Generator[Any, Any, bool]:
    """After `requestheaders`: answer now what is answered already, before mitmproxy asks the client for the body."""
    if (
        self.client_state == self.state_wait_for_request_headers
        and self.flow.response
        and self.flow.request.stream
        and not self.flow.error
        and _has_body(self.flow.request)
    ):
        yield from _answer(self)
        return True
    return (yield from _check_killed(self, emit_error_hook))


def _has_body(request: http.Request) -> bool:
    """Whether a body is to come. Where the framing can't be read, there may be one."""
    try:
        return http1.expected_http_body_size(request) != 0
    except ValueError:
        return True


def _answer(self: HttpStream) -> Commands:
    """Send the flow's response through the usual hooks, and throw away the rest of the request."""
    assert self.flow.response
    if self.client_state != self.state_done:
        _let_linger(self)
        self.flow.response.headers["connection"] = "close"
    yield HttpResponseHeadersHook(self.flow)
    if not (yield from _check_killed(self, True)):
        yield from self.send_response()
    let_on(self.context.client)


def _let_linger(self: HttpStream) -> None:
    """Keep nothing more of the request, and read it for `LINGER` at most."""
    timer = asyncio.get_running_loop().call_later(LINGER, abort, self.context.client)
    self.client_state = functools.partial(_discard, self, timer)


def _discard(self: HttpStream, timer: asyncio.TimerHandle, event: Any) -> Commands:
    """A client state: the end of the request is the flow's."""
    if isinstance(event, RequestEndOfMessage):
        timer.cancel()
        self.client_state = self.state_done
        yield from self.flow_done()


def _start_streaming(self: HttpStream) -> Commands:
    """Read on when there is an upstream: until then, pieces would pile up in memory."""
    yield from _start_request_stream(self)
    let_on(self.context.client)


def upstream_ended(self: HttpStream) -> Generator[Any, Any, bool]:
    """Whether the end of an upstream's connection in the middle of a body has been dealt with here.

    Either it has answered before it had the whole body, and the client has that answer; or we ended it (`stop`).
    """
    call = call_of(self.flow)
    if not call or not call.upload:
        return False
    if self.server_state == self.state_done and self.client_state == self.state_stream_request_body:
        call.upload.end()
        _let_linger(self)
        return True
    if call.upload.failed and self.flow.response and self.server_state == self.state_wait_for_response_headers:
        yield from _answer(self)
        return True
    return False


def stop(passing: weakref.ref[http.HTTPFlow], code: str, message: str) -> None:
    """Refuse a body in the middle: the upstream's connection ends, so that it never has the whole; see above."""
    if (flow := passing()) is None or (call := call_of(flow)) is None:
        return
    outgoing.cut(flow.request)
    begun = flow.response is not None
    if not begun:
        refuse(flow, call, Refusal("sign", code, message, 400))
    ends: list[connection.Connection] = [flow.server_conn, *([flow.client_conn] if begun else [])]
    for end in ends:
        abort(flow.client_conn, end)


def install() -> None:
    """Put this into mitmproxy; doing it twice changes nothing."""
    HttpStream.check_killed = _answered_or_killed  # type: ignore[method-assign]
    HttpStream.start_request_stream = _start_streaming  # type: ignore[method-assign]
