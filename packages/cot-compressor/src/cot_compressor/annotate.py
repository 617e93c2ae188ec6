"""Mark what to keep in each trace: the labels a classifier is trained on.

An annotator returns character spans of the chain of thought, made of whole units. `rules` is here and needs nothing;
a language model behind an OpenAI-compatible server is in `annotate_openai.py`.

    annotate_file("traces.jsonl", "annotated.jsonl", RulesAnnotator(keep_share=0.3))
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from . import __version__
from ._shared.records import Row, Tally
from .compressor import token_budget
from .counting import count_pieces
from .errors import DataError, InfeasibleBudget, RejectedRow
from .render import Span
from .resume import Outcome, file_digest, is_finished, map_rows
from .rules import Rules
from .scoring import Item
from .segment import segment
from .select import select


class Annotator(Protocol):
    """Anything that chooses what to keep."""

    name: str
    version: str
    settings: dict[str, Any]
    """Whatever changes the spans; written into every row."""
    concurrency: int
    """Traces to work on at a time; `keep` is called from as many threads."""

    def keep(self, question: str, cot: str, answer: str = "") -> list[Span]:
        """Spans of `cot` to keep: sorted, disjoint, made of whole units. `answer` is the reference answer.

        Raises:
            RejectedRow: this trace cannot be annotated.
        """
        ...


class RulesAnnotator:
    """Keeps what the rules scorer ranks first, up to a share of the pieces."""

    name = "rules"
    version = __version__
    concurrency = 1

    def __init__(self, keep_share: float = 0.3) -> None:
        """`keep_share` in (0, 1) is the share of words, numbers and signs to keep."""
        if not 0 < keep_share < 1:
            raise DataError(f"keep share must be in (0, 1); got {keep_share:g}")
        self.settings: dict[str, Any] = {"keep_share": keep_share}
        self._scorer = Rules()

    def keep(self, question: str, cot: str, answer: str = "") -> list[Span]:
        """See `Annotator.keep`."""
        units = segment(cot)
        if not units:
            raise RejectedRow("empty_cot", "the chain of thought is blank")
        (scores,) = self._scorer.score([Item(question, cot, units)])
        budget = token_budget(self.settings["keep_share"], count_pieces(cot))
        try:
            (choice,) = select(cot, units, scores, [budget], count_pieces)
        except InfeasibleBudget as error:
            raise RejectedRow("infeasible_budget", str(error)) from error
        return list(choice.spans)


def annotate_file(
    source: str | Path, out: str | Path, annotator: Annotator, *, overwrite: bool = False
) -> Tally | None:
    """Write an `annotated` file; returns its counts, or None if it was there already.

    Raises:
        DataError: bad input, or `out` was made with other settings or by another command.
    """
    stamp = {"name": annotator.name, "version": annotator.version, "settings": annotator.settings}
    settings = {"input": file_digest(source), "annotator": stamp}
    if is_finished(out, "annotate", settings, sources=[source], overwrite=overwrite):
        return None

    def mark(row: Row) -> Outcome:
        try:
            spans = annotator.keep(row["question"], row["cot"], row["answer"])
        except RejectedRow as error:
            return error
        return {**row, "keep": [list(span) for span in spans], "annotator": stamp}

    def convert(rows: list[Row]) -> Iterator[Outcome]:
        with ThreadPoolExecutor(annotator.concurrency) as pool:
            yield from pool.map(mark, rows)

    return map_rows(source, out, "traces", "annotate", settings, convert, batch_rows=64)
