"""The gateway as mitmproxy sees it: the list of its steps, in order, behind the fail-closed dispatcher.

`sluicegate up` builds one with `Gateway(services)` before mitmproxy listens. The same file is a script:
`mitmweb -s addons/gateway.py --set sluicegate_config=gateway.yaml` (or mitmdump). A script can be unloaded or
reloaded by mitmproxy while it runs; the dispatcher then refuses everything until a complete gateway is back.
"""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

from mitmproxy import addonmanager, contentviews, ctx, exceptions

# As a script this file stands alone: its own folder's parent is where the packages are.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from addons import bounds, config, connections, delivery, early, failures, lean, outgoing, reload
from addons.approve import Approve
from addons.arrival import Arrival
from addons.authenticate import Authenticate
from addons.authorize import Authorize
from addons.connect import Connect
from addons.decode import Decode
from addons.dispatcher import Dispatcher, install
from addons.flows import internal_error
from addons.freeze import Freeze
from addons.identity.upstream import UpstreamUnavailable
from addons.journal import Journal
from addons.ledger.log import LedgerUnavailable
from addons.record import Record
from addons.redact import Redact
from addons.screen import AgentView, AwsView
from addons.services import Services
from addons.sign import Sign
from policy.problems import Invalid

log = logging.getLogger(__name__)

GRACE = 2.0  # seconds that calls under way have to end in when the gateway stops
MANDATORY: dict[str, Any] = {  # option: value; why any other is not safe here
    "mode": ["regular"],  # others have no CONNECT to hold a request against
    "connection_strategy": "lazy",  # eager: connects upstream before any request was seen
    "upstream_cert": False,  # True: connects upstream to copy a certificate
    "rawtcp": False,  # True: raw bytes inside a CONNECT pass with no request to decide on
    "http2": False,  # True: signed headers would have to be in the flow, not on the wire only
    "onboarding": False,  # True: serves mitm.it to agents
    "websocket": False,  # True: frames after a 101 pass unread
    "allow_hosts": [],  # any: unmatched hosts are tunnelled with no hook at all
    "ignore_hosts": [],  # the same
    "tcp_hosts": [],
    "udp_hosts": [],
    "stream_large_bodies": None,  # any: bodies pass before they were decided on
    "body_size_limit": None,  # any: refuses uploads that would be streamed; addons/bounds.py counts what is buffered
    "proxyauth": None,  # any: puts the password into every dump
    "save_stream_file": None,  # any: dumps hold what our own recording leaves out
    "hardump": "",  # the same
    "store_streamed_bodies": False,
    "map_remote": [],  # any: sends what was decided on elsewhere
    "map_local": [],
    "modify_headers": [],
    "modify_body": [],
    "stickyauth": None,  # any: one agent's headers on another's request
    "stickycookie": None,
    "anticache": False,  # True: changes signed headers
    "anticomp": False,
    "server_replay": [],  # any: answers that AWS never gave
    "client_replay": [],  # any: calls that no agent made
    "ssl_insecure": False,
    "validate_inbound_headers": True,
}


class Gateway:
    """All the steps of one gateway, a single addon to mitmproxy."""

    name = "sluicegate"

    def __init__(self, services: Services) -> None:
        self.services = services
        self.connect, self.record = Connect(services), Record(services)
        self.connections = connections.Connections(services)
        self.freeze = Freeze(services, self.connect)
        self.watching: list[asyncio.Task[None]] = []
        self.addons = [
            self.connect,
            self.connections,
            Authenticate(services),
            Decode(services),
            Authorize(services),
            Approve(services),
            self.freeze,
            Journal(services),
            Sign(services),
            bounds.Bounds(services),
            Redact(services),
            self.record,
            Arrival(),  # last: it runs the steps, when all of these have seen the request
        ]

    def options(self) -> dict[str, Any]:
        """mitmproxy's options for this gateway: the mandatory ones, and those that its configuration sets."""
        ca = self.services.rules.gateway.ca
        own = {"confdir": self.services.authority.directory, "ssl_verify_upstream_trusted_ca": ca}
        return MANDATORY | {name: str(path) for name, path in own.items() if path}

    def guard(self, manager: addonmanager.AddonManager) -> Dispatcher:
        """Put the fail-closed dispatcher over this gateway, and its bounds and its signing into mitmproxy."""
        dispatcher = install(manager, tuple(self.addons), lambda: self.services.ready, internal_error, self._report)
        bounds.install(self.services)
        connections.install(self.connections)
        early.install()
        failures.install()
        delivery.install()  # over what failures puts there
        outgoing.install()
        lean.install()
        if (view := manager.get("view")) is not None and type(view) is not AgentView:  # an empty view is falsy
            view.__class__ = AgentView
        contentviews.add(AwsView)
        return dispatcher

    async def _report(self, hook: str, error: BaseException) -> None:
        if not isinstance(error, LedgerUnavailable):
            await self.services.note("internal-error", hook=hook, error=type(error).__name__)

    def configure(self, updated: set[str]) -> None:
        """Refuse options under which calls could pass unread."""
        for name in MANDATORY.keys() & updated:
            if getattr(ctx.options, name) != MANDATORY[name]:
                raise exceptions.OptionsError(f"sluicegate needs {name}={MANDATORY[name]!r}")

    # These two return a task and are no coroutines: mitmproxy runs them without awaiting when a script is reloaded.
    def running(self) -> "asyncio.Task[None]":
        """Start what needs an event loop; without an account and a ledger nothing starts."""
        self.connect.own_ports |= {address[1] for address in ctx.master.addons.get("proxyserver").listen_addrs()}
        if "web_port" in ctx.options:
            self.connect.own_ports.add(ctx.options.web_port)
        return asyncio.ensure_future(self._start())

    def done(self) -> "asyncio.Task[None]":
        """Refuse what is held, write the closing event."""
        for task in self.watching:
            task.cancel()
        return asyncio.ensure_future(self._stop())

    async def _stop(self) -> None:
        self.services.tickets.close()  # first: what was held gets an answer, and a line, while there is a ledger
        await self.record.drain(GRACE)
        await self.services.stop()

    async def _start(self) -> None:
        try:
            await self.services.start()
        except (UpstreamUnavailable, LedgerUnavailable) as error:
            print(f"sluicegate: {error}", file=sys.stderr, flush=True)
            sys.exit(2)
        self.watching = [
            asyncio.ensure_future(reload.watch(self.services)),
            asyncio.ensure_future(self.services.shared.watch(self.freeze.apply)),
        ]


class Script:
    """What makes a script of the gateway: its option, its settings, and the swap of the dispatcher."""

    name = "sluicegate-script"

    def __init__(self) -> None:
        self.addons: list[Gateway] = []

    def load(self, loader: addonmanager.Loader) -> None:
        """Declare the option and close the gate: until a gateway is built, everything is refused."""
        loader.add_option("sluicegate_config", str, "", "The gateway's configuration file.")
        install(loader.master.addons, (), lambda: False, internal_error)
        early.install()

    def configure(self, updated: set[str]) -> None:
        """Build the gateway once its configuration is named."""
        if self.addons or not ctx.options.sluicegate_config:
            return
        try:
            services = Services(config.load(Path(ctx.options.sluicegate_config)))
        except (Invalid, ValueError, OSError) as error:
            raise exceptions.OptionsError(f"sluicegate: {error}") from error
        gateway = Gateway(services)
        gateway.guard(ctx.master.addons)
        ctx.master.addons.register(gateway)
        self.addons.append(gateway)  # before options are set, which calls this again
        ctx.options.update(**gateway.options())


if __name__.startswith("__mitmproxy_script__"):
    addons = [Script()]
