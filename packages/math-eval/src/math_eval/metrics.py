"""Statistics of graded samples: intervals, k-sample scores, paired tests. Pure functions of numbers.

Samples of one problem are never treated as independent. An argument `groups` has one list for each problem, the scores
of its samples. Reading runs and writing tables are left to other modules.

>>> mcnemar([(True, False), (True, True)])
1.0
>>> round(pass_at_k(samples=4, correct=2, k=2), 4)
0.8333
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from ._shared.intervals import Z95, Interval, bootstrap, wilson

_Z80 = 0.8416212335729143
_TEST_LEVEL = 0.05
_TINY = 1e-9


def effective_trials(groups: Sequence[Sequence[float]]) -> float:
    """The number of independent trials that the samples are worth, from the number of problems to that of samples.

    Our choice: the variance of a single score over the squared standard error of the mean between problems (the design
    effect), because it gives the plain intervals for one sample a problem. Scores may also be differences of two runs.
    """
    samples = sum(len(group) for group in groups)
    if samples == len(groups) or len(groups) < 2:
        return len(groups)
    mean = sum(map(sum, groups)) / samples
    variance = sum(score**2 for group in groups for score in group) / samples - mean**2
    if variance < 1e-12:
        return len(groups)
    error = clustered_error(groups)
    return min(float(samples), max(float(len(groups)), variance / error**2)) if error else float(samples)


def accuracy_interval(groups: Sequence[Sequence[float]]) -> Interval:
    """The 95 % Wilson interval of the mean score, computed with the effective number of trials."""
    samples = sum(len(group) for group in groups)
    trials = effective_trials(groups)
    return wilson(trials * sum(map(sum, groups)) / samples, trials) if samples else (0.0, 1.0)


def fraction_interval(groups: Sequence[Sequence[float]]) -> Interval:
    """The 95 % Wilson interval of the mean of scores between 0 and 1, which vary less than verdicts do.

    Our choice: as many trials as give a verdict with this mean the measured standard error.
    """
    samples, error = sum(map(len, groups)), clustered_error(groups)
    mean = sum(map(sum, groups)) / samples
    trials = mean * (1 - mean) / error**2 if error > _TINY else float(len(groups))
    return wilson(trials * mean, trials)


def clustered_error(groups: Sequence[Sequence[float]]) -> float:
    """The standard error of the mean over all samples, clustered by problem; 0 for a single problem."""
    return quotient_error([sum(group) for group in groups], [len(group) for group in groups])


def quotient_error(above: Sequence[float], below: Sequence[float]) -> float:
    """The standard error of sum(above) / sum(below), problems being independent; 0 for a single problem.

    The large-sample formula for a ratio (Cochran 1977, Sampling Techniques, chapter 6).

    Args:
        above: Numbers of the problems.
        below: Numbers of the same problems; their sum is positive.
    """
    count, total = len(above), sum(below)
    if count < 2:
        return 0.0
    quotient = sum(above) / total
    squares = sum((one - quotient * two) ** 2 for one, two in zip(above, below, strict=True))
    return math.sqrt(squares * count / (count - 1)) / total


def quotient_interval(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """sum(above) / sum(below) with its 95 % interval (normal, over problems); see `quotient_error`."""
    quotient, half = sum(above) / sum(below), Z95 * quotient_error(above, below)
    return quotient, quotient - half, quotient + half


def mean_interval(groups: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """The mean over all samples with its 95 % interval (normal, clustered by problem)."""
    return quotient_interval([sum(group) for group in groups], [len(group) for group in groups])


def bootstrap_interval(
    columns: Sequence[Sequence[float]], statistic: Callable[..., Any]
) -> tuple[float, float] | tuple[None, None]:
    """The 95 % bootstrap interval of a statistic of column sums, over problems (see `bootstrap`).

    None instead of an interval without width: problems that are all equal give no information about their spread.
    """
    low, high = bootstrap(columns, statistic)
    return (low, high) if low < high else (None, None)


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The unbiased estimate of the chance that at least one of k samples is correct (Chen et al. 2021, eq. 1).

    Args:
        samples: Number of samples drawn for the problem.
        correct: Number of them that are correct.
        k: Number of samples in question.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k must be between 1 and the {samples} samples drawn; got {k}")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def mean_pass_at_k(groups: Sequence[Sequence[float]], k: int) -> float:
    """`pass_at_k` averaged over problems."""
    return fmean(pass_at_k(len(group), int(sum(group)), k) for group in groups)


def majority(answers: Sequence[str | None], scores: Sequence[float]) -> float:
    """The score of the most frequent answer. A tie goes to the answer given first; a missing answer has no vote."""
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return 0.0
    winner = max(votes, key=lambda answer: votes[answer])
    return scores[list(answers).index(winner)]


def mcnemar(pairs: Sequence[tuple[float, float]]) -> float:
    """The exact two-sided McNemar p-value of paired scores, one pair for each problem.

    With several samples a problem, a pair is the problem's mean scores, and this is the exact sign test on them.
    """
    wins = sum(one > two for one, two in pairs)
    losses = sum(one < two for one, two in pairs)
    total, fewer = wins + losses, min(wins, losses)
    if total == 0:
        return 1.0
    tail = sum(math.comb(total, count) for count in range(fewer + 1))
    return min(1.0, 2 * tail / 2**total)


def difference_interval(groups: Sequence[Sequence[float]]) -> Interval:
    """The 95 % score interval of a paired difference of accuracies (Tango 1998, Statistics in Medicine 17:891).

    It keeps a width where a bootstrap has none: 20 pairs without a changed verdict give ± 16 points. Several samples a
    problem enter as their effective number of trials.

    Args:
        groups: The differences (-1, 0 or 1) of each problem's pairs of samples, one list for each problem.
    """
    samples = sum(len(group) for group in groups)
    if not samples:
        return -1.0, 1.0
    trials = effective_trials(groups)
    gains = trials * sum(score > 0 for group in groups for score in group) / samples
    losses = trials * sum(score < 0 for group in groups for score in group) / samples
    return -_tango_upper(losses, gains, trials), _tango_upper(gains, losses, trials)


def _tango_upper(gains: float, losses: float, trials: float) -> float:
    """The difference whose score statistic is -z: the upper end of the interval of (gains - losses) / trials."""

    def above(difference: float) -> bool:
        linear = (2 * trials + losses - gains) * difference - gains - losses
        root = math.sqrt(linear**2 + 8 * trials * losses * difference * (1 - difference))
        loss_rate = (root - linear) / (4 * trials)
        variance = trials * max(0.0, 2 * loss_rate + difference * (1 - difference))
        return gains - losses - trials * difference < -Z95 * math.sqrt(variance)

    return _first(above, (gains - losses) / trials)


def _first(condition: Callable[[float], bool], low: float) -> float:
    """The smallest value between `low` and 1 at which a condition becomes true, and stays so; 1 if it never does."""
    high = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if condition(middle) else (middle, high)
    return high


def can_differ(problems: int) -> bool:
    """Whether `mcnemar` can fall below 5 % at all: five problems that all change the same way give 0.0625."""
    return mcnemar([(1.0, 0.0)] * problems) < _TEST_LEVEL


def smallest_difference(discordant: float, trials: float) -> float | None:
    """The smallest true difference that McNemar's test (5 % level) detects with 80 % power; None if there is none.

    Connor 1987 (Biometrics 43:207), the equation for the number of pairs, solved for the difference: a normal
    approximation, too small for few pairs. A difference needs at least as many discordant pairs, so 0 gives the bound
    for two runs whose discordance is unknown.

    Args:
        discordant: Share of the pairs in which only one run is correct.
        trials: Number of independent pairs.
    """

    def found(difference: float) -> bool:
        share = max(discordant, difference)
        needed = Z95 * math.sqrt(share) + _Z80 * math.sqrt(share - difference**2)
        return math.sqrt(trials) * difference >= needed

    return _first(found, 0.0) if found(1.0) else None
