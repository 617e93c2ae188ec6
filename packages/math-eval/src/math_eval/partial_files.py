r"""Files that a killed command left unfinished: checked, cut after the last complete row, opened for appending.

What is not a row of the command was not written by it: such a file is refused and stays as it is. What a row must
contain is left to the callers.

    with reopen(Path(".graded.jsonl.partial"), lambda row, where: validate(row, "graded", where)) as file:
        file.write(b'{"id": "a", …}\n')
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ._shared.lock import NO_LINK
from ._shared.records import Row
from ._shared.strict_json import parse_json
from .errors import DataError


def reopen(path: Path, accept: Callable[[Row, str], object]) -> IO[bytes]:
    """Open an unfinished file, or a new one, for appending.

    Args:
        path: Path of the file.
        accept: Function that is called with each stored row and its place; it raises a DataError for a foreign row.

    Raises:
        DataError: The file is a link or no regular file, or has a row that the command did not write.
    """
    file = os.fdopen(_open(path), "r+b")
    try:
        end = _complete(file, path, accept)
        file.truncate(end)
        file.seek(end)
    except BaseException:
        file.close()
        raise
    return file


def _open(path: Path) -> int:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | NO_LINK, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise DataError(f"{path}: is a symbolic link, which an unfinished output never is; remove it") from error
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(file)
        raise DataError(f"{path}: is not a file of its own, which an unfinished output always is; move it away")
    return file


def _complete(file: IO[bytes], path: Path, accept: Callable[[Row, str], object]) -> int:
    """Number of bytes of the complete rows."""
    end = 0
    for number, line in enumerate(file, 1):
        where = f"{path}:{number}"
        try:
            if not line.endswith(b"\n"):
                if line.lstrip(b"\0")[:1] not in (b"", b"{"):
                    raise DataError(f"{where}: not the beginning of a row")
                break
            accept(_row(line, where), where)
        except DataError as error:
            raise DataError(f"{error}; move this file away, and its rows are made again") from error
        end += len(line)
    return end


def _row(line: bytes, where: str) -> Row:
    try:
        row = parse_json(line.decode("utf-8"), where)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: unreadable ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: not a JSON object")
    return row
