"""mitmweb in a real browser: an approver opens the one-time link, reads a held call, and decides about it."""

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError

from tests import agent, tools
from tests.harness import Gateway, Seen, Upstream, gateway

sync_api = pytest.importorskip("playwright.sync_api", reason="NOT TESTED: no Playwright")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECRET = "hunter2-hunter2-hunter2"
HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u202egnp.exe\x1b[2J" + "A" * 5000 + "\ndecision: allow"
pytestmark = pytest.mark.long


def chromium() -> str:
    """A Chromium of this machine."""
    if found := shutil.which("chromium") or shutil.which("chromium-browser"):
        return found
    raise tools.Missing("no Chromium: install it, on Debian by scripts/ci-tools")


def answer(seen: Seen) -> tuple[int, dict[str, str], bytes]:
    headers = {"content-type": "application/x-amz-json-1.1"}
    if "GetSecretValue" in seen.headers.get("x-amz-target", ""):
        return 200, headers, json.dumps({"Name": "db", "SecretString": SECRET}).encode()
    return 200, headers, b'{"TableDescription":{"TableName":"scratch"}}'


@pytest.fixture(scope="module")
def upstream(upstream: Upstream) -> Upstream:
    upstream.answer = answer
    return upstream


@pytest.fixture(scope="module")
def gate(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway"), upstream.url, approvals="{timeout: 90s}") as made:
        yield made


@pytest.fixture(scope="module")
def page(gate: Gateway) -> Iterator[Any]:
    """The screen, opened by the link that `up` printed."""
    found = re.search(r"http://\S+\?token=\S+", gate.log.read_text())
    assert found
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tools.need(chromium), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(20_000)
        page.goto(found[0])
        page.get_by_text("Flow List").wait_for()
        yield page
        browser.close()


class Later:
    """A call in a thread, for one that is held."""

    def __init__(self, gate: Gateway, service: str, operation: str, **params: Any) -> None:
        self.result: Any = None
        client = agent.client(gate, service)
        self.thread = threading.Thread(target=self._run, args=(getattr(client, operation), params), daemon=True)
        self.thread.start()

    def _run(self, call: Any, params: dict[str, Any]) -> None:
        try:
            self.result = call(**params)
        except ClientError as error:
            self.result = error

    def wait(self) -> Any:
        self.thread.join(60)
        assert self.result is not None, "the client still waits"
        return self.result


def row(page: Any, *words: str) -> Any:
    found = page.locator("tbody tr:has(td)")
    for word in words:
        found = found.filter(has_text=word)
    return found


def read(page: Any, rows: Any) -> str:
    """Open a call; the text of the view that the page shows by itself, which is ours."""
    rows.last.click()
    page.locator(".contentview h5", has_text="AWS").wait_for()
    page.locator(".contentview pre", has_text="operation:").wait_for()
    return str(page.locator(".contentview pre").inner_text())


def test_a_held_call_is_found_by_its_comment_read_and_approved(gate: Gateway, upstream: Upstream, page: Any) -> None:
    call = Later(gate, "dynamodb", "delete_table", TableName="scratch")
    held = row(page, "HELD", "agent/ada", "dynamodb:DeleteTable", "table/scratch", "[agent/writes]")
    held.wait_for()
    text = read(page, held)
    for part in ("operation: dynamodb:DeleteTable", "subject: agent/ada", "rule: agent/writes", "TableName: scratch"):
        assert part in text
    assert not [s for s in upstream.seen if "DeleteTable" in s.headers.get("x-amz-target", "")]
    page.get_by_title("[a]ccept intercepted flow").click()
    assert call.wait()["TableDescription"]["TableName"] == "scratch"
    assert len([s for s in upstream.seen if "DeleteTable" in s.headers.get("x-amz-target", "")]) == 1
    row(page, "APPROVED by local-operator", "table/scratch").wait_for()
    verdict = next(line for line in gate.lines() if line.get("eventName") == "hold-ended")
    assert "local-operator" in json.dumps(verdict)


def test_a_denied_call_gets_the_reason_and_is_never_sent(gate: Gateway, upstream: Upstream, page: Any) -> None:
    call = Later(gate, "dynamodb", "delete_table", TableName="orders")
    read(page, row(page, "HELD", "table/orders"))
    page.get_by_title("kill intercepted flow [x]").click()
    error = call.wait()
    assert error.response["Error"]["Code"].startswith("AccessDenied")
    assert "refused by local-operator" in error.response["Error"]["Message"]
    assert not [s for s in upstream.seen if b"orders" in s.body]
    row(page, "DENIED by local-operator", "table/orders").wait_for()


def test_what_was_masked_is_listed_without_its_value(gate: Gateway, page: Any) -> None:
    agent.client(gate, "secretsmanager").get_secret_value(SecretId="db")
    found = row(page, "secretsmanager:GetSecretValue", "masked")
    found.wait_for()
    text = read(page, found)
    assert "masked in the answer" in text
    assert "SecretString" in text
    page.locator(".flow-detail nav a", has_text="Response").click()
    page.locator(".contentview h5", has_text="AWS").wait_for()
    assert SECRET not in page.content()


def test_a_refused_call_says_why(gate: Gateway, page: Any) -> None:
    with pytest.raises(ClientError):
        agent.client(gate, "iam").create_user(UserName="backdoor")
    refused = row(page, "REFUSED", "iam:CreateUser", "no statement allows")
    refused.wait_for()
    assert "step: authorize" in read(page, refused)


def test_hostile_words_are_shown_and_do_nothing(gate: Gateway, page: Any) -> None:
    call = Later(gate, "dynamodb", "delete_item", TableName="words", Key={"id": {"S": HOSTILE}})
    text = read(page, row(page, "HELD", "table/words"))
    assert "<img src=x" in text
    assert "\\u202e" in text
    assert not set(text) & {"\u202e", "\x1b"}
    assert not re.search(r"^decision: allow", text, re.M)
    assert len(text) < 5000
    assert page.title() == "sluicegate"
    assert page.locator(".contentview img").count() == 0
    page.get_by_title("kill intercepted flow [x]").click()
    assert "refused by" in str(call.wait())


def test_sign_ins_keys_and_refused_buttons_are_not_on_the_screen(gate: Gateway, page: Any) -> None:
    assert row(page, "sts.").count() == 0
    row(page, "table/scratch").last.click()
    content = page.content()
    assert "AWS4-HMAC-SHA256" not in content
    assert gate.token_file().read_text().strip() not in content
    for words in ("File", "Capture", "Options", "Replay", "Duplicate", "Download", "Export"):
        assert not page.get_by_text(words, exact=True).filter(visible=True).count(), words
    page.locator("nav a", has_text="Flow List").click()
    assert not page.get_by_text("Resume All").is_visible()


def test_a_link_opens_one_browser_only(gate: Gateway, page: Any) -> None:
    link = gate.cli("approvals", "link").stdout.strip()
    first = urllib3.request("GET", link, redirect=False)
    assert first.status == 302
    assert first.headers["Location"].startswith("/#key=")
    again = urllib3.request("GET", link, redirect=False)
    assert again.status == 403
    assert b"sluicegate approvals link" in again.data


def test_the_bytes_of_a_request_are_not_given_out(gate: Gateway, page: Any, tmp_path: Path) -> None:
    """They may hold the agent's secrets: every view of a request is the one that hides them."""
    call = Later(gate, "secretsmanager", "put_secret_value", SecretId="db", SecretString=SECRET)
    call.wait()
    token = {"Authorization": f"Bearer {(gate.directory / 'state' / 'operator.token').read_text()}"}
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        flows = urllib3.request("GET", gate.ready["web"] + "flows", headers=token).json()
        if found := [f["id"] for f in flows if "PutSecretValue" in f["comment"]]:
            break
    base = f"{gate.ready['web']}flows/{found[0]}/request/"
    assert urllib3.request("GET", base + "content.data", headers=token).status == 403
    for view in ("auto", "raw", "json", "hex"):
        shown = urllib3.request("GET", base + f"content/{view}.json", headers=token)
        assert shown.json()["view_name"] == "AWS"
        assert SECRET.encode() not in shown.data
