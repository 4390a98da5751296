"""What mitmproxy does for each request that costs much and changes nothing: left out, or done once.

Nothing here decides anything. All of it is private to the pinned version of mitmproxy, and none of it is missed where
it no longer fits: the tests of the steps don't depend on it.
"""

from collections.abc import Callable, Generator
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import commands
from mitmproxy.proxy.layers.http._events import RequestHeaders, ResponseHeaders
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Connection, Http1Server

Send = Callable[..., Generator[Any, Any, None]]


def _joined(send: Send) -> Send:
    """Send a head and the body that is there already by one write: each is a TLS record, and a system call."""

    def joined(self: Http1Connection, event: Any) -> Generator[Any, Any, None]:
        if isinstance(event, RequestHeaders | ResponseHeaders):
            message = event.request if isinstance(event, RequestHeaders) else event.response
            interim = isinstance(message, http.Response) and message.status_code < 200  # a 100: no body follows
            waits = not event.end_stream and not message.stream and not interim  # for the body, which is the next event
        else:
            waits = False
        head = vars(self).pop("waiting_head", b"")
        for command in send(self, event):
            if isinstance(command, commands.SendData):
                command.data = head + command.data
                head = b""
                if waits:
                    vars(self)["waiting_head"] = command.data
                    continue
            elif head:
                yield commands.SendData(self.conn, head)
                head = b""
            yield command
        if head:
            yield commands.SendData(self.conn, head)

    joined.__wrapped__ = send  # type: ignore[attr-defined]
    return joined


def _get_all(self: http.Headers, name: str | bytes) -> list[str]:
    """All values of a header, as `http.Headers.get_all` gives them."""
    wanted = (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).lower()
    return [value.decode("utf-8", "surrogateescape") for key, value in self.fields if key.lower() == wanted]


def install() -> None:
    """Put this into mitmproxy, over what other modules have put there; doing it twice changes nothing."""
    # Unless Python runs with -O, mitmproxy checks the types of each message's fields: a debugging aid, at a tenth of
    # what a request costs.
    http.MessageData.__post_init__ = lambda self: None  # type: ignore[method-assign]
    http.Headers.get_all = _get_all  # type: ignore[method-assign]
    for connection in (Http1Client, Http1Server):
        if not hasattr(connection.send, "__wrapped__"):
            connection.send = _joined(connection.send)  # type: ignore[method-assign]
