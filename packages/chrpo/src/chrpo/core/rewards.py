"""Two hierarchical rewards behind one protocol.

Both keep three tiers apart for every sample: a format failure earns less than any wrong answer, a wrong answer less
than any right one. What the dual price is, and what the rewards are compared with, is left to `constraint` and
`advantages`.

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
    """Rewards of a batch, each [rollouts]: `main` for the whole rollout, `control` for its first token only."""

    main: Floats
    control: Floats


class Reward(Protocol):
    """Anything that turns facts and the dual price of their group into rewards."""

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Judge a batch; `price` is lambda of each rollout's constraint group, a number or [rollouts]."""
        ...


def exchange_rate_points(spread: float, gap: float = 2.0) -> float:
    """Accuracy, in points, that a bonus on right answers can buy.

    A ratio that loses eps of its accuracy can still win if and only if `spread >= gap * eps / (1 - eps)`: a hidden
    bonus is an accuracy price. Ours, from the expected reward at accuracy 1 against 1 - eps.

    Args:
        spread: largest minus smallest reward of a right answer.
        gap: smallest reward of a right answer minus that of a wrong one.

    >>> round(exchange_rate_points(0.0408), 2)
    2.0
    """
    if spread < 0 or gap <= 0:
        raise DataError(f"expected spread >= 0 and gap > 0; got {spread:g} and {gap:g}")
    return 100 * spread / (spread + gap)


@dataclass(frozen=True)
class ConstrainedReward:
    """Savings on right answers, priced by the dual of the accuracy constraint.

    R = a (lambda + s) / (1 + lambda), with s = 1 - clip(cost, 0, 1); a wrong answer earns 0 at any length. It is the
    Lagrangian of "least cost at accuracy >= floor", gated by correctness. Our choice: gated, because with
    a (lambda - cost) a small lambda makes wrong answers the better ones; divided by 1 + lambda, because then rewards
    stay in [0, 1].

    A user who asked for a ratio wants that ratio: fixed rollouts pay only for what exceeds it.

    Args:
        format_failure: reward of a format failure; below 0, which is what any wrong answer earns.
        margin: added to lambda. Our choice: above 0, because otherwise a right answer of full length would earn no more
            than a wrong one while the dual rests at 0.
        budget: cost below which saving more is not paid, in [0, 1]; `BudgetSchedule` lowers it.
        mode: False leaves out what pays for choosing a small ratio: a chosen ratio is judged like one asked for. Our
            reading, for a reward without a mode term of its own, of the paper's ablation.
    """

    format_failure: float = -0.5
    margin: float = 0.01
    budget: float = 0.0
    mode: bool = True

    def __post_init__(self) -> None:
        if not -math.inf < self.format_failure < 0:
            raise DataError(f"format_failure must be below 0, as a wrong answer earns 0; got {self.format_failure:g}")
        if not 0 < self.margin < math.inf:
            raise DataError(
                f"margin must be above 0 and finite, or long right answers tie with wrong ones; got {self.margin:g}"
            )
        if not 0 <= self.budget <= 1:
            raise DataError(f"budget must be in [0, 1], a share of the reference; got {self.budget:g}")

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Judge a batch; a DataError says that a price is negative or infinite, or not one for each rollout or all."""
        prices = np.asarray(price, float)
        if prices.shape not in {(), (len(outcomes),)}:
            raise DataError(f"price needs shape [] or [{len(outcomes)}], one for each rollout; got {prices.shape}")
        if not 0 <= prices.min(initial=0) <= prices.max(initial=0) < math.inf:
            wrong = prices[~(np.isfinite(prices) & (prices >= 0))][0]
            raise DataError(f"a dual price must be finite and not negative; got {wrong:g}")
        spent = np.maximum(outcomes.realised_ratio - outcomes.asked_ratio, 0)
        if self.mode:
            spent = np.where(outcomes.policy, np.maximum(outcomes.cost, self.budget), spent)
        savings = 1 - np.minimum(spent, 1)
        weight = prices + self.margin
        right = (weight + savings) / (weight + 1)
        main = np.where(outcomes.format_ok, right * outcomes.correct.astype(float), self.format_failure)
        return Rewards(main, np.zeros(len(outcomes)))


@dataclass(frozen=True)
class PaperReward:
    """The components that the paper names (arXiv 2602.08324), added up; it ignores the dual price.

    Known from the paper: accuracy, a Huber calibration of the realised ratio to the ratio asked that is not negative
    if and only if they are within `tolerance`, an asymmetric mode term of r_c against r* in which thinking too little
    costs more than too much after an error, a cap on the pay for progress, recovery upwards when no ratio passes,
    an integrity term, and a second reward on the control token alone. The coefficients are unpublished, so every
    number is our choice, made so that the tiers hold with room to spare.

    Args:
        calibration: weight of the calibration term; it counts on right answers only.
        tolerance: |r^ - r_c| at which calibration changes sign, and from which it grows linearly.
        progress: pay per ratio below r* (eta), on right answers.
        progress_cap: the most that progress pays (kappa).
        over_right: price per ratio above r*, right answer.
        under_wrong: price per ratio below r*, wrong answer; above `over_wrong`.
        over_wrong: price per ratio above r*, wrong answer.
        recovery: price per ratio below 1 after an error where no ratio passes.
        integrity: price of failing every integrity check.
        format_failure: reward of a format failure, with nothing else added.
        control: weight of the mode term as reward of the control token alone.
        mode: False leaves the mode term out, as in the paper's ablation.
    """

    calibration: float = 0.1
    tolerance: float = 0.1
    progress: float = 1.0
    progress_cap: float = 0.5
    over_right: float = 0.3
    under_wrong: float = 0.3
    over_wrong: float = 0.1
    recovery: float = 0.3
    integrity: float = 0.1
    format_failure: float = -1.5
    control: float = 1.0
    mode: bool = True

    def __post_init__(self) -> None:
        if not self.under_wrong > self.over_wrong:
            raise DataError(
                f"under_wrong ({self.under_wrong:g}) must exceed over_wrong ({self.over_wrong:g}): after an error, "
                "thinking too little is the worse mistake"
            )
        negative = [
            name for name, value in vars(self).items() if name != "format_failure" and not 0 <= value < math.inf
        ]
        if negative or self.tolerance == 0:
            raise DataError(f"{', '.join(negative) or 'tolerance'} must be positive; a sign would turn a rule round")
        worst_wrong = -1 - max(self.under_wrong, self.over_wrong, self.recovery) - self.integrity
        worst_right = 1 - self.calibration - self.over_right - self.integrity
        if not self.format_failure < worst_wrong:
            raise DataError(f"format_failure {self.format_failure:g} must be below the worst error, {worst_wrong:g}")
        if not worst_right > -1:
            raise DataError(f"the worst right answer earns {worst_right:g}, no more than a wrong one; lower its prices")

    @property
    def spread(self) -> float:
        """Largest minus smallest reward of a right answer, for `exchange_rate_points`."""
        mode = self.mode * (min(self.progress_cap, self.progress) + self.over_right)
        return 2 * self.calibration + mode + self.integrity

    def __call__(self, outcomes: Outcomes, price: float | Floats = 0.0) -> Rewards:
        """Judge a batch."""
        right = outcomes.correct
        mode = self.mode * self._mode(outcomes)
        calibration = np.where(right, self.calibration * self._calibration(outcomes), 0)
        judged = np.where(right, 1.0, -1.0) + calibration + mode - self.integrity * outcomes.integrity
        main = np.where(outcomes.format_ok, judged, self.format_failure)
        return Rewards(main, np.where(outcomes.format_ok, self.control * mode, 0.0))

    def _calibration(self, outcomes: Outcomes) -> Floats:
        def huber(error: Floats) -> Floats:
            return np.where(error <= self.tolerance, error**2 / 2, self.tolerance * (error - self.tolerance / 2))

        error = np.abs(outcomes.realised_ratio - outcomes.asked_ratio)
        scaled = 1 - huber(error) / (self.tolerance**2 / 2)
        return np.clip(np.where(np.isclose(error, self.tolerance), 0, scaled), -1, 1)

    def _mode(self, outcomes: Outcomes) -> Floats:
        known = ~np.isnan(outcomes.teacher_ratio)
        distance = np.where(known, outcomes.asked_ratio - outcomes.teacher_ratio, 0)
        over, under = np.maximum(distance, 0), np.maximum(-distance, 0)
        right = np.minimum(self.progress_cap, self.progress * under) - self.over_right * over
        wrong = -self.under_wrong * under - self.over_wrong * over
        lost = np.where(outcomes.correct, 0, -self.recovery * (1 - outcomes.asked_ratio))
        return np.where(known, np.where(outcomes.correct, right, wrong), lost)
