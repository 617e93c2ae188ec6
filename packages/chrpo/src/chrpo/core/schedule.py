"""A budget that falls step by step, and only while accuracy is at its floor or above.

The paper (arXiv 2602.08324) rewards "increasingly aggressive" budgets and gives no rule for them. Our choice: the
measured accuracy decides, never the number of steps alone. The effect of the budget on the reward is described at
`ConstrainedReward.budget`.

>>> schedule = BudgetSchedule(step=0.25, hold=2)
>>> [schedule.update(violation) for violation in (-0.1, -0.1, 0.2, -0.1)]
[1.0, 0.75, 0.75, 0.75]
"""

from typing import Any

from chrpo.errors import DataError


class BudgetSchedule:
    """A budget that falls after `hold` updates in a row at or above the floor; an update below it restarts the count.

    The budget never rises: while accuracy is below its floor, the price of accuracy works against the present budget.

    Args:
        start: First budget, as a share of the reference cost, in (0, 1].
        last: Lowest budget, in [0, start].
        step: Amount by which the budget falls at once.
        hold: Number of updates in a row with a violation of at most `tolerance`.
        tolerance: Violation up to which an update counts as at the floor.

    Raises:
        DataError: a number is out of its range.
    """

    def __init__(
        self, *, start: float = 1.0, last: float = 0.0, step: float = 0.1, hold: int = 20, tolerance: float = 0.0
    ) -> None:
        if not (0 <= last <= start <= 1 and start > 0 and step > 0 and hold >= 1 and tolerance >= 0):
            raise DataError(
                "a budget needs 0 <= last <= start <= 1, step > 0, hold >= 1 and tolerance >= 0; got "
                f"{last:g}, {start:g}, {step:g}, {hold}, {tolerance:g}"
            )
        self._settings = {"start": start, "last": last, "step": step, "hold": hold, "tolerance": tolerance}
        self._lowered = 0
        self._held = 0

    @property
    def budget(self) -> float:
        """The present budget."""
        return max(self._settings["last"], self._settings["start"] - self._lowered * self._settings["step"])

    def update(self, violation: float) -> float:
        """Count one measured violation (floor minus accuracy) and return the budget."""
        self._held = self._held + 1 if violation <= self._settings["tolerance"] else 0
        if self._held >= self._settings["hold"] and self.budget > self._settings["last"]:
            self._lowered, self._held = self._lowered + 1, 0
        return self.budget

    def state_dict(self) -> dict[str, Any]:
        """The state that changes, as JSON values."""
        return {"settings": dict(self._settings), "lowered": self._lowered, "held": self._held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state: State that `state_dict` returned.

        Raises:
            DataError: the state belongs to other settings, or is corrupted.
        """
        try:
            settings, counts = state["settings"], (state["lowered"], state["held"])
        except (KeyError, TypeError) as error:
            raise DataError(
                f"the saved budget schedule is corrupted ({error!r}); resume from another checkpoint"
            ) from error
        if settings != self._settings:
            raise DataError("the saved budget schedule has other settings; resume with its own")
        if not all(type(count) is int and count >= 0 for count in counts):
            raise DataError(f"the saved budget schedule has the counts {counts}; resume from another checkpoint")
        self._lowered, self._held = counts
