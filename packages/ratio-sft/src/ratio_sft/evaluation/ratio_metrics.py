"""Metrics of ratio following: error, rank correlation, monotone share. Pure arithmetic.

The realised ratio of a problem is its thinking tokens divided by those of its reference. Which samples are the
reference is decided by `evaluate`.

>>> metrics = ratio_metrics({0.2: [0.21, 0.25], 1.0: [1.0, 0.98]})
>>> round(metrics["spearman"], 3), metrics["monotone_share"]
(0.894, 1.0)
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ratio_sft._shared.intervals import Z95
from ratio_sft._shared.records import Row


def ratio_metrics(realised: Mapping[float, Sequence[float]]) -> Row:
    """Compare requested with realised ratios.

    Args:
        realised: Requested ratio -> realised ratio of each problem; the same problems in the same order for each.

    Returns:
        `conditions`: one entry for each requested ratio (`asked`): its mean realised ratio with a 95 % interval, the
        `error` of that mean (realised - requested), and the mean absolute error over problems. `mean_absolute_error`
        and `spearman` are over all pairs of problem and ratio; `spearman` is None if all realised ratios are equal.
        `monotone_share` is the share of problems whose realised ratio never falls as the requested one rises.
    """
    asked = sorted(realised)
    table = np.array([realised[ratio] for ratio in asked], dtype=float)
    errors = np.abs(table - np.array(asked)[:, None])
    spread = table.std(axis=1, ddof=1) if table.shape[1] > 1 else np.zeros(len(asked))
    half = Z95 * spread / math.sqrt(table.shape[1])
    conditions = [
        {
            "asked": ratio,
            "realised": float(mean),
            "realised_low": float(mean - width),
            "realised_high": float(mean + width),
            "error": float(mean - ratio),
            "mean_absolute_error": float(error),
        }
        for ratio, mean, width, error in zip(asked, table.mean(axis=1), half, errors.mean(axis=1), strict=True)
    ]
    return {
        "conditions": conditions,
        "mean_absolute_error": float(errors.mean()),
        "spearman": spearman(np.repeat(asked, table.shape[1]), table.ravel()),
        "monotone_share": float((np.diff(table, axis=0) >= 0).all(axis=0).mean()),
    }


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> float | None:
    """Spearman's rank correlation; ties get their mean rank. None if one side is constant.

    >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])), 6)
    0.5
    """
    ranks = [_ranks(values) for values in (first, second)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / scale if scale else None


def _ranks(values: NDArray[np.floating]) -> NDArray[np.floating]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place.ravel()]
