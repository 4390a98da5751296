"""An agent in the sandbox of `sluicegate run` that goes for what lies beside the walls."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scripts.client import sandbox, walls
from tests.end_to_end.conftest import upstream
from tests.end_to_end.test_run import environment, home, line, needs_walls, run, running
from tests.harness import Gateway

__all__ = ["home", "running", "upstream"]

LOOK_FOR_TOKENS = """
import json, os
from pathlib import Path
own, found = Path(os.environ["AWS_WEB_IDENTITY_TOKEN_FILE"]), []
assert own.read_bytes().count(b".") == 2
for top in {own.parent.parent, Path.home()}:
    for folder, names, files in os.walk(top):
        for path in (Path(folder, name) for name in files):
            try: text = path.read_bytes()[:5000]
            except OSError: continue
            if path == own or str(path) in found: continue
            if text.startswith(b"eyJ") and text.count(b".") == 2: found.append(str(path))
try: open(own, "a").close(); found.append("writes its own")
except OSError: pass
print(json.dumps(found))
"""


@needs_walls
def test_an_agent_does_not_find_the_token_of_another(running: Gateway, home: Path) -> None:
    """Both run as one user, so that the file's mode is no wall. With the token it would be the other one."""
    other = subprocess.Popen(
        line(running, "sh", "-c", "echo $AWS_WEB_IDENTITY_TOKEN_FILE; sleep 60"), stdout=subprocess.PIPE, text=True,
        cwd=home / "project", env=environment(home),
    )  # fmt: skip
    try:
        assert other.stdout
        token = Path(other.stdout.readline().strip())
        assert token.exists()
        ran = run(running, home, sys.executable, "-c", LOOK_FOR_TOKENS)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout) == []
        bare = run(running, home, sys.executable, "-c", LOOK_FOR_TOKENS, options=("--no-sandbox",))
        assert set(json.loads(bare.stdout)) == {str(token), "writes its own"}, "the attempt is a real one"
    finally:
        other.terminate()
        other.wait(20)


@needs_walls
def test_an_agent_neither_finds_nor_plants_what_a_person_signed_in_with(running: Gateway, home: Path) -> None:
    """`sluicegate credentials login` keeps a person's tokens there: who has them is that person, an approver too."""
    cache = home / ".cache" / "sluicegate"
    program = """if True:
        import os, sys
        from pathlib import Path
        cache = Path(sys.argv[1])
        print([path.read_text() for path in cache.glob("login-*")])
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "keys-planted.json").write_text("{}")
    """
    ran = run(running, home, sys.executable, "-c", program, str(cache))
    assert not (cache / "keys-planted.json").exists(), "it made the place"
    (cache / "login-0.json").write_text("the-persons-token")
    ran = run(running, home, sys.executable, "-c", program, str(cache))
    assert "the-persons-token" not in ran.stdout
    assert not (cache / "keys-planted.json").exists()
    ran = run(running, home, sys.executable, "-c", program, str(cache), options=("--no-sandbox",))
    assert "the-persons-token" in ran.stdout, "the attempt is a real one"


@pytest.mark.parametrize("kind", ["bwrap", "namespaces"])
def test_a_displays_abstract_socket_is_out_of_reach(kind: sandbox.Kind, tmp_path: Path) -> None:
    """No mount hides it, and whoever talks to an X server types where the operator's cursor is."""
    name = f"\0sluicegate-{kind}-{os.getpid()}"
    program = "import socket, sys; socket.socket(1).connect('\\0' + sys.argv[1])"
    argv = [sys.executable, "-c", program, name[1:]]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        threading.Thread(target=lambda: [listener.accept() for _ in range(2)], daemon=True).start()
        assert subprocess.run(argv, check=False).returncode == 0
        walled = walls.plan({"HOME": str(tmp_path)}, tmp_path, hide=[], keep=[], root=os.getuid() == 0).mounts()
        ran = subprocess.run(
            sandbox.command(kind, walled, tmp_path, argv), capture_output=True, text=True, check=False, timeout=30
        )
        if "sandbox" in ran.stderr or "bwrap:" in ran.stderr or os.uname().release < "6.12":
            pytest.skip(f"NO SANDBOX OF THIS KIND, OR AN OLDER KERNEL: {ran.stderr}")
        assert "PermissionError" in ran.stderr


@needs_walls
def test_a_policy_behind_a_link_that_the_agent_could_turn_is_refused(running: Gateway, home: Path) -> None:
    """No mount holds a symbolic link: the agent would put its own policy in that place, and the gateway reload it."""
    policy = running.directory / "policy.yaml"
    real = policy.rename(running.directory / "real.yaml")
    policy.symlink_to(real)
    try:
        ran = run(running, home, "true")
        assert ran.returncode == 2
        assert f"{policy} is a symbolic link" in ran.stderr
    finally:
        real.replace(policy)
    assert run(running, home, "true").returncode == 0


def test_a_bubblewrap_that_the_agent_left_in_the_path_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, ran = tmp_path / "bwrap", tmp_path / "ran"
    fake.write_text(f"#!/bin/sh\ntouch {ran}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    subprocess.run(["bwrap"], check=True)
    ran.unlink()
    sandbox.find()
    assert not ran.exists()


def test_what_types_on_the_operators_screen_is_hidden(tmp_path: Path) -> None:
    for name in (".Xauthority", "elsewhere"):
        (tmp_path / name).touch()
    environ = {"HOME": str(tmp_path), "XAUTHORITY": str(tmp_path / "elsewhere")}
    mounts = walls.plan(environ, tmp_path, hide=[], keep=[], root=False).mounts()
    assert {("nothing", str(tmp_path / ".Xauthority")), ("nothing", str(tmp_path / "elsewhere"))} <= set(mounts)
