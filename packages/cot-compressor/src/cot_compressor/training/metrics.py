"""Metrics of a token classifier on held-out questions.

>>> macro_f1([[6, 2], [1, 3]])
0.7333333333333334
>>> hits_at(0.4, [0.1, 3.0, -1.0, 2.0, 1.9], [1, 1, 0, 0, 1])
0.5
"""

import math
from collections.abc import Sequence


def macro_f1(counts: Sequence[Sequence[int]]) -> float:
    """The mean F1 of the two classes; a class that never occurs counts 0.

    Args:
        counts: Numbers of tokens, `counts[true label][predicted label]`.
    """
    scores: list[float] = []
    for label in (0, 1):
        correct = counts[label][label]
        incorrect = counts[label][1 - label] + counts[1 - label][label]
        scores.append(2 * correct / (2 * correct + incorrect) if correct else 0.0)
    return sum(scores) / 2


def hits_at(ratio: float, margins: Sequence[float], labels: Sequence[int]) -> float:
    """The number of tokens labelled keep among the best-ranked ones, divided by the largest possible number.

    Args:
        ratio: Share of the tokens that counts as best-ranked, in (0, 1].
        margins: `keep logit - drop logit` of each token.
        labels: Label of each token, 1 keep or 0 drop; at least one is 1.
    """
    taken = math.ceil(ratio * len(labels))
    order = sorted(range(len(labels)), key=lambda at: -margins[at])
    return sum(labels[at] for at in order[:taken]) / min(taken, sum(labels))
