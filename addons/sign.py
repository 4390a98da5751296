"""sign: real credentials, added last, only to the bytes on the wire, only after an explicit allow and an intent."""

from datetime import UTC, datetime

from mitmproxy import http

from addons import outgoing
from addons.call import Refusal, call_of, passing
from addons.flows import fields, refuse, request_of
from addons.identity.upstream import UpstreamUnavailable
from addons.redaction import request_headers_to_drop
from addons.services import Services
from addons.wire import HttpRequest, sigv4

HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "upgrade",
    }
)


class Sign:
    """The only step that sees a real key."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def request(self, flow: http.HTTPFlow) -> None:
        """Sign what was decided on, and send it where the configuration says."""
        if (call := passing(flow)) is None:
            return
        # Belt and braces: nothing is signed that was not explicitly let through and written down.
        allowed = call.decision and (
            call.decision.effect == "allow" or (call.approval is not None and call.approval.verdict == "approved")
        )
        if not (allowed and call.intended and call.decoded and call.request):
            raise RuntimeError("a call reached the signer without a decision and an intent")
        if request_of(flow, call.request.host) != call.request:
            text = "the request was changed after it had been decided on; not sent."
            refuse(flow, call, Refusal("sign", "AccessDenied", text))
            return
        drop = HOP_BY_HOP | request_headers_to_drop(self.services.rules.redaction, call.decoded)
        request = call.request
        kept = tuple((name, value) for name, value in request.headers if name.lower() not in drop)
        try:
            keys = await self.services.upstream.credentials()
        except UpstreamUnavailable as error:
            refuse(flow, call, Refusal("sign", "ServiceUnavailable", f"no upstream credentials: {error}", 503))
            return
        if not flow.client_conn.connected:
            call.refusal = Refusal("sign", "ClientGone", "the caller left; not sent.")
            flow.kill()
            return
        headers = sigv4.sign(
            HttpRequest(request.method, request.host, request.target, kept, request.body),
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            token=keys.token,
            service=call.decoded.signing_name,
            region=call.decoded.signing_region,
            now=datetime.now(UTC),
        )
        outgoing.send_with(flow.request, fields(headers))
        upstream = self.services.rules.gateway.config.upstream
        # `data`, not the properties: those would rewrite the Host header, which the signature covers.
        flow.request.scheme = "https"
        flow.request.data.host, flow.request.data.port = request.host, 443  # what was decided on, whatever stood there
        if upstream.endpoint:
            flow.request.scheme = upstream.endpoint.scheme
            flow.request.data.host, flow.request.data.port = upstream.endpoint.address
        elif upstream.proxy:
            flow.server_conn.via = (upstream.proxy.scheme, upstream.proxy.address)
        call.sent = True

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Show the client's own view of where it went."""
        restore(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """The same where no answer came."""
        restore(flow)


def restore(flow: http.HTTPFlow) -> None:
    """Put the flow back to what the client sent."""
    call = call_of(flow)
    outgoing.forget(flow.request)
    if call and call.request:
        flow.request.scheme = "https"
        flow.request.data.host, flow.request.data.port = call.request.host, 443
