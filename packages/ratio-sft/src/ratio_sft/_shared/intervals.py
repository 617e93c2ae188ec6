# copied from packages/_shared/intervals.py; edit it there
"""Intervals of measured shares and means: Wilson's for proportions, the percentile bootstrap for any statistic.

What is a trial, and which rows vary together, is decided by the callers.

    wilson(27, 40)                          # (0.520..., 0.799...)
    bootstrap([[3.0, 1.0, 2.0], [4.0, 4.0, 4.0]], ratio, seed=0)
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Z95 = 1.959963984540054
_RESAMPLES = 5000
_DRAWS_AT_ONCE = 2_000_000

Sums: TypeAlias = "NDArray[np.float64]"
Interval = tuple[float, float]


def wilson(successes: float, trials: float, z: float = Z95) -> Interval:
    """Wilson's score interval of a proportion; (0, 1) without trials.

    Args:
        successes: Number of trials that succeeded; a fraction for weighted trials.
        trials: Number of trials.
        z: Quantile of the normal distribution; the default gives 95 %, two-sided.
    """
    if trials <= 0:
        return 0.0, 1.0
    rate, z2 = successes / trials, z**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == trials else min(1.0, centre + half)


def bootstrap(
    columns: Sequence[Sequence[float]],
    statistic: Callable[..., Sums],
    *,
    seed: int = 0,
    resamples: int = _RESAMPLES,
) -> Interval:
    """The 95 % percentile interval of a statistic of column sums, whole problems being drawn with replacement.

    Args:
        columns: Totals of each problem, one column for each argument of `statistic`, `[column][problem]`.
        statistic: A function of the columns' sums, such as `ratio`; each argument and the result is `[draws]`.
        seed: Random seed of the draws.
        resamples: Number of draws.

    Returns:
        The interval, or (NaN, NaN) if the statistic is never finite or there is only one problem to draw.
    """
    import numpy as np

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
    import numpy as np

    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)
