"""Two hierarchical rewards behind one protocol.

Both have three tiers for every sample: a format failure always earns less than an incorrect answer, and an incorrect
answer less than a correct one. The price is set by `constraint`; comparing rewards is left to `advantages`.

    ConstrainedReward()(outcomes, price=0.6).main       # shape [rollouts]
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from chrpo.errors import DataError

from .outcome import Floats, Outcomes


@dataclass(frozen=True)
class Rewards:
    """Rewards of a batch.

    Args:
        main: Reward of each whole rollout, [rollouts].
        control: Additional reward of each control token alone, [rollouts].
    """

    main: Floats
    control: Floats


class Reward(Protocol):
    """Any function from outcomes and prices to rewards."""

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch.

        Args:
            outcomes: Outcomes of the rollouts.
            price: Lambda of each rollout's constraint group, a number or [rollouts].
        """
        ...


def exchange_rate_points(spread: float, gap: float = 2.0) -> float:
    """Accuracy, in points, that a bonus on correct answers can outweigh.

    A ratio that loses the accuracy eps can still earn more in expectation if and only if
    `spread >= gap * eps / (1 - eps)`: a bonus is a hidden price of accuracy. Ours, from the expected rewards at the
    accuracies 1 and 1 - eps.

    Args:
        spread: Largest minus smallest reward of a correct answer.
        gap: Smallest reward of a correct answer minus the reward of an incorrect one.

    Raises:
        DataError: a number is out of its range.

    >>> round(exchange_rate_points(0.0408), 2)
    2.0
    """
    if spread < 0 or gap <= 0:
        raise DataError(f"expected spread >= 0 and gap > 0; got {spread:g} and {gap:g}")
    return 100 * spread / (spread + gap)


@dataclass(frozen=True)
class ConstrainedReward:
    """Savings on correct answers, weighted with the price of accuracy (the Lagrange multiplier lambda).

    R = a (lambda + s) / (1 + lambda), where a is 1 for a correct answer and 0 for an incorrect one, and the savings are
    s = 1 - clip(cost, 0, 1). An incorrect answer earns 0 at any length. This is the Lagrangian of "least cost at
    accuracy >= floor", gated by correctness. Our choice: gated, because with a lambda - cost and a small lambda, short
    incorrect answers earn more than correct ones; divided by 1 + lambda, because rewards then stay in [0, 1].

    A user who requests a ratio wants that ratio, so the cost of such a rollout is only its excess over the ratio.

    Args:
        format_failure: Reward of a format failure; below 0, the reward of an incorrect answer.
        margin: Number added to lambda. Our choice: above 0, because otherwise a correct answer of full length would
            earn as little as an incorrect one while lambda is 0.
        budget: Cost below which further savings earn nothing, in [0, 1]; `BudgetSchedule` lowers it.
        mode: False omits the reward for choosing a small ratio: a chosen ratio is treated like a requested one. Our
            reading of the paper's ablation, for a reward without a mode term of its own.

    Raises:
        DataError: a number is out of its range.
    """

    format_failure: float = -0.5
    margin: float = 0.01
    budget: float = 0.0
    mode: bool = True

    def __post_init__(self) -> None:
        if not -math.inf < self.format_failure < 0:
            raise DataError(
                f"format_failure must be below 0, because an incorrect answer earns 0; got {self.format_failure:g}"
            )
        if not 0 < self.margin < math.inf:
            raise DataError(
                "margin must be above 0 and finite, or long correct answers tie with incorrect ones; got "
                f"{self.margin:g}"
            )
        if not 0 <= self.budget <= 1:
            raise DataError(f"budget must be in [0, 1], a share of the reference; got {self.budget:g}")

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch.

        Args:
            outcomes: Outcomes of the rollouts.
            price: Lambda of each rollout's constraint group, a number or [rollouts].

        Raises:
            DataError: a price is negative or not finite, or the shape is another one.
        """
        prices = np.asarray(price, float)
        if prices.shape not in {(), (len(outcomes),)}:
            raise DataError(f"price needs shape [] or [{len(outcomes)}], one for each rollout; got {prices.shape}")
        if not 0 <= prices.min(initial=0) <= prices.max(initial=0) < math.inf:
            refused = prices[~(np.isfinite(prices) & (prices >= 0))][0]
            raise DataError(f"a price must be finite and not negative; got {refused:g}")
        spent = np.maximum(outcomes.realised_ratio - outcomes.requested_ratio, 0)
        if self.mode:
            spent = np.where(outcomes.policy, np.maximum(outcomes.cost, self.budget), spent)
        savings = 1 - np.minimum(spent, 1)
        weight = prices + self.margin
        earned = (weight + savings) / (weight + 1)
        main = np.where(outcomes.format_ok, earned * outcomes.correct.astype(float), self.format_failure)
        return Rewards(main, np.zeros(len(outcomes)))


@dataclass(frozen=True)
class PaperReward:
    """Sum of the components that the paper names (arXiv 2602.08324); the price is ignored.

    Known from the paper: accuracy; a Huber calibration of the realised to the requested ratio, not negative if and only
    if they differ by at most `tolerance`; an asymmetric mode term of r_c compared with r*, in which too little thinking
    costs more than too much after an error; a cap on the reward for progress; recovery upwards if no ratio passes; an
    integrity term; and a second reward on the control token alone. The coefficients are unpublished, so every number is
    our choice, such that the tiers are far apart.

    Args:
        calibration: Weight of the calibration term, which counts on correct answers only.
        tolerance: Distance |r^ - r_c| at which calibration changes its sign and becomes linear.
        progress: Reward per ratio below r* (eta), on correct answers.
        progress_cap: Largest reward for progress (kappa).
        over_correct: Penalty per ratio above r*, correct answer.
        under_incorrect: Penalty per ratio below r*, incorrect answer; above `over_incorrect`.
        over_incorrect: Penalty per ratio above r*, incorrect answer.
        recovery: Penalty per ratio below 1 after an error where no ratio passes.
        integrity: Penalty if every integrity check fails.
        format_failure: Reward of a format failure; nothing else is added to it.
        control: Weight of the mode term as reward of the control token alone.
        mode: False omits the mode term, as in the paper's ablation.

    Raises:
        DataError: the numbers break an inequality of the paper, or mix up the tiers.
    """

    calibration: float = 0.1
    tolerance: float = 0.1
    progress: float = 1.0
    progress_cap: float = 0.5
    over_correct: float = 0.3
    under_incorrect: float = 0.3
    over_incorrect: float = 0.1
    recovery: float = 0.3
    integrity: float = 0.1
    format_failure: float = -1.5
    control: float = 1.0
    mode: bool = True

    def __post_init__(self) -> None:
        if not self.under_incorrect > self.over_incorrect:
            raise DataError(
                f"under_incorrect ({self.under_incorrect:g}) must exceed over_incorrect ({self.over_incorrect:g}): "
                "after an error, too little thinking must cost more than too much"
            )
        negative = [
            name for name, value in vars(self).items() if name != "format_failure" and not 0 <= value < math.inf
        ]
        if negative or self.tolerance == 0:
            raise DataError(
                f"{', '.join(negative) or 'tolerance'} must be positive; a negative number would reverse a rule"
            )
        worst_incorrect = -1 - max(self.under_incorrect, self.over_incorrect, self.recovery) - self.integrity
        worst_correct = 1 - self.calibration - self.over_correct - self.integrity
        if not self.format_failure < worst_incorrect:
            raise DataError(
                f"format_failure {self.format_failure:g} must be below the worst error, {worst_incorrect:g}"
            )
        if not worst_correct > -1:
            raise DataError(
                f"the worst correct answer earns {worst_correct:g}, no more than an incorrect one; lower its penalties"
            )

    @property
    def spread(self) -> float:
        """Largest minus smallest reward of a correct answer, for `exchange_rate_points`."""
        mode = self.mode * (min(self.progress_cap, self.progress) + self.over_correct)
        return 2 * self.calibration + mode + self.integrity

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Reward a batch; the price is ignored."""
        mode = self.mode * self._mode(outcomes)
        calibration = np.where(outcomes.correct, self.calibration * self._calibration(outcomes), 0)
        earned = np.where(outcomes.correct, 1.0, -1.0) + calibration + mode - self.integrity * outcomes.integrity
        main = np.where(outcomes.format_ok, earned, self.format_failure)
        return Rewards(main, np.where(outcomes.format_ok, self.control * mode, 0.0))

    def _calibration(self, outcomes: Outcomes) -> Floats:
        def huber(error: Floats) -> Floats:
            return np.where(error <= self.tolerance, error**2 / 2, self.tolerance * (error - self.tolerance / 2))

        error = np.abs(outcomes.realised_ratio - outcomes.requested_ratio)
        scaled = 1 - huber(error) / (self.tolerance**2 / 2)
        return np.clip(np.where(np.isclose(error, self.tolerance), 0, scaled), -1, 1)

    def _mode(self, outcomes: Outcomes) -> Floats:
        known = ~np.isnan(outcomes.teacher_ratio)
        distance = np.where(known, outcomes.requested_ratio - outcomes.teacher_ratio, 0)
        over, under = np.maximum(distance, 0), np.maximum(-distance, 0)
        correct = np.minimum(self.progress_cap, self.progress * under) - self.over_correct * over
        incorrect = -self.under_incorrect * under - self.over_incorrect * over
        lost = np.where(outcomes.correct, 0, -self.recovery * (1 - outcomes.requested_ratio))
        return np.where(known, np.where(outcomes.correct, correct, incorrect), lost)
