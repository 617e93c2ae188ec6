"""Statistics of graded samples: intervals, k-sample scores, paired tests. Pure functions of numbers.

Samples of one problem are never treated as independent: `groups` are the problems, each a list of its samples' scores.
Reading runs and writing tables are left to other modules.

    wilson(27, 40)                          # (0.520..., 0.799...)
    mcnemar([(True, False), (True, True)])  # 1.0
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959963984540054
_Z80 = 0.8416212335729143
_RESAMPLES = 5000
_DRAWS_AT_ONCE = 2_000_000

Sums = NDArray[np.float64]
Interval = tuple[float, float]


def wilson(successes: float, trials: float) -> Interval:
    """The 95 % Wilson score interval of a proportion; (0, 1) without trials."""
    if trials <= 0:
        return 0.0, 1.0
    rate, z2 = successes / trials, _Z95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == trials else min(1.0, centre + half)


def effective_trials(groups: Sequence[Sequence[float]]) -> float:
    """How many independent trials the samples are worth, between the number of problems and the number of samples.

    Our choice: the variance of a single score over the between-problem variance of the mean (the design effect),
    because it gives the plain intervals for one sample a problem. Scores may also be differences of two runs.
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
    """The 95 % Wilson interval of the mean score, on the effective number of trials."""
    samples = sum(len(group) for group in groups)
    trials = effective_trials(groups)
    return wilson(trials * sum(map(sum, groups)) / samples, trials) if samples else (0.0, 1.0)


def clustered_error(groups: Sequence[Sequence[float]]) -> float:
    """The standard error of the mean over all samples, problems being the independent units; 0 for a single problem."""
    count, samples = len(groups), sum(len(group) for group in groups)
    if count < 2:
        return 0.0
    mean = sum(map(sum, groups)) / samples
    squares = sum((sum(group) - mean * len(group)) ** 2 for group in groups)
    return math.sqrt(squares * count / (count - 1)) / samples


def mean_interval(groups: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """The mean over all samples with its 95 % interval (normal, clustered by problem)."""
    mean = sum(map(sum, groups)) / sum(len(group) for group in groups)
    half = _Z95 * clustered_error(groups)
    return mean, mean - half, mean + half


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The unbiased chance that one of k samples is right, given `correct` of `samples` (Chen et al. 2021, eq. 1)."""
    if not 1 <= k <= samples:
        raise ValueError(f"k must be between 1 and the {samples} samples drawn; got {k}")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def mean_pass_at_k(groups: Sequence[Sequence[float]], k: int) -> float:
    """`pass_at_k` averaged over problems."""
    return fmean(pass_at_k(len(group), int(sum(group)), k) for group in groups)


def majority(answers: Sequence[str | None], scores: Sequence[float]) -> float:
    """The score of the most frequent answer; ties go to the answer given first, and no answer has no vote."""
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return 0.0
    winner = max(votes, key=lambda answer: votes[answer])
    return scores[list(answers).index(winner)]


def mcnemar(pairs: Sequence[tuple[float, float]]) -> float:
    """The exact two-sided McNemar p-value of paired scores, one pair a problem.

    With several samples a problem the pair holds the problem's mean scores, and this is the exact sign test on them.
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

    It keeps its width where a bootstrap has none: with twenty pairs and no flip, ± 16 points. Several samples a
    problem enter as their effective number.

    Args:
        groups: for each problem, the differences (-1, 0 or 1) of its pairs of samples.
    """
    samples = sum(len(group) for group in groups)
    if not samples:
        return -1.0, 1.0
    trials = effective_trials(groups)
    gains = trials * sum(score > 0 for group in groups for score in group) / samples
    losses = trials * sum(score < 0 for group in groups for score in group) / samples
    return -_tango_upper(losses, gains, trials), _tango_upper(gains, losses, trials)


def _tango_upper(gains: float, losses: float, trials: float) -> float:
    """The difference whose score statistic is -z: the upper end for gains - losses."""

    def above(difference: float) -> bool:
        linear = (2 * trials + losses - gains) * difference - gains - losses
        root = math.sqrt(linear**2 + 8 * trials * losses * difference * (1 - difference))
        loss_rate = (root - linear) / (4 * trials)
        variance = trials * max(0.0, 2 * loss_rate + difference * (1 - difference))
        return gains - losses - trials * difference < -_Z95 * math.sqrt(variance)

    return _first(above, (gains - losses) / trials)


def _first(holds: Callable[[float], bool], low: float) -> float:
    """The smallest value from `low` to 1 for which a condition holds that goes on holding above it; 1 if none is."""
    high = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def can_differ(problems: int) -> bool:
    """Whether `mcnemar` can fall below 5 % at all: five problems that all change the same way give 0.0625."""
    return mcnemar([(1.0, 0.0)] * problems) < 0.05


def smallest_difference(discordant: float, trials: float) -> float | None:
    """The smallest true difference that McNemar's test (5 % level) finds four times in five; None if there is none.

    Connor 1987 (Biometrics 43:207), eq. for the number of pairs, solved for the difference: a normal approximation, too
    small for few pairs. A difference needs at least as many discordant pairs, so 0 gives the bound for two runs of
    which nothing is known.

    Args:
        discordant: share of the pairs right in one run only.
        trials: independent pairs.
    """

    def found(difference: float) -> bool:
        share = max(discordant, difference)
        needed = _Z95 * math.sqrt(share) + _Z80 * math.sqrt(share - difference**2)
        return math.sqrt(trials) * difference >= needed

    return _first(found, 0.0) if found(1.0) else None


def bootstrap(
    columns: Sequence[Sequence[float]],
    statistic: Callable[..., Sums],
    *,
    seed: int = 0,
    resamples: int = _RESAMPLES,
) -> Interval:
    """The 95 % percentile interval of a statistic of column sums, whole problems being drawn with replacement.

    Args:
        columns: per-problem totals, one column for each argument of `statistic`, `[column][problem]`.
        statistic: a function of the columns' sums, such as `ratio`; each argument and the result is `[draws]`.
        seed: of the draws.
        resamples: how many draws.

    Returns:
        the interval, or (NaN, NaN) if the statistic is never finite or there is only one problem to draw.
    """
    totals = np.asarray(columns, dtype=np.float64)
    count = totals.shape[1]
    if count < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    values: list[Sums] = []
    for start in range(0, resamples, step := max(1, _DRAWS_AT_ONCE // count)):
        drawn = generator.integers(0, count, size=(min(step, resamples - start), count))
        values.append(statistic(*(column[drawn].sum(axis=1) for column in totals)))
    flat = np.concatenate(values)
    finite = flat[np.isfinite(flat)]
    if not finite.size:
        return math.nan, math.nan
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def ratio(above: Sums, below: Sums) -> Sums:
    """`above / below`, NaN where nothing is below."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)
