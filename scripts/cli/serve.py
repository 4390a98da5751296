"""What `sluicegate up` runs: the gateway and its screen, with everything locked that could open it."""

import asyncio
import gc
import json
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from mitmproxy import flow, options, optmanager
from mitmproxy.tools.web import app as web
from mitmproxy.tools.web.master import WebMaster

from addons import config
from addons.approvals import page
from addons.approvals.operators import Operators
from addons.gateway import Gateway
from addons.identity.upstream import UpstreamUnavailable
from addons.ledger.log import LedgerUnavailable
from addons.services import Services
from addons.state import private_file
from policy.problems import Invalid
from scripts.cli.common import fail
from scripts.client.defaults import STATE_FILE
from scripts.client.ports import free_port, unusable

YOUNG = 20_000  # objects that Python makes until it looks for circles among them

# mitmproxy's addons that only options would wake, which are locked: what is not there can't be woken, nor cost time.
UNUSED = (
    "anticache",
    "anticomp",
    "block",
    "browser",
    "clientplayback",
    "commandhistory",
    "cut",
    "export",
    "mapremote",
    "maplocal",
    "modifybody",
    "modifyheaders",
    "onboarding",
    "proxyauth",
    "readfilestdin",
    "save",
    "savehar",
    "scriptloader",
    "serverplayback",
    "staticviewer",
    "stickyauth",
    "stickycookie",
    "upstreamauth",
    "updatealtsvc",
)


async def serve(gateway: config.Gateway, ready_file: Path | None) -> None:
    """Run one gateway until it is told to stop."""
    settings = gateway.config
    for key, address in (("listen", settings.listen), ("web.listen", settings.web.listen)):
        if taken := unusable(address.host, address.port):
            text = f"can't listen on {address.host}:{address.port} ({taken})"
            fail(f"{text}: choose another `{key}`, or end what is there")
    try:
        services = Services(gateway)
        await services.start()
    except (Invalid, UpstreamUnavailable, LedgerUnavailable, ValueError, OSError) as error:
        fail(str(error))
    page.harden()
    opts = options.Options()
    master = Screen(opts)
    app = Gateway(services)
    opts.update_known(
        **app.options(),
        listen_host=settings.listen.host,
        listen_port=settings.listen.port,
        server=False,  # the port opens last, when everything behind it stands
        web_host=settings.web.listen.host,
        web_port=settings.web.listen.port or free_port(settings.web.listen.host),
        web_open_browser=False,
        web_columns=["path", "status", "comment", "time"],
    )
    operators = Operators(gateway.state)
    app.guard(master.addons).insert(app, before="view")
    page.install(master.app, operators, services, settings.web.listen.host)
    lock(opts)
    gc.collect()
    gc.freeze()  # what was loaded stays: looking at all of it again and again would stall every call for a while
    gc.set_threshold(YOUNG)  # a call that has ended frees itself (addons/bounds.py), so there is little to find
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, master.shutdown)
    opening = asyncio.ensure_future(open_up(master, app, gateway, operators, ready_file))
    try:
        running = asyncio.ensure_future(master.run())
        await asyncio.wait((running, opening), return_when=asyncio.FIRST_EXCEPTION)
        if opening.done() and (problem := opening.exception()):
            master.shutdown()  # type: ignore[no-untyped-call]
            await running
            fail(str(problem))
        await running
    finally:
        opening.cancel()


async def open_up(
    master: "Screen", app: Gateway, gateway: config.Gateway, operators: Operators, ready_file: Path | None
) -> None:
    """Open the proxy's port once the screen listens, and say so. Raises OSError where a port is taken."""
    host = master.options.web_host
    await master.listening.wait()
    unlock(master.options, server=True)
    if not await master.proxyserver.setup_servers():
        raise OSError(f"the proxy can't listen on {gateway.config.listen.host}:{gateway.config.listen.port}")
    proxy_host, port = master.proxyserver.listen_addrs()[0][:2]
    app.connect.own_ports |= {port, master.options.web_port}
    web_url = f"http://{bracketed(host)}:{master.options.web_port}/"
    proxy = f"http://{bracketed(proxy_host)}:{port}"
    ca = gateway.state / "ca" / "root.pem"
    ready = json.dumps({"proxy": proxy, "web": web_url, "ca": str(ca), "pid": os.getpid()})
    for path in (gateway.state / STATE_FILE, ready_file):
        if path:
            private_file.replace(path, ready.encode())  # nobody sees half of it
    print(f"sluicegate: proxy {proxy}, certificate authority {ca}")
    print(f"sluicegate: approve and watch at {web_url}?token={operators.link()} (the link works once)", flush=True)


class Screen(WebMaster):
    """mitmweb's master, which does not prepare what no browser is there to see: that is a third of a request's cost."""

    def __init__(self, opts: options.Options) -> None:
        super().__init__(opts)
        self.listening = asyncio.Event()
        for name in UNUSED:
            self.addons.chain.remove(self.addons.lookup.pop(name))  # not `remove`: they have done nothing to be undone

    async def running(self) -> None:
        """Open the screen's port, then run the addons' own hooks."""
        await super().running()  # type: ignore[no-untyped-call]
        self.listening.set()

    def _sig_view_add(self, flow: flow.Flow) -> None:
        if web.ClientConnection.connections:
            super()._sig_view_add(flow)

    def _sig_view_update(self, flow: flow.Flow) -> None:
        if web.ClientConnection.connections:
            super()._sig_view_update(flow)


def quiet() -> None:
    """Log what an operator acts on; the lines about single connections hold the agent's words and cost time."""
    logging.getLogger().setLevel(logging.INFO)
    for noisy in ("tornado", "asyncio", "hpack", "mitmproxy.proxy", "urllib3", "botocore", "mitmproxy.tools.web"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)  # its lines about refusals quote links not used yet
    logging.getLogger("mitmproxy.proxy.server").addFilter(Seldom())


class Seldom(logging.Filter):
    """Lets a few lines a minute through: who makes connections fail must not be able to fill the operator's log."""

    LINES, PERIOD = 10, 60.0

    def __init__(self) -> None:
        super().__init__()
        self.began, self.count = float("-inf"), 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is one of the few."""
        if (now := time.monotonic()) - self.began > self.PERIOD:
            self.began, self.count = now, 0
        self.count += 1
        return self.count <= self.LINES


def lock(opts: optmanager.OptManager) -> None:
    """Options can't be changed any more: mitmproxy's web API, commands and config.yaml all come this way."""

    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise ValueError("options are locked while sluicegate runs")

    locked = type("LockedOptions", (type(opts),), dict.fromkeys(("update", "update_known", "set"), refuse))
    object.__setattr__(opts, "__class__", locked)  # its own __setattr__ sets options


def unlock(opts: optmanager.OptManager, **values: Any) -> None:
    """Change options all the same."""
    locked = type(opts)
    object.__setattr__(opts, "__class__", options.Options)
    try:
        opts.update(**values)
    finally:
        object.__setattr__(opts, "__class__", locked)


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
