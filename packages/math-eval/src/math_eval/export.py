"""`math-eval export traces`: the correct samples of a run whose thinking is complete, as rows of the traces contract.

Other samples are rejected, counted by reason and written to a file of their own. Compressing the traces is left to
cot-compressor.

    tally = export_traces("runs/base", "traces.jsonl", samples_per_problem=2)
    tally.summary()     # '400 read, 371 written, 29 rejected (incorrect 21, truncated 8)'
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ._shared import runs
from ._shared.lock import locked
from ._shared.records import Row, Tally, validate, write_records
from .errors import DataError
from .run_folders import read_manifest, run_files, stream, thinking_parts

_LEFT_OUT = {
    "prompt",
    "completion",
    "finish_reason",
    "extracted",
    "verdict",
    "truncated",
    "thinking_chars",
    "first_correct_chars",
    "latency_s",
    "batch",
    "key",
}


def export_traces(
    run: str | Path,
    out: str | Path,
    *,
    ratio: str | None = None,
    samples_per_problem: int | None = None,
) -> Tally:
    """Write the traces of a run; rejected rows go to a file beside it, `OUT.rejected.jsonl`.

    Args:
        run: A finished run folder.
        out: The traces file, `.jsonl` or `.jsonl.gz`.
        ratio: The ratio whose samples are exported, spelt as in `--ratio`; required if the run has several.
        samples_per_problem: Number of correct samples kept of each problem, the first ones; None keeps all.

    Returns:
        The numbers of rows read, written and rejected.

    Raises:
        DataError: The run is not finished, it has several ratios and none is named, no sample can be exported, or `out`
            is a file of the run or is being written by another process.
    """
    runs.check_apart([Path(out)], run_files(Path(run)))
    tally = Tally()

    def traces() -> Iterator[Row]:
        yield from _traces(stream(str(run), ratio), read_manifest(Path(run)), samples_per_problem, tally)
        if tally.rejected == tally.read:
            raise DataError(
                f"{run}: no correct sample with a closed thinking block ({tally.summary()}); nothing to export"
            )

    with locked(Path(out)):
        tally.written = write_records(out, traces())
        tally.write_rejected(out)
    return tally


def _traces(rows: Iterable[Row], manifest: Row, samples_per_problem: int | None, tally: Tally) -> Iterator[Row]:
    kept: Counter[tuple[str, str]] = Counter()
    for row in rows:
        tally.read += 1
        thinking = thinking_parts(row, manifest)
        problem = (row["task"], row["id"])
        if row["truncated"]:
            tally.reject(row, "truncated", "cut off at the token limit")
        elif row["verdict"] != "correct":
            tally.reject(row, row["verdict"], f"answered {row['extracted']!r}, reference {row['answer']!r}")
        elif not thinking.closed or not thinking.text:
            tally.reject(row, "no_thinking", "no closed thinking block with text in it")
        elif samples_per_problem and kept[problem] >= samples_per_problem:
            tally.reject(row, "enough_samples", f"{samples_per_problem} samples of this problem are kept already")
        else:
            if samples_per_problem:
                kept[problem] += 1
            carried = {name: value for name, value in row.items() if name not in _LEFT_OUT}
            trace = {**carried, "cot": thinking.text, "response": thinking.answer, "correct": True}
            yield validate(trace, "traces", f"trace {row['id']}")
