"""`./scripts/demo`, as a newcomer runs it, and with a person in a browser."""

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests import tools
from tests.end_to_end.test_web_screen import FLAGS, chromium, sync_api

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "scripts" / "demo"
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def test_help_needs_no_environment() -> None:
    done = subprocess.run([DEMO, "--help"], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"})
    assert "--interactive" in done.stdout


def test_every_call_of_the_demo_does_what_it_should(tmp_path: Path) -> None:
    done = subprocess.run(
        [DEMO], capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"COLUMNS": "120"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every call did what it should" in done.stdout
    for line in (
        r"✓ .*secretsmanager:get_secret_value .*passes, masked .*sluicegate-redacted",
        r"✓ .*s3:delete_bucket .*refused .*AccessDenied",
        r"✓ .*dynamodb:delete_table .*held, approved",
        r"✓ .*dynamodb:delete_table .*held, denied",
        r"AWS afterwards: tables orders; buckets reports; 0 users",
        r"https://secretsmanager\.us-east-1\.amazonaws\.com/",
        r"\$ mitmdump -S SESSION\.mitm",
    ):
        assert re.search(line, done.stdout), line
    assert "correct-horse-battery-staple" not in done.stdout


def test_a_person_presses_the_buttons_of_the_interactive_demo() -> None:
    with (
        subprocess.Popen([DEMO, "--interactive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as demo,
        sync_api.sync_playwright() as playwright,
    ):
        assert demo.stdin
        assert demo.stdout
        browser = playwright.chromium.launch(executable_path=tools.need(chromium), args=FLAGS)
        page: Any = browser.new_page()
        said: list[str] = []
        buttons = ["[a]ccept intercepted flow", "kill intercepted flow [x]"]
        try:
            for line in demo.stdout:
                said.append(line)
                if "Press Enter" in line:
                    break
                if buttons and (link := re.search(r"http://\S+\?token=\S+", line)):
                    page.goto(link[0])
                    page.locator("tbody tr", has_text="HELD").click()
                    page.get_by_title(buttons.pop(0)).click()
            demo.stdin.write("\n")
            demo.stdin.flush()
            started = time.monotonic()
            assert demo.wait(60) == 0, "".join(said)
            assert time.monotonic() - started < 30
        finally:
            demo.kill()
            browser.close()
    text = "".join(said)
    assert "held, approved" in text
    assert "held, denied" in text
