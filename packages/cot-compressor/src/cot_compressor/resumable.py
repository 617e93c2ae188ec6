"""Commands that turn rows into rows: they survive SIGKILL, and do nothing if their output is complete.

Finished rows are appended, in input order, to files in `.OUT.partial`; a restarted command counts them and continues
with the next row. OUT appears when the last row is done, then `OUT.manifest.json` with the settings. Several processes
(`accelerate launch -m cot_compressor …`) take turns at batches of rows, each with a file of its own, and the first
process joins them. A file that another command wrote is never replaced (`_shared/runs.py`). What becomes of a row is
decided by the caller's function.

    job = Job("annotate", "traces.jsonl", "annotated.jsonl", "traces", settings)
    tally = None if job.is_finished() else job.run(annotate_rows, batch_rows=64)
"""

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import distributed
from ._shared import runs
from ._shared.progress import progress_bar
from ._shared.records import Row, Tally, dump_line, read_records, write_records
from .errors import DataError, RejectedRow

Outcome = Row | RejectedRow
RECORDED = ("cot-compressor", "tokenizers", "torch", "transformers")
"""Distributions whose versions are written into a manifest."""


@dataclass(frozen=True)
class Job:
    """One run of a command over a file.

    Args:
        command: Name of the sub-command, such as "annotate".
        source: Path of a `.jsonl` or `.jsonl.gz` file.
        out: Path of the new file; rejected rows go to `OUT.rejected.jsonl`.
        schema: Name of the schema that the rows of `source` must fit.
        settings: Everything that changes the output, as JSON values.
        overwrite: True to replace what this command made with other settings, or to make a finished output again.
    """

    command: str
    source: str | Path
    out: str | Path
    schema: str
    settings: dict[str, Any]
    overwrite: bool = False

    def is_finished(self) -> bool:
        """True if `out` is complete and was made with these settings.

        Raises:
            DataError: `out` is a folder, the input, made by another program, or made with other settings and may not
                be overwritten.
        """
        return self._state() == "finished"

    def _state(self) -> runs.State:
        out = Path(self.out)
        if out.is_dir():
            raise DataError(f"{out}: is a folder; name a file")
        runs.check_apart([out], [Path(self.source)])
        name = f"cot-compressor {self.command}"
        partial = runs.resolve_state(
            self._partial / runs.MANIFEST, name, self.settings, done=None, overwrite=self.overwrite
        )
        if partial == "partial":
            return partial
        manifest = runs.manifest_path(out)
        return runs.resolve_state(manifest, name, self.settings, done=out, overwrite=self.overwrite)

    @property
    def _partial(self) -> Path:
        return runs.partial_path(self.out)

    def run(self, convert: Callable[[list[Row]], Iterable[Outcome]], *, batch_rows: int) -> Tally | None:
        """Write the outcome of every row to `out`, in order; continue if an earlier run was killed.

        Args:
            convert: Function from rows to outcomes, one for each row, independent of how rows are grouped.
            batch_rows: Number of rows given to `convert` at a time, which bounds memory.

        Returns:
            The counts of rows in the first process, None in the others.

        Raises:
            DataError: a row breaks the schema, or another run is writing `out`; nothing appears under `out` then.
        """
        for _ in read_records(self.source, self.schema):
            pass  # A row that breaks the schema is reported before any work is done.
        rank, count = distributed.rank(), distributed.count()
        with distributed.only_writer(Path(self.out)):
            if rank == 0 and self._state() == "new":
                shutil.rmtree(self._partial, ignore_errors=True)
                self._write_manifest(self._partial / runs.MANIFEST)
            distributed.wait()
            done = _Done(self._partial, rank, count)
            done.open()
            own = (
                row for at, row in enumerate(read_records(self.source, self.schema)) if at // batch_rows % count == rank
            )
            rows = itertools.islice(own, done.count, None)
            with progress_bar(
                desc=self.command, unit="row", initial=done.count, leave=False, disable=rank > 0
            ) as progress:
                while batch := list(itertools.islice(rows, batch_rows)):
                    done.append(convert(batch), progress)
            distributed.wait()
            tally = self._join(batch_rows, count) if rank == 0 else None
            distributed.wait()
        return tally

    def _write_manifest(self, path: Path, **more: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        runs.write_manifest(path, f"cot-compressor {self.command}", self.settings, RECORDED, **more)

    def _join(self, batch_rows: int, count: int) -> Tally:
        """Write `out` from the finished rows of all processes."""
        tally = Tally()
        finished = [_Done(self._partial, rank, count).entries() for rank in range(count)]

        def written() -> Iterator[Row]:
            for at, row in enumerate(read_records(self.source, self.schema)):
                entry = next(finished[at // batch_rows % count])
                tally.read += 1
                if "row" in entry:
                    tally.written += 1
                    yield entry["row"]
                else:
                    tally.reject(row, entry["reject"], entry["detail"])

        manifest = runs.manifest_path(self.out)
        manifest.unlink(missing_ok=True)
        write_records(self.out, written())
        tally.write_rejected(self.out)
        counts = {"read": tally.read, "written": tally.written, "rejected": tally.reasons}
        self._write_manifest(manifest, rows=counts)
        shutil.rmtree(self._partial)
        return tally


class _Done:
    """The finished rows of one process: one line for each input row."""

    def __init__(self, folder: Path, rank: int, processes: int) -> None:
        self.path = folder / f"rows-{rank}of{processes}.jsonl"
        self.count = 0

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each complete line, and the offset behind it; an incomplete last line is left out."""
        offset = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield offset, json.loads(line)

    def open(self) -> None:
        """Count the finished rows, and remove an incomplete last line."""
        self.path.touch()
        ends = [end for end, _ in self._lines()]
        self.count = len(ends)
        os.truncate(self.path, ends[-1] if ends else 0)

    def append(self, outcomes: Iterable[Outcome], progress: Any) -> None:
        """Add outcomes; each is on disk before the next one is computed."""
        with self.path.open("a", buffering=1, encoding="utf-8", newline="\n") as file:
            for outcome in outcomes:
                if isinstance(outcome, RejectedRow):
                    file.write(dump_line({"reject": outcome.reason, "detail": outcome.detail}))
                else:
                    file.write(dump_line({"row": outcome}))
                progress.update()

    def entries(self) -> Iterator[dict[str, Any]]:
        return (entry for _, entry in self._lines())
