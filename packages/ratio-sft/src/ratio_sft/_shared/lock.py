# copied from packages/_shared/lock.py; edit it there
"""One writer to an output: another run is refused until the first one ends, however it ends.

Where the system or the file system knows no locks, nobody is kept out. What is written is left to the callers.

    with locked(Path("runs/first")):
        write("runs/first")
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import DataError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None


@contextmanager
def locked(out: Path, rank: int = 0) -> Iterator[None]:
    """Keep every other run from writing `out`.

    Args:
        out: The file or folder to be written.
        rank: Number of this process among those of its run; each has a lock of its own, `.OUT.<rank>.lock`.

    Raises:
        DataError: another process has the lock.
    """
    out = out.absolute()
    lock = out.with_name(f".{out.name}.{rank}.lock")
    if fcntl is None:
        yield
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = lock.open("w", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise DataError(f"{out}: another process is writing it; wait for it, or name another output") from None
        except OSError:  # some network file systems know no locks
            pass
        if _lies_at(lock, file):
            break
        file.close()
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        file.close()


def _lies_at(path: Path, file: IO[str]) -> bool:
    """False if the file was removed by its holder after it was opened here: locked, it would keep nobody out."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
