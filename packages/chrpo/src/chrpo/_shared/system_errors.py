# copied from packages/_shared/system_errors.py; edit it there
"""What the system refuses (no room, no permission, no more files) or ends, as one line: where, what, and what to do.

An error of a library without a path gets that of the output. How a command ends is left to `cli_group`.

    with naming(Path("checkpoints/sft")):
        model.save_pretrained("checkpoints/.sft.partial/final")
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AGAIN = "and repeat the command"
_ROOM = f"make room there, {_AGAIN}"
_PERMISSION = f"change who may use it, or name another path, {_AGAIN}"
_OPEN_FILES = f"raise the limit of open files (ulimit -n), {_AGAIN}"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: f"raise the limit of a file's size (ulimit -f), {_AGAIN}",
    errno.EIO: f"check the disk and its free space, {_AGAIN}",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: f"name a path that can be written, {_AGAIN}",
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
    errno.EAGAIN: f"raise the limit of processes (ulimit -u), {_AGAIN}",
    errno.ENOMEM: f"free memory, {_AGAIN}",
}
_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_OF_RUST = re.compile(r"\(os error (\d+)\)")
_OF_TORCH = re.compile("PytorchStreamWriter|unexpected pos")
"""Words of `torch.save` when its file cannot be written, whatever the reason."""
_OF_MEMORY = re.compile("out of memory|can't allocate memory")
_OF_GLOO = "gloo/transport"
"""Words of torch when a process that shares the work is gone."""


def explained(error: BaseException) -> str | None:
    """`PATH: reason; what to do`, or None for an error that is not of the system.

    Where several processes work together, the end of another one is of the system, too.

    >>> explained(OSError(errno.ENOSPC, "No space left on device", "runs/a"))
    'runs/a: No space left on device; make room there, and repeat the command'
    """
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _OF_MEMORY.search(str(error))):
        return f"not enough memory; free some, or use a smaller batch, {_AGAIN}"
    if isinstance(error, RuntimeError) and _OF_GLOO in str(error):
        return "another process of this run has ended, and its own message says why; repeat the command to continue"
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOENT and error.filename is None:
        return _missing(error)
    if error.errno not in _REMEDIES:
        return None
    # Every file is named when it is opened, or by `naming`.
    where = "standard output: " if error.errno in _WRITING else ""
    # Of the two names of a move, that of a working file is hidden, and says nothing once it is removed.
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    names.sort(key=lambda name: Path(name).name.startswith("."))
    where = f"{names[0]}: " if names else where
    return f"{where}{os.strerror(error.errno)}; {_REMEDIES[error.errno]}"


def _missing(error: OSError) -> str:
    """What is missing when the system names no file: a folder for temporary files, or the current folder."""
    if "temporary" in str(error.strerror):
        return f"{error.strerror}; set TMPDIR to a folder that can be written, {_AGAIN}"
    return f"the current folder does not exist any more; change to another one, {_AGAIN}"


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Name `path` in an error of writing that names no file: Python's own, and those of safetensors and torch.

    Raises:
        OSError: the block could not write, with `path` as its file name.
    """
    try:
        yield
    except Exception as error:
        number = _number(error)
        if number not in _WRITING or getattr(error, "filename", None) is not None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _number(error: Exception) -> int | None:
    """The system's number of an error, which libraries in Rust write into their message."""
    if isinstance(error, OSError):
        return error.errno
    if isinstance(error, RuntimeError) and _OF_TORCH.search(str(error)):
        return errno.EIO
    found = _OF_RUST.search(str(error))
    return int(found[1]) if found else None
