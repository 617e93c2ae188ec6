"""Mean of a figure over seeds, with its 95 % t interval; running the seeds is left to the examples.

>>> mean_over_seeds("accuracy", [0.8, 0.9])["accuracy_high"]
1.4853...
"""

from collections.abc import Sequence
from math import nan, sqrt
from statistics import fmean, stdev
from typing import Any

# 97.5 % quantiles of Student's t; the index is the number of seeds minus 1.
_T = (nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def mean_over_seeds(name: str, values: Sequence[float]) -> dict[str, Any]:
    """The fields `name`, `name_low`, `name_high` (None for one seed) and `name_seeds`."""
    middle = fmean(values)
    half = _T[len(values) - 1] * stdev(values) / sqrt(len(values)) if len(values) > 1 else None
    low, high = (None, None) if half is None else (middle - half, middle + half)
    return {name: middle, f"{name}_low": low, f"{name}_high": high, f"{name}_seeds": list(values)}
