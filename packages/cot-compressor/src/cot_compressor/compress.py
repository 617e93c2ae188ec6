"""Compresses a file of traces at several ratios.

Rows come out in input order with a `compressions` list and every other field unchanged. A row that is too short for
one of the ratios is rejected, so every written row has all of them.

    compress_file("traces.jsonl", "compressed.jsonl", ratios=[0.2, 0.4], scorer="rules", tokenizer="models/base")
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ._shared.records import Row, Tally
from ._shared.row_layout import Layout
from ._shared.row_source import RowSource
from .budget.counting import load_counter
from .budget.ratios import check_ratios
from .compressor import Compressor
from .errors import InfeasibleBudget, RejectedRow
from .resumable import Job, Outcome
from .scorers.load import load_scorer, scorer_fingerprint

_BATCH_ROWS = 64


def compress_file(
    source: str | Path,
    out: str | Path,
    *,
    ratios: Sequence[float],
    scorer: str | Path,
    tokenizer: str | Path,
    dtype: str | None = None,
    layout: Layout | None = None,
    overwrite: bool = False,
) -> Tally | None:
    """Write a `compressed` file.

    Args:
        source: Rows with `id`, `question` and `cot`: JSON Lines or Parquet, a file, a folder of shards, or an address
            on an object store.
        out: Path or address of the new file, in Parquet if it ends in `.parquet`.
        ratios: Shares of the tokens to keep, each in (0, 1].
        scorer: `"rules"`, a folder written by `cot-compressor train`, a hub's `owner/name@revision`, or `hybrid:` and
            one of the latter two.
        tokenizer: Folder of the target model, whose tokens are counted.
        dtype: Number format of a trained scorer, `"float32"` (the default) or `"bfloat16"`.
        layout: Columns of a corpus with other names, or with conversations; rows that do not fit are then rejected.
        overwrite: True to replace an output that was made with other settings, or to make a finished one again.

    Returns:
        The counts of rows, or None if the file was complete already.

    Raises:
        DataError: the input is bad, or `out` was made with other settings or by another command.
    """
    wanted = check_ratios(ratios)
    counter = load_counter(tokenizer)
    compressor = Compressor(load_scorer(scorer, dtype=dtype), counter)
    settings = {
        "ratios": wanted,
        "scorer": scorer_fingerprint(scorer),
        "dtype": getattr(compressor.scorer, "dtype", None),
        "tokenizer": counter.digest(),
        "tokenizer_name": counter.name,
    }
    job = Job("compress", RowSource(source, "compress_input", layout), out, settings, overwrite)
    if job.is_finished():
        return None

    def convert(rows: list[Row]) -> Iterator[Outcome]:
        pairs = [(row["question"], row["cot"]) for row in rows]
        for row, result in zip(rows, compressor.compress_many(pairs, ratios=wanted), strict=True):
            if isinstance(result, InfeasibleBudget):
                yield RejectedRow("infeasible_budget" if row["cot"].strip() else "empty_cot", str(result))
            else:
                yield {**row, "compressions": [entry.to_record() for entry in result]}

    return job.run(convert, batch_rows=_BATCH_ROWS)
