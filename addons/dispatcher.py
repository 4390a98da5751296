"""The fail-closed dispatcher: no hook that raises, and no gateway that is incomplete, ever lets a request through.

mitmproxy's own `AddonManager.trigger_event` logs an exception in a hook and goes on, so a policy that crashes is a
policy that allows. It also walks every addon for every event, most of which have no handler for it. This one closes
the flow instead, and keeps a table of the handlers of each hook. It replaces a private method of mitmproxy, which is
why that is pinned exactly; `tests/fail_closed` is the contract.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from types import CoroutineType, ModuleType
from typing import Any, cast

from mitmproxy import addonmanager, flow, hooks, http, tls
from mitmproxy.proxy import server_hooks

from addons.flows import abort
from addons.seldom import Seldom

ASK = frozenset({"http_connect", "requestheaders", "request", "aws_call"})
GUARDED = ASK | {  # run by a complete gateway only
    *("responseheaders", "response", "server_connect"),
    *("websocket_start", "websocket_message", "tcp_start", "tcp_message"),
}
ERROR = "sluicegate_error"
Handler = Callable[..., Any]
Refuse = Callable[[http.HTTPFlow, str, BaseException | None], http.Response]  # (flow, hook, what it raised)
Report = Callable[[str, BaseException], Awaitable[None]]  # (hook, what it raised)

log = logging.getLogger(__name__)


class Dispatcher(addonmanager.AddonManager):
    """Takes the place of a master's addon manager: `install` swaps it in."""

    stages: tuple[object, ...]
    ready: Callable[[], bool]
    refuse: Refuse
    report: Report | None
    _table: dict[str, list[Handler]]
    _stamp: tuple[list[Any] | None, int]
    _complete: bool
    _may_log: Seldom

    # Anything that may change who is in the chain drops the table. Script reloads and `scripts` options come this way.
    def add(self, *addons: Any) -> None:
        """Add addons to the end of the chain."""
        self._drop(super().add, *addons)

    def register(self, addon: Any) -> Any:
        """Register an addon that its parent puts in the chain."""
        return self._drop(super().register, addon)

    def remove(self, addon: Any) -> None:
        """Remove an addon and its children."""
        self._drop(super().remove, addon)

    def clear(self) -> None:
        """Remove all addons."""
        self._drop(super().clear)

    def insert(self, addon: Any, before: str) -> None:
        """Put an addon into the chain ahead of the one of that name."""
        registered = self.register(addon)
        self.chain.insert(self.chain.index(self.get(before)), registered)  # type: ignore[no-untyped-call]
        self._stamp = (None, 0)

    def _drop(self, change: Handler, *args: Any) -> Any:
        self._stamp = (None, 0)
        try:
            return change(*args)
        finally:
            self._stamp = (None, 0)

    def handlers(self, name: str) -> list[Handler]:
        """The handlers of one hook, in the order of the chain."""
        if self._stamp[0] is not self.chain or self._stamp[1] != len(self.chain):
            present = [id(addon) for addon in addonmanager.traverse(self.chain)]
            places = [present.index(id(stage)) if id(stage) in present else -1 for stage in self.stages]
            # Every step must be there, in its order: a missing or misplaced one is a hole in the gate.
            self._complete = bool(places) and -1 not in places and places == sorted(places)
            self._table, self._stamp = {}, (self.chain, len(self.chain))
        if (found := self._table.get(name)) is None:
            found = self._table[name] = [
                handler
                for addon in addonmanager.traverse(self.chain)
                if (handler := getattr(addon, name, None)) and not isinstance(handler, ModuleType)
            ]
        return found

    def complete(self) -> bool:
        """Whether every step of the gateway is in the chain and ready to work."""
        self.handlers("request")
        return self._complete and self.ready()

    async def trigger_event(self, event: hooks.Hook) -> None:
        """Run one hook on every addon that has it; close what it is about as soon as one of them raises."""
        found = self.handlers(event.name)
        args = event.args()
        subject = args[0] if args else None
        about = subject if isinstance(subject, flow.Flow) else None
        refused = about is not None and ERROR in about.metadata
        if event.name in GUARDED and not refused and not self.complete():
            self.close(event.name, subject)
            if event.name != "response":  # its outcome is still to be written down
                return
        asking = about if event.name in ASK else None
        for handler in found:
            if asking is not None and ERROR in asking.metadata:
                return  # no later addon may undo a refusal
            try:
                result = handler(*args)
                if result is not None and (type(result) is CoroutineType or inspect.isawaitable(result)):
                    await result
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if task and task.cancelling():
                    raise  # the proxy itself is stopping
                self._complain(event.name)
                self.close(event.name, subject, error)  # before anything is awaited: a raw answer may be in the flow
                if self.report:
                    await self.report(event.name, error)

    def _complain(self, name: str) -> None:
        # A traceback costs about a millisecond: an agent that can make one must not be able to make many.
        if self._may_log():
            log.exception("sluicegate: an addon failed in %s; what it was about is refused", name)

    def close(self, name: str, subject: object, error: BaseException | None = None) -> None:
        """Refuse what a failed hook was about, in the way that reaches the client with no byte of the upstream's."""
        if isinstance(subject, http.HTTPFlow) and name in ASK | {"response"} and not passed_on(subject, name):
            subject.metadata[ERROR] = name
            if name != "response":
                subject.request.stream = (
                    subject.request.timestamp_end is None
                )  # addons/early.py answers before its body
            subject.response = self.refuse(subject, name, error)
        elif isinstance(subject, flow.Flow):
            subject.metadata[ERROR] = name
            if name == "responseheaders" and isinstance(subject, http.HTTPFlow):
                # A response put in place of the upstream's would get its body; the upstream's own can hold secrets.
                subject.response = None
            if subject.killable:
                subject.kill()
        elif isinstance(subject, server_hooks.ServerConnectionHookData):
            subject.server.error = "sluicegate: internal error"
            abort(subject.client, subject.server)  # where it is open already
        elif isinstance(subject, tls.ClientHelloData):
            subject.ignore_connection = False  # a tunnel that is not written down is none
            abort(subject.context.client)
        elif isinstance(subject, tls.TlsData):
            abort(subject.context.client)
        elif name == "client_connected":
            cast("Any", subject).error = "sluicegate: not ready"


def passed_on(flow: http.HTTPFlow, hook: str) -> bool:
    """Whether a flow's body has gone upstream as it came: what is left to close then is the way of the answer."""
    return hook == "request" and callable(flow.request.stream)


def install(
    manager: addonmanager.AddonManager,
    stages: tuple[object, ...],
    ready: Callable[[], bool],
    refuse: Refuse,
    report: Report | None = None,
) -> Dispatcher:
    """Turn a master's addon manager into the fail-closed one.

    `refuse` makes the answer, `report` writes down that a hook failed; neither may raise.
    """
    manager.__class__ = Dispatcher
    dispatcher = cast("Dispatcher", manager)
    dispatcher.stages, dispatcher.ready, dispatcher.refuse, dispatcher.report = stages, ready, refuse, report
    dispatcher._table, dispatcher._stamp, dispatcher._complete, dispatcher._may_log = {}, (None, 0), False, Seldom(1)
    return dispatcher
