"""The rows of a file by number, for work that reads every row more than once.

Only the offset and the line of each row are kept in memory: sixteen bytes. What a row may contain is left to
`_shared.records`.

    rows = RowFile("compressed.jsonl.gz", "compressed")
    len(rows), rows[7]["id"]
"""

import gzip
import json
import shutil
from array import array
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from ratio_sft._shared.records import Row, read_records


class RowFile:
    """Validated rows of a `.jsonl` or `.jsonl.gz` file; a compressed file is unpacked to a temporary one.

    Args:
        path: Path of the file.
        schema: Name of the contract that each row must fit.

    Raises:
        DataError: the file is missing, empty or corrupted, or a row does not fit the contract; raised on creation.
    """

    def __init__(self, path: str | Path, schema: str) -> None:
        for _ in read_records(path, schema):
            pass
        self.path = Path(path)
        self._file = _open(self.path)
        self._starts, self._lines = array("Q"), array("Q")
        self._last: tuple[int, Row] | None = None
        start = 0
        for number, line in enumerate(self._file, 1):
            if line.strip():
                self._starts.append(start)
                self._lines.append(number)
            start += len(line)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Row:
        """The row; the one that was read last is kept in memory."""
        if self._last is None or self._last[0] != number:
            self._file.seek(self._starts[number])
            self._last = number, json.loads(self._file.readline())
        return self._last[1]

    def where(self, number: int) -> str:
        """The place of a row, `FILE:LINE`, for messages."""
        return f"{self.path}:{self._lines[number]}"

    def __iter__(self) -> Iterator[Row]:
        return (self[number] for number in range(len(self)))


def _open(path: Path) -> IO[bytes]:
    if not path.name.endswith(".gz"):
        return path.open("rb")
    unpacked: IO[bytes] = TemporaryFile()  # noqa: SIM115 (it lives as long as the rows)
    with gzip.open(path) as packed:
        shutil.copyfileobj(packed, unpacked)
    unpacked.seek(0)
    return unpacked
