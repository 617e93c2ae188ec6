"""The rules with a trained scorer's judgement of the sentences.

The tiers stay those of `rules.py`: the chain of equations and the closing statement come first, because a trained
scorer does not know which equation rests on which. Among the sentences, what one adds counts in proportion to the
probability of being kept that the trained scorer gives it. So a sentence that only repeats others comes late, which a
trained scorer, ranking each sentence alone, does not see. The folder is found and read by `load.py`.

    scorer = HybridScorer(load_scorer("models/compressor"))
    (scores,) = scorer.score([ScoringInput(question, cot, segment(cot))])
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .base import ScoringInput
from .rules import score_by_rules

if TYPE_CHECKING:
    from .classifier import TokenClassifier


class HybridScorer:
    """Scores units by the rules, which weight each sentence by its probability of being kept."""

    def __init__(self, trained: "TokenClassifier") -> None:
        """Add the rules to a trained scorer, whose tokenizer and number format stay those of the hybrid."""
        self.name = f"hybrid:{trained.name}"
        self.tokenizer, self.dtype = trained.tokenizer, trained.dtype
        self._trained = trained

    def score(self, items: Sequence[ScoringInput]) -> list[list[float]]:
        """Scores of the tiers of `rules.py`, so a threshold means the same."""
        return [
            score_by_rules(item, [(1 + math.tanh(margin / 2)) / 2 for margin in margins])
            for item, margins in zip(items, self._trained.score(items), strict=True)
        ]
