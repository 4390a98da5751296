"""`sluicegate run`: real clients through a real gateway, and a command that tries to work the gate itself."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.client import sandbox
from tests.harness import REAL_KEY, REAL_SECRET, Gateway, Upstream, gateway

KEYS = {"AWS_ACCESS_KEY_ID": REAL_KEY, "AWS_SECRET_ACCESS_KEY": REAL_SECRET, "AWS_REGION": "us-east-1"}
needs_walls = pytest.mark.skipif(sandbox.find().kind == "none", reason="NO SANDBOX HERE: law 8 is untested")


@pytest.fixture(scope="module")
def running(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("run"), upstream.url) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / ".aws").mkdir(parents=True)
    (tmp_path / "home" / ".aws" / "credentials").write_text(
        f"[default]\naws_access_key_id={REAL_KEY}\naws_secret_access_key={REAL_SECRET}\n"
    )
    (tmp_path / "home" / "project").mkdir()
    return tmp_path / "home"


def line(found: Gateway, *command: str, options: tuple[str, ...] = ()) -> list[str]:
    ready = str(found.directory / "ready.json")
    base = [sys.executable, "-P", "-m", "scripts", "run", "--config", str(found.config), "--ready-file", ready]
    return [*base, *options, "--", *command]


def environment(home: Path) -> dict[str, str]:
    return os.environ | KEYS | {"HOME": str(home), "NO_PROXY": "*", "PYTHONPATH": str(sandbox.PACKAGES)}


def run(found: Gateway, home: Path, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line(found, *command, options=options), capture_output=True, text=True, check=False, timeout=100,
        cwd=home / "project", env=environment(home),
    )  # fmt: skip


BOTO3 = """
import boto3, json
arn = boto3.client("sts").get_caller_identity()["Arn"]
try: boto3.client("iam").create_user(UserName="x")
except Exception as error: refused = [type(error).__name__, error.response["Error"]["Code"]]
print(json.dumps([arn, refused]))
"""


def test_boto3_is_let_through_and_refused(running: Gateway, home: Path) -> None:
    ran = run(running, home, sys.executable, "-c", BOTO3)
    assert ran.returncode == 0, ran.stderr
    arn, refused = json.loads(ran.stdout)
    assert arn == "arn:aws:iam::123456789012:user/gateway"
    assert refused == ["ClientError", "AccessDenied"]
    call = running.calls()[-1]
    assert call["eventName"] == "CreateUser"


@pytest.mark.skipif(not shutil.which("curl"), reason="NO CURL")
def test_curl_trusts_the_gateway_and_is_refused_unsigned(running: Gateway, home: Path) -> None:
    ran = run(running, home, "curl", "-sS", "https://dynamodb.us-east-1.amazonaws.com/")
    assert (ran.returncode, "sluicegate" in ran.stdout) == (0, True), ran


@pytest.mark.skipif(not shutil.which("node"), reason="NO NODE")
def test_node_trusts_the_gateway_by_agent_and_by_fetch(running: Gateway, home: Path) -> None:
    program = """
      const url = "https://dynamodb.us-east-1.amazonaws.com/";
      const agent = new (require("https").Agent)({keepAlive: false});
      require("https").get(url, {agent}, r => console.log(r.statusCode));
      fetch(url).then(r => console.log(r.status));"""
    ran = run(running, home, "node", "-e", program)
    assert ran.stdout.split() == ["403", "403"], ran


WORK_THE_GATE = """
import json, os, subprocess, sys, urllib.request, urllib.error
from pathlib import Path
config, web, pid, secret = sys.argv[1:]
state, got = Path(config).parent / "state", []
names = ("operator.token", "issuer.json", "keyring.json", "ca/mitmproxy-ca.pem")
records = (path for folder in ("audit", "sessions") for path in Path(config).parent.glob(folder + "/**/*"))
for path in [Path.home() / ".aws/credentials", *(state / name for name in names), *records]:
    try:
        path.read_bytes(); got.append(str(path))
    except OSError: pass
for path in Path("/proc").glob("[0-9]*/environ"):
    try:
        if secret.encode() in path.read_bytes(): got.append(str(path))
    except OSError: pass
for name in ("environ", "mem", "root", "cwd"):
    if os.path.exists(f"/proc/{pid}/{name}") : got.append(f"/proc/{pid}/{name}")
for file in (config, str(Path(config).parent / "policy.yaml")):
    try:
        open(file, "a").close(); got.append("writes " + file)
    except OSError: pass
try:
    os.kill(int(pid), 0); got.append("signals the gateway")
except OSError: pass
for method, path in (("GET", "sluicegate/tickets"), ("POST", "sluicegate/link"), ("GET", "flows"), ("GET", "")):
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            urllib.request.Request(web + path, method=method), timeout=10) as answer:
            got.append(f"{method} {path}: {answer.status}")
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403): got.append(f"{method} {path}: {error.code}")
for command in (["approvals", "list"], ["token", "--subject", "agent/other", "--group", "developers"]):
    line = [sys.executable, "-m", "scripts", *command, "--config", config]
    ran = subprocess.run(line, capture_output=True, text=True)
    if ran.returncode == 0 and command[0] == "approvals": got.append(" ".join(command))
    if command[0] == "token": forged = ran.stdout
print(json.dumps({"got": got, "uid": os.getuid(), "forged": forged}))
"""


def work_the_gate(found: Gateway, home: Path, *options: str) -> tuple[dict[str, Any], str]:
    arguments = (str(found.config), str(found.ready["web"]), str(found.ready["pid"]), REAL_SECRET)
    ran = run(found, home, sys.executable, "-c", WORK_THE_GATE, *arguments, options=options)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout), ran.stderr


@needs_walls
def test_the_command_can_neither_see_nor_work_the_gate(running: Gateway, home: Path) -> None:
    before = (running.directory / "state" / "ca" / "root.pem").read_bytes()
    found, _ = work_the_gate(running, home)
    assert found["got"] == []
    assert (running.directory / "state" / "ca" / "root.pem").read_bytes() == before
    # The token that it could make is of a key of its own, in the empty directory that hides the state.
    program = f"import os; open('t', 'w').write({found['forged']!r}); os.environ['AWS_WEB_IDENTITY_TOKEN_FILE'] = 't'\n"
    ran = run(running, home, sys.executable, "-c", program + BOTO3)
    assert ran.returncode != 0
    assert "InvalidIdentityToken" in ran.stderr


@pytest.mark.long
def test_without_walls_it_gets_at_nearly_all_of_it_and_run_says_so(running: Gateway, home: Path) -> None:
    found, said = work_the_gate(running, home, "--no-sandbox")
    got = {word for text in found["got"] for word in (text, text.split("/")[-1])}
    assert {"operator.token", "environ", "approvals list", "signals the gateway"} <= got
    assert "can read your AWS keys" in said


@pytest.mark.parametrize(("script", "code"), [("exit 42", 42), ("kill -TERM $$", 143)])
def test_the_exit_code_is_the_commands(running: Gateway, home: Path, script: str, code: int) -> None:
    assert run(running, home, "sh", "-c", script).returncode == code


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGTERM, ()), (signal.SIGINT, ()), (signal.SIGHUP, ("--no-sandbox",))]
)
def test_signals_reach_the_command_and_its_directory_is_gone_afterwards(
    running: Gateway, home: Path, number: signal.Signals, options: tuple[str, ...]
) -> None:
    script = f"trap 'echo got; exit 9' {number.name[3:]}; echo $SSL_CERT_FILE; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        line(running, "sh", "-c", script, options=options), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=home / "project", env=environment(home),
    )  # fmt: skip
    assert process.stdout
    directory = Path(process.stdout.readline().strip()).parent
    assert directory.name.startswith("sluicegate-run-")
    process.send_signal(number)
    assert process.stdout.read() == "got\n"
    assert process.wait(20) == 9
    assert not directory.exists()


def test_the_terminal_is_as_it_was_and_control_c_is_the_commands(running: Gateway, home: Path) -> None:
    script = (
        "stty -echo raw; stty cooked -echo; trap 'echo got-it; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    )
    child, handle = pty.fork()
    if child == 0:
        os.chdir(home / "project")
        os.execvpe(sys.executable, line(running, "bash", "-c", script), environment(home))
    before = subprocess.run(["stty", "-g"], stdin=handle, capture_output=True, check=True).stdout
    seen = b""
    while b"ready" not in seen:
        seen += os.read(handle, 1000)
    os.write(handle, b"\x03")
    while b"got-it" not in seen:
        seen += os.read(handle, 1000)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    after = subprocess.run(["stty", "-g"], stdin=handle, capture_output=True, check=False).stdout
    os.close(handle)
    assert code == 5
    assert after in (before, b"")  # nothing where the terminal went with its last user
    assert b"approve and watch at http://127.0.0.1:" in seen  # the one-time link: a person is there


def test_the_token_is_renewed_while_the_command_lives(tmp_path: Path) -> None:
    program = """
import sys, itertools
from pathlib import Path
from certs.authority import Authority
from scripts.cli import run
from scripts.client.files import Directory
from scripts.client.gateway import Running
run.TOKEN_LIFE, run.LOOK = 0.2, 0.02
counter = itertools.count()
root = Authority.open(Path(sys.argv[1]), ["amazonaws.com"]).root
with Directory(root, {}, lambda: b"%d" % next(counter)) as directory:
    print(run.child("none", [], ["sh", "-c", "sleep 1; cat " + str(directory.files.token)], {"PATH": "/usr/bin:/bin"},
                    directory, Running("http://127.0.0.1:1", "", root)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "ca")], capture_output=True, text=True, check=True, timeout=30,
        env=os.environ | {"PYTHONPATH": str(sandbox.PACKAGES)},
    )  # fmt: skip
    token, code = int(ran.stdout.split("\n")[0][:-1]), ran.stdout.strip()[-1]
    assert (token >= 3, code) == (True, "0")


def test_a_ready_file_that_is_not_true_is_refused(running: Gateway, home: Path, tmp_path: Path) -> None:
    ready = json.loads((running.directory / "ready.json").read_text())
    ended = subprocess.Popen(["true"])
    ended.wait()
    for change, words in (({"pid": ended.pid}, "has ended"), ({"proxy": "http://127.0.0.1:9"}, "does not answer")):
        (tmp_path / "ready.json").write_text(json.dumps(ready | change))
        command = line(running, "true")
        command[command.index("--ready-file") + 1] = str(tmp_path / "ready.json")
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment(home))
        assert ran.returncode == 1
        assert words in ran.stderr


@pytest.mark.long
def test_with_no_configuration_it_makes_one_and_several_runs_share_a_gateway(upstream: Upstream, home: Path) -> None:
    (home / "project" / "gateway.yaml").write_text("groups: {}")  # an agent's own idea of a configuration
    base = [sys.executable, "-P", "-m", "scripts", "run", "--endpoint", upstream.url, "--", "sh", "-c"]
    options: dict[str, Any] = {"cwd": home / "project", "env": environment(home), "text": True}
    first = subprocess.Popen(
        [*base, "echo $HTTPS_PROXY; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **options,
    )  # fmt: skip
    assert first.stdout
    proxy = first.stdout.readline()
    assert proxy.startswith("http://127.0.0.1:")
    second = subprocess.run([*base, "echo $HTTPS_PROXY"], capture_output=True, check=False, timeout=100, **options)
    assert second.stdout == proxy  # the same gateway, and the first command still has it
    (made,) = (file.parent for file in (home / ".local" / "state" / "sluicegate").glob("*/gateway.yaml"))
    pid = json.loads((made / "state" / "run.json").read_text())["pid"]
    os.kill(pid, 0)
    _, said = first.communicate("\n", timeout=60)
    assert "AWS account 123456789012" in said
    assert f"made {made / 'gateway.yaml'}" in said
    assert "gateway.yaml in this directory is not used" in said
    assert "made " not in second.stderr
    assert "making an index of AWS's hosts, once" in said
    assert "making an index" not in second.stderr
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):  # the last one out ends it
        os.kill(pid, 0)
    assert not (made / "state" / "run.json").exists()
