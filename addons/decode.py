"""decode: what the request is, as service, operation, region and parameters; what can't be read is refused."""

from mitmproxy import http

from addons import wire
from addons.call import Refusal, passing
from addons.flows import refuse
from addons.services import Services


class Decode:
    """Fills in `call.decoded`."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def aws_call(self, flow: http.HTTPFlow) -> None:
        """Read the call, or refuse it with the reason."""
        if (call := passing(flow)) is None:
            return
        assert call.request
        settings = self.services.rules.gateway.config.wire
        try:
            call.decoded = wire.decode(call.request, unknown=settings.unknown_members == "allow")
        except wire.Undecodable as error:
            message = f"can't read this as one AWS call: {error.reason}. {error.hint}".strip()
            refuse(flow, call, Refusal("decode", "AccessDenied", message))
