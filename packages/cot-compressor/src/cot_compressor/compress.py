"""Compress a file of traces at several ratios.

Rows come out in input order with a `compressions` list and every other field untouched. A row that cannot hold every
ratio asked for is set aside, so each written row has them all.

    compress_file("traces.jsonl", "compressed.jsonl", ratios=[0.2, 0.4], scorer="rules", tokenizer="models/base")
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .compressor import Compressor, check_ratios
from .errors import InfeasibleBudget, RejectedRow
from .records import Row, Tally
from .resume import Outcome, file_digest, folder_digest, is_finished, map_rows

_BATCH_ROWS = 64


def compress_file(
    source: str | Path,
    out: str | Path,
    *,
    ratios: Sequence[float],
    scorer: str | Path,
    tokenizer: str | Path,
    overwrite: bool = False,
) -> Tally | None:
    """Write a `compressed` file; returns its counts, or None if it was there already.

    Raises:
        DataError: bad input, or `out` was made with other settings.
    """
    wanted = check_ratios(ratios)
    compressor = Compressor.from_pretrained(scorer, tokenizer=tokenizer)
    settings = {
        "input": file_digest(source),
        "ratios": wanted,
        "scorer": compressor.scorer.name if str(scorer) == "rules" else folder_digest(scorer),
        "tokenizer": folder_digest(tokenizer),
        "tokenizer_name": compressor.counter.name,
    }
    if is_finished(out, settings, overwrite=overwrite):
        return None

    def convert(rows: list[Row]) -> Iterator[Outcome]:
        pairs = [(row["question"], row["cot"]) for row in rows]
        for row, result in zip(rows, compressor.compress_many(pairs, ratios=wanted), strict=True):
            if isinstance(result, InfeasibleBudget):
                yield RejectedRow("infeasible_budget" if row["cot"].strip() else "empty_cot", str(result))
            else:
                yield {**row, "compressions": [entry.to_record() for entry in result]}

    return map_rows(source, out, "compress_input", "compress", settings, convert, batch_rows=_BATCH_ROWS)
