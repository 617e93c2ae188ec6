"""Commands that turn rows into rows: they survive SIGKILL, and do nothing if their output is complete.

Finished rows are appended, in input order, to files in `.OUT.partial`; a restarted command counts them and continues
with the next row. OUT appears when the last row is done, with `OUT.manifest.json`, which contains the settings. Several
processes (`accelerate launch -m cot_compressor …`) take turns at batches of rows, each with a file of its own, and the
first process joins them. A file that another command wrote is never replaced (`_shared/output_file.py`). What becomes
of a row is decided by the caller's function.

    job = Job("annotate", RowSource("traces.jsonl", "traces"), "annotated.jsonl", settings)
    tally = None if job.is_finished() else job.run(annotate_rows, batch_rows=64)
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from . import distributed
from ._shared.addresses import is_remote
from ._shared.lock import locked, no_link
from ._shared.output_file import OutputFile
from ._shared.progress import progress_bar
from ._shared.ray_shards import Counts, Report, ShardJob
from ._shared.records import Row, Tally, dump_line, write_records
from ._shared.remote_output import RemoteOutput
from ._shared.row_layout import Layout
from ._shared.row_source import Misfit, RowSource
from ._shared.runs import State, check_apart, manifest_path, read_manifest
from .errors import DataError, RejectedRow

Outcome = Row | RejectedRow
RECORDED = ("cot-compressor", "tokenizers", "torch", "transformers")
"""Distributions whose versions are written into a manifest."""
_REJECTED = "rejected.jsonl"


@dataclass(frozen=True)
class Job:
    """One run of a command over a file.

    Args:
        command: Name of the sub-command, such as "annotate".
        source: The rows.
        out: Path of the new file, whose name gives its format, or address on an object store; rejected rows go to
            `OUT.rejected.jsonl`.
        settings: Everything that changes the output, but for the settings of the source, as JSON values.
        overwrite: True to replace what this command made with other settings, or to make a finished output again.
    """

    command: str
    source: RowSource
    out: str | Path
    settings: dict[str, Any]
    overwrite: bool = False

    def is_finished(self) -> bool:
        """True if `out` is complete and was made with these settings.

        Raises:
            DataError: `out` is a folder, the input or a shard of it, made by another program, changed since it was
                written, made with other settings and may not be overwritten, or being written by another run.
        """
        if self._remote and self._remote.is_finished(self._output.settings, overwrite=self.overwrite):
            return True
        with locked(self._output.out, distributed.rank()):
            finished = self._state() == "finished"
            distributed.wait()  # One process that ends would take the others' connections along.
            if finished:
                self._upload()
            return finished

    def _state(self) -> State:
        self._output.check_apart([self.source.address])
        check_apart([self.out], [self.source.address])
        return self._output.state(overwrite=self.overwrite)

    def _upload(self) -> None:
        """Upload a complete output that belongs on an object store."""
        if self._remote and distributed.rank() == 0:
            self._remote.upload((_REJECTED,))

    @cached_property
    def _remote(self) -> RemoteOutput | None:
        return RemoteOutput(str(self.out), f"cot-compressor {self.command}") if is_remote(self.out) else None

    @cached_property
    def _output(self) -> OutputFile:
        out = self._remote.local if self._remote else Path(self.out)
        settings = self.source.settings | self.settings
        return OutputFile(out, (_REJECTED,), f"cot-compressor {self.command}", settings)

    def counts(self) -> Counts:
        """Numbers of rows of a finished output: `read`, `written`, and `rejected` by reason.

        Raises:
            DataError: its manifest cannot be read, or has none.
        """
        manifest = self._remote.manifest() if self._remote else read_manifest(manifest_path(self._output.out))
        found = manifest.get("rows")
        if not isinstance(found, dict) or not {"read", "written", "rejected"} <= found.keys():
            raise DataError(f"{self.out}: its manifest has no numbers of rows; make it again with --overwrite")
        return found

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
        self.source.check()
        rank, count = distributed.rank(), distributed.count()
        with distributed.only_writer(self._output.out):
            if rank == 0 and self._state() != "partial":
                self._output.start()
            distributed.wait()
            done = _Done(self._output.partial, rank, count)
            done.open()
            own = (row for at, row in enumerate(self.source.rows()) if at // batch_rows % count == rank)
            rows = itertools.islice(own, done.count, None)
            with progress_bar(
                desc=self.command, unit="row", initial=done.count, leave=False, disable=rank > 0
            ) as progress:
                while batch := list(itertools.islice(rows, batch_rows)):
                    done.append(_outcomes(batch, convert), progress)
            distributed.wait()
            tally = self._join(batch_rows, count) if rank == 0 else None
            self._upload()
            distributed.wait()
        return tally

    def _join(self, batch_rows: int, count: int) -> Tally:
        """Write `out` from the finished rows of all processes."""
        tally = Tally()
        output = self._output
        finished = [_Done(output.partial, rank, count).entries() for rank in range(count)]

        def written() -> Iterator[Row]:
            for at, row in enumerate(self.source.rows()):
                entry = next(finished[at // batch_rows % count])
                raw = row.row if isinstance(row, Misfit) else row
                tally.read += 1
                if "row" in entry:
                    if isinstance(row, Misfit) or entry["row"].get("id") != row["id"]:
                        raise DataError(
                            f"{output.partial}: a finished row of id {entry['row'].get('id')!r} is in the place of "
                            f"{raw.get('id')!r}; remove this folder, and all are made again"
                        )
                    tally.written += 1
                    yield entry["row"]
                else:
                    tally.reject(raw, entry["reject"], entry["detail"])

        write_records(output.growing, written())
        tally.write_rejected(output.growing)
        counts = {"read": tally.read, "written": tally.written, "rejected": tally.reasons}
        output.publish(RECORDED, rows=counts)
        return tally


@dataclass(frozen=True)
class Conversion:
    """How a command turns a file of rows into another one.

    Args:
        command: Name of the sub-command.
        schema: Name of the schema of its rows.
        settings: Everything that changes the output, as JSON values.
        convert: Function of `Job.run`.
        batch_rows: Number of rows given to it at a time.
        layout: Columns of a corpus.
        overwrite: See `Job`.
    """

    command: str
    schema: str
    settings: dict[str, Any]
    convert: Callable[[list[Row]], Iterable[Outcome]]
    batch_rows: int
    layout: Layout | None
    overwrite: bool

    def write(self, source: str | Path, out: str | Path) -> Tally | None:
        """Make a file; returns the counts of rows, or None if it was complete already."""
        job = self._job(RowSource(source, self.schema, self.layout), out)
        return None if job.is_finished() else job.run(self.convert, batch_rows=self.batch_rows)

    def __call__(self, shard: str, out: str) -> Counts:
        """Make the file of one shard of several, unless it is complete already; returns the counts of its rows."""
        job = self._job(RowSource(shard, self.schema, self.layout, is_part=True), out)
        if not (was_there := job.is_finished()):
            job.run(self.convert, batch_rows=self.batch_rows)
        return {**job.counts(), "was_there": was_there}

    def _job(self, source: RowSource, out: str | Path) -> Job:
        return Job(self.command, source, out, self.settings, self.overwrite)


def convert_shards(
    make: Callable[[], Conversion],
    source: str | Path,
    out: str | Path,
    *,
    workers: int | None,
    gpu: bool,
    notify: Callable[[str], object],
) -> Report:
    """Convert each shard of a corpus on a Ray cluster; arguments and errors are those of `ray_shards.ShardJob`."""
    job = shard_job(make(), source, out, make)  # errors of `make` come before a worker starts
    return job.run(workers=workers, gpu=gpu, notify=notify)


def shard_job(conversion: Conversion, source: str | Path, out: str | Path, make: Callable[[], Conversion]) -> ShardJob:
    """The job that converts each shard, after a check of the columns.

    Args:
        conversion: What `make` returns; the job does not keep it, because it may have a model, of which each worker
            loads its own.
        source: Corpus, as `RowSource` takes it.
        out: Folder for the outputs.
        make: Function that a worker calls once.

    Raises:
        DataError: a column is missing, or shards do not fit together.
    """
    RowSource(source, conversion.schema, conversion.layout).check_columns()
    return ShardJob(f"cot-compressor {conversion.command}", source, out, make, conversion.overwrite)


def _outcomes(batch: list[Row | Misfit], convert: Callable[[list[Row]], Iterable[Outcome]]) -> Iterator[Outcome]:
    """The outcome of each row; one that does not fit is rejected."""
    converted = iter(convert([row for row in batch if not isinstance(row, Misfit)]))
    for row in batch:
        yield RejectedRow(row.reason, row.detail) if isinstance(row, Misfit) else next(converted)


class _Done:
    """The finished rows of one process: one line for each input row."""

    def __init__(self, folder: Path, rank: int, processes: int) -> None:
        self.path = folder / f"rows-{rank}of{processes}.jsonl"
        self.count = 0

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each complete line, and the offset behind it; an incomplete last line is left out."""
        offset = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield offset, self._entry(line, number)

    def _entry(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry = json.loads(line)
            if isinstance(entry["row"], dict) if "row" in entry else isinstance(entry["reject"] + entry["detail"], str):
                return entry
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        raise DataError(f"{self.path}:{number}: not a finished row; remove {self.path.parent}, and all are made again")

    def open(self) -> None:
        """Count the finished rows, and remove an incomplete last line."""
        with open(self.path, "a+b", opener=no_link) as file:
            ends = [end for end, _ in self._lines()]
            self.count = len(ends)
            file.truncate(ends[-1] if ends else 0)

    def append(self, outcomes: Iterable[Outcome], progress: Any) -> None:
        """Add outcomes; each is on disk before the next one is computed."""
        with open(self.path, "a", buffering=1, encoding="utf-8", newline="\n", opener=no_link) as file:
            for outcome in outcomes:
                if isinstance(outcome, RejectedRow):
                    file.write(dump_line({"reject": outcome.reason, "detail": outcome.detail}))
                else:
                    file.write(dump_line({"row": outcome}))
                progress.update()

    def entries(self) -> Iterator[dict[str, Any]]:
        return (entry for _, entry in self._lines())
