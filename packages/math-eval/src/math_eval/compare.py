"""`math-eval compare`: what differs between two conditions on the same problems, and how certain that is.

Samples are paired by (task, id, seed, sample); runs with different seeds are paired in rising order of seed.
Differences are B - A. The formulas are in `metrics`; sentences, drawings and tables are left to `report`.

    compare(load_condition("runs/base"), load_condition("runs/chrpo", "policy")).values["token_reduction"]   # 0.74
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from . import metrics
from ._shared.intervals import ratio
from ._shared.records import Row
from .efficiency import correct
from .efficiency_pairs import compare_efficiency
from .errors import DataError
from .run_folders import Condition, ItemKey, token_limit

_Pair = tuple[ItemKey, Row, Row]
_ACT_RATIO_FIELDS = (
    "act_ratio",
    "act_ratio_low",
    "act_ratio_high",
    "act_ratio_paired",
    "act_ratio_paired_low",
    "act_ratio_paired_high",
)


@dataclass(frozen=True)
class Comparison:
    """The comparison of two conditions.

    Args:
        values: The numbers by name; see `compare`.
        only_a_correct: Samples that only A has correct, as (task, id, seed of A, sample).
        only_b_correct: Samples that only B has correct, in the same form.
    """

    values: dict[str, Any]
    only_a_correct: list[ItemKey]
    only_b_correct: list[ItemKey]


def compare(a: Condition, b: Condition) -> Comparison:
    """Compare condition B with condition A on the samples that both have.

    Rates and differences are fractions in [0, 1]. Some of the values:

    - `token_reduction`: 1 - mean thinking tokens of B / mean thinking tokens of A; None if A never thinks.
    - `accuracy_difference_low`, `_high`: `metrics.difference_interval`; a bootstrap interval is given beside it.
    - `mcnemar_p`: p-value of the exact McNemar test; with several samples a problem, of the exact sign test on the
      problems' mean scores.
    - `smallest_detectable`: `metrics.smallest_difference` at the measured share of changed verdicts; None below six
      problems.
    - `accuracy_difference_by_seed`: the difference of each seed; only with several seeds.
    - `aes`, `budget_curve`, `tokens_per_correct_ratio` and so on: see `compare_efficiency`.

    Args:
        a: The baseline.
        b: The condition that is compared with it.

    Raises:
        DataError: The conditions share no samples, or have different reference answers for one problem.
    """
    pairs = _pairs(a, b)
    count = len(pairs)
    ratios = act_ratio(a, b)
    values: dict[str, Any] = {
        "a": a.title,
        "b": b.title,
        "n": count,
        "problems": len({key[:2] for key, _, _ in pairs}),
        "unpaired_a": len(a.rows) - count,
        "unpaired_b": len(b.rows) - count,
        **_accuracy(pairs),
        "thinking_tokens_a": sum(one["thinking_tokens"] for _, one, _ in pairs) / count,
        "thinking_tokens_b": sum(two["thinking_tokens"] for _, _, two in pairs) / count,
        "token_reduction": _one_minus(ratios["act_ratio"]),
        "token_reduction_low": _one_minus(ratios["act_ratio_high"]),
        "token_reduction_high": _one_minus(ratios["act_ratio_low"]),
        **ratios,
        "seeds_a": _seeds(a),
        "seeds_b": _seeds(b),
        **_over_seeds(pairs),
        **compare_efficiency(_problems(pairs), (token_limit(a.run), token_limit(b.run))),
    }
    only_a = [key for key, one, two in pairs if correct(one) > correct(two)]
    only_b = [key for key, one, two in pairs if correct(one) < correct(two)]
    return Comparison(values, only_a, only_b)


def by_task(a: Condition, b: Condition) -> dict[str, Comparison]:
    """The comparison of each task that both have; empty for a single task, since `compare` gives the same."""
    ours, theirs = _by_task(a), _by_task(b)
    shared = [task for task in ours if task in theirs]
    return {task: compare(ours[task], theirs[task]) for task in shared} if len(shared) > 1 else {}


def content(comparison: Comparison, tasks: Mapping[str, Comparison]) -> dict[str, Any]:
    """What `math-eval compare --output` writes: the numbers, those of each task if there are several, the flips."""
    changed = {"only_a_correct": comparison.only_a_correct, "only_b_correct": comparison.only_b_correct}
    own = {"tasks": {task: one.values for task, one in tasks.items()}} if tasks else {}
    return {**comparison.values, **own, "flips": changed}


def act_ratio(a: Condition, b: Condition) -> dict[str, float | None]:
    """Thinking tokens of B divided by those of the baseline A, on the same samples.

    `act_ratio` is the ratio of means (the paper's definition). `act_ratio_paired` is the mean of each sample's own
    ratio; samples whose baseline has no thinking tokens are left out of it. Intervals are 95 % bootstrap intervals over
    problems. All values are None if no sample of the baseline thinks.
    """
    if a is b and any(row["thinking_tokens"] for row in a.rows):
        return dict.fromkeys(_ACT_RATIO_FIELDS, 1.0)
    pairs = _pairs(a, b)
    before = _by_problem(pairs, lambda one, _: one["thinking_tokens"])
    after = _by_problem(pairs, lambda _, two: two["thinking_tokens"])
    own = _by_problem(pairs, own_ratio)
    if not own:
        return dict.fromkeys(_ACT_RATIO_FIELDS)
    ratios = [each for group in own for each in group]
    values = (
        sum(map(sum, after)) / sum(map(sum, before)),
        *_interval(after, before),
        sum(ratios) / len(ratios),
        *_interval(own),
    )
    return dict(zip(_ACT_RATIO_FIELDS, values, strict=True))


def own_ratio(before: Row, after: Row) -> float | None:
    """Thinking tokens of a sample divided by those of its baseline sample; None if the baseline sample has none."""
    return after["thinking_tokens"] / before["thinking_tokens"] if before["thinking_tokens"] else None


def own_ratios(a: Condition, b: Condition) -> list[float]:
    """`own_ratio` of every pair that has one."""
    return [each for _, one, two in _pairs(a, b) if (each := own_ratio(one, two)) is not None]


def aligned(condition: Condition) -> dict[ItemKey, Row]:
    """The rows by (task, id, position of the seed in rising order, sample).

    Positions replace seeds, because equal seeds of two runs share no randomness.
    """
    place = {seed: index for index, seed in enumerate(_seeds(condition))}
    return {(task, name, place[seed], sample): row for (task, name, seed, sample), row in condition.items().items()}


def _pairs(a: Condition, b: Condition) -> list[_Pair]:
    """The samples that both have."""
    theirs = aligned(b)
    shared = [
        ((key[0], key[1], row["seed"], key[3]), row, theirs[key]) for key, row in aligned(a).items() if key in theirs
    ]
    if not shared:
        raise DataError(f"{a.run} and {b.run} share no (task, id, sample); compare runs on the same problems")
    changed = next((key for key, one, two in shared if one["answer"] != two["answer"]), None)
    if changed:
        raise DataError(
            f"{a.run} and {b.run} have different reference answers for {changed[1]!r} of {changed[0]}; repeat one of "
            "the runs with the other's problems"
        )
    return shared


def _accuracy(pairs: list[_Pair]) -> dict[str, Any]:
    """Both accuracies, their difference with its intervals, and what the test finds and could find."""
    count = len(pairs)
    correct_a = _by_problem(pairs, lambda one, _: correct(one))
    correct_b = _by_problem(pairs, lambda _, two: correct(two))
    differences = _by_problem(pairs, lambda one, two: correct(two) - correct(one))
    low, high = metrics.difference_interval(differences)
    drawn_low, drawn_high = _interval(differences)
    only_a = sum(correct(one) > correct(two) for _, one, two in pairs)
    only_b = sum(correct(one) < correct(two) for _, one, two in pairs)
    smallest = metrics.smallest_difference((only_a + only_b) / count, metrics.effective_trials(differences))
    means = [(sum(one) / len(one), sum(two) / len(two)) for one, two in zip(correct_a, correct_b, strict=True)]
    return {
        "accuracy_a": sum(map(sum, correct_a)) / count,
        "accuracy_b": sum(map(sum, correct_b)) / count,
        "accuracy_difference": (only_b - only_a) / count,
        "accuracy_difference_low": low,
        "accuracy_difference_high": high,
        "accuracy_difference_bootstrap_low": drawn_low,
        "accuracy_difference_bootstrap_high": drawn_high,
        "mcnemar_p": metrics.mcnemar(means),
        "smallest_detectable": smallest if metrics.can_differ(len(differences)) else None,
        "only_a_correct": only_a,
        "only_b_correct": only_b,
    }


def _problems(pairs: list[_Pair]) -> list[tuple[list[Row], list[Row]]]:
    """The samples of A and those of B of each problem, paired in their order."""
    problems: dict[tuple[str, str], tuple[list[Row], list[Row]]] = {}
    for (task, name, *_), one, two in pairs:
        ours, theirs = problems.setdefault((task, name), ([], []))
        ours.append(one)
        theirs.append(two)
    return list(problems.values())


def _by_problem(pairs: list[_Pair], value: Callable[[Row, Row], float | None]) -> list[list[float]]:
    """The numbers of the pairs, grouped by problem; pairs and problems without a number are left out."""
    groups: dict[tuple[str, str], list[float]] = {}
    for (task, name, *_), one, two in pairs:
        if (number := value(one, two)) is not None:
            groups.setdefault((task, name), []).append(number)
    return list(groups.values())


def _interval(above: list[list[float]], below: list[list[float]] | None = None) -> tuple[float | None, float | None]:
    """The bootstrap interval over problems of sum(above) / sum(below), or of the mean of `above` alone."""
    sums = [sum(group) for group in above]
    bases = [sum(group) for group in below] if below is not None else [float(len(group)) for group in above]
    return metrics.bootstrap_interval([sums, bases], ratio)


def _over_seeds(pairs: list[_Pair]) -> dict[str, Any]:
    """The accuracy difference of each seed of A, and their standard deviation; empty for a single seed."""
    seeds: dict[int, list[float]] = {}
    for (_, _, seed, _), one, two in pairs:
        seeds.setdefault(seed, []).append(correct(two) - correct(one))
    if len(seeds) < 2:
        return {}
    means = {str(seed): sum(some) / len(some) for seed, some in sorted(seeds.items())}
    return {"accuracy_difference_by_seed": means, "accuracy_difference_seed_sd": stdev(means.values())}


def _by_task(condition: Condition) -> dict[str, Condition]:
    tasks: dict[str, list[Row]] = {}
    for row in condition.rows:
        tasks.setdefault(row["task"], []).append(row)
    return {task: Condition(condition.run, condition.ratio, rows) for task, rows in tasks.items()}


def _seeds(condition: Condition) -> list[int]:
    return sorted({row["seed"] for row in condition.rows})


def _one_minus(value: float | None) -> float | None:
    return None if value is None else 1 - value
