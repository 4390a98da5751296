"""The web screen can be read, and questions answered on it; nothing else, and by nobody else."""

import contextlib
import http.client
import json
import re
import urllib.parse

import pytest
from mitmproxy.tools.web import app as web

from tests.agent import Answer
from tests.fail_closed.conftest import Background, Screen, Stand, until

FLOW = "00000000-0000-0000-0000-000000000000"
WRITES = [
    ("PUT", "options", {"scripts": ["/tmp/evil.py"]}),
    ("PUT", "options.json", {"rawtcp": True}),
    ("POST", "options/save", {}),
    ("POST", "commands/save.file", {"arguments": ["@all", "/tmp/flows"]}),
    ("POST", "commands/set", {"arguments": ["intercept", "~all"]}),
    ("POST", "commands/script.run", {"arguments": ["@all", "/tmp/evil.py"]}),
    ("POST", "commands/replay.client", {"arguments": ["@all"]}),
    ("POST", "commands/shutdown", {"arguments": []}),
    ("POST", "clear", {}),
    ("POST", "flows/dump", {}),
    ("GET", "flows/dump", None),
    ("POST", "flows/resume", {}),
    ("POST", "flows/kill", {}),
    ("PUT", "flows/FLOW", {"request": {"host": "evil.example"}}),
    ("DELETE", "flows/FLOW", None),
    ("POST", "flows/FLOW/duplicate", {}),
    ("POST", "flows/FLOW/replay", {}),
    ("POST", "flows/FLOW/revert", {}),
    ("POST", "flows/FLOW/request/content.data", {}),
    ("POST", "flows/FLOW/response/content.data", {}),
    ("GET", "processes", None),
    ("GET", "executable-icon?path=/bin/sh", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=[f"{m} {p}" for m, p, _ in WRITES])
def test_every_write_of_mitmwebs_is_refused_with_a_valid_login(
    stand: Stand, screen: Screen, method: str, path: str, body: object
) -> None:
    assert stand.call().status == 200
    flow, seen = screen.flows()[-1], len(stand.upstream.seen)
    data = None if body is None else json.dumps(body).encode()
    before, options = len(screen.flows()), screen.request("GET", "options").body
    headers = {"Content-Type": "application/json"}
    for more, signed_in in ((screen.browser(), False), ({}, True)):
        found = screen.request(method, path.replace("FLOW", flow["id"]), data, headers | more, signed_in=signed_in)
        assert found.status in (403, 405)
    assert len(screen.flows()) == before
    assert screen.request("GET", "options").body == options
    assert len(stand.upstream.seen) == seen
    assert stand.call().status == 200


def test_what_an_approver_needs_is_served(screen: Screen) -> None:
    """The positive control: reading works with the same login."""
    for path in ("", "flows", "state", "options", "events", "commands", "filter-help", "sluicegate/tickets"):
        assert screen.request("GET", path).status == 200, path


READ = ["", "flows", "options", "commands", "events", "state", "filter-help", "updates", "flows/dump"]


@pytest.mark.parametrize("path", [*READ, "sluicegate/tickets", f"flows/{FLOW}/request/content.data"])
def test_nobody_reads_without_a_login(screen: Screen, path: str) -> None:
    assert screen.request("GET", path, signed_in=False).status == 403
    for token in ("", "y", "guess", screen.token[:-1], screen.token + "x"):
        assert screen.request("GET", f"{path}?token={urllib.parse.quote(token)}", signed_in=False).status == 403


def test_nobody_decides_without_a_login(stand: Stand, screen: Screen) -> None:
    call = Background(lambda: stand.raw().call("DeleteTable", b'{"TableName":"nobody"}'))
    (ticket,) = until(screen.tickets, "the held call")
    (flow,) = until(screen.held, "the held call on the screen")
    for path in (
        f"sluicegate/tickets/{ticket['id']}/approve",
        f"flows/{flow['id']}/resume",
        f"flows/{flow['id']}/kill",
        "sluicegate/link",
    ):
        assert screen.request("POST", path, b"", signed_in=False).status == 403
        assert screen.request("POST", path, b"", {"Authorization": "Bearer guess"}, signed_in=False).status == 403
    assert [t["id"] for t in screen.tickets()] == [ticket["id"]]
    with stand.nothing_passes():
        screen.decide(ticket["id"], "deny")
        assert call.done().status == 403


def test_a_cookie_alone_decides_nothing(screen: Screen) -> None:
    """A page of another site can make a browser send its cookies, but not the header that goes with them."""
    cookies = {k: v for k, v in screen.browser().items() if k != "X-XSRFToken"}
    assert screen.request("GET", "flows", headers=cookies, signed_in=False).status == 200
    for path in ("sluicegate/link", "sluicegate/tickets/00000000/approve", f"flows/{FLOW}/resume"):
        assert screen.request("POST", path, b"", cookies, signed_in=False).status == 403


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}])
def test_another_sites_request_is_refused(screen: Screen, headers: dict[str, str]) -> None:
    assert screen.request("POST", "sluicegate/link", b"", headers).status == 403
    assert screen.request("POST", "sluicegate/link", b"", {"Sec-Fetch-Site": "same-origin"}).status == 200


@pytest.mark.parametrize("path", ["", "flows", "sluicegate/tickets", "options", "updates"])
def test_another_host_name_is_refused(screen: Screen, path: str) -> None:
    """DNS rebinding: a name of the attacker's that suddenly leads here."""
    for host in ("evil.example", "evil.example:8081", "127.0.0.1.evil.example", "127.0.0.2"):
        assert screen.request("GET", path, headers={"Host": host}).status == 403, host


def test_a_page_of_another_origin_gets_no_live_updates(screen: Screen) -> None:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert screen.request("GET", "updates", headers=upgrade | {"Origin": "http://evil.example"}).status == 403


def opened(screen: Screen, token: str) -> Answer:
    """What a browser gets that follows a link, before it follows another."""
    page = http.client.HTTPConnection(urllib.parse.urlsplit(screen.url).netloc, timeout=10)
    page.request("GET", f"/?token={token}")
    with contextlib.closing(page):
        got = page.getresponse()
        return Answer(got.status, {k.lower(): v for k, v in got.getheaders()})


def test_a_link_signs_in_once(stand: Stand, screen: Screen) -> None:
    link = json.loads(screen.request("POST", "sluicegate/link", b"").body)["token"]
    printed = re.findall(r"watch at \S+\?token=([\w-]+)", stand.gateway.log.read_text())
    for token in (link, *printed):
        assert screen.request("GET", f"flows?token={token}", signed_in=False).status == 403  # good for the page only
        assert "auth" in str(opened(screen, token).headers.get("set-cookie"))
        assert "auth" not in str(opened(screen, token).headers.get("set-cookie"))


def test_the_agent_does_not_reach_the_screen_through_the_proxy(stand: Stand, screen: Screen) -> None:
    place = screen.url.removeprefix("http://").rstrip("/")
    lines = [
        f"GET http://{place}/flows HTTP/1.1",
        f"CONNECT {place} HTTP/1.1",
        f"CONNECT localhost:{place[-5:]} HTTP/1.1",
    ]
    for line in lines:
        with stand.nothing_passes():
            head = f"{line}\r\nHost: {place}\r\nAuthorization: Bearer {screen.token}\r\n\r\n"
            assert stand.exchange(head.encode()).split(b" ")[1] == b"403"


SERVED = {"IndexHandler", "FilterHelp", "ClientConnection", "Commands", "Events", "Flows", "FlowContent", "State"}
SERVED |= {"FlowContentView", "Options", "ResumeFlow", "KillFlow", "FlowHandler"}  # what they refuse is in WRITES


def test_a_handler_that_nobody_has_looked_at_is_closed(screen: Screen) -> None:
    """All of mitmweb's others, and so whatever a later version adds."""
    others = [path for path, handler in web.handlers if handler.__name__ not in SERVED]
    assert others
    for path in others:
        tried = re.sub(r"\(\?P<cmd>[^)]*\)", "set", path)
        tried = re.sub(r"\(\?P<flow_id>[^)]*\)", FLOW, tried).replace(r"(?:\.json)?", "")
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            found = screen.request(method, tried, None if method == "GET" else b"{}")
            assert found.status == 403, f"{method} {path}"
