"""Compress a file of traces at several ratios, or one plain text for the terminal.

Rows come out in input order with a `compressions` list and every other field untouched. A row that cannot hold every
ratio asked for is set aside, so each written row has them all.

    compress_file("traces.jsonl", "compressed.jsonl", ratios=[0.2, 0.4], scorer="rules", tokenizer="models/base")
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ._shared.records import Row, Tally
from .compressor import Compression, Compressor, check_ratios
from .counting import load_counter
from .errors import DataError, InfeasibleBudget, RejectedRow
from .resume import Outcome, file_digest, is_finished, map_rows, scorer_stamp
from .scoring import load_scorer

_BATCH_ROWS = 64


def compress_file(
    source: str | Path,
    out: str | Path,
    *,
    ratios: Sequence[float],
    scorer: str | Path,
    tokenizer: str | Path,
    dtype: str | None = None,
    overwrite: bool = False,
) -> Tally | None:
    """Write a `compressed` file; returns its counts, or None if it was there already.

    Raises:
        DataError: bad input, or `out` was made with other settings or by another command.
    """
    wanted = check_ratios(ratios)
    counter = load_counter(tokenizer)
    compressor = Compressor(load_scorer(scorer, dtype=dtype), counter)
    settings = {
        "input": file_digest(source),
        "ratios": wanted,
        "scorer": scorer_stamp(scorer),
        "dtype": getattr(compressor.scorer, "dtype", None),
        "tokenizer": counter.digest(),
        "tokenizer_name": counter.name,
    }
    if is_finished(out, "compress", settings, sources=[source], overwrite=overwrite):
        return None

    def convert(rows: list[Row]) -> Iterator[Outcome]:
        pairs = [(row["question"], row["cot"]) for row in rows]
        for row, result in zip(rows, compressor.compress_many(pairs, ratios=wanted), strict=True):
            if isinstance(result, InfeasibleBudget):
                yield RejectedRow("infeasible_budget" if row["cot"].strip() else "empty_cot", str(result))
            else:
                yield {**row, "compressions": [entry.to_record() for entry in result]}

    return map_rows(source, out, "compress_input", "compress", settings, convert, batch_rows=_BATCH_ROWS)


def read_text(source: str | Path) -> str:
    """The text of a file, or of standard input for `-`, line breaks as they are.

    Raises:
        DataError: no such file, or it is not UTF-8.
    """
    try:
        data = sys.stdin.buffer.read() if str(source) == "-" else Path(source).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise DataError(
            f"{source}: cannot be read ({error.strerror}); give a text file, or - for standard input"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not UTF-8 at byte {error.start}; convert it first") from None


def show_kept(cot: str, result: Compression, *, colour: bool) -> str:
    """The whole text: what is kept in green and the rest faint, or without colour the rest as `[-dropped-]`."""
    pieces: list[str] = []
    position = 0
    for start, end in [*result.spans, (len(cot), len(cot))]:
        dropped, kept = cot[position:start], cot[start:end]
        if not dropped.strip():
            pieces.append(dropped)
        elif colour:
            pieces.append(click.style(dropped, dim=True))
        else:
            inner = dropped.strip()
            pieces.append(dropped.replace(inner, f"[-{inner}-]", 1))
        pieces.append(click.style(kept, fg="green", bold=True) if colour and kept else kept)
        position = end
    return "".join(pieces)
