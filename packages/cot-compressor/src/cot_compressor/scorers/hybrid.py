"""A trained scorer after the rules: what the rules put before sentences comes first, then the scorer's own order.

First come the chain of equations, the closing statement and other grounded equations, by the tiers of `rules.py`. A
trained scorer ranks sentences, and does not know which equation rests on which. In a text without equations, only the
closing statement comes before the scorer's order. The folder is found and read by `load.py`.

    scorer = HybridScorer(load_scorer("models/compressor"))
    (scores,) = scorer.score([ScoringInput(question, cot, segment(cot))])
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .base import ScoringInput
from .rules import BEFORE_SENTENCES, RuleScorer

if TYPE_CHECKING:
    from .classifier import TokenClassifier


class HybridScorer:
    """Scores units by the rules if they come before sentences, and by a trained scorer otherwise."""

    def __init__(self, trained: "TokenClassifier") -> None:
        """Add the rules to a trained scorer, whose tokenizer and number format stay those of the hybrid."""
        self.name = f"hybrid:{trained.name}"
        self.tokenizer, self.dtype = trained.tokenizer, trained.dtype
        self._trained = trained

    def score(self, items: Sequence[ScoringInput]) -> list[list[float]]:
        """The trained scores; those of the units that come first are above them, and above 0.

        Our choice: above 0, because a threshold of 0 keeps what a trained scorer is more likely to keep than to drop.
        """
        return [
            _joined(first, scores)
            for first, scores in zip(RuleScorer().score(items), self._trained.score(items), strict=True)
        ]


def _joined(rules: Sequence[float], trained: Sequence[float]) -> list[float]:
    top = max([0.0, *trained])
    return [
        top + first - BEFORE_SENTENCES if first > BEFORE_SENTENCES else score
        for first, score in zip(rules, trained, strict=True)
    ]
