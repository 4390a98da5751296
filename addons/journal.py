"""journal: a durable intent before anything leaves; without it nothing does."""

import hashlib

from mitmproxy import http

from addons.call import Refusal, passing
from addons.flows import refuse
from addons.ledger.log import LedgerUnavailable
from addons.services import Services


class Journal:
    """Fills in `call.intended`."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def aws_call(self, flow: http.HTTPFlow) -> None:
        """Write that this call is about to be sent."""
        if (call := passing(flow)) is None:
            return
        assert call.decoded
        assert call.session
        assert call.decision
        assert call.request
        intent = {
            "eventID": call.id,
            "time": call.started,
            "session": call.session.id,
            "subject": call.session.subject,
            "account": call.account,
            "sourceIPAddress": call.source,
            "service": call.decoded.service,
            "signingName": call.decoded.signing_name,
            "operation": call.decoded.operation,
            "region": call.decoded.region,
            "bodySha256": call.upload.stated if call.upload else hashlib.sha256(call.request.body or b"").hexdigest(),
            "sid": call.decision.sid,
            "policyHash": call.decision.policy_hash,
        }
        try:
            await self.services.ledger.intent(intent)
        except LedgerUnavailable as error:
            text = f"the audit log can't be written ({error}); nothing is sent until it can."
            refuse(flow, call, Refusal("journal", "ServiceUnavailable", text, 503))
            return
        call.intended = True
