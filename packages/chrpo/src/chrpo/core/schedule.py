"""A budget that falls step by step, and only while accuracy holds.

The paper (arXiv 2602.08324) rewards "increasingly aggressive" budgets without saying how they move. Our choice: a
measured floor decides, never the clock alone. What the budget pays for is said by `ConstrainedReward.budget`.

    schedule = BudgetSchedule(step=0.1, hold=20)
    reward = replace(ConstrainedReward(), budget=schedule.budget)
    schedule.update(constraint.violation("policy"))          # once per optimiser step
"""

from typing import Any

from chrpo.errors import DataError


class BudgetSchedule:
    """Lowers the budget after `hold` updates in a row that hold the floor; one update below it starts the count anew.

    It never rises: while accuracy is under its floor, the price of accuracy works against the budget reached so far.

    Args:
        start: first budget, as a share of the reference cost, in (0, 1].
        last: the lowest, in [0, start].
        step: how far it falls at once.
        hold: updates in a row with a violation of at most `tolerance`.
        tolerance: accuracy that a running mean may lack and still count as holding.

    Raises:
        DataError: a number out of its range.
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
        """The budget as it is."""
        return max(self._settings["last"], self._settings["start"] - self._lowered * self._settings["step"])

    def update(self, violation: float) -> float:
        """Take in one measured violation (floor minus accuracy) and return the budget."""
        self._held = self._held + 1 if violation <= self._settings["tolerance"] else 0
        if self._held >= self._settings["hold"] and self.budget > self._settings["last"]:
            self._lowered, self._held = self._lowered + 1, 0
        return self.budget

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, as plain JSON."""
        return {"settings": dict(self._settings), "lowered": self._lowered, "held": self._held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            DataError: the state belongs to other settings.
        """
        if state.get("settings") != self._settings:
            raise DataError("the saved budget schedule has other settings; resume with its own")
        self._lowered, self._held = state["lowered"], state["held"]
