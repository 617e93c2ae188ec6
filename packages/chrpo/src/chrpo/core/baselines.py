"""Objectives of other authors on the same outcomes, so that a comparison differs in the objective alone.

Plain GRPO (Shao et al. 2024), GRPO with a length penalty (L1: Aggarwal & Welleck 2025), DeGRPO (Thinkless: Fang et al.
2025) and the shortest correct answer as target (ShorterBetter: Yi et al. 2025). The rewards fit the protocol of
`rewards`; all ignore the price, and some let a short incorrect answer earn more than a long correct one, as published.

    reward = LengthPenalty(weight=0.3)(outcomes).main
    group_advantages(reward, outcomes.prompt)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chrpo.errors import DataError

from .outcome import Floats, Ints, Outcomes, whole_numbers
from .rewards import Rewards

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = 1e-4


@dataclass(frozen=True)
class CorrectnessReward:
    """Plain GRPO: 1 for a correct answer in the right format, 0 otherwise."""

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch; the price is ignored."""
        return _only_main(_correct(outcomes))


@dataclass(frozen=True)
class LengthPenalty:
    """L1's length rewards (LCPO), with lengths as shares of the reference.

    LCPO-Exact: R = a - weight |n - budget|; a short incorrect answer can earn more than a long correct one.
    LCPO-Max: R = a clip(weight (budget - n) + offset, 0, 1).
    Where the model chooses the ratio, n is the cost and the budget is 0 (our choice: LCPO-Exact is then the usual
    linear length penalty). Where the user requested a ratio, n is the realised ratio and the budget the requested one.

    Args:
        weight: Weight of the length (alpha); L1 has .0003 per token, which is .3 for a reference of 1000 tokens.
        at_most: True for LCPO-Max, False for LCPO-Exact.
        offset: Offset of LCPO-Max (delta).

    Raises:
        DataError: a number is out of its range.
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
        """Reward a batch; the price is ignored."""
        used = np.where(outcomes.policy, outcomes.cost, outcomes.realised_ratio)
        over = used - np.where(outcomes.policy, 0.0, outcomes.requested_ratio)
        if self.at_most:
            return _only_main(_correct(outcomes) * np.clip(self.offset - self.weight * over, 0, 1))
        return _only_main(_correct(outcomes) - self.weight * np.abs(over))


@dataclass(frozen=True)
class DeGRPO:
    """Thinkless' reward: 1 for a short correct answer, .5 for a long correct one, -1 for an incorrect one.

    Our choice: linear between the two, because a ladder has more than two ratios.

    Args:
        long: Reward of a correct answer at ratio 1.
        shortest: Ratio at which a correct answer earns 1.

    Raises:
        DataError: a number is out of its range.
    """

    long: float = 0.5
    shortest: float = 0.2

    def __post_init__(self) -> None:
        if not -1 < self.long <= 1 or not 0 <= self.shortest < 1:
            raise DataError(f"expected long in (-1, 1], shortest in [0, 1); got {self.long:g} and {self.shortest:g}")

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch; the price is ignored."""
        share = np.clip((outcomes.requested_ratio - self.shortest) / (1 - self.shortest), 0, 1)
        return _only_main(np.where(_correct(outcomes) > 0, 1 - (1 - self.long) * share, -1.0))


@dataclass(frozen=True)
class ShortestCorrect:
    """ShorterBetter: the shortest correct answer of a prompt is the target length of all its answers.

    R = a - weight |n - target|; if no answer of the prompt is correct, the target is their mean length. The length n is
    the cost, a share of the reference (our choice, so that one weight suits every prompt).

    Args:
        weight: Weight of the length (beta / alpha); the authors have .001 / 2 per token, which is .5 for a reference of
            1000 tokens.

    Raises:
        DataError: the weight is out of its range.
    """

    weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise DataError(f"expected a finite weight >= 0; got {self.weight:g}")

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch; the price is ignored."""
        correct = _correct(outcomes)
        _, index, sizes = np.unique(outcomes.prompt, return_inverse=True, return_counts=True)
        shortest = np.full(len(sizes), np.inf)
        np.minimum.at(shortest, index, np.where(correct > 0, outcomes.cost, np.inf))
        mean = np.bincount(index, outcomes.cost, len(sizes)) / sizes
        target = np.where(np.isfinite(shortest), shortest, mean)
        return _only_main(correct - self.weight * np.abs(outcomes.cost - target[index]))


def _correct(outcomes: Outcomes) -> Floats:
    return (outcomes.format_ok & outcomes.correct).astype(float)


def _only_main(values: Floats) -> Rewards:
    return Rewards(values, np.zeros_like(values))


def group_advantages(rewards: Sequence[float] | Floats, group: Sequence[int] | Ints, *, scale: bool = True) -> Floats:
    """GRPO's advantages: (reward - mean of the group) / standard deviation of the group, [rollouts].

    Args:
        rewards: Reward of each rollout, [rollouts].
        group: Group of each rollout, [rollouts]; rollouts of one prompt share a whole number.
        scale: False omits the division by the standard deviation, as Thinkless does.

    Raises:
        DataError: the shapes differ, or a group is no whole number.

    >>> group_advantages([1.0, 0.0, 5.0], [0, 0, 1], scale=False).tolist()
    [0.5, -0.5, 0.0]
    """
    values = np.asarray(rewards, float)
    _, index, sizes = np.unique(whole_numbers("group", group), return_inverse=True, return_counts=True)
    if index.shape != values.shape:
        raise DataError(f"rewards and group need one shape; got {values.shape} and {index.shape}")
    low = np.full(len(sizes), np.inf)
    np.minimum.at(low, index, values)
    # Differences to the smallest reward are exactly 0 for equal rewards; differences to a rounded mean are not.
    above = values - low[index]
    centred = above - (np.bincount(index, above, len(sizes)) / sizes)[index]
    if not scale:
        return centred
    spread = np.sqrt(np.bincount(index, centred**2, len(sizes)) / np.maximum(sizes - 1, 1))
    return centred / (spread[index] + _EPSILON)


def degrpo_loss(log_probs: "Tensor", advantages: "Tensor", mask: "Tensor", control_weight: float = 1e-3) -> "Tensor":
    """Thinkless' decoupled loss: alpha x mean over first tokens + mean over all later tokens.

    Args:
        log_probs: Log-probabilities of the tokens that were taken, [rollouts, tokens]; the control token is the first.
        advantages: Advantage of each rollout, [rollouts].
        mask: True on tokens that count, [rollouts, tokens].
        control_weight: Weight of the control tokens (alpha).

    Raises:
        DataError: the shapes do not fit each other.
    """
    if log_probs.shape != mask.shape or advantages.shape != log_probs.shape[:1]:
        shapes = tuple(log_probs.shape), tuple(advantages.shape), tuple(mask.shape)
        raise DataError(f"expected shapes [rollouts, tokens], [rollouts], [rollouts, tokens]; got {shapes}")
    weighted = -(advantages.detach()[:, None] * log_probs) * mask
    later = mask[:, 1:].sum().clamp(min=1)
    return control_weight * weighted[:, 0].mean() + weighted[:, 1:].sum() / later
