"""sign: real credentials, added last, only to the bytes on the wire, only after an explicit allow and an intent."""

import functools
import time
import weakref
from datetime import UTC, datetime

from mitmproxy import http

from addons import bounds, custody, early, outgoing
from addons.call import Call, Refusal, call_of, passing
from addons.flows import fields, has_left, refuse, request_of
from addons.identity.refusal import Refused
from addons.identity.upstream import UpstreamUnavailable
from addons.redaction import request_headers_to_drop
from addons.services import Services
from addons.upload import Upload
from addons.wire import Headers, HttpRequest, framing, sigv4
from addons.wire.chunks import Resigner
from policy import vended

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

    async def aws_call(self, flow: http.HTTPFlow) -> None:
        """Sign what was decided on, and send it where the configuration says."""
        if (call := passing(flow)) is None:
            return
        # Belt and braces: nothing is signed that was not explicitly let through and written down.
        allowed = call.decision and (
            call.decision.effect == "allow" or (call.approval is not None and call.approval.verdict == "approved")
        )
        if not (allowed and call.intended and call.decoded and call.request and call.session):
            raise RuntimeError("a call reached the signer without a decision and an intent")
        if request_of(flow, call.request.host) != call.request:
            text = "the request was changed after it had been decided on; not sent."
            refuse(flow, call, Refusal("sign", "AccessDenied", text))
            return
        drop = HOP_BY_HOP | request_headers_to_drop(self.services.rules.redaction, call.decoded)
        drop |= request_headers_to_drop(vended.hiding(), call.decoded)
        request = call.request
        kept = tuple((name, value) for name, value in request.headers if name.lower() not in drop)
        try:
            keys = await custody.credentials(self.services, call)
            self.services.shared.check(call.session)  # which may have been stopped while STS was asked
        except UpstreamUnavailable as error:
            refuse(flow, call, Refusal("sign", "ServiceUnavailable", f"no upstream credentials: {error}", 503))
            return
        except Refused as error:
            refuse(flow, call, Refusal("sign", error.code, error.message, error.status))
            return
        if not flow.client_conn.connected or (call.upload and has_left(flow.client_conn)):
            call.refusal = Refusal("sign", "ClientGone", "the caller left; not sent.")
            flow.kill()
            return
        call.added = custody.owner_headers(self.services, call)
        headers = sigv4.sign(
            HttpRequest(request.method, request.host, request.target, (*kept, *call.added), request.body),
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
        if call.upload:
            flow.request.stream = self._pass_on(flow, call, call.upload, headers, keys.secret_key)
        call.keys, call.sent = keys, True

    def _pass_on(self, flow: http.HTTPFlow, call: Call, upload: Upload, sent: Headers, secret: str) -> Upload:
        """What mitmproxy passes a streamed body through. `secret` signs its chunks, where they are signed."""
        assert call.request
        kind = call.request.get("x-amz-content-sha256") or ""
        if kind == framing.KIND:
            upload.checker = framing.Framing(call.request.headers)
        elif kind.startswith("STREAMING-"):
            # Opened anew: the agent's secret is kept nowhere between its verification and this.
            token = call.request.get("x-amz-security-token") or ""
            _, theirs = self.services.ring.unseal(call.access_key or "", token, now=time.time())
            upload.checker = Resigner(call.request.headers, theirs, sent, secret)
        upload.fail = functools.partial(early.stop, weakref.ref(flow))  # weak: a call must not keep its flow alive
        upload.room, upload.moved = bounds.room, time.monotonic()
        return upload

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
