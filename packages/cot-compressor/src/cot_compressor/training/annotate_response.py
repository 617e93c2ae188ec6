"""Labels from the trace's own final response: what of the thinking carries the solution that the model wrote after it.

A response states what mattered, so it is a reference for any domain, and no other model is asked. Sentences of the
thinking are taken whole, each time the one that adds most of the response's formulas, numbers and content words per
token, until the response is covered or the share is used. The sentence that states the result comes first.

    annotate_file("traces.jsonl", "annotated.jsonl", ResponseAnnotator(keep_share=0.3))
"""

import heapq
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from cot_compressor._version import __version__
from cot_compressor.budget.counting import count_words
from cot_compressor.budget.ratios import token_budget
from cot_compressor.errors import DataError, RejectedRow
from cot_compressor.text.content import coverage, item_weights, read_items
from cot_compressor.text.relations import contains_answer
from cot_compressor.text.render import Span, merge_spans
from cot_compressor.text.segment import Unit, segment

_SHORTEST_RESPONSE = 150
_LEAST_COVERED = 0.2
_LEAST_GAIN = 1.0
_COST_POWER = 0.7
_COST_START = 3


class ResponseAnnotator:
    """Keeps the sentences of the thinking that cover the response, up to a share of all words, numbers and signs."""

    name = "response"
    version = __version__
    concurrency = 1

    def __init__(self, keep_share: float = 0.3) -> None:
        """Choose how much to keep.

        Args:
            keep_share: Largest share of words, numbers and signs to keep, in (0, 1).

        Raises:
            DataError: the share is not in (0, 1).
        """
        if not 0 < keep_share < 1:
            raise DataError(f"keep share must be in (0, 1); got {keep_share:g}")
        self.settings: dict[str, Any] = {"keep_share": keep_share}

    def keep(self, question: str, cot: str, answer: str = "", response: str = "") -> list[Span]:
        """See `Annotator.keep`.

        Our choice: a response of fewer than 150 characters, or one of which the thinking contains less than a fifth,
        has too little of the thinking, and the trace is rejected.
        """
        units = segment(cot)
        if not units:
            raise RejectedRow("empty_cot", "the chain of thought is blank")
        check_response(response)
        weights = item_weights(response)
        sentences = [list(group) for _, group in groupby(range(len(units)), key=lambda at: units[at].step)]
        items = [read_items(cot, [units[at] for at in sentence]) & weights.keys() for sentence in sentences]
        covered = coverage(set[str]().union(*items), weights)
        if covered < _LEAST_COVERED:
            raise RejectedRow("unrelated_response", f"the thinking contains {covered:.0%} of the response's content")
        costs = [count_words(cot[units[sentence[0]].start : units[sentence[-1]].end]) for sentence in sentences]
        budget = token_budget(self.settings["keep_share"], count_words(cot))
        first = stating_sentence(cot, units, sentences, answer)
        chosen = _cover(items, costs, weights, budget, first)
        if not chosen:
            raise RejectedRow("infeasible_budget", f"no sentence fits {budget} words, numbers and signs")
        return merge_spans(units, sorted(at for sentence in chosen for at in sentences[sentence]))


def check_response(response: str) -> None:
    """Refuse a response that is too short to say what mattered.

    Raises:
        RejectedRow: it has fewer than 150 characters.
    """
    if len(response.strip()) < _SHORTEST_RESPONSE:
        raise RejectedRow(
            "short_response",
            f"the response has {len(response.strip())} characters, fewer than "
            f"{_SHORTEST_RESPONSE}; use --annotator rules",
        )


def cost_weight(tokens: int) -> float:
    """What the gain of a sentence of so many tokens is divided by; less than proportional, so that long ones count."""
    return (tokens + _COST_START) ** _COST_POWER


def stating_sentence(cot: str, units: Sequence[Unit], sentences: Sequence[Sequence[int]], answer: str) -> int | None:
    """Index of the last sentence that contains the reference answer."""
    for at in range(len(sentences) - 1, -1, -1):
        text = cot[units[sentences[at][0]].start : units[sentences[at][-1]].end]
        if answer and contains_answer(text, answer):
            return at
    return None


def _cover(
    items: Sequence[set[str]], costs: Sequence[int], weights: dict[str, float], budget: int, first: int | None
) -> list[int]:
    """Indices of sentences, chosen by what each adds to the covered weight per token."""
    covered: set[str] = set()
    chosen: list[int] = []

    def gain(at: int) -> float:
        added = sum(weights[item] for item in items[at] - covered)
        return added / cost_weight(costs[at]) if added >= _LEAST_GAIN else 0.0

    if first is not None and costs[first] <= budget:
        chosen.append(first)
        covered |= items[first]
        budget -= costs[first]
    queue = [(-gain(at), at, len(chosen)) for at in range(len(items)) if at not in chosen]
    heapq.heapify(queue)
    while queue:
        value, at, seen = heapq.heappop(queue)
        if value == 0:
            break
        if seen < len(chosen):
            # The gain was computed before the last sentences were chosen; it can only have become smaller.
            heapq.heappush(queue, (-gain(at), at, len(chosen)))
        elif costs[at] <= budget:
            chosen.append(at)
            covered |= items[at]
            budget -= costs[at]
    return chosen
