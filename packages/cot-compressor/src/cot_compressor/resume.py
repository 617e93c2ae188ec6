"""Commands that map rows to rows, survive SIGKILL, and know when they have nothing to do.

Finished rows go, in input order, to `.OUT.partial` beside OUT; a restarted command reads them back and goes on behind
them. OUT appears when the last row is done, then `OUT.manifest.json` with the settings. Several processes
(`accelerate launch -m cot_compressor …`) take turns at batches of rows, each with a partial file of its own, and the
first one joins them. Nothing that the same command did not write is ever replaced. What a row becomes is the caller's
business.

    map_rows(path_in, path_out, "traces", "annotate", settings, annotate_rows, batch_rows=64)
"""

import glob
import hashlib
import itertools
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from . import __version__, processes
from ._shared.lock import locked
from ._shared.records import Row, Tally, dump_line, parse_json, read_records, write_json, write_records
from .errors import DataError, RejectedRow
from .hub import SETTINGS_FILE, find_folder

Outcome = Row | RejectedRow


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, for telling inputs apart."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(path: str | Path) -> str:
    """SHA-256 over the files of a folder (names and contents), for telling models apart."""
    total = hashlib.sha256()
    for file in sorted(Path(path).iterdir()):
        if file.is_file():
            total.update(f"{file.name}\0{file_digest(file)}\n".encode())
    return total.hexdigest()


def scorer_stamp(scorer: str | Path) -> str:
    """What tells scorers apart: the version of `rules`, or the digest of a model's files."""
    return f"rules {__version__}" if str(scorer) == "rules" else folder_digest(find_folder(scorer))


def manifest_of(out: str | Path) -> Path:
    """Where the settings of a finished output lie."""
    out = Path(out)
    return out / "manifest.json" if out.is_dir() else out.with_name(out.name + ".manifest.json")


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Keep other runs from writing `out`, however many processes they have.

    Raises:
        DataError: another run is writing it.
    """
    with locked(out, processes.rank()):
        processes.wait()  # If one process is refused, none has written yet.
        yield


def is_finished(
    out: str | Path, command: str, settings: dict[str, Any], *, sources: Iterable[str | Path], overwrite: bool
) -> bool:
    """True if `out` was already made with these settings.

    Raises:
        DataError: `out` holds one of `sources` or what `command` did not write, is a folder where a file is meant, or
            was made with other settings and may not be overwritten.
    """
    out = Path(out)
    if out.is_dir() and command != "train":
        raise DataError(f"{out}: is a folder; name a file")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    for source in sources:
        if Path(source).resolve().is_relative_to(out.resolve()):
            raise DataError(f"{out}: would replace {source}, which is read; name another output")
    if _Partial(out, settings, processes.rank()).is_ours():
        return False
    manifest = manifest_of(out)
    found = parse_json(manifest.read_text("utf-8"), str(manifest)) if manifest.is_file() else None
    if (
        not isinstance(found, dict)
        or found.get("command") != command
        or (command == "train" and not (out / SETTINGS_FILE).is_file())
    ):
        raise DataError(
            f"{out}: is there, but not from `cot-compressor {command}`; name another output, or move it away"
        )
    if overwrite:
        return False
    differing = differing_keys(found.get("settings", {}), settings)
    if differing:
        raise DataError(f"{out}: was made with other settings ({', '.join(differing)}); pass --overwrite to replace it")
    return True


def differing_keys(found: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Names of the settings that differ, for the error that says so."""
    wanted = json.loads(json.dumps(settings))
    return sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))


def write_manifest(path: str | Path, command: str, settings: dict[str, Any], **results: Any) -> None:
    """Settings, versions and results of a finished command."""
    versions = {name: version(name) for name in ("cot-compressor", "torch", "transformers")}
    write_json(
        path,
        {
            "command": command,
            "settings": settings,
            "versions": {**versions, "python": platform.python_version()},
            **results,
        },
    )


class _Partial:
    """The finished rows of one process: a header with the settings, then one line per input row."""

    def __init__(self, out: Path, settings: dict[str, Any], rank: int) -> None:
        share = f"-{rank}of{processes.count()}" if processes.count() > 1 else ""
        self.path = out.with_name(f".{out.name}.partial{share}")
        self.settings = json.loads(json.dumps(settings))
        self.done = 0

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Whole lines with the offset behind each; a torn last line is left out."""
        offset = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield offset, json.loads(line)

    def is_ours(self) -> bool:
        """True if a run with these settings was interrupted."""
        return self.path.is_file() and next((entry for _, entry in self._lines()), {}).get("settings") == self.settings

    def open(self) -> None:
        """Find how many rows are done, and cut off a torn last line; start over if the settings differ."""
        end = 0
        if self.is_ours():
            for number, (offset, _) in enumerate(self._lines()):
                end, self.done = offset, number
        if not end:
            self.path.write_text(dump_line({"settings": self.settings}), "utf-8")
        else:
            os.truncate(self.path, end)

    def append(self, outcomes: Iterable[Outcome], progress: tqdm) -> None:
        """Add outcomes, each on disk before the next is asked for."""
        with self.path.open("a", buffering=1, encoding="utf-8", newline="\n") as file:
            for outcome in outcomes:
                if isinstance(outcome, RejectedRow):
                    file.write(dump_line({"reject": outcome.reason, "detail": outcome.detail}))
                else:
                    file.write(dump_line({"row": outcome}))
                progress.update()

    def entries(self) -> Iterator[dict[str, Any]]:
        return (entry for _, entry in itertools.islice(self._lines(), 1, None))


def map_rows(
    source: str | Path,
    out: str | Path,
    schema: str,
    command: str,
    settings: dict[str, Any],
    convert: Callable[[list[Row]], Iterable[Outcome]],
    *,
    batch_rows: int,
) -> Tally | None:
    """Write `convert` of every row of `source` to `out`, in order, resuming what an earlier run left.

    Args:
        source: A `.jsonl` or `.jsonl.gz` file.
        out: Where the rows go; rejected ones go to `<out>.rejected.jsonl`.
        schema: What `source` must hold.
        command: Its name, for the progress bar and the manifest.
        settings: Whatever changes the output; a partial file with others is discarded.
        convert: Rows to outcomes, one for one and independent of how rows are grouped.
        batch_rows: Rows given to `convert` at a time; memory is bounded by this.

    Returns:
        The counts in the first process, None in the others.

    Raises:
        DataError: a row breaks the schema or holds a number that is not finite, or another run is writing `out`;
            nothing appears under `out` then.
    """
    out = Path(out)
    for row in read_records(source, schema):
        dump_line(row)  # A row that breaks the schema or cannot be written is reported before any work is done.
    rank, count = processes.rank(), processes.count()
    partial = _Partial(out, settings, rank)
    with only_writer(out):
        partial.open()
        share = (row for at, row in enumerate(read_records(source, schema)) if at // batch_rows % count == rank)
        rows = itertools.islice(share, partial.done, None)
        with tqdm(desc=command, unit="row", initial=partial.done, leave=False, disable=rank > 0) as progress:
            while batch := list(itertools.islice(rows, batch_rows)):
                partial.append(convert(batch), progress)
        processes.wait()
        tally = _finish(source, out, schema, command, settings, batch_rows) if rank == 0 else None
        processes.wait()
    return tally


def _finish(
    source: str | Path, out: Path, schema: str, command: str, settings: dict[str, Any], batch_rows: int
) -> Tally:
    tally = Tally()
    finished = [_Partial(out, settings, rank).entries() for rank in range(processes.count())]

    def written() -> Iterator[Row]:
        for at, row in enumerate(read_records(source, schema)):
            entry = next(finished[at // batch_rows % len(finished)])
            tally.read += 1
            if "row" in entry:
                tally.written += 1
                yield entry["row"]
            else:
                tally.reject(row, entry["reject"], entry["detail"])

    manifest_of(out).unlink(missing_ok=True)
    write_records(out, written())
    tally.write_rejected(out)
    counts = {"read": tally.read, "written": tally.written, "rejected": tally.reasons}
    write_manifest(manifest_of(out), command, settings, rows=counts)
    # Those of earlier runs with another number of processes, too.
    out.with_name(f".{out.name}.partial").unlink(missing_ok=True)
    for partial in out.parent.glob(f".{glob.escape(out.name)}.partial-*of*"):
        partial.unlink()
    return tally
