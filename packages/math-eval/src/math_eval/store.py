"""Samples on disk during a run: appended and synced to the disk batch by batch, readable after a kill at any moment.

A batch is generated again unless all its rows are stored, so a killed and resumed run ends like an undisturbed one. The
content of the rows is left to `generate`.

    with Store(folder, ["gsm8k"]) as store:
        store.append("gsm8k", rows)
        store.finish({"gsm8k": ordered_keys})
"""

import os
from pathlib import Path
from typing import IO

from ._shared.records import Row, dump_line, validate, write_records
from .partial_files import reopen
from .run_folders import check_task, samples_file


class Store:
    """The rows of a run folder by key, and the files that they are appended to.

    Args:
        folder: The run folder, which the caller has locked.
        tasks: Names of the tasks; each has its own file.

    Raises:
        DataError: A file is a link, or has a row that no run wrote.
    """

    def __init__(self, folder: Path, tasks: list[str]) -> None:
        self.rows: dict[str, Row] = {}
        self._folder = folder
        self._files: dict[str, IO[bytes]] = {task: self._open(task) for task in tasks}

    def _open(self, task: str) -> IO[bytes]:
        """Read the stored rows, cut off an incomplete one at the end, and open the file for appending."""

        def accept(row: Row, where: str) -> None:
            validate(validate(row, "samples", where), "run_sample", where)
            check_task(row, task, where)
            self.rows[row["key"]] = row

        return reopen(samples_file(self._folder, task, partial=True), accept)

    def append(self, task: str, rows: list[Row]) -> None:
        """Add the rows of one batch; they are on the disk when this returns."""
        file = self._files[task]
        file.write("".join(dump_line(row) for row in rows).encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
        self.rows.update((row["key"], row) for row in rows)

    def finish(self, order: dict[str, list[str]]) -> None:
        """Write each task's samples file under its final name.

        Args:
            order: The keys of each task's rows, in the order of the file.
        """
        for task, keys in order.items():
            write_records(samples_file(self._folder, task), (self.rows[key] for key in keys))

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()


def remove_partial(folder: Path, tasks: list[str]) -> None:
    """Remove the partial files of a run that is complete."""
    for task in tasks:
        samples_file(folder, task, partial=True).unlink(missing_ok=True)
