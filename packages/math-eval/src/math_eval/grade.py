"""`math-eval grade`: grade what was generated before, a file of completions or a finished run, with resume.

A file's rows come back with `extracted`, `verdict` and `grade_ms`; a run comes back as another run folder with new
verdicts. Rows pass through in batches, so a long file needs no more memory than a short one. Sampling is left to `run`.

    grade_file("completions.jsonl", "graded.jsonl")   # (Counter({'correct': 71, 'incorrect': 29}), False)
    grade_run("runs/base", "runs/base-reference", extraction="reference")
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ._shared import runs
from ._shared.addresses import is_remote
from ._shared.lock import locked
from ._shared.progress import progress_bar
from ._shared.records import (
    Row,
    Tally,
    check_format,
    dump_line,
    path_beside,
    read_records,
    validate,
    write_json,
    write_records,
)
from ._shared.remote_output import RemoteOutput
from ._shared.row_layout import Layout
from ._shared.row_source import Misfit, RowSource
from ._shared.thinking import THINK, ThinkingFormat
from ._shared.thinking_formats import given_format
from .errors import DataError, MathEvalError
from .fingerprint import files_sha256
from .grading import Grader
from .grading.explain import explain
from .input_files import check_json_lines
from .partial_files import reopen
from .ratio import Ratio
from .run_folders import (
    RESULTS,
    is_run_manifest,
    read_manifest,
    read_results,
    read_samples,
    run_format,
    sample_files,
    samples_file,
    thinking_parts,
)
from .summary import results_content
from .tags import as_graded, name_format, other_thinking

COMMAND = "math-eval grade"
SCHEMA = "grade_input"
_BATCH = 256
_REJECTED = "rejected.jsonl"


def grade_file(
    source: str | Path,
    out: str | Path,
    *,
    extraction: str = "standard",
    policy: str = "default",
    thinking_format: str | None = None,
    layout: Layout | None = None,
    overwrite: bool = False,
    notify: Callable[[str], object] | None = None,
) -> tuple[Counter[str], bool]:
    """Grade rows `{id, gold, completion}`; a field `prompt` that ends in an opening tag begins the thinking.

    Args:
        source: Rows in JSON Lines or Parquet: a file, a folder of shards, or an address on an object store.
        out: File or address for the graded rows, which keep their order; in Parquet if it ends in `.parquet`.
        extraction: Rule that finds the answer, `standard` or `reference`; see `Grader`.
        policy: What reasonable people judge differently, `strict`, `default` or `lenient`; see `Grader`.
        thinking_format: Name of the format of the thinking, or a file of it; by default `<think>`, and the grader
            knows the tags of every named format without this.
        layout: Columns of a corpus of other names; rows that do not fit are then written to `OUT.rejected.jsonl`.
        overwrite: Whether to replace an output made from another input or with another extraction, policy or format.
        notify: Function that gets a line about the work before it, the thinking format.

    Returns:
        The number of rows with each verdict, and of rejected ones, and whether the output was already complete.

    Raises:
        DataError: A bad row; an unknown extraction, policy or format; or an output that is the input, was made with
            other settings, or is being written by another process.
        MathEvalError: The number of graded rows differs from that of the input.
    """
    thinking = given_format(thinking_format) if thinking_format else THINK
    name_format(notify, thinking)
    with Grader(extraction=extraction, policy=policy) as grader:
        done = FileGrading(grader, thinking, overwrite).write(RowSource(source, SCHEMA, layout), out)
    rejected = {"rejected": done.rejected.total()} if done.rejected else {}
    return Counter(done.verdicts | rejected), done.was_there


class GradedFile(NamedTuple):
    """An output that is complete."""

    verdicts: Counter[str]
    """Number of rows with each verdict."""
    rejected: Counter[str]
    """Number of rejected rows by reason."""
    was_there: bool
    """Whether it was complete before."""


@dataclass(frozen=True)
class FileGrading:
    """How files of completions are graded.

    Args:
        grader: Grader of the answers.
        thinking: Format of the thinking.
        overwrite: See `grade_file`.
    """

    grader: Grader
    thinking: ThinkingFormat
    overwrite: bool

    def write(self, rows: RowSource, out: str | Path) -> GradedFile:
        """Grade the rows into `out`; errors are those of `grade_file`."""
        remote = RemoteOutput(str(out), COMMAND) if is_remote(out) else None
        place = remote.local if remote else Path(out)
        manifest = runs.manifest_path(place)
        if place.is_dir():
            raise DataError(f"{place}: is a folder; name a file for the graded rows")
        check_format(place)
        beside = [runs.partial_path(place), manifest, path_beside(place, _REJECTED)]
        runs.check_apart([out, place, *beside], [rows.address])
        check_json_lines(Path(rows.address))
        content, total, misfits = _survey(rows)
        with locked(place):
            settings = {"input_sha256": content, "grader": self.grader.description, **other_thinking(self.thinking)}
            settings |= {"layout": rows.layout.settings()} if rows.layout else {}
            rejected = Counter(misfits.reasons)
            if remote and remote.is_finished(settings, overwrite=self.overwrite):
                return GradedFile(_checked_verdicts(out, total), rejected, was_there=True)
            state = runs.resolve_state(manifest, COMMAND, settings, done=place, overwrite=self.overwrite)
            if state == "new":
                facts = {"math_eval": version("cot-math-eval"), "thinking_format": asdict(self.thinking)}
                _start(place, manifest, settings, facts)
            if state == "finished":
                runs.partial_path(place).unlink(missing_ok=True)
                verdicts = _checked_verdicts(place, total)
            else:
                _grade_rest(rows, place, total, self.grader, self.thinking)
                verdicts = _publish(place, total, misfits)
            if remote:
                remote.upload((_REJECTED,))
            return GradedFile(verdicts, rejected, was_there=state == "finished")


def _start(out: Path, manifest: Path, settings: Row, facts: Row) -> None:
    """Remove what is replaced, and write the manifest of what is made."""
    runs.partial_path(out).unlink(missing_ok=True)
    out.unlink(missing_ok=True)
    runs.write_manifest(manifest, COMMAND, settings, **facts)


def _checked_verdicts(out: str | Path, total: int) -> Counter[str]:
    """The verdicts of a complete output.

    Raises:
        DataError: It does not have the rows that were written.
    """
    verdicts = Counter(row["verdict"] for row in _graded_rows(out))
    if (count := verdicts.total()) != total:
        fault = f"{count} rows of {total}, so it was changed since it was written"
        raise DataError(f"{out}: {fault}; remove it, and all rows are graded again")
    return verdicts


def _graded_rows(out: str | Path) -> Iterator[Row]:
    """The rows of an output, which may have none."""
    return _fitting(RowSource(out, "graded", is_part=True))


def _fitting(rows: RowSource) -> Iterator[Row]:
    return (row for row in rows.rows() if not isinstance(row, Misfit))


def _grade_rest(rows: RowSource, out: Path, total: int, grader: Grader, thinking: ThinkingFormat) -> None:
    """Grade the rows that the unfinished output does not have yet, and write it under its final name."""
    partial = runs.partial_path(out)
    done = 0

    def accept(row: Row, where: str) -> None:
        nonlocal done
        validate(row, "graded", where)
        done += 1

    with reopen(partial, accept) as file, progress_bar(total=total, initial=done, unit=" rows") as progress:
        for batch in _batches(islice(_fitting(rows), done, None)):
            file.write("".join(map(dump_line, _graded(batch, grader, thinking))).encode())
            file.flush()
            os.fsync(file.fileno())
            progress.update(len(batch))


def _publish(out: Path, total: int, misfits: Tally) -> Counter[str]:
    """Write the rejected rows, and the graded rows under their final name if all are there; returns the verdicts."""
    partial, verdicts = runs.partial_path(out), Counter[str]()
    misfits.write_rejected(out)

    def counted() -> Iterator[Row]:
        for row in _graded_rows(partial):
            verdicts[row["verdict"]] += 1
            yield row
        if (count := verdicts.total()) != total:
            raise MathEvalError(f"{partial}: {count} rows of {total}; remove that file, and all rows are graded again")

    write_records(out, counted())
    partial.unlink()
    return verdicts


def is_run(source: str | Path) -> bool:
    """True for a run folder, False for a file of rows or a folder of shards."""
    folder = Path(source)
    manifest = folder / runs.MANIFEST
    if is_remote(source):
        return False
    if manifest.is_file():
        return is_run_manifest(runs.read_manifest(manifest))
    return any(folder.glob("samples_*.jsonl"))


def grade_run(
    run: str | Path,
    out: str | Path,
    *,
    extraction: str = "standard",
    policy: str = "default",
    thinking_format: str | None = None,
    overwrite: bool = False,
    notify: Callable[[str], object] | None = None,
) -> tuple[Counter[str], bool]:
    """Grade the samples of a finished run again, into a new run folder.

    Args:
        run: A finished run folder, which is not changed.
        out: The new run folder. After an interruption, tasks that are complete there are not graded again.
        extraction: Rule that finds the answer, `standard` or `reference`; see `Grader`.
        policy: What reasonable people judge differently, `strict`, `default` or `lenient`; see `Grader`.
        thinking_format: Name of the format of the thinking, or a file of it; by default that of the run. The numbers of
            thinking tokens stay those of the run.
        overwrite: Whether to replace a folder made from another run or with another extraction, policy or format.
        notify: Function that gets a line about the work before it, the thinking format.

    Returns:
        The number of samples with each verdict, and whether the output was already complete.

    Raises:
        DataError: The run is not finished; an unknown extraction, policy or format; or an output that is the run, was
            made with other settings, or is being written by another process.
    """
    source, out = Path(run), Path(out)
    runs.check_apart([out], [source])
    before = read_manifest(source)
    # Every prompt of a run shows whether it opens the block.
    thinking = replace(given_format(thinking_format), opened=False) if thinking_format else run_format(before)
    as_read = {**before, "thinking_format": asdict(thinking)}
    name_format(notify, thinking)
    samples = files_sha256(sample_files(source, before["settings"]))
    manifest, done = out / runs.MANIFEST, out / RESULTS
    with Grader(extraction=extraction, policy=policy) as grader, locked(out):
        own = {name: value for name, value in before["settings"].items() if name != "thinking_format"}
        settings = {**own, **other_thinking(thinking), "samples_sha256": samples, "grader": grader.description}
        state = runs.resolve_state(manifest, COMMAND, settings, done=done, overwrite=overwrite)
        if state == "finished":
            return _verdicts(read_results(out)), True
        if state == "new":
            for stale in (done, *out.glob("samples_*.jsonl")):
                stale.unlink(missing_ok=True)
            _write_manifest(manifest, settings, as_read, source)
        tasks, ratios = list(settings["tasks"]), settings["ratios"]
        rows = [row for task in tasks for row in _graded_task(source, out, task, ratios, grader, as_read)]
        results = results_content(rows, tasks, ratios, settings["max_tokens"])
        write_json(done, results)
    return _verdicts(results), False


def _write_manifest(manifest: Path, settings: Row, before: Row, source: Path) -> None:
    """Write the manifest of a graded run, which keeps what the run's own manifest records beside the settings."""
    own = ("command", "settings", "versions", "math_eval")
    kept = {name: value for name, value in before.items() if name not in own}
    facts = {"math_eval": version("cot-math-eval"), **kept, "graded_from": str(source)}
    runs.write_manifest(manifest, COMMAND, settings, **facts)


def _graded_task(
    source: Path, out: Path, task: str, ratios: list[Ratio], grader: Grader, manifest: Row
) -> Iterator[Row]:
    """The rows of one task with new verdicts, from the output's file if it is there."""
    path = samples_file(out, task)
    if not path.exists():
        rows = progress_bar(read_samples(source, task, ratios), desc=task, unit=" samples")
        write_records(path, (row for batch in _batches(rows) for row in _graded_samples(batch, grader, manifest)))
    return read_samples(out, task, ratios)


def _graded_samples(rows: list[Row], grader: Grader, manifest: Row) -> list[Row]:
    """Rows with new verdicts; what the server refused to complete stays an error."""
    verdicts = grader.grade_many(_item(row, row["answer"], run_format(manifest)) for row in rows)
    graded: list[Row] = []
    for row, verdict in zip(rows, verdicts, strict=True):
        thinking = thinking_parts(row, manifest).text
        found = {
            "extracted": verdict.extracted,
            "verdict": "error" if "refused" in row else verdict.verdict,
            "thinking_chars": len(thinking),
            "first_correct_chars": grader.first_correct(thinking, row["answer"]),
        }
        graded.append({**row, **found})
    return graded


def _verdicts(results: Row) -> Counter[str]:
    counts: Counter[str] = Counter()
    for condition in results["conditions"]:
        counts.update(condition["verdicts"])
    return +counts


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _survey(rows: RowSource) -> tuple[str, int, Tally]:
    """The hash of all rows of the input, the number of those that fit, and the others; errors: `RowSource.checked`."""
    content, total, misfits = hashlib.sha256(), 0, Tally()
    for row in rows.checked():
        if isinstance(row, Misfit):
            misfits.reject(row.row, row.reason, row.detail)
            content.update(dump_line({"rejected": row.row}).encode())
        else:
            total += 1
            content.update(dump_line(row).encode())
    return content.hexdigest(), total, misfits


def _graded(rows: list[Row], grader: Grader, thinking: ThinkingFormat) -> list[Row]:
    verdicts = grader.grade_many(_item(row, row["gold"], thinking) for row in rows)
    return [
        {**row, "extracted": verdict.extracted, "verdict": verdict.verdict, "grade_ms": verdict.grade_ms}
        for row, verdict in zip(rows, verdicts, strict=True)
    ]


def _item(row: Row, gold: str, thinking: ThinkingFormat) -> tuple[str, str, str]:
    completion, prompt = as_graded(row["completion"], _prompt(row), thinking)
    return completion, gold, prompt


def _prompt(row: Row) -> str:
    """The rendered prompt of a row, if it has one; other kinds of prompts, such as messages, end in no tag."""
    prompt = row.get("prompt", "")
    return prompt if isinstance(prompt, str) else ""


def explain_rows(out: str | Path, *, policy: str = "default") -> Iterator[tuple[str, str]]:
    """Each graded row's name and verdict, and how the grader reads and compares both answers.

    Args:
        out: Graded file or run folder.
        policy: Policy that it was graded with.
    """
    if is_run(out):
        folder = Path(out)
        manifest = read_manifest(folder)["settings"]
        rows = (row for task in manifest["tasks"] for row in read_samples(folder, task, manifest["ratios"]))
    else:
        rows = read_records(out, "graded")
    for row in rows:
        gold = row["gold"] if "gold" in row else row["answer"]
        yield f"{row['id']}: {row['verdict']}", explain(row["extracted"], gold, policy)
