"""How often math-eval's intervals contain the true value, and how often the smallest detectable difference is detected.

Runs with known true accuracies are simulated: problems of very unequal difficulty (Beta(0.6, 0.4)), and two runs that
differ by a known amount. For the measures of thinking, harder problems take more tokens, and the second run takes 0.6
times the tokens of the first and is a little less accurate. No model is needed.

    python benchmarks/math_eval_intervals.py
"""

from typing import Any

import click
import numpy as np
from recording import record

from math_eval import metrics
from math_eval._shared.intervals import bootstrap, ratio
from math_eval.efficiency import BUDGETS, aes, efficiency, overthinking_score
from math_eval.efficiency_pairs import compare_efficiency

CASES = ((20, 1, 0.0), (40, 1, 0.1), (40, 4, 0.1), (30, 8, 0.0), (200, 4, 0.05))
POWER = ((40, 0.1), (100, 0.2), (500, 0.1))
THINKING = ((40, 1), (40, 4), (200, 1))
_EASE = (0.6, 0.4)
_LIMIT = 4096
_POPULATION = 400_000
_NAMES = {
    "tokens_per_correct": "tokens per correct answer, one run",
    "budget_area": "area under the budget curve, one run",
    "aes": "AES",
    "tokens_per_correct_ratio": "tokens per correct answer, ratio",
    "budget_area_difference": "area, difference",
    "overthinking_score_difference": "overthinking score, difference",
    "hard_easy_ratio_change": "tokens on hard / on easy problems, change",
}
_RESAMPLES = 1000


def coverage(problems: int, samples: int, difference: float, trials: int) -> dict[str, float]:
    """The share of simulated comparisons in which each interval contains the true value."""
    generator = np.random.default_rng(problems * 1000 + samples)
    hits = {"accuracy": 0, "difference": 0, "bootstrap": 0}
    for _ in range(trials):
        ease = generator.beta(*_EASE, problems) * (1 - difference)
        one = (generator.random((problems, samples)) < ease[:, None]).astype(float)
        two = (generator.random((problems, samples)) < (ease + difference)[:, None]).astype(float)
        change = two - one
        truth = _EASE[0] / sum(_EASE) * (1 - difference)
        sums, counts = change.sum(axis=1).tolist(), [float(samples)] * problems
        intervals = {
            "accuracy": (metrics.accuracy_interval(one.tolist()), truth),
            "difference": (metrics.difference_interval(change.tolist()), difference),
            "bootstrap": (bootstrap([sums, counts], ratio, resamples=_RESAMPLES), difference),
        }
        for name, ((low, high), value) in intervals.items():
            hits[name] += low - 1e-12 <= value <= high + 1e-12
    return {name: count / trials for name, count in hits.items()}


def power(pairs: int, discordant: float, trials: int) -> dict[str, float]:
    """The share of simulated comparisons in which the exact McNemar test finds the smallest detectable difference."""
    smallest = metrics.smallest_difference(discordant, pairs)
    assert smallest is not None
    share = max(discordant, smallest)
    generator = np.random.default_rng(pairs)
    found = 0
    for _ in range(trials):
        gains, losses, _ = generator.multinomial(pairs, [(share + smallest) / 2, (share - smallest) / 2, 1 - share])
        found += metrics.mcnemar([(0, 1)] * int(gains) + [(1, 0)] * int(losses)) < 0.05
    return {"smallest": smallest, "share": share, "found": found / trials}


def _runs(problems: int, samples: int, generator: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Verdicts and completion tokens of both runs, each `[problem, sample]`."""
    ease = generator.beta(*_EASE, problems)[:, None]
    runs: list[tuple[np.ndarray, np.ndarray]] = []
    for solved, length in ((ease, 1.0), (0.9 * ease + 0.02, 0.6)):
        right = (generator.random((problems, samples)) < solved).astype(float)
        spent = length * np.exp(7 - 1.2 * ease + 0.4 * generator.standard_normal((problems, samples)))
        runs.append((right, np.clip(np.rint(spent), 1, _LIMIT)))
    return runs


def _true_values(samples: int) -> dict[str, float]:
    """The measures of a very large number of problems."""
    (right_a, spent_a), (right_b, spent_b) = _runs(_POPULATION, samples, np.random.default_rng(1))
    low, high = BUDGETS[0], BUDGETS[-1]
    areas = [
        (right * np.log2(high / np.clip(spent, low, high)) / np.log2(high / low)).mean()
        for right, spent in ((right_a, spent_a), (right_b, spent_b))
    ]
    per_correct = [spent_a.sum() / right_a.sum(), spent_b.sum() / right_b.sum()]
    scores = [overthinking_score(r.mean(), s.mean(), _LIMIT) for r, s in ((right_a, spent_a), (right_b, spent_b))]
    hard = right_a.mean(axis=1) < 0.5
    ratios = [spent[hard].mean() / spent[~hard].mean() for spent in (spent_a, spent_b)]
    return {
        "tokens_per_correct": per_correct[0],
        "budget_area": areas[0],
        "aes": float(aes(right_a.sum(), right_b.sum(), spent_a.sum(), spent_b.sum())),
        "tokens_per_correct_ratio": per_correct[1] / per_correct[0],
        "budget_area_difference": areas[1] - areas[0],
        "overthinking_score_difference": float(scores[1] - scores[0]),
        "hard_easy_ratio_change": ratios[1] / ratios[0],
    }


def _as_rows(right: np.ndarray, spent: np.ndarray) -> list[list[dict[str, Any]]]:
    """Samples of each problem, with the fields that the measures read."""
    return [
        [
            {
                "verdict": "correct" if verdict else "incorrect",
                "completion_tokens": int(tokens),
                "thinking_tokens": int(tokens),
                "truncated": False,
            }
            for verdict, tokens in zip(*one, strict=True)
        ]
        for one in zip(right, spent, strict=True)
    ]


def thinking_coverage(problems: int, samples: int, trials: int) -> dict[str, float]:
    """The share of simulated comparisons in which the interval of each measure of thinking has the true value."""
    generator = np.random.default_rng(problems * 1000 + samples + 7)
    truth = _true_values(samples)
    hits = dict.fromkeys(_NAMES, 0)
    for _ in range(trials):
        one, two = (_as_rows(*run) for run in _runs(problems, samples, generator))
        both = compare_efficiency(list(zip(one, two, strict=True)), (_LIMIT, _LIMIT))
        found = {**both, **efficiency(one, _LIMIT)}
        for name in _NAMES:
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            hits[name] += low is not None and low - 1e-12 <= truth[name] <= high + 1e-12
    return {name: count / trials for name, count in hits.items()}


def tables(result: dict[str, Any]) -> str:
    """The three tables."""
    lines = [
        "| problems | samples each | true difference | accuracy, Wilson | difference, Tango | difference, bootstrap |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for case in result["coverage"]:
        shares = " | ".join(f"{100 * case[name]:.1f} %" for name in ("accuracy", "difference", "bootstrap"))
        lines.append(f"| {case['problems']} | {case['samples']} | {100 * case['true']:.0f} points | {shares} |")
    cases = result["thinking"]
    heads = " | ".join(f"{case['problems']} problems × {case['samples']}" for case in cases)
    lines += ["", f"| measure of thinking | {heads} |", f"|---|{'---:|' * len(cases)}"]
    for name, words in _NAMES.items():
        lines.append(f"| {words} | {' | '.join(f'{100 * case[name]:.1f} %' for case in cases)} |")
    lines += [
        "",
        "| pairs | share correct in one run only | smallest detectable difference | found by the exact McNemar test |",
        "|---:|---:|---:|---:|",
    ]
    for case in result["power"]:
        lines.append(
            f"| {case['pairs']} | {100 * case['share']:.0f} % | {100 * case['smallest']:.1f} points "
            f"| {100 * case['found']:.0f} % |"
        )
    return "\n".join(lines)


@click.command()
@click.option("--trials", default=2000, show_default=True, help="Number of simulated comparisons in each row.")
@click.option("--thinking-trials", default=250, show_default=True, help="The same for the measures of thinking.")
def main(trials: int, thinking_trials: int) -> None:
    """Simulate, print the tables and record them."""
    result = {
        "trials": trials,
        "coverage": [
            {"problems": n, "samples": k, "true": true, **coverage(n, k, true, trials)} for n, k, true in CASES
        ],
        "thinking_trials": thinking_trials,
        "thinking": [{"problems": n, "samples": k, **thinking_coverage(n, k, thinking_trials)} for n, k in THINKING],
        "power": [{"pairs": n, **power(n, share, trials)} for n, share in POWER],
    }
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
