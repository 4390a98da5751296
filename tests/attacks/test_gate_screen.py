"""A page or a server of the agent's in the approver's browser: what a browser gives it opens nothing."""

import json

import pytest

from tests.fail_closed.conftest import Background, Screen, Stand, until

SELF_MADE = "cd" * 16  # the proof against forgery is a cookie and a header that agree: whoever has cookies makes both


@pytest.mark.parametrize("path", ["flows", "state", "options", "events", "commands", "sluicegate/tickets"])
def test_cookies_that_another_port_of_this_address_was_sent_read_nothing(screen: Screen, path: str) -> None:
    """RFC 6265, 8.5: cookies know no port. The agent says "my server runs at 127.0.0.1:3000", and the person looks."""
    stolen = {"Cookie": screen.browser()["Cookie"]}
    assert screen.request("GET", path, headers=stolen, signed_in=False).status == 403


def test_nor_do_they_hear_the_live_updates(screen: Screen) -> None:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Origin": screen.url.rstrip("/"),
        "Cookie": screen.browser()["Cookie"],
    }
    assert screen.request("GET", "updates", headers=upgrade, signed_in=False).status == 403


def test_nor_do_they_decide(stand: Stand, screen: Screen) -> None:
    call = Background(lambda: stand.raw().call("DeleteTable", b'{"TableName":"stolen"}'))
    (ticket,) = until(screen.tickets, "the held call")
    (flow,) = until(screen.held, "the held call on the screen")
    cookie = screen.browser()["Cookie"].partition("; _mitmproxy_xsrf")[0]
    stolen = {"Cookie": f"{cookie}; _mitmproxy_xsrf={SELF_MADE}", "X-XSRFToken": SELF_MADE}
    for path in (f"sluicegate/tickets/{ticket['id']}/approve", f"flows/{flow['id']}/resume", "sluicegate/link"):
        assert screen.request("POST", path, b"", stolen, signed_in=False).status == 403
    page = screen.browser()
    assert page["X-Sluicegate-Key"]
    assert screen.request("POST", f"flows/{flow['id']}/resume", b"", page, signed_in=False).status == 200
    assert call.done().status == 200, "the page itself, which has the key, decides"


def test_the_page_gives_its_key_to_nobody_who_has_only_the_cookie(screen: Screen) -> None:
    page = screen.browser()
    for path in ("", "?token=used", "sluicegate/screen.js", "sluicegate/screen.css"):
        got = screen.request("GET", path, headers={"Cookie": page["Cookie"]}, signed_in=False)
        assert got.status == 200
        assert page["X-Sluicegate-Key"].encode() not in got.body
        assert page["X-Sluicegate-Key"] not in json.dumps(got.headers)
