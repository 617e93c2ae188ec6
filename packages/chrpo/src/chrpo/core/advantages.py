"""Advantages: an exact split between the choice of a ratio and the answer that follows it.

R - V(q) = [Q(q, c) - V(q)] on the control token + [R - Q(q, c)] on the response. Nothing here divides by a group's
standard deviation: that would blow a small bonus up to the size of a right answer. Spreading the numbers over tokens is
left to `loss` and the adapters.

Legend: rollouts = prompts x ratios x samples, in any order.

    control_advantages(rewards, prompt=[0, 0, 0, 0], ratio=[0, 0, 1, 1], policy=[[0.5, 0.5]])
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chrpo.errors import DataError

from .outcome import Bools, Floats, Ints, whole_numbers

FLOOR = 1e-3
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Response:
    """Response advantages [rollouts], and which rollouts are in a group without signal [rollouts]."""

    advantages: Floats
    dead: Bools


def leave_one_out(rewards: Sequence[float] | Floats, group: Sequence[int] | Ints) -> Response:
    """Each reward minus the mean of the others in its group: unbiased, whatever the group's size.

    A group whose rewards are all equal, or that has one rollout, has no signal: its advantages are exactly 0.

    Args:
        rewards: [rollouts].
        group: [rollouts], any whole numbers; rollouts with the same number share prompt and ratio.

    Raises:
        DataError: shapes that differ, groups that are no whole numbers, or a reward that is not finite.

    >>> leave_one_out([1.0, 0.0, 0.5], [0, 0, 1]).advantages.tolist()
    [1.0, -1.0, 0.0]
    """
    values, index = np.asarray(rewards, float), whole_numbers("group", group)
    if index.shape != values.shape:
        raise DataError(f"rewards and group need one shape; got {values.shape} and {index.shape}")
    # Numbers that are small already need no sorting, which costs more than all the rest; unsigned, negatives are large.
    if index.size and index.view(np.uint64).max() > 8 * index.size:
        _, index = np.unique(index, return_inverse=True)
    sizes = np.bincount(index).astype(float)
    # Counted from one reward of the group, equal rewards are exactly 0, which their mean is not.
    one = np.empty(len(sizes))
    one[index] = values
    beyond = values - one.take(index)
    mean = np.bincount(index, beyond) / np.maximum(sizes, 1)
    _require_finite(mean, values)
    # Against the mean of the others is n / (n - 1) times as far as against the mean of all.
    advantages = (beyond - mean.take(index)) * (sizes / np.maximum(sizes - 1, 1)).take(index)
    return Response(advantages, (np.bincount(index, np.abs(beyond)) == 0).take(index))


def _require_finite(means: Floats, rewards: Floats) -> None:
    """Fewer than the rewards, their means say as well whether one of them is no number."""
    if not np.isfinite(means).all():
        raise DataError(f"rewards must be finite; got {rewards[~np.isfinite(rewards)][:3]}")


@dataclass(frozen=True)
class Control:
    """Control advantages [rollouts], and the mean reward of every ratio, `q` [prompts, ratios]."""

    advantages: Floats
    q: Floats


def control_advantages(
    rewards: Sequence[float] | Floats,
    *,
    prompt: Sequence[int] | Ints,
    ratio: Sequence[int] | Ints,
    policy: npt.ArrayLike,
    floor: float = FLOOR,
) -> Control:
    """The advantage of each ratio token, from rollouts at every ratio of the ladder.

    Each ratio of a prompt counts alike however often it was rolled out, so the sum of advantage x grad log pi sums over
    all actions instead of sampling one. Centred on the plain mean over the ladder, that gradient on the ladder's logits
    is the advantage itself, without the factor pi, and on every other logit 0: replicator dynamics (NeuRD, Hennes et
    al. 2020). Our choice, because a softmax policy gradient carries the factor pi, saturates while the price winds up
    and cannot come back.

    Args:
        rewards: [rollouts].
        prompt: [rollouts], 0 … prompts - 1.
        ratio: [rollouts], 0 … ratios - 1, the rung of the ladder.
        policy: [prompts, ratios], the model's probability of each ratio.
        floor: a ratio whose probability is below it is not pushed down any further, so that none is lost for good.

    Raises:
        DataError: shapes that differ, a prompt without rollouts at some ratio, a number out of its range, or a floor
            that no policy over the ladder can keep.
    """
    probabilities = np.asarray(policy, float)
    prompts, ratios = probabilities.shape
    if not 0 <= probabilities.min(initial=0) <= probabilities.max(initial=0) <= 1 + _ROUNDING:
        raise DataError(f"policy must be probabilities, in [0, 1] (not their logarithms); got {probabilities[:3]}")
    values, row, rung = np.asarray(rewards, float), whole_numbers("prompt", prompt), whole_numbers("ratio", ratio)
    if not values.shape == row.shape == rung.shape:
        raise DataError(f"rewards, prompt and ratio need one shape; got {values.shape}, {row.shape} and {rung.shape}")
    if not 0 <= floor < 1 / ratios:
        raise DataError(f"floor must be in [0, 1 / {ratios}), below the probability of an even choice; got {floor:g}")
    try:
        cell = np.ravel_multi_index((row, rung), (prompts, ratios))
    except ValueError as error:
        raise DataError(
            f"prompt must be in 0 … {prompts - 1} and ratio in 0 … {ratios - 1}; got {row.min()} … {row.max()} and "
            f"{rung.min()} … {rung.max()}"
        ) from error
    counts = np.bincount(cell, minlength=prompts * ratios).reshape(prompts, ratios).astype(float)
    if not counts.all():
        raise DataError("every prompt needs at least one rollout at each ratio of the ladder")
    q = np.bincount(cell, values, prompts * ratios).reshape(prompts, ratios) / counts
    _require_finite(q, values)
    alike = counts.sum(axis=1, keepdims=True) / (ratios * counts)
    return Control((logit_advantages(q, probabilities, floor) * alike).take(cell), q)


def logit_advantages(q: Floats, policy: Floats, floor: float = FLOOR) -> Floats:
    """Q minus its plain mean over the ladder, [prompts, ratios], summing to 0; see `control_advantages`.

    A ratio below the floor that is worse than the mean takes no part, and the mean is taken over the others. Our
    choice: only zeroing it would leave a sum above 0, which the softmax takes out of the likeliest ratio.
    """
    # Counted from one of them, equal rewards are exactly 0, which their mean is not.
    beyond = q - q[..., :1]
    if policy.min(initial=1) >= floor:
        return beyond - beyond.sum(axis=-1, keepdims=True) / q.shape[-1]
    below = policy < floor
    part = np.ones(q.shape)
    while True:
        mean = (beyond * part).sum(axis=-1, keepdims=True) / part.sum(axis=-1, keepdims=True)
        advantages = (beyond - mean) * part
        lost = (advantages < 0) & below
        if not lost.any():
            return advantages
        part[lost] = 0


def response_weights(policy: Floats, mix: float, counts: Ints | None = None) -> Floats:
    """Weight of each response at each ratio, [prompts, ratios], mean 1 over a prompt's rollouts.

    Rollouts answer at every ratio, the model at those it chooses. 0 trains every ratio alike (no ratio is forgotten), 1
    as often as the model would choose it (the on-policy gradient).

    Args:
        policy: [prompts, ratios].
        mix: between the two, in [0, 1].
        counts: rollouts at each ratio, [prompts, ratios]; equally many by default.
    """
    if not 0 <= mix <= 1:
        raise DataError(f"mix must be in [0, 1]; got {mix:g}")
    wanted = (1 - mix) + mix * policy * policy.shape[-1]
    return wanted if counts is None else wanted * counts.mean(axis=-1, keepdims=True) / np.maximum(counts, 1)
