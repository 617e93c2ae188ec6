"""The accuracy constraint: one dual price per group, moved by a PI(D) controller.

The price says what accuracy is worth in savings right now. Measuring accuracy, and reducing it over processes, is left
to the caller, who hands in sums and counts once per optimiser step. Evaluation never comes here.

    constraint = AccuracyConstraint({"policy": 0.88})
    constraint.update({"policy": (13.0, 16)})
    constraint.price("policy")                           # above 0: 13/16 is under the floor
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chrpo.errors import DataError

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Gains:
    """How the price follows the violation E = floor - accuracy (an exponential mean over updates).

    lambda = [I + proportional E + derivative (E - E_before)+]+, where I takes in integral x clip(E, -reach, reach).
    Source: PID Lagrangian methods (Stooke et al. 2020). Our choice of numbers, by `benchmarks/chrpo_bandits.py`: a
    proportional gain of 50 swings for thousands of steps where two ratios of a context are nearly tied, one of 1000
    turns the noise of samples into prices. With few prompts a step the noise is larger: the trainer takes 50.

    Args:
        proportional: price per unit of violation.
        integral: price per unit of violation and update.
        reach: the largest violation that the integral takes in. Our choice: small, because what piles up while the
            policy is still far away has to be paid back, update by update, after it has arrived.
        derivative: price per unit of growth of the violation.
        memory: weight that the past keeps at each update.
        cap: the largest price. The integral stops there too (anti-windup), so it comes back at once.
        patience: updates in a row that find a floor out of reach (above the best ratios, or violated with the price at
            its cap), after which it is called infeasible.
    """

    proportional: float = 200.0
    integral: float = 0.5
    reach: float = 0.02
    derivative: float = 0.0
    memory: float = 0.9
    cap: float = 100.0
    patience: int = 20

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in asdict(self).values()):
            raise DataError(f"gains must be finite; got {self}")
        if min(self.proportional, self.integral, self.derivative) < 0 or min(self.cap, self.reach, self.patience) <= 0:
            raise DataError(f"gains must not be negative; cap, reach and patience must be positive; got {self}")
        if not 0 <= self.memory < 1:
            raise DataError(f"memory must be in [0, 1); got {self.memory:g}")


def _numbers(measured: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Plain numbers, whatever a tensor's `sum()` gave: what the state holds is to be JSON."""
    found = {group: (float(right), float(count)) for group, (right, count) in measured.items()}
    for group, (right, count) in found.items():
        if not (math.isfinite(count) and count >= 0 and -1e-9 <= right <= count * (1 + 1e-6) + 1e-9):
            raise DataError(f"group {group!r}: got {right} right of {count}; expected 0 <= right <= count")
    return found


@dataclass
class _Dual:
    right: float = 0.0
    count: float = 0.0
    violation: float = 0.0
    integral: float = 0.0
    price: float = 0.0
    best: float = 0.0
    best_count: float = 0.0
    out_of_reach: int = 0
    cumulative: float = 0.0


class AccuracyConstraint:
    """Prices that keep the accuracy of each group at or above its floor.

    Args:
        floors: group -> accuracy it must keep, in [0, 1]; frozen from here on.
        gains: of the controller.

    Raises:
        DataError: no group, or a floor outside [0, 1].
    """

    def __init__(self, floors: Mapping[str, float], gains: Gains | None = None) -> None:
        if not floors:
            raise DataError("a constraint needs at least one group with a floor")
        for group, floor in floors.items():
            if not 0 <= floor <= 1:
                raise DataError(f"floor of group {group!r} must be in [0, 1]; got {floor:g}")
        self.floors = dict(floors)
        self.gains = gains or Gains()
        self._duals = {group: _Dual() for group in floors}

    def update(
        self, measured: Mapping[str, tuple[float, float]], attainable: Mapping[str, tuple[float, float]] | None = None
    ) -> None:
        """Move the prices, once per optimiser step.

        Args:
            measured: group -> (sum of accuracies, count), over ALL processes. A group that is absent, or counts
                nothing, keeps its price.
            attainable: the same for the best ratio of each problem. From few samples a best is too good, so a floor
                above it is infeasible; one below it may be so too, which only a price at its cap tells.

        Raises:
            DataError: an unknown group, or a sum that is not within its count.
        """
        found, best = _numbers(measured), _numbers(attainable or {})
        for group, (right, count) in found.items():
            if group not in self._duals:
                raise DataError(f"unknown constraint group {group!r}; known: {', '.join(self._duals)}")
            if count:
                self._move(self._duals[group], self.floors[group], right, count)
                self._judge_reach(self._duals[group], self.floors[group], best.get(group))

    def _move(self, dual: _Dual, floor: float, right: float, count: float) -> None:
        gains = self.gains
        before = dual.violation if dual.count else None
        dual.right = gains.memory * dual.right + right
        dual.count = gains.memory * dual.count + count
        dual.violation = floor - dual.right / dual.count
        taken = min(max(dual.violation, -gains.reach), gains.reach)
        dual.integral = min(max(dual.integral + gains.integral * taken, 0.0), gains.cap)
        growth = 0.0 if before is None else max(dual.violation - before, 0.0)
        wanted = dual.integral + gains.proportional * dual.violation + gains.derivative * growth
        dual.price = min(max(wanted, 0.0), gains.cap)
        dual.cumulative += max(dual.violation, 0.0)

    def _judge_reach(self, dual: _Dual, floor: float, best: tuple[float, float] | None) -> None:
        beyond = dual.price >= self.gains.cap and dual.violation > 0
        if best is not None:
            dual.best = self.gains.memory * dual.best + best[0]
            dual.best_count = self.gains.memory * dual.best_count + best[1]
            # A floor that the best ratios just reach is no more than rounding away from their mean.
            beyond = beyond or dual.best < (floor - _ROUNDING) * dual.best_count
        dual.out_of_reach = dual.out_of_reach + 1 if beyond else 0

    def price(self, group: str) -> float:
        """Lambda of a group; the cap while its floor is infeasible, since then only accuracy counts."""
        dual = self._duals[group]
        return self.gains.cap if dual.out_of_reach >= self.gains.patience else dual.price

    def accuracy(self, group: str) -> float | None:
        """The group's running accuracy, or None before its first update."""
        dual = self._duals[group]
        return dual.right / dual.count if dual.count else None

    def violation(self, group: str) -> float:
        """Floor minus running accuracy; negative while the floor holds."""
        return self._duals[group].violation

    def cumulative_violation(self, group: str) -> float:
        """The sum of all positive violations so far."""
        return self._duals[group].cumulative

    @property
    def infeasible(self) -> list[str]:
        """Groups whose floor no choice of ratio can reach, as the model is now."""
        return [group for group, dual in self._duals.items() if dual.out_of_reach >= self.gains.patience]

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, as plain JSON; floats survive JSON bit for bit."""
        return {
            "floors": dict(self.floors),
            "gains": asdict(self.gains),
            "duals": {group: asdict(dual) for group, dual in self._duals.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            DataError: the state belongs to other floors or gains.
        """
        if state.get("floors") != self.floors or state.get("gains") != asdict(self.gains):
            raise DataError("the saved constraint has other floors or gains; resume with its own settings")
        self._duals = {group: _Dual(**dual) for group, dual in state["duals"].items()}
