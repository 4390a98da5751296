"""mitmweb made safe to show to approvers: reading, approving, denying; nothing else, and never a shared password.

Stock mitmweb's password is root on the host: it sets options, loads scripts, writes files. Every handler that is not
known here is refused, so a new one in a later mitmproxy is closed until somebody has looked at it.
"""

import ipaddress
from pathlib import Path
from typing import Any, Literal, Protocol

import tornado.web
from mitmproxy import contentviews
from mitmproxy.tools.web import app as web
from mitmproxy.utils.strutils import cut_after_n_lines

from addons.approvals.operators import OPERATOR, Operators
from addons.approvals.tickets import Ticket, Tickets
from addons.text import one_line

READ_ONLY = frozenset(
    {
        web.FilterHelp,
        web.Commands,
        web.Events,
        web.Flows,
        web.Options,
        web.State,
    }
)
STRANGER = """<!doctype html><title>sluicegate</title><meta charset="utf-8">
<body style="font: 16px/1.5 sans-serif; max-width: 36em; margin: 4em auto">
<h1>This screen opens with a one-time link</h1>
<p>The link that brought you here was used already, or belongs to a gateway that has ended since.
The person who runs the gateway gets a new one with <code>sluicegate approvals link</code>.</p>"""
OURS = '<link rel="stylesheet" href="./sluicegate/screen.css"><script src="./sluicegate/screen.js"></script>'
KEY_HEADER, KEY_ARGUMENT = "X-Sluicegate-Key", "key"
SHOWN = frozenset(  # request headers that hold neither a key nor the agent's secrets
    {
        "accept-encoding",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "smithy-protocol",
        "transfer-encoding",
        "user-agent",
        "x-amz-date",
        "x-amz-target",
        "x-amz-user-agent",
    }
)
UPDATES = web.ClientConnection  # the page's websocket: it only listens


def _forbidden(self: Any, *_: Any, **__: Any) -> None:
    raise web.APIError(403, "not available through sluicegate")


def _only(handler: type[tornado.web.RequestHandler], methods: frozenset[str]) -> type[tornado.web.RequestHandler]:
    verbs = ("get", "head", "post", "put", "patch", "delete")
    return type(handler.__name__, (handler,), {verb: _forbidden for verb in verbs if verb not in methods})


class Page(web.RequestHandler):
    """What a browser loads by itself, with cookies only: nothing in it is secret, nothing in it decides."""

    def get_current_user(self) -> str | None:  # type: ignore[override]
        """Whoever has the cookie."""
        return OPERATOR if _has_cookie(self) else None


class Home(Page):
    """The screen itself: mitmweb's page, or for a stranger how to get in."""

    signed_in = False  # by a link, in this request

    def get(self) -> None:
        """The page. A link's token does not stay in the address bar and the history, nor does the page's key."""
        if "token" in self.request.arguments:
            self.redirect(f"/#key={self.settings['sluicegate_operators'].key}" if self.signed_in else "/#/flows")
        else:
            page = self.render_string("../index.html").decode()
            self.finish(page.replace("<title>mitmproxy<", "<title>sluicegate<").replace("</head>", f"{OURS}</head>"))

    def auth_fail(self, invalid_password: bool) -> None:
        """What stands there without a session."""
        self.finish(STRANGER)


class Decide(web.RequestHandler):
    """Approve or deny one held flow: what mitmweb's resume and kill buttons call."""

    def post(self, flow_id: str) -> None:
        """Answer the question that this flow waits with."""
        if not self.flow.intercepted:
            raise web.APIError(409, "this call is no longer waiting")
        self.flow.metadata["sluicegate_approver"] = str(self.current_user)
        if self.request.path.endswith("/resume"):
            self.flow.resume()
        else:
            self.flow.kill()
        self.view.update([self.flow])


class Delete(web.RequestHandler):
    """mitmweb's delete on a held flow: a refusal. The flow itself stays on the screen."""

    def delete(self, flow_id: str) -> None:
        """Refuse the held call."""
        if not self.flow.intercepted:
            raise web.APIError(403, "not available through sluicegate")
        self.flow.metadata["sluicegate_approver"] = str(self.current_user)
        self.flow.kill()


class Ours(Page):
    """Our own style over mitmweb's, and the script that sends the page's key."""

    def get(self, kind: str) -> None:
        """One of the two files."""
        self.set_header("Content-Type", {"css": "text/css", "js": "text/javascript"}[kind] + "; charset=utf-8")
        self.finish(Path(__file__).with_name(f"screen.{kind}").read_bytes())


class View(web.FlowContentView):
    """A message as text. A request is shown as the call that it is: its bytes may hold the agent's secrets."""

    def get(self, flow_id: str, message: str, content_view: str) -> None:
        """The text of one view; answers are masked, so that any view of them will do."""
        if message != "request":
            super().get(flow_id, message, content_view)
            return
        metadata = contentviews.Metadata(flow=self.flow, http_message=getattr(self.flow, "request", None))
        aws = contentviews.registry["AWS"]
        try:
            text = aws.prettify(b"", metadata)
        except Exception:  # what can't be shown whole is not shown
            text = "This request could not be read as an AWS call."
        limit = int(self.get_query_argument("lines", "0"))
        text = cut_after_n_lines(text, limit) if limit > 0 else text
        self.write({"text": text, "view_name": aws.name, "syntax_highlight": "yaml", "description": ""})


class TicketList(web.RequestHandler):
    """The open questions, for `sluicegate approvals list`."""

    def get(self) -> None:
        """All tickets that wait."""
        self.write({"tickets": [as_json(t) for t in tickets_of(self).waiting()]})


class FromTerminal(web.RequestHandler):
    """What a terminal calls with the operator's token."""

    def check_xsrf_cookie(self) -> None:
        """A browser can't be made to send the bearer token; a cookie alone needs the usual proof."""
        if not self.request.headers.get("Authorization", "").startswith("Bearer "):
            super().check_xsrf_cookie()


class TicketDecision(FromTerminal):
    """Approve or deny a ticket, for `sluicegate approvals approve|deny`."""

    def post(self, ticket_id: str, verdict: str) -> None:
        """Answer one question."""
        tickets = tickets_of(self)
        ticket = tickets.all.get(ticket_id)
        if ticket is None:
            raise web.APIError(404, f"there is no ticket {one_line(ticket_id, 60)}: see `sluicegate approvals list`")
        reason = self.get_body_argument("reason", "")[:500]
        answer: Literal["approved", "denied"] = "approved" if verdict == "approve" else "denied"
        if not tickets.decide(ticket, answer, str(self.current_user), reason):
            by = f" by {ticket.by}" if ticket.by else ""
            state = "expired" if ticket.state == "waiting" else ticket.state + by
            raise web.APIError(409, f"ticket {ticket.id} can't be answered any more: it is {state}")
        self.write({"ticket": as_json(ticket)})


class Link(FromTerminal):
    """A fresh one-time link, for `sluicegate approvals link`."""

    def post(self) -> None:
        """Make a link."""
        self.write({"token": self.settings["sluicegate_operators"].link()})


class Ready(tornado.web.RequestHandler):
    """`/readyz`: open to anyone, says one word and a reason."""

    def get(self) -> None:
        """200 while calls can be served, else 503."""
        services: Service = self.settings["sluicegate_services"]
        self.set_status(503 if services.problem else 200)
        self.write({"ready": not services.problem, "problem": services.problem, "warning": services.warning})


class Alive(tornado.web.RequestHandler):
    """`/healthz`: the process answers."""

    def get(self) -> None:
        """Always 200."""
        self.write({"alive": True})


def tickets_of(handler: web.RequestHandler) -> Tickets:
    """The gateway's tickets."""
    services: Service = handler.settings["sluicegate_services"]
    return services.tickets


def as_json(ticket: Ticket) -> dict[str, Any]:
    """A ticket for a screen."""
    return {"id": ticket.id, "asked": ticket.asked, "state": ticket.state, "by": ticket.by, **ticket.summary}


def harden() -> None:
    """Replace mitmweb's handlers by the allow-list. Call before a `WebMaster` is made."""
    decide = (web.ResumeFlow, web.KillFlow)
    get = frozenset({"get", "head"})
    safe: list[Any] = []
    for path, handler in web.handlers:
        if handler in decide:
            safe.append((path, Decide))
        elif handler is web.FlowHandler:
            safe.append((path, Delete))
        elif handler is UPDATES:
            safe.append((path, handler))
        elif handler is web.IndexHandler:
            safe.append((path, Home))
        elif handler is web.FlowContentView:
            safe.append((path, View))
        elif handler in READ_ONLY:
            safe.append((path, _only(handler, get)))
        else:
            safe.append((path, _only(handler, frozenset())))
    web.handlers[:] = safe
    web.flow_to_json = _shown
    web.AuthRequestHandler.get_current_user = _current_user  # type: ignore[method-assign, assignment]
    web.RequestHandler.prepare = _prepare  # type: ignore[method-assign]


_flow_to_json = web.flow_to_json


def _shown(flow: Any) -> dict[str, Any]:
    """A flow as the page's list gets it: no key of the agent's, no header that may hold a secret, no tricks."""
    found = _flow_to_json(flow)
    for name in ("request", "response"):
        if headers := found.get(name, {}).get("headers"):
            hide = name == "request"
            found[name]["headers"] = [
                (one_line(k, 100), "(hidden)" if hide and k.lower() not in SHOWN else one_line(v, 500))
                for k, v in headers
            ]
    if "path" in found.get("request", {}):
        found["request"]["path"] = one_line(found["request"]["path"], 500)
    return found


def _has_cookie(self: web.AuthRequestHandler) -> bool:
    return self.get_signed_cookie(self.settings["auth_cookie_name"](), min_version=2) == self.AUTH_COOKIE_VALUE


def _current_user(self: web.AuthRequestHandler) -> str | None:
    """Who has the cookie and the page's key. A cookie is no proof by itself: browsers send it to every port of this
    address (RFC 6265, 8.5), such as that of a server which the agent started. The key is in the page's own storage.
    """
    operators: Operators = self.settings["sluicegate_operators"]
    key = self.request.headers.get(KEY_HEADER) or self.get_query_argument(KEY_ARGUMENT, "")
    return OPERATOR if operators.is_page(key) and _has_cookie(self) else None


def _prepare(self: web.RequestHandler) -> None:
    """Who asks, and from where: no page of another site may talk to this one, by name (DNS rebinding) or by form.

    Strangers are let in here and not by mitmproxy's `is_valid_password`, which a request may ask twice: a link is good
    for once.
    """
    host = self.request.host_name
    allowed = self.settings["sluicegate_hosts"]
    if host not in allowed:
        raise tornado.web.HTTPError(403, "unknown host name")
    if self.request.headers.get("Sec-Fetch-Site", "none") not in (
        "same-origin",
        "none",
    ) and self.request.method not in (
        "GET",
        "HEAD",
    ):
        raise tornado.web.HTTPError(403, "cross-site request")
    operators: Operators = self.settings["sluicegate_operators"]
    scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer" and operators.is_terminal(token):
        self.current_user = OPERATOR
    elif isinstance(self, Home) and operators.use_link(self.get_query_argument("token", "")):
        name = self.settings["auth_cookie_name"]()
        self.set_signed_cookie(name, self.AUTH_COOKIE_VALUE, expires_days=None, httponly=True, samesite="Strict")
        self.current_user, self.signed_in = OPERATOR, True


class Service(Protocol):
    """What the page asks of the gateway."""

    tickets: Tickets

    @property
    def warning(self) -> str:
        """What an operator should see to though calls are served, or ""."""

    @property
    def problem(self) -> str:
        """Why no call can be served now, or ""."""


def install(app: tornado.web.Application, operators: Operators, services: Service, host: str) -> None:
    """Give a hardened web application its people and its questions."""
    app.settings["is_valid_password"] = lambda _: False
    app.settings["sluicegate_operators"] = operators
    app.settings["sluicegate_services"] = services
    app.settings["sluicegate_hosts"] = {"localhost", host, str(ipaddress.ip_address(host))}
    app.add_handlers(
        r".*",
        [
            (r"/sluicegate/screen\.(css|js)", Ours),
            (r"/readyz", Ready),
            (r"/healthz", Alive),
            (r"/sluicegate/tickets", TicketList),
            (r"/sluicegate/tickets/([^/]+)/(approve|deny)", TicketDecision),
            (r"/sluicegate/link", Link),
        ],
    )
