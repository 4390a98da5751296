"""decode: what the request is, as service, operation, region and parameters; what can't be read is refused."""

from mitmproxy import http

from addons import wire
from addons.call import Refusal, call_of
from addons.flows import refuse
from addons.services import Services


class Decode:
    """Fills in `call.decoded`."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def request(self, flow: http.HTTPFlow) -> None:
        """Read the call, or refuse it with the reason."""
        call = call_of(flow)
        if call is None or call.refusal or call.answered or call.request is None:
            return
        try:
            call.decoded = wire.decode(call.request)
        except wire.Undecodable as error:
            message = f"can't read this as one AWS call: {error.reason}. {error.hint}".strip()
            refuse(flow, call, Refusal("decode", "AccessDenied", message))
