"""Two conditions on the same problems: what changed in accuracy and tokens, and how sure that is.

Samples are paired on (task, id, sample); differences are B − A. Drawing and tables are left to `report`.

    compare(select("runs/base", None), select("runs/chrpo", "policy")).values["token_reduction"]   # 0.74
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import metrics
from .conditions import Condition, ItemKey, ratio_name
from .errors import DataError
from .records import Row

_FLIPS_SHOWN = 20


@dataclass(frozen=True)
class Comparison:
    """The numbers of a comparison and the samples whose verdict flipped, as (task, id, sample)."""

    values: dict[str, Any]
    only_a_correct: list[ItemKey]
    only_b_correct: list[ItemKey]


@dataclass(frozen=True)
class _Totals:
    """Per problem: sums over its paired samples, one entry a problem."""

    samples: list[float]
    right_a: list[float]
    right_b: list[float]
    tokens_a: list[float]
    tokens_b: list[float]


def _right(row: Row) -> float:
    return float(row["verdict"] == "correct")


def _pairs(a: Condition, b: Condition) -> list[tuple[ItemKey, Row, Row]]:
    ours, theirs = a.items(), b.items()
    shared = [(key, row, theirs[key]) for key, row in ours.items() if key in theirs]
    if not shared:
        raise DataError(f"{a.run} and {b.run} share no (task, id, sample); compare runs on the same problems")
    changed = next((key for key, one, two in shared if one["answer"] != two["answer"]), None)
    if changed:
        raise DataError(
            f"{a.run} and {b.run} have different answers for {changed[1]!r} of {changed[0]}; repeat one run"
        )
    return shared


def _totals(pairs: list[tuple[ItemKey, Row, Row]]) -> _Totals:
    grouped: dict[tuple[str, str], list[float]] = {}
    for (task, name, *_), one, two in pairs:
        sums = grouped.setdefault((task, name), [0.0] * 5)
        values = (1.0, _right(one), _right(two), one["thinking_tokens"], two["thinking_tokens"])
        for index, value in enumerate(values):
            sums[index] += value
    return _Totals(*(list(column) for column in zip(*grouped.values(), strict=True)))


def _interval(statistic: Callable[..., metrics.Sums], *columns: list[float]) -> tuple[float | None, float | None]:
    low, high = metrics.bootstrap(columns, statistic)
    return (low, high) if low == low else (None, None)


def act_ratio(a: Condition, b: Condition) -> dict[str, float | None]:
    """Thinking tokens of B over those of the baseline A, on the same samples.

    `act_ratio` is the ratio of means (the paper's), `act_ratio_paired` the mean of the samples' own ratios; samples
    whose baseline did not think have no ratio of their own. Intervals are 95 % bootstrap over problems.
    """
    if a is b and any(row["thinking_tokens"] for row in a.rows):
        return dict.fromkeys(_ACT_RATIO_FIELDS, 1.0)
    pairs = _pairs(a, b)
    totals = _totals(pairs)
    if not sum(totals.tokens_a):
        return dict.fromkeys(_ACT_RATIO_FIELDS)
    low, high = _interval(lambda before, after: metrics.ratio(after, before), totals.tokens_a, totals.tokens_b)
    own = [(one["thinking_tokens"], two["thinking_tokens"]) for _, one, two in pairs if one["thinking_tokens"]]
    grouped: dict[tuple[str, str], list[float]] = {}
    for (task, name, *_), one, two in pairs:
        if one["thinking_tokens"]:
            grouped.setdefault((task, name), []).append(two["thinking_tokens"] / one["thinking_tokens"])
    sums, counts = [sum(group) for group in grouped.values()], [float(len(group)) for group in grouped.values()]
    paired_low, paired_high = _interval(metrics.ratio, sums, counts)
    values = (
        sum(totals.tokens_b) / sum(totals.tokens_a),
        low,
        high,
        metrics.mean_of_ratios(own),
        paired_low,
        paired_high,
    )
    return dict(zip(_ACT_RATIO_FIELDS, values, strict=True))


_ACT_RATIO_FIELDS = (
    "act_ratio",
    "act_ratio_low",
    "act_ratio_high",
    "act_ratio_paired",
    "act_ratio_paired_low",
    "act_ratio_paired_high",
)


def compare(a: Condition, b: Condition) -> Comparison:
    """Compare condition B with condition A on the samples both have.

    Returns:
        fractions in [0, 1]; `token_reduction` is 1 − mean thinking tokens of B / of A (None if A never thinks). The
        p-value is the exact McNemar test; with several samples a problem, the exact sign test on problem means.

    Raises:
        DataError: no shared samples, or the same problem with another reference answer.
    """
    pairs = _pairs(a, b)
    totals = _totals(pairs)
    count = len(pairs)
    low, high = _interval(
        lambda samples, before, after: (after - before) / samples, totals.samples, totals.right_a, totals.right_b
    )
    ratios = act_ratio(a, b)
    reduction = {
        "token_reduction": None if ratios["act_ratio"] is None else 1 - ratios["act_ratio"],
        "token_reduction_low": None if ratios["act_ratio_high"] is None else 1 - ratios["act_ratio_high"],
        "token_reduction_high": None if ratios["act_ratio_low"] is None else 1 - ratios["act_ratio_low"],
    }
    means = list(zip(totals.right_a, totals.right_b, strict=True))
    only_a = [key for key, one, two in pairs if _right(one) > _right(two)]
    only_b = [key for key, one, two in pairs if _right(one) < _right(two)]
    values: dict[str, Any] = {
        "a": f"{a.run.name}:{ratio_name(a.ratio)}",
        "b": f"{b.run.name}:{ratio_name(b.ratio)}",
        "n": count,
        "problems": len(totals.samples),
        "unpaired_a": len(a.rows) - count,
        "unpaired_b": len(b.rows) - count,
        "accuracy_a": sum(totals.right_a) / count,
        "accuracy_b": sum(totals.right_b) / count,
        "accuracy_difference": (sum(totals.right_b) - sum(totals.right_a)) / count,
        "accuracy_difference_low": low,
        "accuracy_difference_high": high,
        "mcnemar_p": metrics.mcnemar(means),
        "only_a_correct": len(only_a),
        "only_b_correct": len(only_b),
        "thinking_tokens_a": sum(totals.tokens_a) / count,
        "thinking_tokens_b": sum(totals.tokens_b) / count,
        **reduction,
        **ratios,
    }
    return Comparison(values, only_a, only_b)


def sentences(values: dict[str, Any]) -> list[str]:
    """A comparison in words, for the terminal."""
    pairs = f"{values['n']} paired samples" + (
        f" of {values['problems']} problems" if values["problems"] != values["n"] else ""
    )
    lines = [
        f"A = {values['a']}, B = {values['b']}, {pairs}",
        f"accuracy: {values['accuracy_a']:.1%} -> {values['accuracy_b']:.1%}, difference "
        f"{_points(values['accuracy_difference'])} points (95 % {_points(values['accuracy_difference_low'])} to "
        f"{_points(values['accuracy_difference_high'])}), McNemar p = {values['mcnemar_p']:.3g}",
    ]
    if values["token_reduction"] is not None:
        lines.append(
            f"thinking tokens: {values['thinking_tokens_a']:.1f} -> {values['thinking_tokens_b']:.1f}, reduction "
            f"{values['token_reduction']:.1%} (95 % {values['token_reduction_low']:.1%} to "
            f"{values['token_reduction_high']:.1%})"
        )
    lines.append(f"flips: {values['only_a_correct']} right only in A, {values['only_b_correct']} right only in B")
    if values["unpaired_a"] or values["unpaired_b"]:
        lines.append(f"left out, without a partner: {values['unpaired_a']} of A, {values['unpaired_b']} of B")
    return lines


def by_task(a: Condition, b: Condition) -> dict[str, Comparison]:
    """The comparison task by task, over the tasks both have; empty if that is only one, since it is the pooled one."""
    shared = [task for task in _by_task(a) if task in _by_task(b)]
    if len(shared) < 2:
        return {}
    return {task: compare(_by_task(a)[task], _by_task(b)[task]) for task in shared}


def _by_task(condition: Condition) -> dict[str, Condition]:
    tasks: dict[str, list[Row]] = {}
    for row in condition.rows:
        tasks.setdefault(row["task"], []).append(row)
    return {task: Condition(condition.run, condition.ratio, rows) for task, rows in tasks.items()}


def flips(comparison: Comparison) -> list[str]:
    """The samples whose verdict changed, one a line; after twenty of a kind the number of the others."""
    lines: list[str] = []
    for words, keys in (("A", comparison.only_a_correct), ("B", comparison.only_b_correct)):
        lines += [
            f"right only in {words}: {task} {name} sample {sample}" for task, name, _, sample in keys[:_FLIPS_SHOWN]
        ]
        if len(keys) > _FLIPS_SHOWN:
            lines.append(f"right only in {words}: {len(keys) - _FLIPS_SHOWN} more, listed by --output")
    return lines


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.1f}"
