"""The rows of a file or folder by number, for work that reads every row more than once.

Only the offset and the place of each row are kept in memory: sixteen bytes. What a row may contain is left to
`_shared.records`, the formats of files to `_shared.row_files`.

    rows = RowFile("compressed.parquet", "compressed")
    len(rows), rows[7]["id"], rows.where(7)              # 9, 'p7', 'compressed.parquet:8'
"""

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from ratio_sft._shared.addresses import is_remote
from ratio_sft._shared.records import Row, dump_line, read_part, read_placed
from ratio_sft._shared.row_files import shards


class RowFile:
    """Validated rows at an address. If a file is not plain JSON Lines, all rows are copied to a temporary file.

    Args:
        path: A file, a folder of shards, or an address on an object store.
        schema: Name of the contract that each row must fit.
        is_part: Whether this is one shard of several, which may be empty.
        known: Whether the rows of this shard were validated before; see `_shared.records.validate_in`.

    Raises:
        DataError: the file is missing, empty or corrupted, or a row does not fit the contract; raised on creation.
    """

    def __init__(self, path: str | Path, schema: str, *, is_part: bool = False, known: bool = False) -> None:
        self.path = path
        self._starts, self._lines = array("Q"), array("Q")
        self._files: list[str] = []
        self._firsts: list[int] = []
        self._last: tuple[int, Row] | None = None
        self._open: tuple[str, IO[bytes]] | None = None
        self._copied: IO[bytes] | None = None
        placed = read_part(path, schema, known=known) if is_part else read_placed(path, schema)
        files = [str(shard.file) for shard in shards(path)]
        if all(map(_is_plain, files)):
            for where, _ in placed:
                self._place(where)
            for file in files:
                self._starts.extend(_line_starts(file))
        else:
            self._copied = self._copy(placed)

    def _place(self, where: str) -> None:
        """Remember the place of the next row."""
        file, _, line = where.rpartition(":")
        if self._files[-1:] != [file]:
            self._files.append(file)
            self._firsts.append(len(self._lines))
        self._lines.append(int(line))

    def _copy(self, placed: Iterator[tuple[str, Row]]) -> IO[bytes]:
        file: IO[bytes] = TemporaryFile()  # noqa: SIM115 (it lives as long as the rows)
        for where, row in placed:
            self._place(where)
            self._starts.append(file.tell())
            file.write(dump_line(row).encode())
        return file

    def _file_of(self, number: int) -> IO[bytes]:
        """The file that contains a row; one at a time is open."""
        if self._copied is not None:
            return self._copied
        name = self._files[bisect_right(self._firsts, number) - 1]
        if self._open is None or self._open[0] != name:
            if self._open is not None:
                self._open[1].close()
            self._open = name, Path(name).open("rb")  # noqa: SIM115 (it lives as long as the rows)
        return self._open[1]

    @property
    def name(self) -> str:
        """The last part of the address."""
        return Path(self.path).name

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Row:
        """The row; the one that was read last is kept in memory."""
        if self._last is None or self._last[0] != number:
            file = self._file_of(number)
            file.seek(self._starts[number])
            self._last = number, json.loads(file.readline())
        return self._last[1]

    def where(self, number: int) -> str:
        """The place of a row, `FILE:LINE` or `FILE:ROW`, for messages."""
        return f"{self._files[bisect_right(self._firsts, number) - 1]}:{self._lines[number]}"

    def __iter__(self) -> Iterator[Row]:
        return (self[number] for number in range(len(self)))


def _is_plain(file: str) -> bool:
    """True for a file here whose lines are the rows."""
    return not is_remote(file) and not file.endswith((".gz", ".zst", ".parquet"))


def _line_starts(file: str) -> Iterator[int]:
    """Where each line that is not blank begins."""
    start = 0
    with Path(file).open("rb") as lines:
        for line in lines:
            if line.strip():
                yield start
            start += len(line)
