"""Files that only their owner may read: key rings, issuer keys, tokens. Written whole or not at all."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 1_000_000


def read(path: Path) -> bytes:
    """The content of a file that nobody else can read.

    Raises FileNotFoundError where there is none, and ValueError with the cure where others could read or replace it.
    """
    descriptor = _checked(path, os.O_RDONLY)
    try:
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES} bytes")
    return content


def make(path: Path) -> None:
    """See that a private file is there for a library that opens it by name; its directory must be private, too.

    Raises ValueError as `read` does, and OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(_checked(path, os.O_RDWR | os.O_CREAT))


def _checked(path: Path, flags: int) -> int:
    """A descriptor of a file that is surely ours alone."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path} is no regular file")
        if found.st_uid not in (os.geteuid(), 0):
            raise ValueError(f"{path} belongs to another user (uid {found.st_uid}): its content can't be trusted")
        if found.st_mode & 0o077:
            raise ValueError(f"{path} can be read by others: chmod 600 {path}, and replace it if they may have read it")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_or_create(path: Path, content: bytes) -> bytes:
    """The content of a private file, made with `content` if there is none. Of several processes one makes it."""
    try:
        return read(path)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _written(path, content) as temporary, contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # unlike rename, never over a file that another process made meanwhile
        return read(path)


def replace(path: Path, content: bytes) -> None:
    """Write a private file (0600) in one step: a reader sees the old content or the new."""
    with _written(path, content) as temporary:
        os.replace(temporary, path)


@contextlib.contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """A temporary file beside `path` with the content on disk; gone afterwards unless it was renamed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield temporary
        _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
