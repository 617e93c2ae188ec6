"""Rewards of other authors on the same outcomes, so that a comparison differs in the objective alone.

Plain GRPO (Shao et al. 2024, arXiv 2402.03300), a length penalty (L1: Aggarwal & Welleck 2025, arXiv 2503.04697),
DeGRPO (Thinkless: Fang et al. 2025, arXiv 2505.13379), the shortest correct answer as target (ShorterBetter: Yi et al.
2025, arXiv 2504.21370), a bonus for the shortest mode (AdaptThink: Zhang et al. 2025, arXiv 2505.13417) and a token
budget (LACONIC: Liu et al. 2026, arXiv 2602.14468). The rewards fit the protocol of `rewards`; all ignore the price of
accuracy, and some let a short incorrect answer earn more than a long correct one, as published.

    reward = LengthPenalty(weight=0.3)(outcomes).main
    group_advantages(reward, outcomes.prompt)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from chrpo.errors import DataError

from .comparison import EPSILON, centred_rewards, group_deviation
from .outcome import Floats, Ints, Outcomes, whole_numbers
from .rewards import Rewards

if TYPE_CHECKING:
    from torch import Tensor

LengthUnit = Literal["reference", "token"]


@dataclass(frozen=True)
class CorrectnessReward:
    """Plain GRPO: 1 for a correct answer in the right format, 0 otherwise."""

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch; the price is ignored."""
        return _only_main(_correct(outcomes))


@dataclass(frozen=True)
class LengthPenalty:
    """L1's length rewards (LCPO).

    LCPO-Exact: R = a - weight |n - budget|; a short incorrect answer can earn more than a long correct one.
    LCPO-Max: R = a clip(weight (budget - n) + offset, 0, 1).
    Where the model chooses the ratio, n is the length and the budget is 0 (our choice: LCPO-Exact is then the usual
    linear length penalty). Where the user requested a ratio, n is the realised ratio and the budget the requested one,
    both as shares of the reference.

    Args:
        weight: Weight of the length (alpha); L1 has .0003 per token, which is .3 for a reference of 1000 tokens.
        at_most: True for LCPO-Max, False for LCPO-Exact.
        offset: Offset of LCPO-Max (delta).
        unit: Unit of n where the model chooses: "reference" for the cost, a share of the reference, so that one weight
            suits every prompt; "token" for completion tokens, as published. The numbers of tokens must then be known.

    Raises:
        DataError: a number is out of its range.
    """

    weight: float = 0.3
    at_most: bool = False
    offset: float = 0.5
    unit: LengthUnit = "reference"

    def __post_init__(self) -> None:
        if not (0 <= self.weight < math.inf and 0 <= self.offset <= 1):
            raise DataError(
                f"expected a finite weight >= 0 and offset in [0, 1]; got {self.weight:g} and {self.offset:g}"
            )

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch; the price is ignored."""
        used = np.where(outcomes.policy, _length(outcomes, self.unit), outcomes.realised_ratio)
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

    R = a - weight |n - target|; if no answer of the prompt is correct, the target is their mean length.

    Args:
        weight: Weight of the length (beta / alpha); the authors have .001 / 2 per token, which is .5 for a reference of
            1000 tokens.
        unit: Unit of n: "reference" for the cost, a share of the reference, so that one weight suits every prompt;
            "token" for completion tokens, as published. The numbers of tokens must then be known.

    Raises:
        DataError: the weight is out of its range.
    """

    weight: float = 0.5
    unit: LengthUnit = "reference"

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise DataError(f"expected a finite weight >= 0; got {self.weight:g}")

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch; the price is ignored."""
        correct, length = _correct(outcomes), _length(outcomes, self.unit)
        _, index, sizes = np.unique(outcomes.prompt, return_inverse=True, return_counts=True)
        shortest = np.full(len(sizes), np.inf)
        np.minimum.at(shortest, index, np.where(correct > 0, length, np.inf))
        mean = np.bincount(index, length, len(sizes)) / sizes
        target = np.where(np.isfinite(shortest), shortest, mean)
        return _only_main(correct - self.weight * np.abs(length - target[index]))


@dataclass(frozen=True)
class ShortestRatioBonus:
    """AdaptThink's reward: 1 for a correct answer, plus a bonus for choosing the mode without thinking.

    Our choice: this mode is the smallest ratio of the ladder. The authors compare the reward with the accuracy of the
    frozen model on the same prompt, and not with other rollouts (`Objective.against_reference`): the advantage of the
    shortest mode is then positive, in expectation, while its accuracy is less than `bonus` below the frozen model's.

    Args:
        bonus: Bonus (delta); the authors have .05.
        shortest: Ratio that earns it where the model chose it.

    Raises:
        DataError: a number is out of its range.
    """

    bonus: float = 0.05
    shortest: float = 0.2

    def __post_init__(self) -> None:
        if not (0 <= self.bonus < math.inf and 0 <= self.shortest <= 1):
            raise DataError(
                f"expected a finite bonus >= 0 and shortest in [0, 1]; got {self.bonus:g} and {self.shortest:g}"
            )

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch; the price is ignored."""
        chosen = outcomes.policy & (outcomes.requested_ratio <= self.shortest)
        return _only_main(_correct(outcomes) + self.bonus * chosen)


@dataclass(frozen=True)
class OverBudget:
    """LACONIC's reward: 1 for a correct answer, minus a price for each token beyond a budget.

    R = a - length_price max(0, n / budget - 1), where n is the number of completion tokens. `LengthPrice` moves the
    price, so that the mean length reaches the budget.

    Args:
        budget: Mean number of completion tokens to reach; the authors have 1500 to 3000.
        length_price: Price of the budget's number of tokens.

    Raises:
        DataError: a number is out of its range.
    """

    budget: float = 2000.0
    length_price: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.budget < math.inf and 0 <= self.length_price < math.inf):
            raise DataError(
                "expected a finite token_budget above 0 and a finite price >= 0; got "
                f"{self.budget:g} and {self.length_price:g}"
            )

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch; the price of accuracy is ignored."""
        beyond = np.maximum(outcomes.known_tokens() / self.budget - 1, 0)
        return _only_main(_correct(outcomes) - self.length_price * beyond)


def _length(outcomes: Outcomes, unit: LengthUnit) -> Floats:
    return outcomes.known_tokens() if unit == "token" else outcomes.cost


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
    values, index = np.asarray(rewards, float), whole_numbers("group", group)
    if index.shape != values.shape:
        raise DataError(f"rewards and group need one shape; got {values.shape} and {index.shape}")
    centred = centred_rewards(values, index)
    return centred / (group_deviation(values, index) + EPSILON) if scale else centred


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
