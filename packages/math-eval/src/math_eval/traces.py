"""Traces out of a run: the correct samples whose thinking is whole, as rows of the traces contract.

Everything else is set aside and counted by reason. Only what is set aside is held in memory. Shortening the traces is
left to whoever reads the file.

    tally = export_traces("runs/base", "traces.jsonl", samples_per_problem=2)
    tally.summary()     # '400 read, 371 written, 29 rejected (incorrect 21, truncated 8)'
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ._shared.records import Row, Tally, validate, write_records
from ._shared.thinking import split_thinking
from .conditions import run_files, stream
from .errors import DataError
from .manifest import check_apart

_OF_THE_RUN = {
    "prompt",
    "completion",
    "finish_reason",
    "extracted",
    "verdict",
    "truncated",
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
    """Write the traces of a run; rejected rows go to `OUT.rejected.jsonl`.

    Args:
        run: a finished run folder.
        out: the traces file, `.jsonl` or `.jsonl.gz`.
        ratio: the ratio to take, written as in `--ratio`; needed if the run has several.
        samples_per_problem: keep the first so many correct samples of each problem.

    Raises:
        DataError: not a finished run, or its ratio is not clear, or no sample is fit, or `out` is a file of the run.
    """
    check_apart([Path(out)], run_files(Path(run)))
    tally = Tally()

    def traces() -> Iterator[Row]:
        yield from _traces(stream(str(run), ratio), samples_per_problem, tally)
        if tally.rejected == tally.read:
            raise DataError(
                f"{run}: no correct sample with a closed thinking block ({tally.summary()}); nothing to export"
            )

    tally.written = write_records(out, traces())
    tally.write_rejected(out)
    return tally


def _traces(rows: Iterable[Row], samples_per_problem: int | None, tally: Tally) -> Iterator[Row]:
    kept: Counter[tuple[str, str]] = Counter()
    for row in rows:
        tally.read += 1
        thinking = split_thinking(row["completion"], row["prompt"])
        problem = (row["task"], row["id"])
        if row["truncated"]:
            tally.reject(row, "truncated", "the token limit cut it")
        elif row["verdict"] != "correct":
            tally.reject(row, row["verdict"], f"answered {row['extracted']!r}, reference {row['answer']!r}")
        elif not thinking.closed or not thinking.text:
            tally.reject(row, "no_thinking", "no closed thinking block with text in it")
        elif samples_per_problem and kept[problem] >= samples_per_problem:
            tally.reject(row, "enough_samples", f"{samples_per_problem} of this problem are kept already")
        else:
            if samples_per_problem:
                kept[problem] += 1
            carried = {name: value for name, value in row.items() if name not in _OF_THE_RUN}
            trace = {**carried, "cot": thinking.text, "response": thinking.answer, "correct": True}
            yield validate(trace, "traces", f"trace {row['id']}")
