"""What a hostile command tries, as a program of the standard library alone; prints what it got as JSON."""

import ctypes
import errno
import fcntl
import json
import os
import pty
import stat
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

SECRET = "operator-secret-4711"


def tried(what: Callable[[], object]) -> object:
    """The result of an attempt, or None where it was refused."""
    try:
        return what()
    except OSError:
        return None


def reads(path: Path) -> bool:
    return SECRET in str(tried(path.read_text))


def appends(path: Path) -> bool:
    def attempt() -> bool:
        with path.open("a") as file:
            file.write("\n# changed")
        return True

    return bool(tried(attempt))


def environment_of_others() -> bool:
    found = (
        tried(path.read_bytes) for path in Path("/proc").glob("[0-9]*/environ") if path.parent.name != str(os.getpid())
    )
    return any(isinstance(text, bytes) and SECRET.encode() in text for text in found)


def traces(pid: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, None, None) != 0:  # PTRACE_ATTACH
        return False
    tried(lambda: os.waitpid(pid, 0x40000000))  # __WALL
    libc.ptrace(17, pid, None, None)  # PTRACE_DETACH
    return True


def reads_memory(pid: int) -> bool:
    def attempt() -> bool:
        with open(f"/proc/{pid}/maps") as maps:
            start = int(next(line for line in maps if "[stack]" in line or "[heap]" in line).split("-")[0], 16)
        with open(f"/proc/{pid}/mem", "rb") as memory:
            memory.seek(start)
            return bool(memory.read(1))

    return bool(tried(attempt))


def signals(pid: int) -> bool:
    return tried(lambda: os.kill(pid, 0) is None) is True


def renames(directory: Path) -> bool:
    """Put another directory in the place of one above what the gateway reads."""

    def attempt() -> bool:
        moved = directory.with_name(directory.name + "-moved")
        directory.rename(moved)
        moved.rename(directory)
        return True

    return bool(tried(attempt))


def uncovers(state: Path) -> list[str]:
    """Take the walls down, or go round them, with every tool there is; the ways that showed the secret."""
    key = state / "key"
    ways = {
        "umount": ["sh", "-c", f"umount {state} && cat {key}"],
        "umount -l": ["sh", "-c", f"umount -l {state} && cat {key}"],
        "own namespace, as root": ["unshare", "-Urm", "sh", "-c", f"umount {state}; cat {key}"],
        "own namespace": ["unshare", "-Um", "--map-user=77", "sh", "-c", f"umount {state}; cat {key}"],
        "bind": ["unshare", "-Urm", "sh", "-c", f"mount --bind {state.parent} /mnt; cat /mnt/{state.name}/key"],
        "overlay": [
            "unshare",
            "-Urm",
            "sh",
            "-c",
            f"mount -t overlay -o lowerdir={state.parent}:/etc none /mnt; cat /mnt/{state.name}/key",
        ],
        "move": ["unshare", "-Urm", "sh", "-c", f"mount --move {state} /mnt; cat {key}"],
        "process 1": ["sh", "-c", f"cat /proc/1/root{key} /proc/1/cwd/../state/key"],
        "private propagation": ["sh", "-c", f"mount --make-rslave / && umount {state} && cat {key}"],
        "enter": ["nsenter", "-t", "1", "-m", "cat", str(key)],
    }
    found = []
    for name, command in ways.items():
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        if SECRET in ran.stdout:
            found.append(name)
    return found


def opens_a_disk() -> bool:
    return any(stat.S_ISBLK(path.lstat().st_mode) and opens(path) for path in Path("/dev").iterdir())


def opens(path: Path) -> bool:
    def attempt() -> bool:
        os.close(os.open(path, os.O_RDWR | os.O_NOCTTY))
        return True

    return bool(tried(attempt))


def types_at_the_terminal() -> str:
    """The errno's name of TIOCSTI on a terminal of our own, or "" where it worked."""
    child, handle = pty.fork()
    if child == 0:
        try:
            fcntl.ioctl(0, termios.TIOCSTI, b"x")
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(handle)
    return errno.errorcode.get(code, "")


def main() -> None:
    place = json.loads(sys.argv[1])
    path = {name: Path(text) for name, text in place.items() if isinstance(text, str)}
    pid = place["pid"]
    found = {
        "reads the state": reads(path["state"] / "key"),
        "lists the state": bool(tried(lambda: os.listdir(path["state"]))),
        "reads ~/.aws": reads(path["home"] / ".aws" / "credentials"),
        "reads another AWS file": reads(path["credentials"]),
        "reads the browser's cookies": reads(path["home"] / ".mozilla" / "cookies"),
        "changes the configuration": appends(path["config"]),
        "changes the gateway's program": appends(path["install"] / "gateway.py"),
        "changes ~/.bashrc": appends(path["home"] / ".bashrc"),
        "puts another directory in place": renames(path["config"].parent),
        "puts another home in place": renames(path["home"]),
        "reads environments": environment_of_others(),
        "traces the gateway": traces(pid),
        "reads the gateway's memory": reads_memory(pid),
        "signals the gateway": signals(pid),
        "opens a disk": opens_a_disk(),
        "opens another terminal": opens(path["terminal"]),
        "writes /proc/sys": appends(Path("/proc/sys/kernel/domainname")) if place["harmless"] else False,
    }
    works = {
        "writes the project": appends(Path("here.txt")),
        "writes home": appends(path["home"] / "notes.txt"),
        "writes ~/.aws": appends(path["home"] / ".aws" / "cache"),
        "writes /tmp": appends(Path(place["tmp"])),
        "reads the configuration": bool(tried(path["config"].read_text)),
        "has a null device": appends(Path("/dev/null")),
    }
    uncovered = uncovers(path["state"]) if place["attack"] else []
    typed = types_at_the_terminal()
    print(json.dumps({"got": found, "works": works, "uncovered": uncovered, "typed": typed, "pid": os.getpid()}))


if __name__ == "__main__":
    main()
