"""The measures of `efficiency` for two runs on the same samples, with intervals of what differs.

All intervals are 95 % intervals over problems: score intervals (Tango) of differences of accuracies, and bootstrap
intervals of everything else, in which a drawn problem brings the samples of both runs.

    compare_efficiency([(rows_of_a, rows_of_b)], (4096, 4096))["aes"]      # 0.42
"""

from collections.abc import Callable, Sequence
from typing import Any

from . import metrics
from ._shared.intervals import ratio
from ._shared.records import Row
from .efficiency import (
    BUDGETS,
    QUOTIENTS,
    aes,
    area_score,
    correct,
    correct_within,
    hard_easy_ratio,
    incorrect,
    is_hard,
    overthinking_score,
    shortest,
    tokens,
)

Pairs = Sequence[tuple[Sequence[Row], Sequence[Row]]]
"""The samples of A and those of B of each problem, paired in their order."""
_Score = Callable[[Row], float]


def compare_efficiency(problems: Pairs, limits: tuple[int, int]) -> dict[str, Any]:
    """The measures of A and of B by name, and how B differs; None for what these samples cannot give.

    - `aes`: see `efficiency.aes`; A is the baseline.
    - `…_difference`: B - A. `…_ratio`: B / A.
    - `budget_curve`: accuracy of both, and their difference, at each budget of completion tokens.
    - `completion_tokens_correct_ratio`: lengths of the pairs that are both correct; `…_incorrect_ratio`: both not.
    - `accuracy_untruncated`: on the pairs of which none was cut.
    - `hard_easy_ratio`: for both runs, hard are the problems that A mostly misses; `…_change` is B / A.

    Args:
        problems: The samples of each problem.
        limits: Token limits of A and B.
    """
    uncut = _both(problems, lambda row: float(not row["truncated"]))
    return {
        "budget_curve": [_at_budget(problems, budget) for budget in BUDGETS],
        **_flat("accuracy_untruncated", _accuracies(uncut, correct)),
        **_shortest(problems),
        **_scores(problems, limits),
        **_quotients(problems),
        **_lengths(problems),
        **_hard_easy(problems),
    }


def _at_budget(problems: Pairs, budget: int) -> dict[str, float | None]:
    return {"tokens": budget, **_accuracies(problems, lambda row: correct_within(row, budget))}


def _accuracies(problems: Pairs, score: _Score) -> dict[str, float | None]:
    """Both means of a score of 0 or 1, and their difference with its score interval."""
    changes = [[score(b) - score(a) for a, b in zip(one, two, strict=True)] for one, two in problems]
    count = sum(map(len, changes))
    if not count:
        return dict.fromkeys(("accuracy_a", "accuracy_b", "difference", "low", "high"))
    before, after = map(sum, _sums(problems, score))
    low, high = metrics.difference_interval(changes)
    return {
        "accuracy_a": before / count,
        "accuracy_b": after / count,
        "difference": (after - before) / count,
        "low": low,
        "high": high,
    }


def _flat(name: str, found: dict[str, float | None]) -> dict[str, float | None]:
    ends = ("a", "b", "difference", "difference_low", "difference_high")
    return {f"{name}_{end}": value for end, value in zip(ends, found.values(), strict=True)}


def _shortest(problems: Pairs) -> dict[str, float | None]:
    """`shortest@k` of both; empty if the problems do not all have the same number k > 1 of pairs."""
    k = len(problems[0][0])
    if k == 1 or any(len(one) != k for one, _ in problems):
        return {}
    chosen = [([shortest(one)], [shortest(two)]) for one, two in problems]
    return _flat(f"shortest@{k}", _accuracies(chosen, correct))


def _scores(problems: Pairs, limits: tuple[int, int]) -> dict[str, float | None]:
    """AES, the area under the curve and the overthinking score."""
    counts = [float(len(one)) for one, _ in problems]
    right, spent, areas = _sums(problems, correct), _sums(problems, tokens), _sums(problems, area_score)
    total, (right_a, right_b), (spent_a, spent_b) = sum(counts), map(sum, right), map(sum, spent)
    score_a = float(overthinking_score(right_a / total, spent_a / total, limits[0]))
    score_b = float(overthinking_score(right_b / total, spent_b / total, limits[1]))

    def change(ra: Any, rb: Any, sa: Any, sb: Any, n: Any) -> Any:
        return overthinking_score(rb / n, sb / n, limits[1]) - overthinking_score(ra / n, sa / n, limits[0])

    return {
        **_bootstrapped("aes", [*right, *spent], aes),
        "budget_area_a": sum(areas[0]) / total,
        "budget_area_b": sum(areas[1]) / total,
        **_bootstrapped("budget_area_difference", [*areas, counts], lambda a, b, n: (b - a) / n),
        "overthinking_score_a": score_a,
        "overthinking_score_b": score_b,
        **_bootstrapped("overthinking_score_difference", [*right, *spent, counts], change),
    }


def _quotients(problems: Pairs) -> dict[str, float | None]:
    """Tokens per correct answer with their ratio; share of the thinking after the answer with its difference."""
    values: dict[str, float | None] = {}
    for name, kind, change in (
        ("tokens_per_correct", "ratio", lambda a, b, c, d: ratio(ratio(c, d), ratio(a, b))),
        ("after_first_correct", "difference", lambda a, b, c, d: ratio(c, d) - ratio(a, b)),
    ):
        columns = [column for side in (0, 1) for column in QUOTIENTS[name].sums([pair[side] for pair in problems])]
        rows = (row for pair in problems for some in pair for row in some)
        if name == "after_first_correct" and not all("first_correct_chars" in row for row in rows):
            columns = [[0.0] * len(problems)] * 4
        above_a, below_a, above_b, below_b = map(sum, columns)
        values[f"{name}_a"] = above_a / below_a if below_a else None
        values[f"{name}_b"] = above_b / below_b if below_b else None
        values |= _bootstrapped(f"{name}_{kind}", columns, change)
    return values


def _lengths(problems: Pairs) -> dict[str, float | None]:
    """Ratios of the completion tokens of pairs that are both correct, and of pairs that are both not."""
    both = {"correct": _both(problems, correct), "incorrect": _both(problems, incorrect)}
    values: dict[str, float | None] = {}
    for name, pairs in both.items():
        values |= _bootstrapped(f"completion_tokens_{name}_ratio", _sums(pairs, tokens), lambda a, b: ratio(b, a))
    return values


def _hard_easy(problems: Pairs) -> dict[str, float | None]:
    """Tokens on hard problems / tokens on the others, of both, and the ratio of these two."""
    hard = [is_hard(one) for one, _ in problems]
    values: dict[str, float | None] = {}
    for side in (0, 1):
        values[f"hard_easy_ratio_{'ab'[side]}"] = hard_easy_ratio([pair[side] for pair in problems], hard)
    columns = [
        [one * (kind == wanted) for one, kind in zip(column, hard, strict=True)]
        for column in _sums(problems, tokens)
        for wanted in (True, False)
    ]
    return values | _bootstrapped("hard_easy_ratio_change", columns, lambda ha, ea, hb, eb: ratio(hb * ea, eb * ha))


def _sums(problems: Pairs, score: _Score) -> tuple[list[float], list[float]]:
    """The sums of a score over the samples of each problem, of A and of B."""
    return [sum(map(score, one)) for one, _ in problems], [sum(map(score, two)) for _, two in problems]


def _both(problems: Pairs, condition: _Score) -> list[tuple[list[Row], list[Row]]]:
    """The pairs of samples that both meet a condition; problems without such a pair are left out."""
    found: list[tuple[list[Row], list[Row]]] = []
    for one, two in problems:
        kept = [(a, b) for a, b in zip(one, two, strict=True) if condition(a) and condition(b)]
        if kept:
            found.append(([a for a, _ in kept], [b for _, b in kept]))
    return found


def _bootstrapped(
    name: str, columns: Sequence[Sequence[float]], statistic: Callable[..., Any]
) -> dict[str, float | None]:
    """A statistic of column sums with its interval, or None if the samples do not define it."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(*(np.array([float(sum(column))]) for column in columns))[0])
        low, high = metrics.bootstrap_interval(columns, statistic) if np.isfinite(value) else (None, None)
    return {name: value if np.isfinite(value) else None, f"{name}_low": low, f"{name}_high": high}
