"""Files that only grow: appended to, made durable, checked to be still there, and healed after a crash."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

TAIL = 1 << 16
ROOM = 1 << 20
sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Vanished(OSError):
    """The file that is written to is no longer the one at its path: what was written is lost."""


def sync_directory(directory: Path) -> None:
    """Make a directory's new and removed names durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class AppendFile:
    """One file, mode 0600, of whole lines. `size` is what stands in it for certain."""

    def __init__(self, path: Path) -> None:
        """Open or make it. Raises OSError."""
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            status = os.fstat(self._descriptor)
            self._identity = status.st_dev, status.st_ino
            self.size = status.st_size
            sync_directory(path.parent)
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, lines: list[bytes]) -> None:
        """Write whole lines; they are durable on return. After an OSError none of them is in the file."""
        self.write(b"".join(line + b"\n" for line in lines))

    def write(self, data: bytes, durable: bool = True) -> None:
        """Write all or nothing. Raises OSError; `Vanished` only where it is to be durable."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            if durable:
                sync(self._descriptor)
                self.check()
        except OSError:
            # After a failed sync the kernel may have dropped what it held: only the durable part can be trusted.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    def check(self) -> None:
        """See that the path still leads to this file. Raises `Vanished`."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise Vanished(errno.ENOENT, f"{self.path} has vanished ({error.strerror})") from None
        if (status.st_dev, status.st_ino) != self._identity:
            raise Vanished(errno.ENOENT, f"{self.path} has been replaced")

    def hold(self) -> bool:
        """Lock the file for as long as it is open; False: another process has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def trim(self, size: int) -> None:
        """Cut the file. Raises OSError."""
        os.ftruncate(self._descriptor, size)
        self.size = size

    def close(self) -> None:
        """Close it; what was appended is durable already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Reserve:
    """Disk space kept back for the outcomes of calls in flight, given up piece by piece when the disk is full."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    def fill(self) -> None:
        """Take the whole reserve. Raises OSError where there is not so much space."""
        if not self.size:
            return
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            held = os.fstat(descriptor).st_size
            try:
                os.posix_fallocate(descriptor, 0, self.size)
            except OSError:
                os.ftruncate(descriptor, held)  # what was taken before the disk was full again
                raise
        finally:
            os.close(descriptor)

    def give_up(self, size: int) -> bool:
        """Free at least `size` bytes; False when nothing is left."""
        try:
            left = self.path.stat().st_size
            os.truncate(self.path, max(0, left - size))
        except OSError:
            return False
        return left > 0

    def remove(self) -> None:
        """Free all of it."""
        with contextlib.suppress(OSError):
            self.path.unlink()


def reserve_size(directory: Path, wanted: int) -> int:
    """The reserve on a small file system is a sixteenth of it."""
    status = os.statvfs(directory)
    return min(wanted, status.f_blocks * status.f_frsize // 16)


def need_room(directory: Path) -> None:
    """See that there is room to go on for a while. Raises OSError (ENOSPC)."""
    status = os.statvfs(directory)
    if status.f_bavail * status.f_frsize < min(ROOM, status.f_blocks * status.f_frsize // 64):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True, slots=True)
class Tear:
    """What was cut off a file: never acknowledged to anybody, so nothing that was promised is lost."""

    file: str
    size: int
    sha256: str


def heal(path: Path) -> Tear | None:
    """Cut an incomplete end off a file of JSON lines, as a crash or a power cut leaves it. Raises OSError."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        keep = size
        while keep and not _ends_well(file.fileno(), keep):
            keep = _last_newline(file.fileno(), keep - 1) + 1
        if keep == size:
            return None
        file.seek(keep)
        digest = hashlib.sha256()
        while chunk := file.read(TAIL):
            digest.update(chunk)
        file.truncate(keep)
        os.fsync(file.fileno())
    return Tear(path.name, size - keep, digest.hexdigest())


def _ends_well(descriptor: int, end: int) -> bool:
    """Whether the last line before `end` is whole."""
    if os.pread(descriptor, 1, end - 1) != b"\n":
        return False
    start = _last_newline(descriptor, end - 1) + 1
    try:
        return isinstance(json.loads(os.pread(descriptor, end - start, start)), dict)
    except ValueError:
        return False


def _last_newline(descriptor: int, end: int) -> int:
    """Where the last newline before `end` is, or -1."""
    while end > 0:
        start = max(0, end - TAIL)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found
        end = start
    return -1
