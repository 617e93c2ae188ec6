"""How often math-eval's intervals contain the true value, and how often the smallest detectable difference is detected.

Runs with known true accuracies are simulated: problems of very unequal difficulty (Beta(0.6, 0.4)), and two runs that
differ by a known amount. No model is needed.

    python benchmarks/math_eval_intervals.py
"""

from typing import Any

import click
import numpy as np
from recording import record

from math_eval import metrics
from math_eval._shared.intervals import bootstrap, ratio

CASES = ((20, 1, 0.0), (40, 1, 0.1), (40, 4, 0.1), (30, 8, 0.0), (200, 4, 0.05))
POWER = ((40, 0.1), (100, 0.2), (500, 0.1))
_EASE = (0.6, 0.4)
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


def tables(result: dict[str, Any]) -> str:
    """Both tables."""
    lines = [
        "| problems | samples each | true difference | accuracy, Wilson | difference, Tango | difference, bootstrap |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for case in result["coverage"]:
        shares = " | ".join(f"{100 * case[name]:.1f} %" for name in ("accuracy", "difference", "bootstrap"))
        lines.append(f"| {case['problems']} | {case['samples']} | {100 * case['true']:.0f} points | {shares} |")
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
def main(trials: int) -> None:
    """Simulate, print the tables and record them."""
    result = {
        "trials": trials,
        "coverage": [
            {"problems": n, "samples": k, "true": true, **coverage(n, k, true, trials)} for n, k, true in CASES
        ],
        "power": [{"pairs": n, **power(n, share, trials)} for n, share in POWER],
    }
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
