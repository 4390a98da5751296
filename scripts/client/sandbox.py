"""Which sandbox this machine offers, and the command line that runs a command in it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scripts.client.inside import PROC_WRITABLE, ROOT_KEEPS
from scripts.client.walls import Mount

Kind = Literal["bwrap", "namespaces", "none"]
PACKAGES = Path(__file__).resolve().parent.parent.parent  # where `scripts` is imported from
BWRAP = {"bind": "--bind", "write": "--bind", "read-only": "--ro-bind", "expose": "--bind", "show": "--ro-bind"}
PROGRAMS = "/usr/bin:/bin:/usr/local/bin:/run/current-system/sw/bin"  # not $PATH: an agent may write to places in it


@dataclass(frozen=True, slots=True)
class Means:
    """What there is: a kind of sandbox, and the words for a person."""

    kind: Kind
    text: str


def find() -> Means:
    """The best sandbox that works here, found by trying it: being installed is not being allowed."""
    if not sys.platform.startswith("linux"):
        return Means("none", "there are no Linux namespaces on this system")
    why = ""
    means = (Means("bwrap", "bubblewrap"), Means("namespaces", "Linux namespaces"))
    for found in means:
        kind = found.kind
        if kind == "bwrap" and not shutil.which("bwrap", path=PROGRAMS):
            continue
        tried = subprocess.run(
            command(kind, [], Path("/"), ["true"]), capture_output=True, text=True, check=False, timeout=20
        )
        if tried.returncode == 0:
            return found
        why = tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else f"exit code {tried.returncode}"
    return Means("none", f"this system forbids namespaces ({why})")


def command(
    kind: Kind, mounts: Sequence[Mount], cwd: Path, argv: Sequence[str], status: int | None = None
) -> list[str]:
    """The command line that runs `argv` behind these mounts. bubblewrap writes its child's process id to `status`."""
    inside = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path.insert(0, {str(PACKAGES)!r}); from scripts.client.inside import main; main()",
        kind,
        json.dumps(mounts) if kind == "namespaces" else "[]",
        str(cwd),
        *argv,
    ]
    if kind != "bwrap":
        return inside
    found = [
        shutil.which("bwrap", path=PROGRAMS) or "/usr/bin/bwrap",
        "--ro-bind" if ("all-read-only", "/") in mounts else "--bind",
        "/",
        "/",
    ]
    for what, path in mounts:
        if what in BWRAP:
            found += [BWRAP[what], path, path]
        elif what == "empty":
            found += ["--perms", "0700", "--tmpfs", path]
        elif what == "nothing":
            found += ["--ro-bind", os.devnull, path]
    found += ["--proc", "/proc", "--dev", "/dev", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--as-pid-1"]
    for gpu in [*sorted(Path("/dev").glob("nvidia*")), Path("/dev/dri"), Path("/dev/kfd")]:
        found += ["--dev-bind-try", str(gpu), str(gpu)]
    for path in (f"/proc/{name}" for name in PROC_WRITABLE if Path("/proc", name).exists()):
        found += ["--ro-bind", path, path]
    if os.getuid() == 0:
        found += ["--cap-drop", "ALL"]  # then what root keeps, and what `inside` empties the bounding set with
        for name in (*ROOT_KEEPS.values(), "setpcap"):
            found += ["--cap-add", f"CAP_{name.upper()}"]
    if status is not None:
        found += ["--json-status-fd", str(status)]
    return [*found, "--chdir", str(cwd), "--", *inside]
