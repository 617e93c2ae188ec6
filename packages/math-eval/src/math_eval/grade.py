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
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from ._shared import runs
from ._shared.lock import locked
from ._shared.progress import progress_bar
from ._shared.records import Row, dump_line, read_records, validate, write_json, write_records
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
_BATCH = 256


def grade_file(
    source: str | Path,
    out: str | Path,
    *,
    extraction: str = "standard",
    policy: str = "default",
    thinking_format: str | None = None,
    overwrite: bool = False,
    notify: Callable[[str], object] | None = None,
) -> tuple[Counter[str], bool]:
    """Grade rows `{id, gold, completion}`; a field `prompt` that ends in an opening tag begins the thinking.

    Args:
        source: JSON Lines, compressed (`.gz`) or not.
        out: File for the graded rows, which keep their order.
        extraction: Rule that finds the answer, `standard` or `reference`; see `Grader`.
        policy: What reasonable people judge differently, `strict`, `default` or `lenient`; see `Grader`.
        thinking_format: Name of the format of the thinking, or a file of it; by default `<think>`, and the grader
            knows the tags of every named format without this.
        overwrite: Whether to replace an output made from another input or with another extraction, policy or format.
        notify: Function that gets a line about the work before it, the thinking format.

    Returns:
        The number of rows with each verdict, and whether the output was already complete.

    Raises:
        DataError: A bad row; an unknown extraction, policy or format; or an output that is the input, was made with
            other settings, or is being written by another process.
        MathEvalError: The number of graded rows differs from that of the input.
    """
    source, out = Path(source), Path(out)
    partial, manifest = runs.partial_path(out), runs.manifest_path(out)
    if out.is_dir():
        raise DataError(f"{out}: is a folder; name a file for the graded rows")
    runs.check_apart([out, partial, manifest], [source])
    thinking = given_format(thinking_format) if thinking_format else THINK
    check_json_lines(source)
    name_format(notify, thinking)
    content, total = _digest(source)
    with Grader(extraction=extraction, policy=policy) as grader, locked(out):
        settings = {"input_sha256": content, "grader": grader.description, **other_thinking(thinking)}
        state = runs.resolve_state(manifest, COMMAND, settings, done=out, overwrite=overwrite)
        if state == "finished":
            partial.unlink(missing_ok=True)
            return Counter(row["verdict"] for row in read_records(out, "graded")), True
        if state == "new":
            partial.unlink(missing_ok=True)
            out.unlink(missing_ok=True)
            facts = {"math_eval": version("cot-math-eval"), "thinking_format": asdict(thinking)}
            runs.write_manifest(manifest, COMMAND, settings, **facts)
        _grade_rest(source, partial, total, grader, thinking)
        return _publish(partial, out, total), False


def _grade_rest(source: Path, partial: Path, total: int, grader: Grader, thinking: ThinkingFormat) -> None:
    """Grade the rows that the unfinished output does not have yet."""
    done = 0

    def accept(row: Row, where: str) -> None:
        nonlocal done
        validate(row, "graded", where)
        done += 1

    with reopen(partial, accept) as file, progress_bar(total=total, initial=done, unit=" rows") as progress:
        for batch in _batches(islice(read_records(source, "grade_input"), done, None)):
            file.write("".join(map(dump_line, _graded(batch, grader, thinking))).encode())
            file.flush()
            os.fsync(file.fileno())
            progress.update(len(batch))


def _publish(partial: Path, out: Path, total: int) -> Counter[str]:
    """Move the graded rows under their final name if all are there; returns the number of rows with each verdict."""
    counts: Counter[str] = Counter()

    def counted() -> Iterator[Row]:
        for row in read_records(partial, "graded"):
            counts[row["verdict"]] += 1
            yield row
        if counts.total() != total:
            raise MathEvalError(
                f"{partial}: {counts.total()} rows of {total}; remove that file, and all rows are graded again"
            )

    write_records(out, counted())
    partial.unlink()
    return counts


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


def _digest(source: Path) -> tuple[str, int]:
    """The hash and the number of the input's rows; a bad row is found before any is graded."""
    content, total = hashlib.sha256(), 0
    for row in read_records(source, "grade_input"):
        content.update(dump_line(row).encode())
        total += 1
    return content.hexdigest(), total


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
    out = Path(out)
    if out.is_dir():
        manifest = read_manifest(out)["settings"]
        rows = (row for task in manifest["tasks"] for row in read_samples(out, task, manifest["ratios"]))
    else:
        rows = read_records(out, "graded")
    for row in rows:
        gold = row["gold"] if "gold" in row else row["answer"]
        yield f"{row['id']}: {row['verdict']}", explain(row["extracted"], gold, policy)
