"""What length costs, where that is no fixed number: by the prompt's solve rate, or by a price that follows a budget.

The rewards that use it are left to `baselines` and `rewards`.

>>> price = LengthPrice(budget=100, step=0.5)
>>> [price.update(tokens) for tokens in (150, 150, 80)]
[0.25, 0.5, 0.4]
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from chrpo.errors import DataError

from .outcome import Floats, Outcomes


def solve_rate(outcomes: Outcomes) -> Floats:
    """Share of correct rollouts among those of the same prompt, at least 1 / their number, [rollouts].

    Source: ALP (Xiang et al. 2025, arXiv 2506.05256), with the same lower bound, so that length costs something where
    no rollout is correct.
    """
    _, index, sizes = np.unique(outcomes.prompt, return_inverse=True, return_counts=True)
    solved = np.bincount(index, outcomes.format_ok & outcomes.correct, len(sizes))
    return (np.maximum(solved, 1) / sizes)[index]


def weighted_by_solve_rate(outcomes: Outcomes) -> Outcomes:
    """The outcomes with cost and tokens multiplied by the solve rate of their prompt.

    A reward that falls with length then falls with length x solve rate: easy prompts save first. The realised ratio
    stays as it is, because it is compared with a ratio that the user requested.
    """
    rate = solve_rate(outcomes)
    return replace(outcomes, cost=outcomes.cost * rate, tokens=outcomes.tokens * rate)


class LengthPrice:
    """The price of tokens beyond a budget: it rises while the mean length is above the budget, and falls below it.

    price <- clip(price + step x (mean tokens / budget - 1), 0, cap), starting at 0: dual ascent on "mean length <=
    budget". Source: LACONIC (Liu et al. 2026, arXiv 2602.14468). Our choice: step and cap, whose values we do not know
    from the authors. At a price of 1, an answer of twice the budget loses what a correct one earns.

    Args:
        budget: Mean number of completion tokens to reach, above 0.
        step: Step size of the price.
        cap: Largest price.

    Attributes:
        price: The present price.

    Raises:
        DataError: a number is out of its range.
    """

    def __init__(self, budget: float, *, step: float = 0.05, cap: float = 1.0) -> None:
        if not (0 < budget < math.inf and 0 < step < math.inf and 0 < cap < math.inf):
            raise DataError(f"budget, step and cap must be above 0 and finite; got {budget:g}, {step:g} and {cap:g}")
        self.budget, self.step, self.cap, self.price = budget, step, cap, 0.0

    def update(self, mean_tokens: float) -> float:
        """Move the price after a step whose rollouts have this mean number of tokens; returns it."""
        moved = self.price + self.step * (mean_tokens / self.budget - 1)
        self.price = min(max(moved, 0.0), self.cap)
        return self.price

    def state_dict(self) -> dict[str, Any]:
        """The state that changes, as JSON values."""
        return {"price": self.price}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state: State that `state_dict` returned.

        Raises:
            DataError: the price is no number within 0 and the cap.
        """
        try:
            price = state["price"]
        except (KeyError, TypeError):
            price = None
        if not isinstance(price, float) or not 0 <= price <= self.cap:
            raise DataError(f"the saved price of tokens is {price!r}, not a number within 0 and {self.cap:g}")
        self.price = price
