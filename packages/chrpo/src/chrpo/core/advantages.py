"""Advantages, split exactly between the choice of a ratio and the answer that follows it.

R - V(q) = [Q(q, c) - V(q)] on the control token + [R - Q(q, c)] on the response. Nothing here divides by a group's
standard deviation, which would scale a small bonus up to the size of a correct answer. Spreading the advantages over
tokens is left to `loss` and the adapters.

Legend: rollouts = prompts x ratios x samples, in any order.

>>> control_advantages([1.0, 0.0, 0.8, 1.0], prompt=[0, 0, 0, 0], ratio=[0, 0, 1, 1], policy=[[0.5, 0.5]]).q.tolist()
[[0.5, 0.9]]
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chrpo.errors import DataError

from .outcome import Bools, Floats, Ints, whole_numbers

MIN_RATIO_PROB = 1e-3
ON_POLICY_WEIGHT = 0.5
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Response:
    """Response advantages and missing signal.

    Args:
        advantages: Advantage of each response, [rollouts].
        no_signal: True for rollouts of a group whose rewards are all equal, [rollouts].
    """

    advantages: Floats
    no_signal: Bools


def leave_one_out(rewards: Sequence[float] | Floats, group: Sequence[int] | Ints) -> Response:
    """Each reward minus the mean of the other rewards of its group, which is unbiased at any group size.

    A group whose rewards are all equal, or that has one rollout, has no signal: its advantages are exactly 0.

    Args:
        rewards: Reward of each rollout, [rollouts].
        group: Group of each rollout, [rollouts]; rollouts of one prompt and ratio share a whole number.

    Raises:
        DataError: the shapes differ, a group is no whole number, or a reward is not finite.

    >>> leave_one_out([1.0, 0.0, 0.5], [0, 0, 1]).advantages.tolist()
    [1.0, -1.0, 0.0]
    """
    values, index = np.asarray(rewards, float), whole_numbers("group", group)
    if index.shape != values.shape:
        raise DataError(f"rewards and group need one shape; got {values.shape} and {index.shape}")
    # Sorting costs more than everything else here and is not needed for small numbers; unsigned, negatives are large.
    if index.size and index.view(np.uint64).max() > 8 * index.size:
        _, index = np.unique(index, return_inverse=True)
    sizes = np.bincount(index).astype(float)
    # Differences to one reward of the group are exactly 0 for equal rewards; differences to a rounded mean are not.
    origin = np.empty(len(sizes))
    origin[index] = values
    beyond = values - origin.take(index)
    mean = np.bincount(index, beyond) / np.maximum(sizes, 1)
    _require_finite(mean, values)
    # Reward - mean of the others = n / (n - 1) x (reward - mean of all).
    advantages = (beyond - mean.take(index)) * (sizes / np.maximum(sizes - 1, 1)).take(index)
    return Response(advantages, (np.bincount(index, np.abs(beyond)) == 0).take(index))


def _require_finite(means: Floats, rewards: Floats) -> None:
    """Check the means, which are fewer than the rewards and finite only if all rewards are."""
    if not np.isfinite(means).all():
        raise DataError(f"rewards must be finite; got {rewards[~np.isfinite(rewards)][:3]}")


@dataclass(frozen=True)
class Control:
    """Control advantages and the means behind them.

    Args:
        advantages: Advantage of each control token, [rollouts].
        q: Mean reward at every ratio, [prompts, ratios].
    """

    advantages: Floats
    q: Floats


def control_advantages(
    rewards: Sequence[float] | Floats,
    *,
    prompt: Sequence[int] | Ints,
    ratio: Sequence[int] | Ints,
    policy: npt.ArrayLike,
    min_ratio_prob: float = MIN_RATIO_PROB,
) -> Control:
    """The advantage of each ratio token, from rollouts at every ratio of the ladder.

    Every ratio of a prompt has the same weight, however many rollouts it has, so the sum of advantage x grad log pi is
    a sum over all actions and not a sample of one. The advantages are centred on the unweighted mean over the ladder;
    their gradient on the ladder's logits is then the advantage itself, without the factor pi, and 0 on every other
    logit: replicator dynamics (NeuRD, Hennes et al. 2020). Our choice, because a softmax policy gradient has the factor
    pi: a saturated policy hardly moves while the price keeps rising, and then cannot recover.

    Args:
        rewards: Reward of each rollout, [rollouts].
        prompt: Index of each rollout's prompt, 0 … prompts - 1, [rollouts].
        ratio: Index of each rollout's ratio in the ladder, 0 … ratios - 1, [rollouts].
        policy: Probability of each ratio, [prompts, ratios].
        min_ratio_prob: Probability below which a ratio is not made less likely, so that no ratio is lost for good.

    Raises:
        DataError: the shapes differ, a prompt has no rollout at some ratio, a number is out of its range, or no policy
            over the ladder can keep `min_ratio_prob`.
    """
    probabilities = np.asarray(policy, float)
    prompts, ratios = probabilities.shape
    if not 0 <= probabilities.min(initial=0) <= probabilities.max(initial=0) <= 1 + _ROUNDING:
        raise DataError(f"policy must be probabilities, in [0, 1] (not their logarithms); got {probabilities[:3]}")
    values, row, index = np.asarray(rewards, float), whole_numbers("prompt", prompt), whole_numbers("ratio", ratio)
    if not values.shape == row.shape == index.shape:
        raise DataError(f"rewards, prompt and ratio need one shape; got {values.shape}, {row.shape} and {index.shape}")
    if not 0 <= min_ratio_prob < 1 / ratios:
        raise DataError(
            f"min_ratio_prob must be in [0, 1 / {ratios}), below the probability of an even choice; got "
            f"{min_ratio_prob:g}"
        )
    try:
        cell = np.ravel_multi_index((row, index), (prompts, ratios))
    except ValueError as error:
        raise DataError(
            f"prompt must be in 0 … {prompts - 1} and ratio in 0 … {ratios - 1}; got {row.min()} … {row.max()} and "
            f"{index.min()} … {index.max()}"
        ) from error
    counts = np.bincount(cell, minlength=prompts * ratios).reshape(prompts, ratios).astype(float)
    if not counts.all():
        raise DataError("every prompt needs at least one rollout at each ratio of the ladder")
    q = np.bincount(cell, values, prompts * ratios).reshape(prompts, ratios) / counts
    _require_finite(q, values)
    per_rollout = counts.sum(axis=1, keepdims=True) / (ratios * counts)
    return Control((logit_advantages(q, probabilities, min_ratio_prob) * per_rollout).take(cell), q)


def logit_advantages(q: Floats, policy: Floats, min_ratio_prob: float = MIN_RATIO_PROB) -> Floats:
    """Q minus its unweighted mean over the ladder, [prompts, ratios], with sum 0; see `control_advantages`.

    A ratio below `min_ratio_prob` that is worse than the mean is left out, and the mean is taken over the others. Our
    choice: if its advantage were only set to 0, the sum would be above 0, and the softmax would take the difference
    from the likeliest ratio.
    """
    # Differences to one of them are exactly 0 for equal rewards; differences to a rounded mean are not.
    beyond = q - q[..., :1]
    if policy.min(initial=1) >= min_ratio_prob:
        return beyond - beyond.sum(axis=-1, keepdims=True) / q.shape[-1]
    below = policy < min_ratio_prob
    part = np.ones(q.shape)
    while True:
        mean = (beyond * part).sum(axis=-1, keepdims=True) / part.sum(axis=-1, keepdims=True)
        advantages = (beyond - mean) * part
        lost = (advantages < 0) & below
        if not lost.any():
            return advantages
        part[lost] = 0


def response_weights(policy: Floats, on_policy_weight: float = ON_POLICY_WEIGHT, counts: Ints | None = None) -> Floats:
    """Weight of each response at each ratio, [prompts, ratios]; its mean over a prompt's rollouts is 1.

    weight(c) = (1 - m + m K pi(c)) x n / (K n_c), where m is `on_policy_weight`, K the number of ratios, n_c the number
    of rollouts at ratio c and n their sum. Rollouts cover every ratio, but the model answers only at those it chooses:
    m = 0 trains every ratio equally, so that none is forgotten; m = 1 is the on-policy gradient.

    Args:
        policy: Probability of each ratio, [prompts, ratios].
        on_policy_weight: Share m of the on-policy weight, in [0, 1].
        counts: Number of rollouts at each ratio, [prompts, ratios]; equal numbers by default.

    Raises:
        DataError: `on_policy_weight` is not in [0, 1].
    """
    if not 0 <= on_policy_weight <= 1:
        raise DataError(f"on_policy_weight must be in [0, 1]; got {on_policy_weight:g}")
    wanted = (1 - on_policy_weight) + on_policy_weight * policy * policy.shape[-1]
    return wanted if counts is None else wanted * counts.mean(axis=-1, keepdims=True) / np.maximum(counts, 1)
