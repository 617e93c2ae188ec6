"""Grading a file of completions, with resume: the `math-eval grade` command.

The output holds the input's rows plus `extracted`, `verdict` and `grade_ms`. Sampling is left to `runner`.

    grade_file("completions.jsonl", "graded.jsonl")   # Counter({'correct': 71, 'incorrect': 29})
"""

import hashlib
import json
import os
from collections import Counter
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
    rows = list(read_records(source, "grade_input"))
    partial, path = out.with_name(f"{out.name}.partial"), out.with_name(f"{out.name}.manifest.json")
    with Grader(extraction=extraction) as grader:
        content = hashlib.sha256("".join(map(dump_line, rows)).encode()).hexdigest()
        settings = {"input_sha256": content, "grader": grader.description}
        state = manifest.settle(path, settings, done=out, overwrite=overwrite)
        if state == "done":
            return Counter(row["verdict"] for row in read_records(out, "graded")), True
        if state == "new":
            partial.unlink(missing_ok=True)
            out.unlink(missing_ok=True)
            manifest.write(path, "math-eval grade", settings)
        graded = _resume(partial)
        with partial.open("ab") as file, tqdm(total=len(rows), initial=len(graded), unit=" rows") as progress:
            for start in range(len(graded), len(rows), _BATCH):
                batch = _graded(rows[start : start + _BATCH], grader)
                file.write("".join(map(dump_line, batch)).encode())
                file.flush()
                os.fsync(file.fileno())
                graded += batch
                progress.update(len(batch))
    write_records(out, graded)
    partial.unlink()
    return Counter(row["verdict"] for row in graded), False


def _graded(rows: list[Row], grader: Grader) -> list[Row]:
    verdicts = grader.grade_many([(row["completion"], row["gold"]) for row in rows])
    return [
        {**row, "extracted": verdict.extracted, "verdict": verdict.verdict, "grade_ms": verdict.grade_ms}
        for row, verdict in zip(rows, verdicts, strict=True)
    ]


def _resume(partial: Path) -> list[Row]:
    """The whole rows of an interrupted output; a torn end is cut off."""
    rows: list[Row] = []
    if not partial.exists():
        return rows
    good = 0
    with partial.open("rb") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            rows.append(row)
            good += len(line)
    os.truncate(partial, good)
    return rows
