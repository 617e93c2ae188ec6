"""Which rollouts are compared with each other, and on which scale: filters and divisors of advantages.

The differences themselves are left to `advantages` and `baselines`, choosing one for an objective to `chrpo.credit`.

>>> keep_best(np.array([1.0, 1.0, 0.0]), np.array([9.0, 5.0, 2.0]), np.zeros(3, int), share=2 / 3).tolist()
[False, True, True]
"""

import math
from typing import Literal

import numpy as np

from chrpo.errors import DataError

from .outcome import Bools, Floats, Ints

Scale = Literal["none", "group", "batch"]
KeepBy = Literal["length", "efficiency"]
EPSILON = 1e-4


def keep_best(rewards: Floats, tokens: Floats, group: Ints, *, share: float, by: KeepBy = "length") -> Bools:
    """True for the rollouts of each group that are kept, [rollouts].

    Kept are the `ceil(share x number)` best of each group: the shortest ("length"), or those with the largest reward
    per token ("efficiency"), and of those the shorter ones. Rollouts that equal the last one are kept, too, because a
    choice among them would depend on their order. Source: GFPO (Shrivastava et al. 2025, arXiv 2508.09726): sample
    more, and learn from the k best alone. The authors keep the 8 shortest of 24, or the 8 most efficient of 16.

    Args:
        rewards: Reward of each rollout, [rollouts].
        tokens: Number of tokens of each rollout, above 0, [rollouts].
        group: Group of each rollout, [rollouts].
        share: Share of each group that is kept, in (0, 1].
        by: What makes a rollout better.

    Raises:
        DataError: `share` is outside (0, 1].
    """
    if not 0 < share <= 1:
        raise DataError(f"keep_share must be in (0, 1], such as 0.33 for a third of the rollouts; got {share:g}")
    best = np.zeros(len(rewards)) if by == "length" else -rewards / tokens
    order = np.lexsort((tokens, best, group))
    _, start, sizes = np.unique(group[order], return_index=True, return_counts=True)
    # Rounded first, because .3 x 10 is slightly more than 3 in binary.
    last = start + np.array([math.ceil(round(share * size, 9)) for size in sizes.tolist()], dtype=np.int64) - 1
    limit = np.repeat(order[last], sizes)
    kept = np.empty(len(order), bool)
    kept[order] = (np.arange(len(order)) <= np.repeat(last, sizes)) | (
        (best[order] == best[limit]) & (tokens[order] == tokens[limit])
    )
    return kept


def without_others(group: Ints, kept: Bools) -> Ints:
    """The groups, with a group of its own for each rollout that is not kept: compared with nothing, it teaches nothing.

    Args:
        group: Group of each rollout, [rollouts].
        kept: True for rollouts that stay in their group, [rollouts].
    """
    first = int(group.max(initial=-1)) + 1
    return np.where(kept, group, first + np.arange(len(group)))


def centred_rewards(rewards: Floats, group: Ints) -> Floats:
    """Each reward minus the mean of its group, [rollouts]."""
    _, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    low = np.full(len(sizes), np.inf)
    np.minimum.at(low, index, rewards)
    # Differences to the smallest reward are exactly 0 for equal rewards; differences to a rounded mean are not.
    above = rewards - low[index]
    return above - (np.bincount(index, above, len(sizes)) / sizes)[index]


def group_deviation(rewards: Floats, group: Ints) -> Floats:
    """Standard deviation of the rewards of each rollout's group, divided by n - 1; 0 for a group of one, [rollouts]."""
    _, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    squares = np.bincount(index, centred_rewards(rewards, index) ** 2, len(sizes))
    return np.sqrt(squares / np.maximum(sizes - 1, 1))[index]


def batch_deviation(advantages: Floats, no_signal: Bools) -> float:
    """Root mean square of the advantages of all rollouts with signal; 0 if there are none.

    Source: DLER (Liu et al. 2025, arXiv 2510.15110) and REINFORCE++ (Hu et al. 2025, arXiv 2501.03262): one divisor for
    the whole batch instead of one for each prompt, whose few rewards estimate a deviation badly. Our choice: their mean
    is not subtracted, because it would push groups without signal; these do not count, as DLER discards them.

    Args:
        advantages: Advantage of each rollout, [rollouts].
        no_signal: True for rollouts without signal, [rollouts].
    """
    signal = advantages[~no_signal]
    return float(np.sqrt((signal**2).mean())) if len(signal) else 0.0
