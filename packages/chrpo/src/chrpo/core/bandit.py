"""A contextual bandit of ratios: the choice of a ratio alone, without a language model.

Each context (a kind of problem) has an accuracy at each ratio; the policy chooses a ratio for each context, and the
cost is the ratio. Controller and gradient are those of training, so that gains can be tried before a GPU is used.

>>> savings, price = GOLDEN.optimum()
>>> round(savings, 4), round(price, 4)
(0.3773, 0.6)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chrpo.errors import DataError

from .advantages import MIN_RATIO_PROB, logit_advantages
from .constraint import AccuracyConstraint, Gains
from .outcome import Floats

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Bandit:
    """A problem whose optimum is known exactly.

    Args:
        weights: Frequency of each context, [contexts], with sum 1.
        ratios: Ratios of the ladder, [ratios]; also their costs.
        accuracy: Accuracy of each context at each ratio, [contexts, ratios].
        floor: Accuracy to keep, over all contexts.

    Raises:
        DataError: a shape or a number is out of its range.
    """

    weights: Floats
    ratios: Floats
    accuracy: Floats
    floor: float

    def __post_init__(self) -> None:
        if self.accuracy.shape != (len(self.weights), len(self.ratios)):
            wanted = f"[{len(self.weights)}, {len(self.ratios)}]"
            raise DataError(f"accuracy must have shape {wanted} (contexts, ratios); got {list(self.accuracy.shape)}")
        if np.any(self.ratios <= 0) or np.any(self.ratios > 1) or np.any(np.diff(self.ratios) <= 0):
            raise DataError(f"ratios must rise within (0, 1]; got {self.ratios.tolist()}")
        if np.any(self.weights < 0) or not np.isclose(self.weights.sum(), 1):
            raise DataError(f"weights must not be negative and sum to 1; got {self.weights.tolist()}")
        object.__setattr__(self, "weights", self.weights / self.weights.sum())
        if np.any(self.accuracy < 0) or np.any(self.accuracy > 1) or not 0 <= self.floor <= 1:
            raise DataError("every accuracy, and the floor, must be in [0, 1]")

    @property
    def best_accuracy(self) -> float:
        """The accuracy of the policy that ignores cost."""
        return float(self.weights @ self.accuracy.max(axis=1))

    def optimum(self) -> tuple[float, float] | None:
        """Largest expected savings on correct answers at the floor, and its price; None if the floor is infeasible.

        The dual is min over lambda >= 0 of sum_q w_q max_c p (lambda + 1 - r) - lambda floor. It is convex and
        piecewise linear, so its minimum is at a lambda at which two ratios of a context tie.
        """
        if self.floor > self.best_accuracy + _ROUNDING:
            return None
        gained = self.accuracy * (1 - self.ratios)
        points = {0.0}
        for accuracy, value in zip(self.accuracy, gained, strict=True):
            slope = accuracy[:, None] - accuracy[None, :]
            apart = np.abs(slope) > _ROUNDING
            tie = (value[None, :] - value[:, None])[apart] / slope[apart]
            found: list[float] = tie[tie > 0].tolist()
            points.update(found)
        prices = np.array(sorted(points))
        best = (self.accuracy * prices[:, None, None] + gained).max(axis=2)
        dual: Floats = best @ self.weights - prices * self.floor
        lowest = int(dual.round(12).argmin())
        return float(dual[lowest]), float(prices[lowest])


GOLDEN = Bandit(
    np.full(3, 1 / 3),
    np.array([0.2, 0.4, 0.6, 0.8, 1.0]),
    np.array([[0.95, 0.96, 0.96, 0.97, 0.97], [0.40, 0.70, 0.90, 0.92, 0.92], [0.05, 0.10, 0.30, 0.60, 0.80]]),
    floor=0.8767,
)
NEARLY_FREE = Bandit(
    np.array([0.31, 0.22, 0.47]),
    GOLDEN.ratios,
    np.array([[0.06, 0.07, 0.37, 0.43, 0.50], [0.72, 0.72, 0.73, 0.81, 0.92], [0.23, 0.40, 0.57, 0.62, 0.92]]),
    0.7698,
)
"""In one context the first three ratios are nearly equal; the optimum saves little (.0576)."""
NEARLY_TIED = Bandit(
    np.array([0.27, 0.30, 0.43]),
    GOLDEN.ratios,
    np.array([[0.43, 0.62, 0.71, 0.84, 0.87], [0.40, 0.42, 0.60, 0.66, 0.90], [0.81, 0.82, 0.86, 0.87, 0.90]]),
    0.8719,
)
"""Two ratios of a context are nearly tied; the price oscillates if the gains damp too little."""


@dataclass(frozen=True)
class Simulation:
    """Means over the last tenth of a simulation, because a mixture of two ratios is reached by oscillation.

    Args:
        accuracy: Accuracy of the policy.
        savings: Savings on correct answers.
        price: Lambda.
        policy: Probability of each ratio, [contexts, ratios].
        infeasible: True if the floor was found infeasible.
        trajectory: Accuracy, savings and price at each step, [steps, 3].
    """

    accuracy: float
    savings: float
    price: float
    policy: Floats
    infeasible: bool
    trajectory: Floats


def simulate(bandit: Bandit, steps: int, **options: Any) -> Simulation:
    """Run a policy and its constraint on one bandit; the options are those of `simulate_all`."""
    return simulate_all([bandit], steps, **options)[0]


def simulate_all(
    bandits: Sequence[Bandit],
    steps: int,
    *,
    gains: Gains | None = None,
    step_size: float = 0.1,
    min_ratio_prob: float = MIN_RATIO_PROB,
    rollouts: int | None = None,
    seed: int = 0,
    constrained: bool = True,
    scaled: bool = False,
) -> list[Simulation]:
    """Run a policy and its constraint on each of several bandits of one shape, all at once.

    Args:
        bandits: Problems with equal numbers of contexts and of ratios.
        steps: Number of updates of policy and price.
        gains: Gains of the controller.
        step_size: Learning rate of the policy's logits.
        min_ratio_prob: Probability below which a ratio is not made less likely, see `control_advantages`.
        rollouts: Number of samples per context and ratio at each step; None for exact expectations.
        seed: Random seed of the samples.
        constrained: False keeps the price at 0.
        scaled: Divide the advantages of a step by their root mean square, as AdamW does with a gradient.

    Raises:
        DataError: the bandits have several shapes, there is no step, or an option is out of range.
    """
    _check_options(bandits, steps, step_size, rollouts, seed)
    generator = np.random.default_rng(seed)
    names = [f"{number}" for number in range(len(bandits))]
    floors = {name: bandit.floor for name, bandit in zip(names, bandits, strict=True)}
    constraint = AccuracyConstraint(floors, gains)
    weights = np.stack([bandit.weights for bandit in bandits])[:, :, None]
    cost = np.stack([bandit.ratios for bandit in bandits])[:, None, :]
    accuracy = np.stack([bandit.accuracy for bandit in bandits])
    trajectory = np.zeros((steps, 3, len(bandits)))
    policies, logits = np.zeros_like(accuracy), np.zeros_like(accuracy)
    tail = max(1, steps // 10)
    policy = np.full_like(accuracy, 1 / accuracy.shape[2])
    prices: Floats = np.array([constraint.price(name) * constrained for name in names])
    for step in range(steps):
        measured = accuracy if rollouts is None else generator.binomial(rollouts, accuracy) / rollouts
        price = prices[:, None, None]
        q = measured * (price + 1 - cost) / (1 + price)
        chosen = weights * policy
        correct = chosen * accuracy
        trajectory[step] = correct.sum((1, 2)), (correct * (1 - cost)).sum((1, 2)), prices
        if step >= steps - tail:
            policies += policy / tail
        seen = (chosen * measured).sum((1, 2)).tolist()
        best = (weights[:, :, 0] * measured.max(axis=2)).sum(axis=1).tolist()
        if constrained:
            measured = {name: (value, 1.0) for name, value in zip(names, seen, strict=True)}
            constraint.update(measured, {name: (value, 1.0) for name, value in zip(names, best, strict=True)})
            prices = np.array([constraint.price(name) for name in names])
        logits, policy = _moved(logits, logit_advantages(q, policy, min_ratio_prob), step_size, scaled)
    return _means(trajectory, policies, constraint.infeasible)


def _moved(logits: Floats, advantages: Floats, step_size: float, scaled: bool) -> tuple[Floats, Floats]:
    """Logits after one step, with 0 as the largest of each context, and their policy."""
    if scaled:
        advantages = advantages / (np.sqrt((advantages**2).mean(axis=(1, 2), keepdims=True)) + _ROUNDING)
    logits = logits + step_size * advantages
    logits -= logits.max(axis=2, keepdims=True)
    policy = np.exp(logits)
    return logits, policy / policy.sum(axis=2, keepdims=True)


def _means(trajectory: Floats, policies: Floats, infeasible: Sequence[str]) -> list[Simulation]:
    """The result of each bandit, from its trajectory and its mean policy."""
    tail = max(1, len(trajectory) // 10)
    return [
        Simulation(accuracy, savings, price, policies[number], f"{number}" in infeasible, trajectory[:, :, number])
        for number, (accuracy, savings, price) in enumerate(trajectory[-tail:].mean(axis=0).T.tolist())
    ]


def _check_options(bandits: Sequence[Bandit], steps: int, step_size: float, rollouts: int | None, seed: int) -> None:
    if steps < 1 or len({bandit.accuracy.shape for bandit in bandits}) != 1:
        raise DataError(f"expected at least one step and bandits of one shape; got {steps} and {len(bandits)} bandits")
    if not (0 < step_size < np.inf and seed >= 0 and (rollouts is None or rollouts >= 1)):
        raise DataError(
            f"expected step_size above 0, a seed of 0 or more and at least one rollout; got {step_size:g}, {seed} and "
            f"{rollouts}"
        )
