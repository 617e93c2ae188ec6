"""What others optimise, on the same facts, so that a comparison differs in the objective alone.

Plain GRPO (Shao et al. 2024), GRPO with a length penalty (L1: Aggarwal & Welleck 2025), DeGRPO (Thinkless: Fang et al.
2025), the shortest right answer as target (ShorterBetter: Yi et al. 2025). The rewards fit the protocol of `rewards`;
none knows a price, and not all keep the tiers apart: that is theirs.

    reward = LengthPenalty(weight=0.3)(outcomes).main
    group_advantages(reward, prompt)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from chrpo.errors import DataError

from .outcome import Floats, Ints, Outcomes, whole_numbers
from .rewards import Rewards

_EPSILON = 1e-4


@dataclass(frozen=True)
class CorrectnessReward:
    """Plain GRPO: 1 for a right answer in good format, 0 for all else."""

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Judge a batch."""
        return _only_main(_right(outcomes))


@dataclass(frozen=True)
class LengthPenalty:
    """L1's length rewards (LCPO), in shares of the reference instead of tokens.

    exact: R = a - weight |n - budget|; a short wrong answer can outrank a long right one.
    at most: R = a clip(weight (budget - n) + offset, 0, 1).
    Here n is the cost where the model chooses and the realised ratio where the user asked for one; the budget is the
    ratio asked for, and 0 where nobody asked (our choice: then exact is the usual linear length penalty).

    Args:
        weight: alpha; L1 has .0003 per token, which is .3 for a reference of 1000 tokens.
        at_most: LCPO-Max instead of LCPO-Exact.
        offset: delta of LCPO-Max.
    """

    weight: float = 0.3
    at_most: bool = False
    offset: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.weight < math.inf and 0 <= self.offset <= 1):
            raise DataError(
                f"expected a finite weight >= 0 and offset in [0, 1]; got {self.weight:g} and {self.offset:g}"
            )

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Judge a batch."""
        used = np.where(outcomes.policy, outcomes.cost, outcomes.realised_ratio)
        over = used - np.where(outcomes.policy, 0.0, outcomes.asked_ratio)
        if self.at_most:
            return _only_main(_right(outcomes) * np.clip(self.offset - self.weight * over, 0, 1))
        return _only_main(_right(outcomes) - self.weight * np.abs(over))


@dataclass(frozen=True)
class DeGRPO:
    """Thinkless' reward: right and short 1, right and long .5, wrong -1; our choice: a line between, for a ladder.

    Args:
        long: reward of a right answer at ratio 1.
        shortest: the ratio that earns 1.
    """

    long: float = 0.5
    shortest: float = 0.2

    def __post_init__(self) -> None:
        if not -1 < self.long <= 1 or not 0 <= self.shortest < 1:
            raise DataError(f"expected long in (-1, 1], shortest in [0, 1); got {self.long:g} and {self.shortest:g}")

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Judge a batch."""
        share = np.clip((outcomes.asked_ratio - self.shortest) / (1 - self.shortest), 0, 1)
        return _only_main(np.where(_right(outcomes) > 0, 1 - (1 - self.long) * share, -1.0))


@dataclass(frozen=True)
class ShortestCorrect:
    """ShorterBetter: the shortest right answer of a prompt is the target length of all its answers.

    R = a - weight |n - target|; without a right answer the target is their mean length. n is the cost, that is, a share
    of the reference instead of tokens (our choice, so that one weight suits every prompt).

    Args:
        weight: beta / alpha; the authors have .001 / 2 per token, which is .5 for a reference of 1000 tokens.
    """

    weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise DataError(f"expected a finite weight >= 0; got {self.weight:g}")

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Judge a batch."""
        right = _right(outcomes)
        _, index, sizes = np.unique(outcomes.prompt, return_inverse=True, return_counts=True)
        shortest = np.full(len(sizes), np.inf)
        np.minimum.at(shortest, index, np.where(right > 0, outcomes.cost, np.inf))
        mean = np.bincount(index, outcomes.cost, len(sizes)) / sizes
        target = np.where(np.isfinite(shortest), shortest, mean)
        return _only_main(right - self.weight * np.abs(outcomes.cost - target[index]))


def _right(outcomes: Outcomes) -> Floats:
    return (outcomes.format_ok & outcomes.correct).astype(float)


def _only_main(values: Floats) -> Rewards:
    return Rewards(values, np.zeros_like(values))


def group_advantages(rewards: Sequence[float] | Floats, group: Sequence[int] | Ints, *, scale: bool = True) -> Floats:
    """GRPO: reward minus the mean of its group, over the group's standard deviation, [rollouts].

    Args:
        rewards: [rollouts].
        group: [rollouts], any whole numbers; rollouts of one prompt share a number.
        scale: False leaves the deviation out, as Thinkless does.

    >>> group_advantages([1.0, 0.0, 5.0], [0, 0, 1], scale=False).tolist()
    [0.5, -0.5, 0.0]
    """
    values = np.asarray(rewards, float)
    _, index, sizes = np.unique(whole_numbers("group", group), return_inverse=True, return_counts=True)
    if index.shape != values.shape:
        raise DataError(f"rewards and group need one shape; got {values.shape} and {index.shape}")
    low = np.full(len(sizes), np.inf)
    np.minimum.at(low, index, values)
    above = values - low[index]  # exactly 0 in a group whose rewards are equal, which a rounded mean would not give
    centred = above - (np.bincount(index, above, len(sizes)) / sizes)[index]
    if not scale:
        return centred
    spread = np.sqrt(np.bincount(index, centred**2, len(sizes)) / np.maximum(sizes - 1, 1))
    return centred / (spread[index] + _EPSILON)


def degrpo_loss(
    log_probs: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, control_weight: float = 1e-3
) -> torch.Tensor:
    """Thinkless' decoupled loss: alpha x mean over first tokens + mean over all later tokens.

    Args:
        log_probs: of the tokens that were taken, [rollouts, tokens]; the control token is the first.
        advantages: [rollouts].
        mask: [rollouts, tokens], True on tokens that count.
        control_weight: alpha.
    """
    if log_probs.shape != mask.shape or advantages.shape != log_probs.shape[:1]:
        shapes = tuple(log_probs.shape), tuple(advantages.shape), tuple(mask.shape)
        raise DataError(f"expected shapes [rollouts, tokens], [rollouts], [rollouts, tokens]; got {shapes}")
    weighted = -(advantages.detach()[:, None] * log_probs) * mask
    later = mask[:, 1:].sum().clamp(min=1)
    return control_weight * weighted[:, 0].mean() + weighted[:, 1:].sum() / later
