"""Teacher ratios: the smallest share of its thinking that the frozen model needs for a problem.

A ratio passes when the samples prove it, not when one of them was lucky: the one-sided Wilson lower bound of the share
that is right must reach a threshold. Reading samples is left to `chrpo.prepare`.

    teacher_ratio({0.2: (1, 4), 0.6: (4, 4), 1.0: (4, 4)}).ratio     # 0.6
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from chrpo.errors import DataError

CONFIDENCE = 0.95
THRESHOLD = 0.5


def wilson_lower(right: int, total: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of a share (Wilson 1927).

    >>> round(wilson_lower(4, 4), 4), round(wilson_lower(3, 4), 4)
    (0.5965, 0.3557)
    """
    if not 0 <= right <= total or total < 1:
        raise DataError(f"got {right} right of {total}; expected 0 <= right <= total and at least one sample")
    if not 0.5 <= confidence < 1:
        raise DataError(f"confidence must be in [0.5, 1); got {confidence:g}")
    z2 = NormalDist().inv_cdf(confidence) ** 2
    share = right / total
    spread = math.sqrt(z2 * (share * (1 - share) / total + z2 / (4 * total * total)))
    return max(0.0, (share + z2 / (2 * total) - spread) / (1 + z2 / total))


def samples_needed(confidence: float = CONFIDENCE, threshold: float = THRESHOLD) -> int:
    """The fewest samples of a ratio that can pass at all, which is when every one of them is right."""
    if not 0 < threshold < 1:
        raise DataError(f"threshold must be in (0, 1); got {threshold:g}")
    total = 1
    while wilson_lower(total, total, confidence) < threshold:
        total += 1
    return total


@dataclass(frozen=True)
class TeacherRatio:
    """What the samples of one problem say.

    `ratio` is None when the largest ratio does not pass. `monotone` is False when a ratio passes although a larger one
    does not. `all_fail` is True when no ratio passes.
    """

    ratio: float | None
    monotone: bool
    all_fail: bool


def teacher_ratio(
    counts: Mapping[float, tuple[int, int]], confidence: float = CONFIDENCE, threshold: float = THRESHOLD
) -> TeacherRatio:
    """The smallest ratio such that it and all larger ones pass.

    Source: the "target-first strict monotone" rule of the paper's RL data (arXiv 2602.08324). Our choice: a bound over
    all samples instead of the best one, because the best of k inflates small ratios.

    Args:
        counts: ratio -> (samples that are right, samples).
        confidence: of the one-sided bound.
        threshold: what the bound has to reach.
    """
    if not counts:
        raise DataError("no ratio was sampled; expected ratio -> (right, samples) for the whole ladder")
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
