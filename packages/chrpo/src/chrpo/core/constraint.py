"""The accuracy constraint: one price (Lagrange multiplier lambda) per group, moved by a PI controller.

The price is the present worth of accuracy in savings. Measuring accuracy and summing it over processes are left to the
caller, who passes sums and counts once per optimiser step; only training may do so, never an evaluation.

>>> constraint = AccuracyConstraint({"policy": 0.88})
>>> constraint.update({"policy": (13.0, 15)})            # 13/15 is below the floor
>>> round(constraint.price("policy"), 2)
15.58
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from chrpo.errors import DataError

_SMALLEST = 0.3
"""Least base of the price; from there it is soon back at the prices that tasks need."""
_FALL = 1 / 5
"""Share of integral_clip that accuracy above the floor counts at most, because it is lost sooner than regained."""
_CLEARLY = 0.02
"""Distance from which a floor counts as above the best ratios; some 70 problems stand for all."""
_SLOW_DECAY = 0.97
_RISE = 0.006
"""Accuracy rises while its running mean is this much above a slower one, whose weight of the past is _SLOW_DECAY."""
_FIRST_UPDATES = 20
"""Number of updates that count as a rise, because the two running means need time to differ, and that give no best
accuracy."""
_WHILE_RISING = 0.015
"""Largest violation that raises the price while accuracy rises: a model that learns may be far below its floor at a
price that is high enough."""


@dataclass(frozen=True)
class Gains:
    """Gains of the controller: how the price follows the violation E = floor - accuracy.

    lambda = B exp(proportional E), within [minimum, cap], and each update multiplies the base B by
    exp(integral clip(E, -integral_clip / 5, integral_clip)). Accuracy is an exponential mean over updates. Source: PI
    control of Lagrange multipliers (Stooke et al. 2020). Our choice: on the logarithm of the price, because the prices
    that tasks need differ by factors, not by differences; slow above the floor, because accuracy is lost sooner than it
    is regained. While accuracy rises, B does not grow and E counts as .015 at most, because the present price is then
    high enough; a price above need slows the removal of needless tokens.

    Raises:
        DataError: a gain is out of its range.
    """

    proportional: float = field(
        default=50.0, metadata={"help": "Proportional gain: log price per unit of violation (floor minus accuracy)."}
    )
    integral: float = field(
        default=1.5, metadata={"help": "Integral gain: log price per unit of violation, added at every update."}
    )
    integral_clip: float = field(
        default=0.05,
        metadata={"help": "Largest violation that the integral counts at an update.", "flag": "--price-reach"},
    )
    ema_decay: float = field(
        default=0.9, metadata={"help": "Weight of the past in the running accuracy at each update.", "flag": False}
    )
    minimum: float = field(
        default=1.0,
        metadata={
            "help": "Smallest price of accuracy: at m, all tokens together are worth 100 / (1 + m) points of accuracy.",
            "flag": "--price-min",
        },
    )
    """Without it, a correct long answer earns next to nothing while the floor is exceeded, so hard problems teach
    nothing."""
    cap: float = field(default=30.0, metadata={"help": "Largest price of accuracy.", "flag": False})
    """Our choice: at 30 a part of the thinking that costs a tenth of the tokens is kept if it is worth .3 points. A
    higher price only slows the removal of needless tokens."""
    start: float = field(default=8.0, metadata={"help": "First price of accuracy.", "flag": "--price-start"})
    """Our choice: between the smallest and the largest price that tasks need. A start at the price of the best mixture
    of the frozen model's ratios held no more floors of random bandits."""
    patience: int = field(
        default=20,
        metadata={"help": "Updates in a row without a reachable floor that make it infeasible.", "flag": False},
    )
    """A floor is not reachable if it is above the best ratios, or violated at the largest price without a rise of the
    accuracy."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in asdict(self).values()):
            raise DataError(f"gains must be finite; got {self}")
        positive = min(self.cap, self.integral_clip, self.patience)
        if min(self.proportional, self.integral, self.minimum) < 0 or positive <= 0:
            raise DataError(f"gains must not be negative; cap, integral_clip and patience must be positive; got {self}")
        if not 0 <= self.ema_decay < 1:
            raise DataError(f"ema_decay must be in [0, 1); got {self.ema_decay:g}")
        if self.minimum > self.cap:
            raise DataError(f"the smallest price, {self.minimum:g}, is above the largest, {self.cap:g}")
        if not self.minimum <= self.start <= self.cap:
            raise DataError(
                "the first price must be within the smallest and the largest, "
                f"{self.minimum:g} to {self.cap:g}; got {self.start:g}"
            )


def _numbers(measured: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """The sums as plain numbers, also if they are tensors, because the state must be JSON."""
    found = {group: (float(correct), float(count)) for group, (correct, count) in measured.items()}
    for group, (correct, count) in found.items():
        if not (math.isfinite(count) and count >= 0 and -1e-9 <= correct <= count * (1 + 1e-6) + 1e-9):
            raise DataError(f"group {group!r}: got {correct} correct of {count}; expected 0 <= correct <= count")
    return found


class Paired(NamedTuple):
    """Sums over a group's problems, with d a problem's reference accuracy minus the mean over those of the floor.

    Args:
        deviation: Sum of d.
        product: Sum of accuracy x d.
        square: Sum of d x d.
        attainable: Sum of d over the problems of `attainable`.
    """

    deviation: float
    product: float
    square: float
    attainable: float


@dataclass
class _Dual:
    base: float
    price: float
    correct: float = 0.0
    count: float = 0.0
    slow_correct: float = 0.0
    slow_count: float = 0.0
    slow_square: float = 0.0
    updates: int = 0
    reached: float = 0.0
    shared: float = 0.0
    spread: float = 0.0
    violation: float = 0.0
    best: float = 0.0
    best_count: float = 0.0
    unreachable: int = 0
    cumulative: float = 0.0

    def surely_reached(self) -> float:
        """Slow running mean minus two standard errors, from the variance of the updates; 0 in the first updates."""
        if self.updates < _FIRST_UPDATES:
            return 0.0
        mean = self.slow_correct / self.slow_count
        variance = max(self.slow_square / self.slow_count - mean * mean, 0.0)
        # Sum of the squared weights over their squared sum; they decay over the updates so far.
        first = _SLOW_DECAY**self.updates
        squares = (1 - _SLOW_DECAY) / (1 + _SLOW_DECAY) * (1 + first) / (1 - first)
        return mean - 2 * math.sqrt(variance * squares)

    def slope(self, paired: Paired) -> float:
        """Slope of the accuracy over d, after these sums."""
        self.shared = _SLOW_DECAY * self.shared + paired.product
        self.spread = _SLOW_DECAY * self.spread + paired.square
        return min(max(self.shared / self.spread, 0.0), 1.0) if self.spread else 0.0


class AccuracyConstraint:
    """Prices that keep the accuracy of each group at or above its floor.

    Args:
        floors: Accuracy that each group must keep, group -> [0, 1].
        gains: Gains of the controller.
        best_slack: Floors rise to the best accuracy of the run minus this slack. The best accuracy is the largest
            lower bound so far, slow running mean minus two standard errors, because the maximum of noisy means is too
            high. None for floors that do not change.

    Raises:
        DataError: there is no group, or a floor is outside [0, 1].
    """

    def __init__(
        self,
        floors: Mapping[str, float],
        gains: Gains | None = None,
        best_slack: float | None = None,
    ) -> None:
        if not floors:
            raise DataError("a constraint needs at least one group with a floor")
        for group, floor in floors.items():
            if not 0 <= floor <= 1:
                raise DataError(f"floor of group {group!r} must be in [0, 1]; got {floor:g}")
        self.floors = dict(floors)
        self.best_slack = best_slack
        self.gains = gains or Gains()
        start = self.gains.start
        self._duals = {group: _Dual(base=max(start, _SMALLEST), price=start) for group in floors}

    def _grown(self, price: float, exponent: float, smallest: float = 0.0) -> float:
        """A price times exp(exponent), within its limits, and exactly the cap beyond it."""
        minimum, cap = self.gains.minimum, self.gains.cap
        return (
            cap if exponent >= math.log(cap / price) else min(max(price * math.exp(exponent), smallest, minimum), cap)
        )

    def update(
        self,
        measured: Mapping[str, tuple[float, float]],
        attainable: Mapping[str, tuple[float, float]] | None = None,
        paired: Mapping[str, Paired] | None = None,
    ) -> None:
        """Move the prices, once per optimiser step.

        With `paired`, accuracies are corrected for problems that are harder or easier than those of the floor: b times
        the sum of d is subtracted, where b is the slope of the accuracy over d in the updates so far, within [0, 1]
        (control variate). Our choice: a slope instead of 1, because a reference from few samples is itself noise.

        Args:
            measured: Sum of accuracies and count of each group, over ALL processes. A group that is absent, or has a
                count of 0, keeps its price.
            attainable: Sum and count of each group at the best ratio of each problem. The best of few samples is an
                overestimate, so a floor clearly above it is infeasible. Another floor may be infeasible, too; then the
                price reaches its cap.
            paired: Sums that compare the accuracies of each group with the reference accuracies of the same problems.

        Raises:
            DataError: a group is unknown, or a sum is not within its count.
        """
        found, best = _numbers(measured), _numbers(attainable or {})
        for group, (correct, count) in found.items():
            if group not in self._duals:
                raise DataError(f"unknown constraint group {group!r}; known: {', '.join(self._duals)}")
            if count:
                dual, floor = self._duals[group], self.floor(group)
                reached, tried = best.get(group, (0.0, 0.0))
                if paired and group in paired:
                    slope = dual.slope(paired[group])
                    correct -= slope * paired[group].deviation
                    reached -= slope * paired[group].attainable
                self._check_reachable(dual, floor, (reached, tried), rises=self._move(dual, floor, correct, count))

    def _move(self, dual: _Dual, floor: float, correct: float, count: float) -> bool:
        """Move one price; True if the accuracy rises."""
        gains = self.gains
        dual.correct = gains.ema_decay * dual.correct + correct
        dual.count = gains.ema_decay * dual.count + count
        dual.slow_correct = _SLOW_DECAY * dual.slow_correct + correct
        dual.slow_count = _SLOW_DECAY * dual.slow_count + count
        dual.slow_square = _SLOW_DECAY * dual.slow_square + correct * correct / count
        dual.updates += 1
        dual.reached = max(dual.reached, dual.surely_reached())
        accuracy = dual.correct / dual.count
        dual.violation = floor - accuracy
        rises = dual.updates <= _FIRST_UPDATES or accuracy > dual.slow_correct / dual.slow_count + _RISE
        if dual.violation <= 0 or not rises:
            clipped = min(max(dual.violation, -_FALL * gains.integral_clip), gains.integral_clip)
            dual.base = self._grown(dual.base, gains.integral * clipped, _SMALLEST)
        counted = min(dual.violation, _WHILE_RISING) if rises else dual.violation
        dual.price = self._grown(dual.base, gains.proportional * counted)
        dual.cumulative += max(dual.violation, 0.0)
        return rises

    def _check_reachable(self, dual: _Dual, floor: float, best: tuple[float, float], *, rises: bool) -> None:
        # Few prompts of an update are rolled out at every ratio, so their mean needs the longer memory.
        if best[1]:
            dual.best = _SLOW_DECAY * dual.best + best[0]
            dual.best_count = _SLOW_DECAY * dual.best_count + best[1]
        unreachable = dual.price >= self.gains.cap and dual.violation > 0 and not rises
        unreachable = unreachable or dual.best < (floor - _CLEARLY) * dual.best_count
        dual.unreachable = dual.unreachable + 1 if unreachable else 0

    def price(self, group: str) -> float:
        """Lambda of a group; the cap while its floor is infeasible, because then only accuracy counts."""
        dual = self._duals[group]
        return self.gains.cap if dual.unreachable >= self.gains.patience else dual.price

    def floor(self, group: str) -> float:
        """Accuracy that a group must keep at present."""
        reached = 0.0 if self.best_slack is None else self._duals[group].reached - self.best_slack
        return max(self.floors[group], reached)

    def accuracy(self, group: str) -> float | None:
        """The group's running accuracy, or None before its first update."""
        dual = self._duals[group]
        return dual.correct / dual.count if dual.count else None

    def violation(self, group: str) -> float:
        """Floor minus running accuracy; negative while the accuracy is above the floor."""
        return self._duals[group].violation

    def cumulative_violation(self, group: str) -> float:
        """Sum of all positive violations so far."""
        return self._duals[group].cumulative

    @property
    def infeasible(self) -> list[str]:
        """Groups whose floor the present model reaches at no choice of ratio."""
        return [group for group, dual in self._duals.items() if dual.unreachable >= self.gains.patience]

    def state_dict(self) -> dict[str, Any]:
        """The state that changes, as JSON values; floats survive JSON bit for bit."""
        return {
            "floors": dict(self.floors),
            "best_slack": self.best_slack,
            "gains": asdict(self.gains),
            "duals": {group: asdict(dual) for group, dual in self._duals.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state: State that `state_dict` returned.

        Raises:
            DataError: the state belongs to other floors or gains, or is corrupted.
        """
        fixed = {name: value for name, value in self.state_dict().items() if name != "duals"}
        try:
            same = all(state[name] == value for name, value in fixed.items())
            duals = {group: _Dual(**dual) for group, dual in state["duals"].items()}
            finite = all(math.isfinite(value) for dual in duals.values() for value in asdict(dual).values())
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(f"the saved constraint is corrupted ({error!r}); resume from another checkpoint") from error
        if not same:
            raise DataError("the saved constraint has other floors or gains; resume with its own settings")
        if not finite or duals.keys() != self._duals.keys():
            raise DataError("the saved constraint lacks a group or a finite number; resume from another checkpoint")
        self._duals = duals
