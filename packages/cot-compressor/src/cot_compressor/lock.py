"""One writer to an output: another run is refused until the first one ends, however it ends.

Where the system or the file system knows no locks, nobody is kept out. What is written is left to the callers.
The four packages carry this module letter for letter, since none imports another.

    with locked(Path("runs/.first.lock"), Path("runs/first")):
        write("runs/first")
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None


@contextmanager
def locked(lock: Path, out: Path) -> Iterator[None]:
    """Keep every other process that asks for `lock` from writing `out`.

    Raises:
        DataError: another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w", encoding="utf-8") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(f"{out}: another process is writing it; wait for it, or name another output") from None
            except OSError:  # some network file systems know no locks
                pass
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
