"""arrival: runs the steps, once a call, as soon as there is enough of it to decide on.

A call whose body streams is decided from its head, before anything of the body is read; every other call when it is
whole. Both run the same steps in the same order: the handlers of one hook, `aws_call`, behind the same dispatcher.
"""

from mitmproxy import ctx, http

from addons.call import AwsCallHook, passing


class Arrival:
    """The last of the addons: all others have seen the request when the steps begin."""

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Run the steps on a head."""
        if (call := passing(flow)) and call.upload:
            await ctx.master.addons.trigger_event(AwsCallHook(flow))

    async def request(self, flow: http.HTTPFlow) -> None:
        """Run the steps on a whole request."""
        if (call := passing(flow)) and not call.upload:
            await ctx.master.addons.trigger_event(AwsCallHook(flow))
