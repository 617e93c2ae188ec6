# copied from packages/_shared/file_record.py; edit it there
"""A record of files that work goes on from, so that a lost or damaged one is noticed before it is read.

The record proves that the files are whole, not who wrote them. Where it is kept is left to the callers.

    recorded = record_files(folder, ["state.safetensors"])      # written into a file that appears last
    check_files(folder, recorded, "remove this folder")
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from .runs import digest

_HASHED_BYTES = 2**20
"""Largest file whose content is compared when work goes on; of a larger one only the size is."""


def record_files(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """The size of each file, and the digest of a small one, when all of them have reached the disk.

    Args:
        folder: Folder of the files.
        names: Paths below the folder.
    """
    recorded = {name: _facts(folder / name) for name in names}
    for name in recorded:
        reach_disk(folder / name)
    return recorded


def check_files(folder: Path, recorded: Mapping[str, Any], remedy: str) -> None:
    """Compare files with their record.

    Args:
        folder: Folder of the files.
        recorded: What `record_files` returned.
        remedy: What to do, for the error.

    Raises:
        DataError: a file is missing or differs.
    """
    for name, facts in recorded.items():
        if not (folder / name).is_file():
            raise DataError(f"{folder}: {name} is missing; {remedy}")
        if _facts(folder / name) != facts:
            raise DataError(f"{folder}: {name} is not as it was saved; {remedy}")


def _facts(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    return {"bytes": size, "sha256": digest(path)} if size <= _HASHED_BYTES else {"bytes": size}


def reach_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk, where the file system can tell."""
    if os.name != "posix":
        return
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError:  # some file systems sync no folders
        pass
    finally:
        os.close(file)
