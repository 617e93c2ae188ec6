"""Grading what was generated before, a file of completions or a finished run, with resume: `math-eval grade`.

A file's rows come back with `extracted`, `verdict` and `grade_ms`; a run comes back as another run folder with new
verdicts. Rows pass through in batches, however many there are. Sampling is left to `runner`.

    grade_file("completions.jsonl", "graded.jsonl")   # Counter({'correct': 71, 'incorrect': 29})
    grade_run("runs/base", "runs/base-reference", extraction="reference")
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from . import manifest
from ._shared.lock import locked
from ._shared.records import Row, dump_line, parse_json, read_records, write_json, write_records
from .conditions import dump_results, read_manifest, sample_files
from .errors import MathEvalError
from .grading import Grader

_BATCH = 256


def grade_file(
    source: str | Path, out: str | Path, *, extraction: str = "standard", overwrite: bool = False
) -> tuple[Counter[str], bool]:
    """Grade rows `{id, gold, completion}`.

    Args:
        source: JSON Lines, `.gz` or not.
        out: the graded rows, in the same order.
        extraction: what counts as the answer, `standard` or `reference`; see `Grader`.
        overwrite: replace an output made from another input or with another extraction.

    Returns:
        how many rows got which verdict, and whether the output was there already.

    Raises:
        DataError: a bad row, an unknown extraction, or an output that is the input, was made with other settings, or is
            being written by another process.
        MathEvalError: not as many graded rows as the input has.
    """
    source, out = Path(source), Path(out)
    partial, path = out.with_name(f"{out.name}.partial"), out.with_name(f"{out.name}.manifest.json")
    manifest.check_apart([out, partial, path], [source])
    content, total = _digest(source)
    with Grader(extraction=extraction) as grader:
        settings = {"input_sha256": content, "grader": grader.description}
        if manifest.settle(path, settings, done=out, overwrite=overwrite) == "done":
            return Counter(row["verdict"] for row in read_records(out, "graded")), True
        with locked(out):
            if manifest.settle(path, settings, done=out, overwrite=overwrite) == "new":
                partial.unlink(missing_ok=True)
                out.unlink(missing_ok=True)
                manifest.write(path, "math-eval grade", settings)
            done = _resume(partial)
            rows = islice(read_records(source, "grade_input"), done, None)
            with partial.open("ab") as file, tqdm(total=total, initial=done, unit=" rows") as progress:
                for batch in _batches(rows):
                    file.write("".join(map(dump_line, _graded(batch, grader))).encode())
                    file.flush()
                    os.fsync(file.fileno())
                    progress.update(len(batch))
            return _publish(partial, out, total), False


def _publish(partial: Path, out: Path, total: int) -> Counter[str]:
    """Move the graded rows under their final name if all are there; how many got which verdict."""
    counts: Counter[str] = Counter()

    def counted() -> Iterator[Row]:
        for row in read_records(partial, "graded"):
            counts[row["verdict"]] += 1
            yield row
        if counts.total() != total:
            raise MathEvalError(f"{partial}: {counts.total()} rows of {total}; --overwrite grades them all again")

    write_records(out, counted())
    partial.unlink()
    return counts


def grade_run(
    run: str | Path, out: str | Path, *, extraction: str = "standard", overwrite: bool = False
) -> tuple[Counter[str], bool]:
    """Grade the samples of a finished run again, into a run folder of its own.

    Args:
        run: a finished run folder, left as it is.
        out: the new run folder; tasks that an interrupted command finished are not graded again.
        extraction: what counts as the answer, `standard` or `reference`; see `Grader`.
        overwrite: replace a folder made from another run or with another extraction.

    Returns:
        how many samples got which verdict, and whether the output was there already.

    Raises:
        DataError: not a finished run, an unknown extraction, or an output that is the run, was made with other
            settings, or is being written by another process.
    """
    source, out = Path(run), Path(out)
    manifest.check_apart([out], [source])
    before = read_manifest(source)
    samples = manifest.files_sha256(sample_files(source, before["settings"]))
    path, done = out / "manifest.json", out / "results.json"
    with Grader(extraction=extraction) as grader:
        settings = {**before["settings"], "samples_sha256": samples, "grader": grader.description}
        if manifest.settle(path, settings, done=done, overwrite=overwrite) == "done":
            return _verdicts(parse_json(done.read_text("utf-8"), str(done))), True
        with locked(out):
            if manifest.settle(path, settings, done=done, overwrite=overwrite) == "new":
                for stale in (done, *out.glob("samples_*.jsonl")):
                    stale.unlink(missing_ok=True)
                kept = {
                    name: value for name, value in before.items() if name not in ("command", "math_eval", "settings")
                }
                manifest.write(path, "math-eval grade", settings, **kept, graded_from=str(source))
            rows = [row for task in settings["tasks"] for row in _graded_task(source, out, task, grader)]
            results = dump_results(rows, list(settings["tasks"]), settings["ratios"])
            write_json(done, results)
    return _verdicts(results), False


def _graded_task(source: Path, out: Path, task: str, grader: Grader) -> Iterator[Row]:
    """The rows of one task with new verdicts, from the output's file if it is there."""
    name = f"samples_{task}.jsonl"
    if not (out / name).exists():
        rows = tqdm(read_records(source / name, "samples"), desc=task, unit=" samples")
        write_records(out / name, (row for batch in _batches(rows) for row in _graded_samples(batch, grader)))
    return read_records(out / name, "samples")


def _graded_samples(rows: list[Row], grader: Grader) -> list[Row]:
    verdicts = grader.grade_many([(row["completion"], row["answer"], row["prompt"]) for row in rows])
    return [
        {**row, "extracted": verdict.extracted, "verdict": verdict.verdict}
        for row, verdict in zip(rows, verdicts, strict=True)
    ]


def _verdicts(results: Row) -> Counter[str]:
    counts: Counter[str] = Counter()
    for condition in results["conditions"]:
        counts.update(condition["verdicts"])
    return +counts


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _digest(source: Path) -> tuple[str, int]:
    """What tells inputs apart, and how many rows there are; a bad row is found before any is graded."""
    content, total = hashlib.sha256(), 0
    for row in read_records(source, "grade_input"):
        content.update(dump_line(row).encode())
        total += 1
    return content.hexdigest(), total


def _graded(rows: list[Row], grader: Grader) -> list[Row]:
    verdicts = grader.grade_many([(row["completion"], row["gold"]) for row in rows])
    return [
        {**row, "extracted": verdict.extracted, "verdict": verdict.verdict, "grade_ms": verdict.grade_ms}
        for row, verdict in zip(rows, verdicts, strict=True)
    ]


def _resume(partial: Path) -> int:
    """How many whole rows an interrupted output has; a torn end is cut off."""
    if not partial.exists():
        return 0
    rows = good = 0
    with partial.open("rb") as lines:
        for line in lines:
            try:
                json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            rows += 1
            good += len(line)
    os.truncate(partial, good)
    return rows
