"""redact: mask what comes back. The raw answer leaves the flow before anything else can look at it.

mitmweb serves whatever the flow holds, at any await: so this hook awaits nothing, and puts back only the masked answer.
Credentials that AWS returns become synthetic ones, which only the agent gets: in the flow they are masked, too.
"""

from mitmproxy import http

from addons import delivery, wire
from addons.authorize import judged
from addons.call import Call, Refusal, call_of
from addons.flows import as_response, fields, headers_of, refuse, text
from addons.identity import vended as chained
from addons.identity.session import Keys
from addons.redaction import Returned, Unredactable, quoted, redact, swap
from addons.services import Services
from addons.wire import HttpResponse
from policy import vended

FRAMING = frozenset({"connection", "content-encoding", "content-length", "content-type", "date", "transfer-encoding"})


class Redact:
    """Fills in `call.masked`."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Decide, per operation and never by size, whether the body is passed through as it comes."""
        call = call_of(flow)
        if call is None or not call.sent or call.refusal or flow.response is None:
            return
        call.upstream_status = flow.response.status_code
        call.streams = self._passes(call, flow.response.status_code)
        if call.streams:
            return
        # While the body arrives, what was received can be seen on the screen: headers hold secrets, too.
        call.head = headers_of(flow.response)
        length = flow.response.headers.get("content-length", "0")
        flow.response.headers = http.Headers([f for f in flow.response.headers.fields if text(f[0]).lower() in FRAMING])
        if call.upstream_status < 200:
            call.refusal = Refusal("redact", "AccessDenied", "AWS switches to no other protocol.")
            flow.kill()
        elif not (length.isascii() and length.isdigit()) or (
            int(length) > self.services.rules.gateway.config.limits.answer and flow.request.method != "HEAD"
        ):
            call.refusal = Refusal("redact", "AccessDenied", "the answer is too large to be checked.")
            flow.kill()

    def _passes(self, call: Call, status: int) -> bool:
        """Whether an answer is a stream in which no rule can find anything. Errors are never streams."""
        assert call.decoded
        rules = self.services.rules.redaction
        if not 200 <= status < 300 or any(rules.for_operation(*candidate) for candidate in call.decoded.candidates):
            return False
        if any(judged(*candidate).verdict == "virtualise" for candidate in call.decoded.candidates):
            return False
        return wire.response_is_event_stream(call.decoded) or wire.response_is_streaming_blob(call.decoded)

    def response(self, flow: http.HTTPFlow) -> None:
        """Mask, or refuse what can't be masked with certainty."""
        call = call_of(flow)
        if call is None:
            return
        keys, call.keys = call.keys, None
        if not call.sent or call.refusal or call.streams or not call.decoded or flow.response is None:
            return
        received = flow.response
        raw = HttpResponse(received.status_code, call.head, received.raw_content or b"")
        flow.response, call.head = None, ()
        try:
            real = (keys.access_key, keys.secret_key, keys.token) if keys and not 200 <= raw.status < 300 else ()
            if quoted.quotes(raw, real):
                why = "AWS refused what the gateway signed, and its answer quotes credentials, so it is not passed on."
                status = raw.status if 400 <= raw.status < 500 else 403
                refuse(flow, call, Refusal("redact", quoted.code_of(raw), why, status))
                return
            sealed = self._sealed(call, raw)
            spare = vended.places(call.decoded.service, call.decoded.operation) if sealed is not raw else None
            redacted = redact(self.services.rules.redaction, call.decoded, sealed, self.services.mask_key, spare)
            shown = redacted.response
            if spare:
                shown = redact(vended.hiding(), call.decoded, shown, self.services.mask_key).response
        except Unredactable as error:
            why = f"the answer can't be masked with certainty ({error}); the call itself was carried out."
            refuse(flow, call, Refusal("redact", "AccessDenied", why))
            return
        if redacted.response is raw:
            received.headers, received.trailers, flow.response = http.Headers(fields(raw.headers)), None, received
            return
        call.masked = tuple(
            {"rule": m.rule, "locations": m.locations, "fingerprint": m.fingerprint} for m in redacted.masked
        )
        flow.response = as_response(shown, received.reason)
        if shown is not redacted.response:
            delivery.deliver(flow.response, as_response(redacted.response, received.reason))

    def _sealed(self, call: Call, raw: HttpResponse) -> HttpResponse:
        """The answer with synthetic credentials in the place of the real ones that it holds. Raises `Unredactable`."""
        assert call.decoded
        assert call.session
        session, decoded = call.session, call.decoded
        entry = judged(decoded.service, decoded.operation)
        if entry.verdict != "virtualise":
            return raw

        def seal(found: Returned) -> tuple[str, str, str]:
            keys = Keys(found.access_key, found.secret_key, found.token)
            role, label = decoded.params.get(entry.role), str(decoded.params.get("RoleSessionName", ""))
            made = self.services.ring.seal(chained.acting(session, keys, found.expires, role=role, label=label))
            call.returned = made[0]
            return made

        return swap(vended.places(decoded.service, decoded.operation), decoded, raw, seal)

    def error(self, flow: http.HTTPFlow) -> None:
        """An answer that did not arrive whole, or whose head mitmproxy refused, was never masked: it goes nowhere."""
        if (call := call_of(flow)) is None:
            return
        call.keys = None
        if call.sent and not call.streams and not call.recorded:
            flow.response, call.head = None, ()
