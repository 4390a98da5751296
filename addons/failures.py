"""failures: what an agent is told when its call failed between the gateway and AWS, and what is kept of it.

mitmproxy's own messages quote what the upstream sent, which nobody has masked, and reach the client as HTML: an SDK
could not read them. All three places are private to the pinned version of mitmproxy.
"""

from collections.abc import Generator
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import commands
from mitmproxy.proxy.layers import http as layer
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._events import ErrorCode, ResponseProtocolError
from mitmproxy.proxy.layers.http._http1 import Http1Server

from addons import early, wire
from addons.bounds import write_down
from addons.call import event_id
from addons.flows import fields, headers_of
from addons.wire import HttpRequest

SAID = {  # what may be told; a failed connection's own words hold nothing of the upstream's
    ErrorCode.GENERIC_SERVER_ERROR: "the upstream closed the connection, or what it answered is not HTTP.",
    ErrorCode.RESPONSE_VALIDATION_FAILED: "the head of the upstream's answer is not valid HTTP.",
    ErrorCode.RESPONSE_TOO_LARGE: "the upstream's answer is too large to be checked.",
}

_handle_protocol_error = HttpStream.handle_protocol_error
_validate_headers = layer.validate_headers  # type: ignore[attr-defined]
_send = Http1Server.send


def _without_quotes(self: HttpStream, event: Any) -> Generator[Any, Any, None]:
    """Keep the upstream's bytes out of the flow's error."""
    if isinstance(event, ResponseProtocolError):
        event.message = SAID.get(event.code, event.message)
        if (yield from early.upstream_ended(self)):
            return
    yield from _handle_protocol_error(self, event)


def _validate(message: http.Message) -> None:
    """The same for an answer whose headers mitmproxy refuses."""
    try:
        _validate_headers(message)
    except ValueError:
        if isinstance(message, http.Response):
            raise ValueError("an invalid head") from None
        raise


def _send_in_protocol(self: Http1Server, event: Any) -> Generator[Any, Any, None]:
    """Answer with an error in the protocol of the call. 502: whether it was carried out is not always known."""
    if isinstance(event, ResponseProtocolError) and event.code is ErrorCode.DESTINATION_UNKNOWN:
        write_down(self.conn, "a request without a host")  # no hook runs for it
    failed = isinstance(event, ResponseProtocolError) and event.code.http_status_code() == 502
    if not failed or self.request is None or self.response is not None or self.request.method == "CONNECT":
        yield from _send(self, event)
        return
    sent = self.request
    request = HttpRequest(sent.method, sent.host_header or "", sent.path, headers_of(sent))
    text = f"sluicegate: {SAID.get(event.code, event.message)}"
    answer = wire.refusal(request, "ServiceUnavailable", text, request_id=event_id(), status=502)
    headers = http.Headers(fields((*answer.headers, ("connection", "close"))))
    yield commands.SendData(self.conn, b"HTTP/1.1 502 Bad Gateway\r\n" + bytes(headers) + b"\r\n" + answer.body)
    yield commands.CloseConnection(self.conn)


def install() -> None:
    """Put this into mitmproxy; doing it twice changes nothing."""
    HttpStream.handle_protocol_error = _without_quotes  # type: ignore[method-assign]
    layer.validate_headers = _validate  # type: ignore[attr-defined]
    Http1Server.send = _send_in_protocol  # type: ignore[method-assign]
