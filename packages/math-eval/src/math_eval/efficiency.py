"""Measures of thinking that stored samples give without new generation. Each is defined here, once.

A sample may have been cut at the token limit; it counts as any other unless a measure leaves it out. Two runs are
compared in `efficiency_pairs`, intervals are left to `metrics`, and finding the first correct statement to `grading`.

    problems = by_problem(rows)
    accuracy_at(problems, 1024)              # (0.41, 0.37, 0.45): correct with at most 1,024 completion tokens
    efficiency(problems, 4096)["tokens_per_correct"]        # 812.5
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import metrics
from ._shared.records import Row

BUDGETS = tuple(2**power for power in range(8, 16))
"""Budgets of the curve in completion tokens, 256 to 32,768."""
AES_GAIN, AES_LOSS = 3.0, 5.0
_TINY = 1e-12
_HARD = 0.5
"""Share of correct samples below which a problem is hard."""

Problems = Sequence[Sequence[Row]]
"""The samples of each problem."""


@dataclass(frozen=True)
class Quotient:
    """A measure that is a sum over the samples divided by another one.

    Args:
        above: What a sample adds to the dividend.
        below: What it adds to the divisor.
    """

    above: Callable[[Row], float]
    below: Callable[[Row], float]

    def sums(self, problems: Problems) -> tuple[list[float], list[float]]:
        """Dividend and divisor of each problem."""
        return [sum(map(self.above, rows)) for rows in problems], [sum(map(self.below, rows)) for rows in problems]


def correct(row: Row) -> float:
    """1 for a correct sample, otherwise 0."""
    return float(row["verdict"] == "correct")


def incorrect(row: Row) -> float:
    """1 for a completion that is not correct, otherwise 0; a refused request has no completion."""
    return float(row["verdict"] != "correct" and "refused" not in row)


def tokens(row: Row) -> float:
    """The completion tokens of a sample."""
    return float(row["completion_tokens"])


def correct_within(row: Row, budget: float) -> float:
    """1 for a sample that is correct and has at most `budget` completion tokens, otherwise 0."""
    return correct(row) * (row["completion_tokens"] <= budget)


def area_score(row: Row) -> float:
    """The share of the budgets from 256 to 32,768 tokens, on a log scale, within which a sample is correct.

    Its mean over the samples is the area under the curve of accuracy at a budget, without any rounding to a grid. Our
    choice: a log scale, because budgets are usually doubled.
    """
    low, high = BUDGETS[0], BUDGETS[-1]
    within = min(max(row["completion_tokens"], low), high)
    return correct(row) * math.log2(high / within) / math.log2(high / low)


def thinking_of_correct(row: Row) -> float:
    """The thinking tokens of a correct sample, otherwise 0."""
    return correct(row) * row["thinking_tokens"]


def tokens_after_answer(row: Row) -> float:
    """The thinking tokens of a correct sample after the first statement of its answer; 0 if none states it.

    Stored samples have no places of tokens, so the share of the characters is taken for that of the tokens.
    """
    place, chars = row.get("first_correct_chars"), row.get("thinking_chars")
    return thinking_of_correct(row) * (1 - place / chars) if place is not None and chars else 0.0


QUOTIENTS = {
    "tokens_per_correct": Quotient(tokens, correct),
    "completion_tokens_correct": Quotient(lambda row: tokens(row) * correct(row), correct),
    "completion_tokens_incorrect": Quotient(lambda row: tokens(row) * incorrect(row), incorrect),
    "after_first_correct": Quotient(tokens_after_answer, thinking_of_correct),
}
"""Tokens of all samples per correct one; mean length of correct ones and of the others; share of the thinking of
correct samples that follows the first statement of the answer (Chen et al. 2024, arXiv 2412.21187, outcome efficiency,
weighted by tokens)."""


def accuracy_at(problems: Problems, budget: float) -> tuple[float, float, float]:
    """The share of samples that are correct with at most `budget` completion tokens, and its 95 % interval.

    A run with this limit has the same accuracy if decoding is deterministic, except for answers that were complete
    before the completion ended.
    """
    return _share([[correct_within(row, budget) for row in rows] for rows in problems])


def shortest(rows: Sequence[Row]) -> Row:
    """The sample with the fewest completion tokens, the first drawn of equal ones (Hassid et al. 2025, 2505.17813).

    Refused requests have no completion and are left out while there are others.
    """
    return min([row for row in rows if "refused" not in row] or rows, key=tokens)


def is_hard(rows: Sequence[Row]) -> bool:
    """Whether fewer than half of a problem's samples are correct; ALP (arXiv 2506.05256) takes the solve rate, too."""
    return sum(map(correct, rows)) < _HARD * len(rows)


def hard_easy_ratio(problems: Problems, hard: Sequence[bool]) -> float | None:
    """Mean completion tokens on hard problems divided by those on the others; None if there are none of one kind.

    Args:
        problems: The samples of each problem.
        hard: Whether each problem is hard; see `is_hard`.
    """
    means: list[float] = []
    for wanted in (True, False):
        rows = [row for some, kind in zip(problems, hard, strict=True) if kind == wanted for row in some]
        means.append(sum(map(tokens, rows)) / len(rows) if rows else 0.0)
    return means[0] / means[1] if any(hard) and means[1] else None


def overthinking_score(accuracy: Any, mean_tokens: Any, limit: float) -> Any:
    """The harmonic mean of accuracy and token efficiency, 1 - tokens / limit (LLMThinkBench, arXiv 2507.04023).

    Our choice: from 0 to the token limit of the run, where the source takes the shortest and the longest model at hand,
    because then the score of a run does not change with the other runs. Numbers, or arrays of them.

    >>> round(float(overthinking_score(0.6, 1024, 4096)), 12)
    0.666666666667
    """
    import numpy as np

    saved = np.maximum(0.0, 1 - mean_tokens / limit)
    return 2 * accuracy * saved / np.maximum(accuracy + saved, _TINY)


def aes(correct_a: Any, correct_b: Any, tokens_a: Any, tokens_b: Any) -> Any:
    """The accuracy-efficiency score of B against A (O1-Pruner, arXiv 2501.12570); numbers, or arrays of them.

    The share of tokens that is saved, plus 3 times the relative gain of accuracy or minus 5 times the relative loss.

    >>> round(float(aes(50, 55, 1000, 600)), 12), round(float(aes(50, 45, 1000, 600)), 12)
    (0.7, -0.1)
    """
    import numpy as np

    gain = correct_b / correct_a - 1
    return 1 - tokens_b / tokens_a + AES_GAIN * np.maximum(gain, 0) + AES_LOSS * np.minimum(gain, 0)


def efficiency(problems: Problems, limit: int) -> dict[str, Any]:
    """The measures of some samples by name; None for what these samples cannot give.

    Args:
        problems: The samples of each problem.
        limit: Token limit of the run.
    """
    rows = [row for some in problems for row in some]
    uncut = [scores for some in problems if (scores := [correct(row) for row in some if not row["truncated"]])]
    places = all("first_correct_chars" in row for row in rows)
    areas = [[area_score(row) for row in some] for some in problems]
    values: dict[str, Any] = {
        "budget_curve": [
            dict(zip(("tokens", "accuracy", "low", "high"), (budget, *accuracy_at(problems, budget)), strict=True))
            for budget in BUDGETS
        ],
        **_named("budget_area", (sum(map(sum, areas)) / len(rows), *metrics.fraction_interval(areas))),
        **_named("accuracy_untruncated", _share(uncut) if uncut else None),
    }
    for name, measure in QUOTIENTS.items():
        above, below = measure.sums(problems)
        known = sum(below) > 0 and (places or name != "after_first_correct")
        values |= _named(name, metrics.quotient_interval(above, below) if known else None)
    thinking = [row for row in rows if thinking_of_correct(row)]
    stated = sum(row["first_correct_chars"] is not None for row in thinking) if places else 0
    accuracy = sum(map(correct, rows)) / len(rows)
    return values | {
        "first_correct_rate": stated / len(thinking) if places and thinking else None,
        "hard_easy_ratio": hard_easy_ratio(problems, list(map(is_hard, problems))),
        "overthinking_score": float(overthinking_score(accuracy, sum(map(tokens, rows)) / len(rows), limit)),
    }


def _share(groups: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """The mean of scores of 0 or 1 with its Wilson interval."""
    return sum(map(sum, groups)) / sum(map(len, groups)), *metrics.accuracy_interval(groups)


def _named(name: str, found: tuple[float, float, float] | None) -> dict[str, float | None]:
    """A value and its interval by name, without what is below 0."""
    value, low, high = found or (None, None, None)
    return {name: value, f"{name}_low": None if low is None else max(0.0, low), f"{name}_high": high}
