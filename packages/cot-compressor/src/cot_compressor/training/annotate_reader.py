"""Labels from a reader: what of the thinking a causal language model needs to expect the response.

Each sentence is left out once, and the more the likelihood of the response drops, the more important the sentence is
(leave-one-out, in batches). Sentences are taken whole, by drop per token, until the share is used. A fact that is
stated twice has no drop at either place; labels from the response (`annotate_response.py`) have no such gap.

    annotate_file("traces.jsonl", "annotated.jsonl", ReaderAnnotator("models/base", keep_share=0.3))
"""

from itertools import groupby
from pathlib import Path
from typing import Any

from cot_compressor._shared import runs
from cot_compressor._version import __version__
from cot_compressor.budget.counting import count_words
from cot_compressor.budget.ratios import token_budget
from cot_compressor.errors import DataError, RejectedRow, needs_extra
from cot_compressor.text.render import Span, merge_spans, render
from cot_compressor.text.segment import segment

from .annotate_response import check_response, cost_weight, stating_sentence

_MOST_SENTENCES = 64
_DECIMALS = 3


class ReaderAnnotator:
    """Keeps the sentences without which the response is less likely, up to a share of all words, numbers and signs."""

    name = "reader"
    version = __version__
    concurrency = 1

    def __init__(self, model: str | Path, keep_share: float = 0.3) -> None:
        """Load the reader.

        Args:
            model: Folder of a causal language model.
            keep_share: Largest share of words, numbers and signs to keep, in (0, 1).

        Raises:
            DataError: the share is not in (0, 1), or the model cannot be loaded.
        """
        if not 0 < keep_share < 1:
            raise DataError(f"keep share must be in (0, 1); got {keep_share:g}")
        with needs_extra("scorer", "a reader needs torch and transformers"):
            from cot_compressor.reader import Reader
        self._reader = Reader.from_folder(model)
        digest = runs.digest(model)
        self.settings: dict[str, Any] = {"keep_share": keep_share, "model": digest, "dtype": self._reader.dtype}

    def keep(self, question: str, cot: str, answer: str = "", response: str = "") -> list[Span]:
        """See `Annotator.keep`.

        Our choice: of more than 64 sentences, as few neighbours as possible are left out together, so a trace needs at
        most 66 readings. A trace without which the response is at least as likely is rejected.
        """
        units = segment(cot)
        if not units:
            raise RejectedRow("empty_cot", "the chain of thought is blank")
        check_response(response)
        size = -(-(units[-1].step + 1) // _MOST_SENTENCES)
        sentences = [list(group) for _, group in groupby(range(len(units)), key=lambda at: units[at].step // size)]
        without = [render(cot, merge_spans(units, _others(sentence, len(units)))) for sentence in sentences]
        whole, nothing, *values = self._reader.log_likelihoods(question, [cot, "", *without], response)
        if whole <= nothing:
            raise RejectedRow("unrelated_response", "the response is no more likely after the thinking than without it")
        costs = [count_words(cot[units[sentence[0]].start : units[sentence[-1]].end]) for sentence in sentences]
        drops = [round(whole - value, _DECIMALS) for value in values]
        first = stating_sentence(cot, units, sentences, answer)
        budget = token_budget(self.settings["keep_share"], count_words(cot))
        chosen: list[int] = []
        for at in sorted(range(len(sentences)), key=lambda at: (at != first, -drops[at] / cost_weight(costs[at]), at)):
            if (at == first or drops[at] > 0) and costs[at] <= budget:
                chosen.append(at)
                budget -= costs[at]
        if not chosen:
            raise RejectedRow("infeasible_budget", f"no sentence that matters fits {budget} words, numbers and signs")
        return merge_spans(units, sorted(unit for at in chosen for unit in sentences[at]))


def _others(sentence: list[int], count: int) -> list[int]:
    """The indices of all units but those of a sentence."""
    return [*range(sentence[0]), *range(sentence[-1] + 1, count)]
