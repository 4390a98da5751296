"""Between mitmproxy's flows and the gateway's values: reading a request, putting a refusal, signing on the wire."""

import asyncio
import select
import time

from mitmproxy import connection, ctx, http
from mitmproxy.net.http import status_codes

from addons import outgoing, wire
from addons.call import Call, Refusal, call_of
from addons.ledger.log import LedgerUnavailable
from addons.wire import Headers, HttpRequest, HttpResponse


def text(value: bytes) -> str:
    """Header bytes as text that gives the same bytes back."""
    return value.decode("utf-8", "surrogateescape")


def raw(value: str) -> bytes:
    """The bytes of such a text."""
    return value.encode("utf-8", "surrogateescape")


def headers_of(message: http.Message) -> Headers:
    """A message's headers as they came."""
    found = [
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in message.headers.fields
    ]  # written out: this runs four times a call
    return tuple(found)


def fields(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    """Headers as mitmproxy holds them."""
    return tuple([(raw(name), raw(value)) for name, value in headers])


def request_of(flow: http.HTTPFlow, host: str) -> HttpRequest:
    """The request as received; `host` is the name that CONNECT, SNI and Host agree on."""
    request = flow.request
    return HttpRequest(request.method, host, request.path, headers_of(request), request.raw_content)


def put_request(flow: http.HTTPFlow, request: HttpRequest) -> None:
    """Let a flow hold the target and the headers of this request, which means the same."""
    flow.request.path = request.target
    flow.request.headers = http.Headers(fields(request.headers))


def response_of(flow: http.HTTPFlow) -> HttpResponse:
    """The answer that the flow holds."""
    assert flow.response
    return HttpResponse(flow.response.status_code, headers_of(flow.response), flow.response.raw_content or b"")


def put_response(flow: http.HTTPFlow, response: HttpResponse, reason: str = "") -> None:
    """Answer a flow with these bytes."""
    flow.response = as_response(response, reason)


def as_response(response: HttpResponse, reason: str = "") -> http.Response:
    """An answer as mitmproxy has it: no header is added, no body encoded anew."""
    phrase = raw(reason or status_codes.RESPONSES.get(response.status, ""))
    headers, now = http.Headers(fields(response.headers)), time.time()
    return http.Response(b"HTTP/1.1", response.status, phrase, headers, response.body, None, now, now)


def unknown(flow: http.HTTPFlow) -> HttpRequest:
    """A request that was never read as a call: enough of it to answer in a protocol that its sender may know."""
    return HttpRequest(flow.request.method, flow.request.host_header or "", flow.request.path, headers_of(flow.request))


def refuse(flow: http.HTTPFlow, call: Call, refusal: Refusal) -> None:
    """Answer a call with an error in its own protocol, in the SDK's own words."""
    call.refusal = refusal
    message = f"sluicegate: {refusal.message}"
    if call.access_request:
        message += f"{'' if message[-1] in '.!?' else '.'} {call.access_request}"
    answer = wire.refusal(
        call.request or unknown(flow),
        refusal.code,
        message,
        request_id=call.id,
        status=refusal.status,
        decoded=call.decoded,
    )
    if not (call.upload and call.sent):  # that one's body is on its way, and looks after itself
        flow.request.stream = flow.request.timestamp_end is None  # it has not come whole: addons/early.py answers now
    put_response(flow, answer)


def internal_error(flow: http.HTTPFlow, hook: str, error: BaseException | None) -> http.Response:
    """The answer to a call about which one of our own hooks failed with `error`. Never raises."""
    try:
        call = call_of(flow) or Call(source="")
        refusal = Refusal("dispatcher", "InternalFailure", f"internal error in {hook}; refused.", 500)
        if isinstance(error, LedgerUnavailable):
            refusal = Refusal(
                "dispatcher", "ServiceUnavailable", f"the audit log can't be written ({error}); refused.", 503
            )
        if hook in ("requestheaders", "request", "aws_call"):  # signed or not, nothing has left
            outgoing.forget(flow.request)
            call.sent = False
        refuse(flow, call, refusal)
        assert flow.response
        return flow.response
    except Exception:
        return http.Response.make(500, b"sluicegate: internal error", {"content-type": "text/plain"})


def abort(client: connection.Client, end: connection.Connection | None = None) -> None:
    """Drop a client's connection, or one that was opened for it (`end`), with nothing more written to it.

    The client's own where the other is not there: it is still being opened, or leads through a proxy.
    """
    if transport := _transport(client, end or client) or _transport(client, client):
        transport.abort()


def has_left(client: connection.Client) -> bool:
    """Whether a client is gone, also one from which nothing is read now, so that its end lies behind its body."""
    if not client.connected:
        return True
    transport = _transport(client, client)
    if transport is None or not hasattr(select, "poll"):
        return transport is None
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), getattr(select, "POLLRDHUP", 0))  # Linux's; elsewhere resets only
    return bool(poll.poll(0))


def _transport(client: connection.Client, end: connection.Connection) -> asyncio.Transport | None:
    handler = ctx.master.addons.get("proxyserver").connections.get(client.id)
    found = handler and handler.transports.get(end)
    return found.writer.transport if found and found.writer else None


def source_of(client: connection.Client) -> str:
    """The client's address as text."""
    return str(client.peername[0]) if client.peername else ""
