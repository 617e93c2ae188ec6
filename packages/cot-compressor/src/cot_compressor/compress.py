"""Compresses a file of traces at several ratios.

Rows come out in input order with a `compressions` list and every other field unchanged. A row that is too short for
one of the ratios is rejected, so every written row has all of them.

    compress_file("traces.jsonl", "compressed.jsonl", ratios=[0.2, 0.4], scorer="rules", tokenizer="models/base")
    compress_shards("corpus", "short", ratios=[0.2], scorer="rules", tokenizer="models/base", notify=print)
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ._shared.ray_shards import Report
from ._shared.records import Row, Tally
from ._shared.row_layout import Layout
from .budget.counting import load_counter
from .budget.ratios import check_ratios
from .compressor import Compressor
from .errors import InfeasibleBudget, RejectedRow
from .resumable import Conversion, Outcome, convert_shards
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
    conversion = compress_conversion(
        ratios=ratios, scorer=scorer, tokenizer=tokenizer, dtype=dtype, layout=layout, overwrite=overwrite
    )
    return conversion.write(source, out)


def compress_conversion(
    *,
    ratios: Sequence[float],
    scorer: str | Path,
    tokenizer: str | Path,
    dtype: str | None = None,
    layout: Layout | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Load what compresses files; arguments and errors are those of `compress_file`."""
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

    def convert(rows: list[Row]) -> Iterator[Outcome]:
        pairs = [(row["question"], row["cot"]) for row in rows]
        for row, result in zip(rows, compressor.compress_many(pairs, ratios=wanted), strict=True):
            if isinstance(result, InfeasibleBudget):
                yield RejectedRow("infeasible_budget" if row["cot"].strip() else "empty_cot", str(result))
            else:
                yield {**row, "compressions": [entry.to_record() for entry in result]}

    return Conversion("compress", "compress_input", settings, convert, _BATCH_ROWS, layout, overwrite)


def compress_shards(
    source: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    notify: Callable[[str], object],
    **options: Any,
) -> Report:
    """Write a `compressed` file for each shard of a corpus, on a Ray cluster; together they are `compress_file`'s.

    Args:
        source: Folder of shards, here or on an object store; every worker reads it.
        out: Folder for the outputs, likewise; each has the name of its shard.
        workers: Number of workers; None takes one for each processor of the cluster, or for each GPU with a trained
            scorer.
        notify: Function that gets a line about each shard that failed.
        options: Further arguments of `compress_file`.

    Raises:
        DataError: the input is bad, the output folder contains something else, or shards failed.
    """
    make = partial(compress_conversion, **options)
    return convert_shards(make, source, out, workers=workers, gpu=options["scorer"] != "rules", notify=notify)
