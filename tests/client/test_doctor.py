"""`sluicegate doctor`: each thing that can be wrong is found, and told with its cure."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from addons import config, wire
from addons.identity.upstream import UpstreamUnavailable
from certs.authority import Authority
from scripts.cli.common import named
from scripts.client import checks, defaults, sandbox
from tests.harness import REAL_KEY, REAL_SECRET, Upstream, gateway, prepare


@pytest.fixture
def loaded(tmp_path: Path) -> config.Gateway:
    return config.load(prepare(tmp_path, "http://127.0.0.1:9"))


def one(found: Iterator[checks.Check] | list[checks.Check], name: str) -> checks.Check:
    (check,) = [check for check in found if check.name == name]
    return check


def test_real_keys_in_the_environment_are_named_and_not_shown() -> None:
    check = one(checks.keys({"AWS_ACCESS_KEY_ID": REAL_KEY, "AWS_SECRET_ACCESS_KEY": REAL_SECRET}), "real keys")
    assert check.state == "warning"
    assert "AWS_SECRET_ACCESS_KEY" in check.found
    assert "sluicegate run" in check.mend
    assert REAL_KEY not in repr(check)
    assert REAL_SECRET not in repr(check)
    assert one(checks.keys({}), "real keys").state == "ok"


def test_another_proxy_in_the_environment_is_named() -> None:
    check = checks.around({"HTTPS_PROXY": "http://ada:word@proxy.example.com"}, None)
    assert check.state == "warning"
    assert "HTTPS_PROXY" in check.found
    assert "word" not in repr(check)
    assert "sluicegate env" in check.mend
    assert checks.around({"NO_PROXY": "localhost"}, None).state == "ok"


def test_a_taken_port_is_found(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = config.load(prepare(tmp_path, "http://127.0.0.1:9", listen=f"127.0.0.1:{port}"))
        taken, free = checks.ports(found, None)
    assert (taken.state, free.state) == ("wrong", "ok")
    assert f"127.0.0.1:{port}" in taken.found
    assert "change `listen`" in taken.mend


def test_an_authority_that_others_may_read_is_found_with_its_cure(loaded: config.Gateway) -> None:
    Authority.open(loaded.state / "ca", wire.dns_suffixes())
    loaded.state.chmod(0o700)
    assert [check.state for check in checks.certificates(loaded)] == ["ok"]
    (loaded.state / "ca" / "mitmproxy-ca.pem").chmod(0o644)
    loaded.state.chmod(0o755)
    state, authority = checks.certificates(loaded)
    assert (state.state, authority.state) == ("wrong", "wrong")
    assert "chmod 700" in state.mend
    assert "chmod 600" in authority.found + authority.mend


def test_an_authority_without_all_of_aws_is_told_to_be_renewed(loaded: config.Gateway) -> None:
    Authority.open(loaded.state / "ca", ["amazonaws.com"])
    loaded.state.chmod(0o700)
    (check,) = checks.certificates(loaded)
    assert check.state == "warning"
    assert "ca renew" in check.mend


def test_an_upstream_that_is_not_there_is_found(loaded: config.Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", REAL_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", REAL_SECRET)
    check = checks.credentials(loaded)
    assert check.state == "wrong"
    assert "upstream.endpoint" in check.mend


@pytest.fixture
def telling(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[config.Gateway]:
    """A configuration whose upstream's clock is off by so many seconds."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("date", format_datetime(datetime.now(UTC) + timedelta(seconds=request.param), usegmt=True))
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield config.load(prepare(tmp_path, f"http://127.0.0.1:{server.server_address[1]}"))
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("telling", "state", "words"),
    [(0, "ok", "agrees"), (200, "warning", "behind"), (900, "wrong", "behind"), (-900, "wrong", "ahead of")],
    indirect=["telling"],
)
def test_a_clock_that_aws_would_refuse_is_found(telling: config.Gateway, state: str, words: str) -> None:
    check = checks.clock(telling)
    assert check.state == state
    assert words in check.found


def test_every_problem_of_a_configuration_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("identity: {local: true}\ngroups: {}\nlistn: 1\nweb: {listen: nowhere}\n")
    found = list(checks.run(file, {}))
    wrong = [check for check in found if check.state == "wrong"]
    assert {"configuration"} == {check.name for check in wrong} - {"sandbox"}
    assert "listn" in " ".join(check.found for check in wrong)
    assert "gateway" not in {check.name for check in found}


def test_the_configuration_is_the_named_one_else_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICEGATE_CONFIG", raising=False)
    assert named(None) is None
    monkeypatch.setenv("SLUICEGATE_CONFIG", "/etc/gateway.yaml")
    assert named(None) == Path("/etc/gateway.yaml")
    assert named(Path("mine.yaml")) == Path("mine.yaml")


def test_a_configuration_that_an_agent_may_have_left_here_gets_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object, **__: object) -> tuple[Path, str, bool]:
        raise UpstreamUnavailable("no credentials: sign in")

    upstream = Upstream()
    prepare(tmp_path, upstream.url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(defaults, "configuration", unavailable)
    found = list(checks.run(None, {}))
    upstream.close()
    assert any("gateway.yaml in this directory is not used" in check.found for check in found)
    assert found[-1].name == "credentials"
    assert upstream.connections == 0


@pytest.mark.long
def test_a_good_set_up_is_found_good_by_a_real_call(tmp_path: Path) -> None:
    upstream = Upstream()
    with gateway(tmp_path, upstream.url) as running:
        (tmp_path / "state").chmod(0o700)
        ready = tmp_path / "state" / "run.json"
        ready.write_text(json.dumps(running.ready))  # as `run` leaves it: found, not started
        ran = subprocess.run(
            [sys.executable, "-P", "-m", "scripts", "doctor", "--config", str(running.config), "--json"],
            capture_output=True, text=True, check=False, timeout=100,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(sandbox.PACKAGES),
                 "AWS_ACCESS_KEY_ID": REAL_KEY, "AWS_SECRET_ACCESS_KEY": REAL_SECRET},
        )  # fmt: skip
        found = json.loads(ran.stdout)
        ready.unlink()
    upstream.close()
    states = {check["name"]: check["state"] for check in found["checks"] if check["name"] != "sandbox"}
    assert "wrong" not in states.values(), found
    assert states["call"] == "ok"
    assert states["real keys"] == "warning"
    assert REAL_SECRET not in ran.stdout + ran.stderr
