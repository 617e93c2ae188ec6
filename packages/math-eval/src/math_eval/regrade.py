"""Grading a file of completions, with resume: the `math-eval grade` command.

The output holds the input's rows plus `extracted`, `verdict` and `grade_ms`; they pass through in batches, however many
there are. Sampling is left to `runner`.

    grade_file("completions.jsonl", "graded.jsonl")   # Counter({'correct': 71, 'incorrect': 29})
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from . import manifest
from .grading import Grader
from .records import Row, dump_line, read_records, write_records

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
        DataError: a bad row, an unknown extraction, or an output made with other settings.
    """
    source, out = Path(source), Path(out)
    content, total = _digest(source)
    partial, path = out.with_name(f"{out.name}.partial"), out.with_name(f"{out.name}.manifest.json")
    with Grader(extraction=extraction) as grader:
        settings = {"input_sha256": content, "grader": grader.description}
        state = manifest.settle(path, settings, done=out, overwrite=overwrite)
        if state == "done":
            return Counter(row["verdict"] for row in read_records(out, "graded")), True
        if state == "new":
            partial.unlink(missing_ok=True)
            out.unlink(missing_ok=True)
            manifest.write(path, "math-eval grade", settings)
        done = _resume(partial)
        rows = islice(read_records(source, "grade_input"), done, None)
        with partial.open("ab") as file, tqdm(total=total, initial=done, unit=" rows") as progress:
            while batch := list(islice(rows, _BATCH)):
                file.write("".join(map(dump_line, _graded(batch, grader))).encode())
                file.flush()
                os.fsync(file.fileno())
                progress.update(len(batch))
    counts: Counter[str] = Counter()

    def counted() -> Iterator[Row]:
        for row in read_records(partial, "graded"):
            counts[row["verdict"]] += 1
            yield row

    write_records(out, counted())
    partial.unlink()
    return counts, False


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
