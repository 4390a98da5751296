"""freeze: the kill switch. Nothing of a stopped session leaves, and what is under way of it ends.

authenticate refuses new calls of a frozen or revoked session. Here ends what was let in before: a held call gets its
refusal, a streamed answer or upload is cut, a tunnel closes. A call that was sent whole is carried out by AWS whatever
happens here: its answer is delivered, and recorded, as ever.
"""

import asyncio
from weakref import WeakSet

from mitmproxy import http

from addons.call import Call, Refusal, call_of, passing
from addons.connect import Connect
from addons.flows import abort, refuse
from addons.services import Services
from addons.shared import refused
from addons.state.store import Stop

AGAIN = 2.0  # seconds until a second look: a call may have been between its own last look and its sending


class Freeze:
    """The last look before a call leaves, and the end of what is under way when stops change."""

    def __init__(self, services: Services, connect: Connect) -> None:
        self.services, self.connect = services, connect
        self.underway: WeakSet[http.HTTPFlow] = WeakSet()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A call has begun."""
        if call_of(flow):
            self.underway.add(flow)

    def aws_call(self, flow: http.HTTPFlow) -> None:
        """Ask again: the call may have been held for long."""
        call = passing(flow)
        if call and call.session and (stop := self.services.shared.stop_of(call.session)):
            found = refused(stop)
            refuse(flow, call, Refusal("freeze", found.code, found.message, found.status))

    def response(self, flow: http.HTTPFlow) -> None:
        """It is over."""
        self.underway.discard(flow)

    error = response

    async def apply(self) -> None:
        """End what is under way of the sessions that are stopped now, and say how much it was."""
        ended = self._sweep()
        asyncio.get_running_loop().call_later(AGAIN, self._sweep)
        await self.services.note("stops-applied", ended=ended)

    def _sweep(self) -> dict[str, int]:
        ended = {"holds": 0, "streams": 0, "tunnels": self.connect.close_tunnels()}
        for flow in list(self.underway):
            call = call_of(flow)
            stop = self.services.shared.stop_of(call.session) if call and call.session else None
            if call and stop and (what := self._end(flow, call, stop)):
                ended[what] += 1
        return ended

    def _end(self, flow: http.HTTPFlow, call: Call, stop: Stop) -> str | None:
        if call.ticket and flow.intercepted:
            done = {"freeze": "frozen", "revoke": "revoked"}[stop.kind]
            why = f"{done}: {stop.reason}" if stop.reason else f"{done}."
            return "holds" if self.services.tickets.decide(call.ticket, "denied", stop.by, why) else None
        if call.sent and (call.streams or call.upload):
            abort(flow.client_conn)
            return "streams"
        return None
