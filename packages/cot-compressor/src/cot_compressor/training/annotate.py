"""Marks what to keep in each trace: the labels that a token classifier is trained on.

An annotator returns character spans of the chain of thought that consist of whole units. `RulesAnnotator` needs no
model; the default annotator reads the trace's own response (`annotate_response.py`), another asks a language model
(`annotate_openai.py`).

    annotate_file("traces.jsonl", "annotated.jsonl", RulesAnnotator(keep_share=0.3))
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from cot_compressor._shared.ray_shards import Report
from cot_compressor._shared.records import Row, Tally
from cot_compressor._shared.row_layout import Layout
from cot_compressor._version import __version__
from cot_compressor.budget.counting import count_words
from cot_compressor.budget.ratios import token_budget
from cot_compressor.budget.select import select
from cot_compressor.budget.stages import Stager
from cot_compressor.errors import DataError, InfeasibleBudget, RejectedRow
from cot_compressor.resumable import Conversion, Outcome, convert_shards
from cot_compressor.scorers.base import ScoringInput
from cot_compressor.scorers.rules import RuleScorer
from cot_compressor.text.render import Span
from cot_compressor.text.segment import segment

from .annotate_response import ResponseAnnotator

_BATCH_ROWS = 64


class Annotator(Protocol):
    """Anything that chooses what to keep."""

    name: str
    """Name that is written into every row."""
    version: str
    """Version that is written into every row."""
    settings: dict[str, Any]
    """Everything that changes the spans; written into every row."""
    concurrency: int
    """Number of traces annotated at a time; `keep` is called from as many threads."""

    def keep(self, question: str, cot: str, answer: str = "", response: str = "") -> list[Span]:
        """Choose spans of `cot`.

        Args:
            question: The question of the trace.
            cot: The chain of thought.
            answer: The reference answer.
            response: What the model wrote after the chain of thought.

        Returns:
            Spans to keep: sorted, disjoint, made of whole units.

        Raises:
            RejectedRow: this trace cannot be annotated.
        """
        ...


class RulesAnnotator:
    """Keeps the units that the rules rank first, up to a share of all words, numbers and signs."""

    name = "rules"
    version = __version__
    concurrency = 1

    def __init__(self, keep_share: float = 0.3) -> None:
        """Choose how much to keep.

        Args:
            keep_share: Share of words, numbers and signs to keep, in (0, 1).

        Raises:
            DataError: the share is not in (0, 1).
        """
        if not 0 < keep_share < 1:
            raise DataError(f"keep share must be in (0, 1); got {keep_share:g}")
        self.settings: dict[str, Any] = {"keep_share": keep_share}
        self._scorer = RuleScorer()

    def keep(self, question: str, cot: str, answer: str = "", response: str = "") -> list[Span]:
        """See `Annotator.keep`; answer and response are not used."""
        units = segment(cot)
        if not units:
            raise RejectedRow("empty_cot", "the chain of thought is blank")
        (scores,) = self._scorer.score([ScoringInput(question, cot, units)])
        budget = token_budget(self.settings["keep_share"], count_words(cot))
        try:
            stager = Stager(cot, units, scores)
            stages = [stager.whole(), *stager.fillers(), stager.anything()]
            (choice,) = select(cot, units, scores, [budget], count_words, stages=stages)
        except InfeasibleBudget as error:
            raise RejectedRow("infeasible_budget", str(error)) from error
        return list(choice.spans)


def annotate_file(
    source: str | Path,
    out: str | Path,
    annotator: Annotator | None = None,
    *,
    layout: Layout | None = None,
    overwrite: bool = False,
) -> Tally | None:
    """Write an `annotated` file.

    Args:
        source: Rows of the `traces` contract: JSON Lines or Parquet, a file, a folder of shards, or an address on an
            object store.
        out: Path or address of the new file, in Parquet if it ends in `.parquet`.
        annotator: Annotator that chooses what to keep; by default a `ResponseAnnotator` with a share of 0.3.
        layout: Columns of a corpus with other names, or with conversations; rows that do not fit are then rejected.
        overwrite: True to replace an output that was made with other settings, or to make a finished one again.

    Returns:
        The counts of rows, or None if the file was complete already.

    Raises:
        DataError: the input is bad, or `out` was made with other settings or by another command.
    """
    conversion = annotate_conversion(annotator or ResponseAnnotator(), layout=layout, overwrite=overwrite)
    return conversion.write(source, out)


def annotate_shards(
    source: str | Path,
    out: str | Path,
    annotator: Callable[[], Annotator] = ResponseAnnotator,
    *,
    layout: Layout | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    gpu: bool = False,
    notify: Callable[[str], object],
) -> Report:
    """Write an `annotated` file for each shard of a corpus, on a Ray cluster; together they are `annotate_file`'s.

    Args:
        source: Folder of shards, here or on an object store; every worker reads it.
        out: Folder for the outputs, likewise; each has the name of its shard.
        annotator: Function that makes the annotator of a worker, such as `partial(RulesAnnotator, 0.3)`.
        layout: Columns of a corpus; see `annotate_file`.
        overwrite: See `annotate_file`.
        workers: Number of workers; None takes one for each processor of the cluster, or for each GPU with `gpu`.
        gpu: Whether a worker uses a GPU, where the cluster has any.
        notify: Function that gets a line about each shard that failed.

    Raises:
        DataError: the input is bad, the output folder contains something else, or shards failed.
    """

    def make() -> Conversion:
        return annotate_conversion(annotator(), layout=layout, overwrite=overwrite)

    return convert_shards(make, source, out, workers=workers, gpu=gpu, notify=notify)


def annotate_conversion(chosen: Annotator, *, layout: Layout | None, overwrite: bool) -> Conversion:
    """What annotates files; arguments are those of `annotate_file`."""
    made_by = {"name": chosen.name, "version": chosen.version, "settings": chosen.settings}

    def mark(row: Row) -> Outcome:
        try:
            spans = chosen.keep(row["question"], row["cot"], row["answer"], row["response"])
        except RejectedRow as error:
            return error
        return {**row, "keep": [list(span) for span in spans], "annotator": made_by}

    def convert(rows: list[Row]) -> Iterator[Outcome]:
        with ThreadPoolExecutor(chosen.concurrency) as pool:
            yield from pool.map(mark, rows)

    settings = {"annotator": made_by}
    return Conversion("annotate", "traces", settings, convert, _BATCH_ROWS, layout, overwrite)
