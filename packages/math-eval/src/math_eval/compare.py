"""Two conditions on the same problems: what changed in accuracy and tokens, and how sure that is.

Samples are paired on (task, id, seed, sample), other seeds in rising order; differences are B − A. The formulas are
those of `metrics`; words are left to `wording`, drawing and tables to `report`.

    compare(select("runs/base", None), select("runs/chrpo", "policy")).values["token_reduction"]   # 0.74
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from . import metrics
from ._shared.records import Row
from .conditions import Condition, ItemKey, ratio_name
from .errors import DataError

_Pair = tuple[ItemKey, Row, Row]


@dataclass(frozen=True)
class Comparison:
    """The numbers of a comparison and the samples whose verdict flipped, as (task, id, seed of A, sample)."""

    values: dict[str, Any]
    only_a_correct: list[ItemKey]
    only_b_correct: list[ItemKey]


def _right(row: Row) -> float:
    return float(row["verdict"] == "correct")


def _seeds(condition: Condition) -> list[int]:
    return sorted({row["seed"] for row in condition.rows})


def aligned(condition: Condition) -> dict[ItemKey, Row]:
    """The rows by (task, id, place of the seed, sample): equal seeds of two runs share no randomness to keep."""
    place = {seed: index for index, seed in enumerate(_seeds(condition))}
    return {(task, name, place[seed], sample): row for (task, name, seed, sample), row in condition.items().items()}


def _pairs(a: Condition, b: Condition) -> list[_Pair]:
    """The samples both have."""
    theirs = aligned(b)
    shared = [
        ((key[0], key[1], row["seed"], key[3]), row, theirs[key]) for key, row in aligned(a).items() if key in theirs
    ]
    if not shared:
        raise DataError(f"{a.run} and {b.run} share no (task, id, sample); compare runs on the same problems")
    changed = next((key for key, one, two in shared if one["answer"] != two["answer"]), None)
    if changed:
        raise DataError(
            f"{a.run} and {b.run} have different answers for {changed[1]!r} of {changed[0]}; repeat one run"
        )
    return shared


def _by_problem(pairs: list[_Pair], value: Callable[[Row, Row], float | None]) -> list[list[float]]:
    """A number of each pair, grouped by problem; pairs and problems without one are left out."""
    groups: dict[tuple[str, str], list[float]] = {}
    for (task, name, *_), one, two in pairs:
        if (number := value(one, two)) is not None:
            groups.setdefault((task, name), []).append(number)
    return list(groups.values())


def _interval(above: list[list[float]], below: list[list[float]] | None = None) -> tuple[float | None, float | None]:
    """The bootstrap interval over problems of sum over sum, or of the mean if nothing is given below.

    None where it has no width: problems that all give the same say nothing of how far others would be from it.
    """
    sums = [sum(group) for group in above]
    bases = [sum(group) for group in below] if below is not None else [float(len(group)) for group in above]
    low, high = metrics.bootstrap([sums, bases], metrics.ratio)
    return (low, high) if low < high else (None, None)


def act_ratio(a: Condition, b: Condition) -> dict[str, float | None]:
    """Thinking tokens of B over those of the baseline A, on the same samples.

    `act_ratio` is the ratio of means (the paper's), `act_ratio_paired` the mean of the samples' own ratios; samples
    whose baseline did not think have no ratio of their own. Intervals are 95 % bootstrap over problems.
    """
    if a is b and any(row["thinking_tokens"] for row in a.rows):
        return dict.fromkeys(_ACT_RATIO_FIELDS, 1.0)
    pairs = _pairs(a, b)
    before = _by_problem(pairs, lambda one, _: one["thinking_tokens"])
    after = _by_problem(pairs, lambda _, two: two["thinking_tokens"])
    own = _by_problem(pairs, own_ratio)
    if not own:
        return dict.fromkeys(_ACT_RATIO_FIELDS)
    ratios = [ratio for group in own for ratio in group]
    values = (
        sum(map(sum, after)) / sum(map(sum, before)),
        *_interval(after, before),
        sum(ratios) / len(ratios),
        *_interval(own),
    )
    return dict(zip(_ACT_RATIO_FIELDS, values, strict=True))


def own_ratio(before: Row, after: Row) -> float | None:
    """A sample's thinking tokens over its partner's; None if the partner did not think."""
    return after["thinking_tokens"] / before["thinking_tokens"] if before["thinking_tokens"] else None


def own_ratios(a: Condition, b: Condition) -> list[float]:
    """`own_ratio` of every pair that has one."""
    return [ratio for _, one, two in _pairs(a, b) if (ratio := own_ratio(one, two)) is not None]


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
        The interval of the accuracy difference is `metrics.difference_interval`; the bootstrap's is beside it.
        `smallest_detectable` is at the measured share of flips, and None below six problems. With several seeds there
        is a difference by seed.

    Raises:
        DataError: no shared samples, or the same problem with another reference answer.
    """
    pairs = _pairs(a, b)
    count = len(pairs)
    right_a = _by_problem(pairs, lambda one, _: _right(one))
    right_b = _by_problem(pairs, lambda _, two: _right(two))
    differences = _by_problem(pairs, lambda one, two: _right(two) - _right(one))
    low, high = metrics.difference_interval(differences)
    drawn_low, drawn_high = _interval(differences)
    only_a = [key for key, one, two in pairs if _right(one) > _right(two)]
    only_b = [key for key, one, two in pairs if _right(one) < _right(two)]
    flipped = (len(only_a) + len(only_b)) / count
    smallest = metrics.smallest_difference(flipped, metrics.effective_trials(differences))
    ratios = act_ratio(a, b)
    values: dict[str, Any] = {
        "a": f"{a.run.name}:{ratio_name(a.ratio)}",
        "b": f"{b.run.name}:{ratio_name(b.ratio)}",
        "n": count,
        "problems": len(differences),
        "unpaired_a": len(a.rows) - count,
        "unpaired_b": len(b.rows) - count,
        "accuracy_a": sum(map(sum, right_a)) / count,
        "accuracy_b": sum(map(sum, right_b)) / count,
        "accuracy_difference": (len(only_b) - len(only_a)) / count,
        "accuracy_difference_low": low,
        "accuracy_difference_high": high,
        "accuracy_difference_bootstrap_low": drawn_low,
        "accuracy_difference_bootstrap_high": drawn_high,
        "mcnemar_p": metrics.mcnemar(
            [(sum(one) / len(one), sum(two) / len(two)) for one, two in zip(right_a, right_b, strict=True)]
        ),
        "smallest_detectable": smallest if metrics.can_differ(len(differences)) else None,
        "only_a_correct": len(only_a),
        "only_b_correct": len(only_b),
        "thinking_tokens_a": sum(one["thinking_tokens"] for _, one, _ in pairs) / count,
        "thinking_tokens_b": sum(two["thinking_tokens"] for _, _, two in pairs) / count,
        "token_reduction": _one_minus(ratios["act_ratio"]),
        "token_reduction_low": _one_minus(ratios["act_ratio_high"]),
        "token_reduction_high": _one_minus(ratios["act_ratio_low"]),
        **ratios,
        "seeds_a": _seeds(a),
        "seeds_b": _seeds(b),
        **_over_seeds(pairs),
    }
    return Comparison(values, only_a, only_b)


def _one_minus(ratio: float | None) -> float | None:
    return None if ratio is None else 1 - ratio


def _over_seeds(pairs: list[_Pair]) -> dict[str, Any]:
    """The accuracy difference of each seed of A and its partner, and how these spread; nothing for a single seed."""
    seeds: dict[int, list[float]] = {}
    for (_, _, seed, _), one, two in pairs:
        seeds.setdefault(seed, []).append(_right(two) - _right(one))
    if len(seeds) < 2:
        return {}
    means = {str(seed): sum(some) / len(some) for seed, some in sorted(seeds.items())}
    return {"accuracy_difference_by_seed": means, "accuracy_difference_seed_sd": stdev(means.values())}


def by_task(a: Condition, b: Condition) -> dict[str, Comparison]:
    """The comparison task by task, over the tasks both have; empty if that is only one, since it is the pooled one."""
    ours, theirs = _by_task(a), _by_task(b)
    shared = [task for task in ours if task in theirs]
    return {task: compare(ours[task], theirs[task]) for task in shared} if len(shared) > 1 else {}


def _by_task(condition: Condition) -> dict[str, Condition]:
    tasks: dict[str, list[Row]] = {}
    for row in condition.rows:
        tasks.setdefault(row["task"], []).append(row)
    return {task: Condition(condition.run, condition.ratio, rows) for task, rows in tasks.items()}
