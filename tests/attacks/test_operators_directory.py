"""A gateway.yaml that an agent left where the operator works: the operator's own commands must not serve it."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from scripts.client.sandbox import PACKAGES
from tests import harness

TOKEN = "the-operators-token"


def test_the_operators_token_is_not_sent_to_a_screen_of_the_agents(tmp_path: Path) -> None:
    """The agent can't read the token, but it can name a link to it, and say that its own server is the screen."""
    heard: list[str] = []

    class Screen(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization", ""))
            self.send_response(403)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    secret, here = tmp_path / "operator.token", tmp_path / "project"
    secret.write_text(TOKEN)
    secret.chmod(0o600)
    here.mkdir()
    harness.prepare(here, "http://127.0.0.1:9")
    server = HTTPServer(("127.0.0.1", 0), Screen)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (here / "state" / "ready.json").write_text(json.dumps({"web": f"http://127.0.0.1:{server.server_port}/"}))

    def ran() -> int:
        kept = {name: value for name, value in os.environ.items() if name != "SLUICEGATE_CONFIG"}
        command = [sys.executable, "-P", "-m", "scripts", "approvals", "list"]
        environment = kept | {"PYTHONPATH": str(PACKAGES)}
        return subprocess.run(command, cwd=here, env=environment, capture_output=True, check=False).returncode

    (here / "state" / "operator.token").symlink_to(secret)
    assert ran() == 1
    assert heard == []
    (here / "state" / "operator.token").unlink()
    (here / "state" / "operator.token").write_text("a token of this directory's own")
    (here / "state" / "operator.token").chmod(0o600)
    assert ran() == 1
    assert heard == ["Bearer a token of this directory's own"], "the command does ask the screen"
    server.shutdown()
    server.server_close()
