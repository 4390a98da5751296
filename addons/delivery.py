"""Minted credentials exist only in the bytes that the agent gets: never in a flow, where screen and recording look.

The flow holds the answer with its credentials masked; the answer to deliver waits here, beside the flow, and is swapped
in by mitmproxy's HTTP/1 writer for the one time that it writes it. Where that does not happen the agent gets masks.
"""

import dataclasses
from collections.abc import Callable, Generator
from typing import Any
from weakref import WeakKeyDictionary

from mitmproxy import http
from mitmproxy.proxy.layers.http._events import ResponseData, ResponseHeaders
from mitmproxy.proxy.layers.http._http1 import Http1Server

_waiting: WeakKeyDictionary[http.Response, http.Response] = WeakKeyDictionary()
_bodies: WeakKeyDictionary[Http1Server, bytes] = WeakKeyDictionary()
Send = Callable[..., Generator[Any, Any, None]]


def deliver(shown: http.Response, whole: http.Response) -> None:
    """Write `whole` to the client where the flow's response is `shown`. Both have a body and no trailers."""
    _waiting[shown] = whole


def _delivering(send: Send) -> Send:
    def delivering(self: Http1Server, event: Any) -> Generator[Any, Any, None]:
        if isinstance(event, ResponseHeaders):
            _bodies.pop(self, None)
            if whole := _waiting.pop(event.response, None):
                _bodies[self] = whole.raw_content or b""
                event = dataclasses.replace(event, response=whole)
        elif isinstance(event, ResponseData) and (body := _bodies.pop(self, None)) is not None:
            event = dataclasses.replace(event, data=body)
        yield from send(self, event)

    delivering.delivers = True  # type: ignore[attr-defined]
    return delivering


def install() -> None:
    """Put this into mitmproxy's HTTP/1 server, over what is there; doing it twice changes nothing."""
    if not hasattr(Http1Server.send, "delivers"):
        Http1Server.send = _delivering(Http1Server.send)  # type: ignore[method-assign]
