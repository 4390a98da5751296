"""The sandbox: a command that tries everything gets at nothing of the gateway or the operator, and can still work.

Every attempt is made once without a sandbox too: there it must succeed, or the test would prove nothing.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.client import sandbox, walls
from tests.client.probe import SECRET

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="NO LINUX: `run` has no sandbox here")
PROBE = Path(__file__).parent / "probe.py"
KINDS = ["bwrap", "namespaces"]
USERS = ["this user", "an ordinary user"]
DRIVER = """
import json, os, subprocess, sys
from pathlib import Path
from scripts.client import sandbox, walls
kind, place, argv = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
path = {name: Path(text) for name, text in place.items() if isinstance(text, str)}
environ = dict(os.environ, HOME=str(path["home"]), AWS_SHARED_CREDENTIALS_FILE=str(path["credentials"]))
mounts = [] if kind == "none" else walls.plan(environ, Path.cwd(), hide=[path["state"]],
    keep=[path["config"], path["install"], Path(sys.prefix), Path(sys.base_prefix)], root=os.getuid() == 0).mounts()
os.execvpe(*(lambda line: (line[0], line))(sandbox.command(kind, mounts, Path.cwd(), argv)), environ)
"""


class Place:
    """A home with secrets, a project with a configuration, and a gateway process that holds a secret."""

    def __init__(self, directory: Path) -> None:
        self.home, self.project = directory / "home", directory / "home" / "project"
        for path, text in {
            self.home / ".aws" / "credentials": SECRET,
            self.home / ".mozilla" / "cookies": SECRET,
            self.home / ".bashrc": "",
            self.project / "state" / "key": SECRET,
            self.project / "conf" / "gateway.yaml": "listen: 127.0.0.1:0",
            directory / "install" / "gateway.py": "",
            directory / "elsewhere" / "credentials": SECRET,
        }.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.gateway = subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], "KEY": SECRET})
        self.terminal = os.openpty()
        self.values: dict[str, Any] = {
            "home": str(self.home),
            "state": str(self.project / "state"),
            "config": str(self.project / "conf" / "gateway.yaml"),
            "install": str(directory / "install"),
            "credentials": str(directory / "elsewhere" / "credentials"),
            "terminal": os.ttyname(self.terminal[1]),
            "tmp": str(directory / "scratch.txt"),
            "pid": self.gateway.pid,
            "attack": True,
            "harmless": True,
        }

    def close(self) -> None:
        self.gateway.kill()
        self.gateway.wait()
        for handle in self.terminal:
            os.close(handle)

    def line(self, kind: str, user: str, *command: str, **values: Any) -> list[str]:
        """The command line that runs a command in a sandbox, as one of the two kinds of user."""
        # An ordinary user without any account: a user namespace of its own maps this one to a number without powers.
        prefix = ["unshare", "-U", "--map-user=4711", "--map-group=4711"] if user == "an ordinary user" else []
        return [*prefix, sys.executable, "-c", DRIVER, kind, json.dumps(self.values | values), *command]

    def run(self, kind: str, user: str, *command: str, **values: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(kind, user, *command, **values),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.project,
            env=os.environ | {"PYTHONPATH": str(sandbox.PACKAGES)},
        )

    def probe(self, kind: str, user: str, **values: Any) -> dict[str, Any]:
        ran = self.run(kind, user, sys.executable, "-I", str(PROBE), json.dumps(self.values | values))
        if "no sandbox can be made here" in ran.stderr or "bwrap: " in ran.stderr:
            pytest.skip(f"NO SANDBOX OF THIS KIND HERE ({kind}, {user}): {ran.stderr.strip()}")
        assert ran.returncode == 0, ran.stderr
        found: dict[str, Any] = json.loads(ran.stdout)
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("sandbox"))
    yield made
    made.close()


@pytest.fixture(scope="module", params=[(kind, user) for kind in KINDS for user in USERS], ids=" as ".join)
def found(place: Place, request: pytest.FixtureRequest) -> dict[str, Any]:
    kind, user = request.param
    if kind == "bwrap" and not shutil.which("bwrap"):
        pytest.skip("NO BUBBLEWRAP HERE: only Linux namespaces are tested")
    return place.probe(kind, user)


def test_without_a_sandbox_the_attempts_succeed(place: Place) -> None:
    found = place.probe("none", "this user", attack=False, harmless=False)
    (place.home / ".aws" / "cache").unlink()
    may_fail = {"writes /proc/sys", "opens a disk"}  # not tried; only root has disks
    assert {name for name, got in found["got"].items() if not got} <= may_fail
    assert all(found["works"].values())


def test_in_the_sandbox_none_of_them_does(found: dict[str, Any]) -> None:
    got = {name for name, got in found["got"].items() if got}
    assert got <= {"lists the state"}  # an empty directory


def test_the_walls_can_not_be_taken_down_or_gone_round(found: dict[str, Any]) -> None:
    assert found["uncovered"] == []


def test_nothing_can_be_typed_at_the_operators_terminal(found: dict[str, Any]) -> None:
    assert found["typed"] == "EPERM"


def test_the_command_can_still_work(found: dict[str, Any]) -> None:
    assert {name for name, works in found["works"].items() if not works} == set()


def test_what_is_written_to_the_hidden_aws_directory_never_reaches_the_operators(place: Place, found: Any) -> None:
    assert sorted(path.name for path in (place.home / ".aws").iterdir()) == ["credentials"]
    assert (place.project / "here.txt").exists()


@pytest.fixture(params=[kind for kind in [*KINDS, "none"] if kind != "bwrap" or shutil.which("bwrap")])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("exec no-such-command-at-all", 127),
    ],
)
def test_the_exit_code_is_the_commands(place: Place, kind: str, command: str, code: int) -> None:
    ran = place.run(kind, "this user", "sh", "-c", command)
    # Without a sandbox it is the command itself that the signal ends.
    assert (128 - ran.returncode if ran.returncode < 0 else ran.returncode) == code


def test_a_missing_command_is_told(place: Place, kind: str) -> None:
    ran = place.run(kind, "this user", "no-such-command-at-all")
    assert (ran.returncode, ran.stderr) == (127, "sluicegate: no-such-command-at-all: no such command\n")


def test_what_the_command_leaves_behind_ends_with_it(place: Place) -> None:
    for kind in KINDS:
        if kind == "bwrap" and not shutil.which("bwrap"):
            continue
        marker = f"31{os.getpid() % 1000:03d}{KINDS.index(kind)}"
        ran = place.run(kind, "this user", "sh", "-c", f"setsid sleep {marker} >/dev/null 2>&1 & echo started")
        assert ran.stdout == "started\n"
        for _ in range(50):
            running = [p for p in Path("/proc").glob("[0-9]*/cmdline") if marker.encode() in read(p)]
            if not running:
                break
            time.sleep(0.05)
        assert running == []


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_signal_reaches_the_command(place: Place) -> None:
    line = place.line(
        "namespaces", "this user", "sh", "-c", "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    )
    process = subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        text=True,
        cwd=place.project,
        env=os.environ | {"PYTHONPATH": str(sandbox.PACKAGES)},
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.read() == "got\n"
    assert process.wait(10) == 5


def test_the_systems_sockets_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("/run") / f"sluicegate-test-{os.getpid()}.sock"
    if not os.access("/run", os.W_OK):
        pytest.skip("NOT ROOT: no socket can be made under /run")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        try:
            found = walls.plan({"HOME": str(tmp_path)}, tmp_path, hide=[], keep=[], root=True)
        finally:
            path.unlink()
    assert ("nothing", str(path)) in found.mounts()


def test_a_directory_inside_a_hidden_one_is_hidden(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "deep").mkdir(parents=True)
    found = walls.plan({"HOME": str(tmp_path)}, tmp_path, hide=[state], keep=[state / "deep"], root=False)
    assert found.hides(state / "deep")
    assert found.hides(state)
    assert not found.hides(tmp_path)
    assert [path for _, path in found.mounts() if "deep" in path] == []


def test_a_symbolic_link_does_not_lead_past_the_walls(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "real")
    found = walls.plan({"HOME": str(tmp_path)}, tmp_path, hide=[tmp_path / "state"], keep=[], root=False)
    assert ("empty", str(tmp_path / "real")) in found.mounts()


def test_the_ssh_agent_stays_in_reach_under_a_hidden_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Path(f"/run/user/{os.getuid()}")
    if not os.access("/run", os.W_OK):
        pytest.skip("NOT ROOT: no runtime directory can be made")
    existed = runtime.exists()
    runtime.mkdir(parents=True, exist_ok=True)
    agent = runtime / f"agent-{os.getpid()}"
    agent.touch()
    try:
        environ = {"HOME": "/nonexistent-home", "SSH_AUTH_SOCK": str(agent)}
        monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
        mounts = walls.plan(environ, Path("/tmp"), hide=[], keep=[], root=False).mounts()
    finally:
        agent.unlink()
        if not existed:
            os.rmdir(runtime)
    assert ("empty", str(runtime)) in mounts
    assert mounts[-1] == ("expose", str(agent))


def test_what_there_is_is_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sandbox.find().kind in ("bwrap", "namespaces", "none")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert sandbox.find().kind in ("namespaces", "none")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert sandbox.find().kind == "none"
