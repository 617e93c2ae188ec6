"""A contextual bandit of ratios: the control problem alone, without a language model.

Each context (a kind of problem) has an accuracy at each ratio; the policy picks a ratio per context, and cost is the
ratio. It shows what gains do before a GPU is spent. The controller and the gradient are those of training.

    result = simulate(GOLDEN, steps=20_000)
    result.accuracy, result.savings, result.price           # near .8767, .3773, .6
"""

from dataclasses import dataclass

import numpy as np

from chrpo.errors import DataError

from .advantages import FLOOR, logit_advantages
from .constraint import AccuracyConstraint, Gains
from .outcome import Floats

_GROUP = "policy"


@dataclass(frozen=True)
class Bandit:
    """A problem with a known answer.

    Args:
        weights: how often each context comes, [contexts], summing to 1.
        ratios: the ladder, [ratios]; also the cost.
        accuracy: [contexts, ratios].
        floor: the accuracy to keep, over all contexts.
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
        if np.any(self.accuracy < 0) or np.any(self.accuracy > 1) or not 0 <= self.floor <= 1:
            raise DataError("every accuracy, and the floor, must be in [0, 1]")

    @property
    def best_accuracy(self) -> float:
        """The accuracy of the policy that ignores cost."""
        return float(self.weights @ self.accuracy.max(axis=1))

    def optimum(self) -> tuple[float, float] | None:
        """Largest expected savings on right answers at the floor, and its price; None if the floor is infeasible.

        By duality: min over lambda >= 0 of sum_q w_q max_c p (lambda + 1 - r) - lambda floor, a convex function made of
        straight pieces, so its minimum is at one of the points where two ratios of a context tie.
        """
        if self.floor > self.best_accuracy + 1e-12:
            return None
        gained = self.accuracy * (1 - self.ratios)
        points = {0.0}
        for accuracy, value in zip(self.accuracy, gained, strict=True):
            slope = accuracy[:, None] - accuracy[None, :]
            with np.errstate(divide="ignore", invalid="ignore"):
                tie = (value[None, :] - value[:, None]) / slope
            found: list[float] = tie[np.isfinite(tie) & (tie > 0)].tolist()
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


@dataclass(frozen=True)
class Simulation:
    """Where a simulation ended: means over its last tenth, since a mixture of two ratios is reached by swinging."""

    accuracy: float
    savings: float
    price: float
    policy: Floats
    infeasible: bool
    trajectory: Floats
    """[steps, 3]: accuracy, savings and price at each step."""


def simulate(
    bandit: Bandit,
    steps: int,
    *,
    gains: Gains | None = None,
    step_size: float = 0.1,
    floor: float = FLOOR,
    rollouts: int | None = None,
    seed: int = 0,
    constrained: bool = True,
) -> Simulation:
    """Run the policy and its constraint against a bandit.

    Args:
        bandit: the problem.
        steps: updates of policy and price.
        gains: of the dual.
        step_size: of the logits.
        floor: on each probability, see `control_advantages`.
        rollouts: samples per context and ratio at each step, or None for exact expectations.
        seed: of the samples.
        constrained: False keeps the price at 0.
    """
    generator = np.random.default_rng(seed)
    constraint = AccuracyConstraint({_GROUP: bandit.floor}, gains)
    logits = np.zeros_like(bandit.accuracy)
    trajectory = np.zeros((steps, 3))
    policies = np.zeros_like(logits)
    tail = max(1, steps // 10)
    policy = np.full_like(logits, 1 / len(bandit.ratios))
    for step in range(steps):
        measured = bandit.accuracy
        if rollouts is not None:
            measured = generator.binomial(rollouts, bandit.accuracy) / rollouts
        price = constraint.price(_GROUP) if constrained else 0.0
        q = measured * (price + 1 - bandit.ratios) / (1 + price)
        expected = bandit.weights @ (policy * bandit.accuracy)
        trajectory[step] = expected.sum(), expected @ (1 - bandit.ratios), price
        if step >= steps - tail:
            policies += policy / tail
        best = float(bandit.weights @ measured.max(axis=1))
        constraint.update({_GROUP: (float((bandit.weights @ (policy * measured)).sum()), 1.0)}, {_GROUP: (best, 1.0)})
        logits += step_size * logit_advantages(q, policy, floor)
        logits -= logits.max(axis=1, keepdims=True)
        policy = np.exp(logits)
        policy /= policy.sum(axis=1, keepdims=True)
    accuracy, savings, price = trajectory[-tail:].mean(axis=0).tolist()
    return Simulation(accuracy, savings, price, policies, bool(constraint.infeasible), trajectory)
