"""Teacher ratios: the smallest share of its thinking at which the frozen model solves a problem reliably.

A ratio passes if all its samples together support it, and not because one of them was lucky: the one-sided Wilson lower
bound of the accuracy must reach a threshold. Reading samples is left to `chrpo.prepare`.

>>> teacher_ratio({0.2: (1, 4), 0.6: (4, 4), 1.0: (4, 4)}).ratio
0.6
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from chrpo._shared.intervals import wilson
from chrpo.errors import DataError

CONFIDENCE = 0.95
THRESHOLD = 0.5


def wilson_lower(correct: int, total: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of a proportion (Wilson 1927).

    Args:
        correct: Number of correct samples.
        total: Number of samples.
        confidence: Confidence level of the bound, in [0.5, 1).

    Raises:
        DataError: a number is out of its range.

    >>> round(wilson_lower(4, 4), 4), round(wilson_lower(3, 4), 4)
    (0.5965, 0.3562)
    """
    if not 0 <= correct <= total or total < 1:
        raise DataError(f"got {correct} correct of {total}; expected 0 <= correct <= total and at least one sample")
    if not 0.5 <= confidence < 1:
        raise DataError(f"confidence must be in [0.5, 1); got {confidence:g}")
    return wilson(correct, total, NormalDist().inv_cdf(confidence))[0]


def samples_needed(confidence: float = CONFIDENCE, threshold: float = THRESHOLD) -> int:
    """The smallest number of samples with which a ratio can pass; it passes then only if all are correct.

    Args:
        confidence: Confidence level of the lower accuracy bound.
        threshold: Accuracy that the bound must reach, in (0, 1).

    Raises:
        DataError: a number is out of its range.
    """
    if not 0 < threshold < 1:
        raise DataError(f"threshold must be in (0, 1); got {threshold:g}")
    total = 1
    while wilson_lower(total, total, confidence) < threshold:
        total += 1
    return total


@dataclass(frozen=True)
class TeacherRatio:
    """What the samples of one problem show.

    Args:
        ratio: Teacher ratio; None if the largest ratio does not pass.
        monotone: False if a ratio passes although a larger one does not.
        all_fail: True if no ratio passes.
    """

    ratio: float | None
    monotone: bool
    all_fail: bool


def teacher_ratio(
    counts: Mapping[float, tuple[int, int]], confidence: float = CONFIDENCE, threshold: float = THRESHOLD
) -> TeacherRatio:
    """The smallest ratio such that it and all larger ones pass.

    Source: the "target-first strict monotone" rule of the paper's RL data (arXiv 2602.08324). Our choice: a bound over
    all samples and not the best sample, because the best of k samples makes small ratios look sufficient.

    Args:
        counts: Numbers of correct samples and of samples at each ratio: ratio -> (correct, samples).
        confidence: Confidence level of the one-sided lower accuracy bound.
        threshold: Accuracy that the bound must reach.

    Raises:
        DataError: there is no ratio, or a number is out of its range.
    """
    if not counts:
        raise DataError("no ratio was sampled; expected ratio -> (correct, samples) for the whole ladder")
    rising = sorted(counts)
    passes = [wilson_lower(*counts[ratio], confidence) >= threshold for ratio in rising]
    first = len(passes)
    while first > 0 and passes[first - 1]:
        first -= 1
    return TeacherRatio(
        ratio=rising[first] if first < len(rising) else None,
        monotone=not any(passes[:first]),
        all_fail=not any(passes),
    )
