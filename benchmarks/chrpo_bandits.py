"""The default gains compared with the exact optimum, on known bandits and on random ones they were not tuned on.

The rows "flat at the top" are short runs with few samples, in which accuracy hardly rises at the largest ratios. Every
optimum is exact (`Bandit.optimum`); if scipy is installed, it is checked against scipy's linear program.

    python benchmarks/chrpo_bandits.py
"""

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from recording import record

from chrpo.core import Gains
from chrpo.core.bandit import GOLDEN, NEARLY_FREE, NEARLY_TIED, Bandit, Simulation, simulate_all

RATIOS = GOLDEN.ratios
KNOWN = {"golden": GOLDEN, "harder 1": NEARLY_FREE, "harder 2": NEARLY_TIED}
SEEDS = range(5)
ROLLOUTS = 64
QUANTILES = (0, 5, 50, 95, 100)
NO_MINIMUM = Gains(minimum=0)
FIRST, LENGTHS, FEW = 50, (100, 200, 400), 10


def draw(generator: np.random.Generator) -> Bandit:
    """Three contexts of similar weight, accuracies that rise with the ratio, a floor 1 to 5 points below the best."""
    weights = generator.dirichlet(np.full(3, 8.0))
    accuracy = np.sort(generator.uniform(0.05, 1, (3, len(RATIOS))), axis=1)
    return Bandit(weights, RATIOS, accuracy, float(weights @ accuracy.max(axis=1) - generator.uniform(0.01, 0.05)))


def draw_flat(generator: np.random.Generator) -> Bandit:
    """Accuracy top - depth ((1 - ratio) / .8)^power, other numbers in each context; a floor 1 point below the best."""
    weights, top = generator.dirichlet(np.full(3, 8.0)), generator.uniform(0.6, 1, (3, 1))
    depth, power = generator.uniform(0.1, 1, (3, 1)) * top, generator.uniform(2, 5, (3, 1))
    accuracy = top - depth * ((1 - RATIOS) / 0.8) ** power
    return Bandit(weights, RATIOS, accuracy, float(weights @ accuracy.max(axis=1) - 0.01))


def short_runs(bandits: list[Bandit]) -> dict[str, Any]:
    """Mean accuracy over the floor from step FIRST on."""
    results = simulate_all(bandits, max(LENGTHS), step_size=0.08, rollouts=FEW, scaled=True)
    found = {}
    for steps in LENGTHS:
        means = np.array([result.trajectory[FIRST:steps, :2].mean(axis=0) for result in results])
        over = means[:, 0] - [bandit.floor for bandit in bandits]
        off = means[:, 1] - [(bandit.optimum() or (np.nan,))[0] for bandit in bandits]
        found[f"{steps}"] = {
            "accuracy - floor": [float(np.quantile(over, q / 100)) for q in QUANTILES],
            "savings - optimum": [float(np.quantile(off, q / 100)) for q in QUANTILES],
            "held": int((over >= -0.005).sum()),
            "of": len(bandits),
        }
    return found


def linear_program(bandit: Bandit) -> tuple[float, float] | None:
    """Savings and price according to scipy; None without scipy."""
    try:
        from scipy.optimize import linprog
    except ImportError:
        return None
    contexts, ratios = bandit.accuracy.shape
    correct = (bandit.weights[:, None] * bandit.accuracy).ravel()
    gained = correct * np.tile(1 - bandit.ratios, contexts)
    solved = linprog(
        -gained,
        A_ub=-correct[None],
        b_ub=[-bandit.floor],
        A_eq=np.kron(np.eye(contexts), np.ones(ratios)),
        b_eq=np.ones(contexts),
    )
    return -solved.fun, -solved.ineqlin.marginals[0]


def row(name: str, bandit: Bandit, result: Simulation) -> dict[str, Any]:
    """One result, with floor and optimum."""
    savings, price = bandit.optimum() or (None, None)
    return {
        "name": name,
        "accuracy": result.accuracy,
        "floor": bandit.floor,
        "savings": result.savings,
        "best_savings": savings,
        "lambda": result.price,
        "best_lambda": price,
        "infeasible": result.infeasible,
    }


def spread(bandits: list[Bandit], results: list[Simulation], short: float, off: float) -> dict[str, Any]:
    """The distribution of both errors over random bandits."""
    optima = [bandit.optimum() or (np.nan, np.nan) for bandit in bandits]
    under = np.array([result.accuracy - bandit.floor for bandit, result in zip(bandits, results, strict=True)])
    error = np.array([result.savings - best for (best, _), result in zip(optima, results, strict=True)])
    good = (under >= -short) & (np.abs(error) <= off)
    return {
        "accuracy - floor": [float(np.quantile(under, q / 100)) for q in QUANTILES],
        "savings - optimum": [float(np.quantile(error, q / 100)) for q in QUANTILES],
        "within": int(good.sum()),
        "of": len(good),
        "short": short,
        "off": off,
    }


def tables(result: dict[str, Any]) -> str:
    """The known bandits, then the distribution over random ones."""
    lines = []
    for title, rows in result["known"].items():
        lines += [
            f"{title}, {result['steps']} steps:",
            "",
            "| bandit | accuracy | - floor | savings | - optimum | lambda | optimum |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for row in rows:
            best = row["best_savings"]
            off = "infeasible" if row["infeasible"] else "" if best is None else f"{row['savings'] - best:+.4f}"
            price = "" if best is None else f"{row['best_lambda']:.2f}"
            lines.append(
                f"| {row['name']} | {row['accuracy']:.4f} | {row['accuracy'] - row['floor']:+.4f} | "
                f"{row['savings']:.4f} | {off} | {row['lambda']:.2f} | {price} |"
            )
        lines.append("")
    heads = " | ".join(f"{q} %" for q in QUANTILES)
    lines += [f"| random bandits | {heads} |", "|---|" + "---:|" * len(QUANTILES)]
    for title, found in result["random"].items():
        for what in ("accuracy - floor", "savings - optimum"):
            lines.append(f"| {title}, {what} | {' | '.join(f'{value:+.4f}' for value in found[what])} |")
    for steps, found in result["flat"].items():
        for what in ("accuracy - floor", "savings - optimum"):
            values = " | ".join(f"{value:+.4f}" for value in found[what])
            lines.append(f"| flat at the top, {steps} steps, {what} | {values} |")
    lines.append("")
    for steps, found in result["flat"].items():
        lines.append(
            f"- flat at the top, {steps} steps: {found['held']} of {found['of']} at most .005 below the floor."
        )
    for title, found in result["random"].items():
        lines.append(
            f"- {title}: {found['within']} of {found['of']} within {found['short']:g} of the floor and "
            f"{found['off']:g} of the best savings."
        )
    if result["scipy_difference"] is not None:
        lines.append(f"- Optimum against scipy's linear program: {result['scipy_difference']:.1e} at most.")
    return "\n".join(lines)


def main() -> None:
    """Measure the known bandits and the random ones, and record both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100, help="Number of random bandits.")
    parser.add_argument("--steps", type=int, default=8000, help="Number of update steps.")
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    drawn = [draw(generator) for _ in range(options.draws)]
    known = list(KNOWN.values())

    checked = [(bandit.optimum(), linear_program(bandit)) for bandit in [*known, *drawn]]
    errors = [float(np.abs(np.subtract(ours[0], theirs[0]))) for ours, theirs in checked if ours and theirs]
    infeasible = replace(GOLDEN, floor=0.95)
    exact = simulate_all([*known, infeasible, *drawn], options.steps, gains=NO_MINIMUM)
    repeated = [bandit for bandit in known for _ in SEEDS]
    sampled = simulate_all([*repeated, *drawn], options.steps, rollouts=ROLLOUTS, gains=NO_MINIMUM)
    free = simulate_all([GOLDEN], 3000, constrained=False)[0]
    exact_rows = [row(name, bandit, result) for (name, bandit), result in zip(KNOWN.items(), exact, strict=False)]
    exact_rows += [row("golden, floor .95", infeasible, exact[3]), row("golden, no constraint", GOLDEN, free)]
    runs = [(f"{name}, run {run}", bandit) for name, bandit in KNOWN.items() for run in SEEDS]
    titles = "exact gradient", f"{ROLLOUTS} rollouts per arm and step"
    result = {
        "steps": options.steps,
        "scipy_difference": max(errors) if errors else None,
        "known": {
            titles[0]: exact_rows,
            titles[1]: [row(name, bandit, found) for (name, bandit), found in zip(runs, sampled, strict=False)],
        },
        "random": {
            titles[0]: spread(drawn, exact[4:], 0.003, 0.004),
            titles[1]: spread(drawn, sampled[len(runs) :], 0.006, 0.01),
        },
        "flat": short_runs([draw_flat(generator) for _ in range(options.draws)]),
    }
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
