"""Real credentials exist only in the bytes that are sent: never in a flow, where the web view, dumps and filters look.

The signed headers of a request wait here, beside the flow, and are swapped in by mitmproxy's HTTP/1 writer for the one
time that it writes them. A request whose headers are not here goes out with what the agent sent, which AWS refuses:
also after an HTTP/2 upstream (switched off), or a second sending.
"""

from collections.abc import Generator
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from mitmproxy import http
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http._events import RequestEndOfMessage, RequestHeaders
from mitmproxy.proxy.layers.http._http1 import Http1Client

Fields = tuple[tuple[bytes, bytes], ...]

_waiting: WeakKeyDictionary[http.Request, Fields] = WeakKeyDictionary()
_cut: WeakSet[http.Request] = WeakSet()
_send = Http1Client.send
_handle_event = Http1Client._handle_event


def send_with(request: http.Request, headers: Fields) -> None:
    """Write these headers instead of the request's own when it is sent."""
    _waiting[request] = headers


def forget(request: http.Request) -> None:
    """The request will not be sent after all, or has been."""
    _waiting.pop(request, None)


def cut(request: http.Request) -> None:
    """Never write the end of this request, and read no more of an answer to it: its body was refused in the middle.

    Its connection ends anyway, but not at once: an end that was read together with what is wrong would still be
    written, and an answer that has arrived by now would take the place of the refusal, with nobody to mask it.
    """
    _cut.add(request)


def _cut_off(self: Http1Client, event: Any) -> Generator[Any, Any, None]:
    if self.request in _cut and isinstance(event, RequestEndOfMessage | events.DataReceived):
        return
    yield from _handle_event(self, event)


def _signed_send(self: Http1Client, event: Any) -> Generator[Any, Any, None]:
    if not isinstance(event, RequestHeaders) or (headers := _waiting.pop(event.request, None)) is None:
        yield from _send(self, event)
        return
    own, event.request.headers = event.request.headers, http.Headers(headers)
    try:
        written = list(_send(self, event))  # at once: nobody else runs while they are there
    finally:
        event.request.headers = own
    yield from written


def install() -> None:
    """Put this into mitmproxy's HTTP/1 client; doing it twice changes nothing."""
    Http1Client.send = _signed_send  # type: ignore[method-assign]
    Http1Client._handle_event = _cut_off  # type: ignore[method-assign, assignment]
