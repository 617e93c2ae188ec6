"""One writer to an output: another run is refused until the first one ends, however it ends.

Where the system or the file system knows no locks, nobody is kept out. What is written is left to the callers.

    with locked(Path("runs/first")):
        write("runs/first")
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError
from .system_errors import naming

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Flags of `os.open` with which a symbolic link is refused and a named pipe does not block."""


@contextmanager
def locked(out: Path, rank: int = 0) -> Iterator[None]:
    """Keep every other run from writing `out`.

    Args:
        out: The file or folder to be written.
        rank: Number of this process among those of its run; each has a lock of its own, `.OUT.<rank>.lock`.

    Raises:
        DataError: another process has the lock, or something else is in its place.
    """
    if fcntl is None:
        yield
        return
    lock = out.absolute().with_name(f".{out.absolute().name}.{rank}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = _open(lock)
        if try_lock(file) is False:
            os.close(file)
            raise DataError(f"{out}: another process is writing it; wait for it, or name another output")
        if is_at(lock, file):
            break
        os.close(file)
    try:
        with naming(out):
            yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(file)


def _open(lock: Path) -> int:
    """Open the lock file without following a link, and without changing what is there."""
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise DataError(f"{lock}: is a symbolic link, which a lock never is; remove it") from error
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        os.close(file)
        raise DataError(f"{lock}: is not an empty file, which a lock always is; move it away")
    return file


def try_lock(file: int) -> bool | None:
    """Lock an open file: False if another process has it, None where files cannot be locked."""
    try:
        if fcntl is None:
            return None
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems know no locks
        return None
    return True


def no_link(path: str, flags: int) -> int:
    """An opener for `open` that opens a file of its own only: a link, symbolic or hard, would be written through.

    Raises:
        DataError: a hard link or something else than a file is in its place.
    """
    file = os.open(path, flags | NO_LINK, 0o666)
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(file)
        raise DataError(f"{path}: is not a file of its own, and would be written to; move it away")
    return file


def is_at(path: Path, file: int) -> bool:
    """False if the file was removed by its owner after it was opened here: locked, it would keep nobody out."""
    try:
        return os.path.samestat(os.fstat(file), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
