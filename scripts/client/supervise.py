"""Watching one child: signals passed on, its end as an exit code. Used outside of the walls, and inside as process 1.

Standard library only: inside, it runs in a Python without site-packages.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

PASSED = {
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
}
WATCHED = PASSED | {signal.SIGCHLD}
BY_THE_KERNEL = 0x80  # si_code SI_KERNEL: typed at the terminal, whose whole foreground group, our child too, has it


def block() -> None:
    """Take signals by `watch` only. Children inherit this: they must call `unblock` before they run anything."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)


def unblock() -> None:
    """Give a child the signals as a shell would: none blocked, none ignored by Python's doing."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def start(command: Sequence[str]) -> int:
    """Fork a child that becomes the command; its process id."""
    child = os.fork()
    if child == 0:
        replace(command)
    return child


def replace(command: Sequence[str]) -> NoReturn:
    """Become the command; exit codes 127 and 126 as in a shell, where it can't be run."""
    unblock()
    try:
        os.execvp(command[0], list(command))  # noqa: S606
    except FileNotFoundError:
        os.write(2, f"sluicegate: {command[0]}: no such command\n".encode())
        os._exit(127)
    except OSError as error:
        os.write(2, f"sluicegate: {command[0]}: {error.strerror}\n".encode())
        os._exit(126)


def watch(child: int, every: float | None = None, meanwhile: Callable[[], None] = lambda: None, target: int = 0) -> int:
    """Pass signals on until the child ends; its exit code, 128 + n for signal n. Needs `block` before the fork.

    `meanwhile` is called about every `every` seconds; signals go to `target` where that is not the child itself.
    """
    while True:
        number, typed = _next_signal(every)
        if number is None:
            meanwhile()
        elif number != signal.SIGCHLD and not typed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(target or child, number)
        if (code := _reap(child)) is not None:
            return code


def _next_signal(every: float | None) -> tuple[int | None, bool]:
    """The next signal, None after `every` seconds; and whether it was typed at the terminal."""
    if hasattr(signal, "sigtimedwait"):
        info = signal.sigtimedwait(WATCHED, every) if every else signal.sigwaitinfo(WATCHED)
        return (info.si_signo, info.si_code == BY_THE_KERNEL) if info else (None, False)
    # macOS has neither: look often, and take it that Ctrl-C comes from a terminal where there is one.
    until = time.monotonic() + (every or 3600)
    while not (pending := signal.sigpending() & WATCHED):
        if time.monotonic() > until:
            return None, False
        time.sleep(0.02)
    number = signal.sigwait(pending)
    return number, number in (signal.SIGINT, signal.SIGQUIT) and os.isatty(0)


def _reap(child: int) -> int | None:
    """Collect every child that has ended (process 1 inherits orphans); the code of ours, if it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
            code = 128 - ended if ended < 0 else ended
