"""The program between the sandbox and the command: builds the walls where bubblewrap does not, and is process 1.

`python -I -S -c "..." bwrap|namespaces MOUNTS CWD COMMAND...`, with the mounts as JSON. Standard library only. After
the walls stand, nothing inside can take them down: the command has no capability over the mounts, gains none by a
set-user-id program (no_new_privs), and in a user namespace of its own it finds them locked (mount_namespaces(7)).
"""

import ctypes
import json
import os
import signal
import struct
import sys
from collections.abc import Collection, Sequence

from scripts.client import supervise

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_CAP_AMBIENT = 1, 24, 38, 22, 47
SYS_MOUNT_SETATTR, AT_RECURSIVE, MOUNT_ATTR_RDONLY, MOUNT_ATTR_NODEV = (
    442,
    0x8000,
    1,
    4,
)  # the same number on every architecture
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_RESTRICT_SELF, LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 444, 446, 1
CAP_SETPCAP, CAP_SYS_ADMIN = 8, 21
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
PROC_WRITABLE = ("sys", "sysrq-trigger", "irq", "bus")  # what the kernel lets user 0 write without a capability
# What root keeps (capabilities(7)): files of other owners and other users. Nothing over mounts, devices, other
# processes or the kernel; not CAP_DAC_READ_SEARCH, which opens files by handle, past every mount.
ROOT_KEEPS = {
    0: "chown",
    1: "dac_override",
    3: "fowner",
    4: "fsetid",
    5: "kill",
    6: "setgid",
    7: "setuid",
    10: "net_bind_service",
}

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Stand up the walls that are still to be made, then run the command and end as it ended."""
    how, mounts, cwd, *command = sys.argv[1:]
    if how == "none":
        supervise.replace(command)
    supervise.block()
    try:
        if how == "namespaces":
            own_users = enter(json.loads(mounts), cwd)
            if child := os.fork():
                sys.exit(supervise.watch(child))
            as_process_1({} if own_users or os.getuid() else ROOT_KEEPS)
        elif os.getuid() == 0 and may(CAP_SETPCAP):
            drop(ROOT_KEEPS)
        no_new_powers()
    except OSError as error:
        print(f"sluicegate: no sandbox can be made here: {error}", file=sys.stderr, flush=True)
        os._exit(125)
    os._exit(supervise.watch(supervise.start(command)))


def enter(mounts: Sequence[tuple[str, str]], cwd: str) -> bool:
    """New namespaces, with the mounts in place; whether one of users is among them, as this user may not mount.

    Raises OSError where the system forbids it.
    """
    user, group = os.getuid(), os.getgid()
    own_users = not may(CAP_SYS_ADMIN)
    os.unshare(os.CLONE_NEWNS | os.CLONE_NEWPID | os.CLONE_NEWIPC | (os.CLONE_NEWUSER if own_users else 0))
    if own_users:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    outer = {path: os.open(path, os.O_PATH) for kind, path in mounts if kind in ("expose", "show")}
    for kind, path in mounts:
        place(kind, path, outer)
    devices()
    os.chdir(cwd)  # by name: the old working directory still leads past the mounts
    return own_users


def place(kind: str, path: str, outer: dict[str, int]) -> None:
    """One mount of `walls.Walls.mounts`."""
    match kind:
        case "all-read-only":
            set_attributes(path, MOUNT_ATTR_RDONLY)
        case "empty":
            mount("none", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700,size=64m")
        case "nothing":
            mount(os.devnull, path, None, MS_BIND)
            set_attributes(path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV)
        case "expose" | "show":
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            if os.path.isdir(f"/proc/self/fd/{outer[path]}"):
                os.makedirs(path, exist_ok=True)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            mount(f"/proc/self/fd/{outer[path]}", path, None, MS_BIND | MS_REC)
            if kind == "show":
                set_attributes(path, MOUNT_ATTR_RDONLY)
        case "bind" | "write" | "read-only":
            mount(path, path, None, MS_BIND | MS_REC)
            if kind == "read-only":
                set_attributes(path, MOUNT_ATTR_RDONLY)
            elif kind == "write":
                set_attributes(path, 0, MOUNT_ATTR_RDONLY)


def devices() -> None:
    """A /dev without disks and without the other terminals of this user."""
    held = {name: os.open(f"/dev/{name}", os.O_PATH) for name in DEVICES if os.path.exists(f"/dev/{name}")}
    gpus = [name for name in os.listdir("/dev") if name.startswith(("nvidia", "dri", "kfd"))]
    held |= {name: os.open(f"/dev/{name}", os.O_PATH) for name in gpus}
    mount("none", "/dev", "tmpfs", MS_NOSUID, "mode=0755,size=1m")
    for name, handle in held.items():
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            os.mkdir(f"/dev/{name}")
        else:
            os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_WRONLY, 0o600))
        mount(f"/proc/self/fd/{handle}", f"/dev/{name}", None, MS_BIND | MS_REC)
        os.close(handle)
    for name in ("pts", "shm"):
        os.mkdir(f"/dev/{name}")
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    mount("none", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")  # noqa: S108
    for name, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ):
        os.symlink(target, f"/dev/{name}")


def as_process_1(keep: Collection[int]) -> None:
    """Inside the process namespace: its own /proc, then no way back. Raises OSError where one would be left."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in PROC_WRITABLE:
        if os.path.exists(f"/proc/{name}"):
            mount(f"/proc/{name}", f"/proc/{name}", None, MS_BIND | MS_REC)
            set_attributes(f"/proc/{name}", MOUNT_ATTR_RDONLY)
    drop(keep)


def no_new_powers() -> None:
    """No set-user-id programs, and nothing typed at the terminal or the display in the operator's name."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    own_abstract_sockets()
    program = terminal_filter()
    buffer = ctypes.create_string_buffer(program)
    fprog = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(buffer)))
    prctl(PR_SET_SECCOMP, 2, ctypes.addressof(fprog))


def own_abstract_sockets() -> None:
    """No abstract sockets of programs outside, such as the X server's: no mount hides them. landlock(7), Linux 6.12."""
    attributes = struct.pack("3Q", 0, 0, LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)
    ruleset = libc.syscall(SYS_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return  # an older kernel: `README.md` says so
    check(libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock")
    os.close(ruleset)


def drop(keep: Collection[int]) -> None:
    """Give up every capability but these, for good."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for number in set(range(last + 1)) - set(keep):
        prctl(PR_CAPBSET_DROP, number)
    prctl(PR_CAP_AMBIENT, 4)  # PR_CAP_AMBIENT_CLEAR_ALL
    low = sum(1 << number for number in keep)  # all below 32
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    check(libc.capset(header, struct.pack("6I", low, low, 0, 0, 0, 0)), "capset")


def may(capability: int) -> bool:
    """Whether this process has a capability."""
    with open("/proc/self/status") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff"))
    return bool(effective >> capability & 1)


def terminal_filter() -> bytes:
    """A seccomp program: no TIOCSTI, no TIOCLINUX, by which one types at the operator's shell (CVE-2017-5226)."""
    load, equal, out = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET
    calls = [(0xC000003E, 16), (0xC000003E, 0x40000000 + 514), (0x40000003, 54), (0xC00000B7, 29), (0x40000028, 54)]
    lines = []
    for architecture, ioctl in calls:  # struct seccomp_data: nr at 0, arch at 4, args[1] at 24
        lines += [(load, 0, 0, 4), (equal, 0, 6, architecture), (load, 0, 0, 0), (equal, 0, 4, ioctl), (load, 0, 0, 24)]
        lines += [(equal, 1, 0, 0x5412), (equal, 0, 1, 0x541C), (out, 0, 0, 0x00050000 | 1)]  # EPERM
    lines.append((out, 0, 0, 0x7FFF0000))  # allow
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    found = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    check(libc.mount(found[0], found[1], found[2], ctypes.c_ulong(flags), found[3]), f"mount on {target}")


def set_attributes(path: str, add: int, remove: int = 0) -> None:
    """mount_setattr(2) on a mount and all below it; Linux 5.12."""
    attributes = struct.pack("4Q", add, remove, 0, 0)
    called = libc.syscall(SYS_MOUNT_SETATTR, -100, os.fsencode(path), AT_RECURSIVE, attributes, ctypes.c_size_t(32))
    check(called, f"attributes of {path}")


def prctl(option: int, *arguments: int) -> None:
    """prctl(2)."""
    check(libc.prctl(option, *(ctypes.c_ulong(n) for n in (*arguments, 0, 0, 0, 0)[:4])), f"prctl {option}")


def check(result: int, what: str) -> None:
    """Raise the system's error."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
