"""The default controller against the exact optimum, on known bandits and on random ones it was not tuned on.

Every optimum is exact (`Bandit.optimum`); where scipy is installed it is checked against scipy's linear program.

    python benchmarks/chrpo_bandits.py --draws 100 --steps 8000
"""

import argparse
from dataclasses import replace

import numpy as np

from chrpo.core import GOLDEN, NEARLY_FREE, NEARLY_TIED, Bandit, Simulation, simulate_all

RATIOS = GOLDEN.ratios
KNOWN = {"golden": GOLDEN, "harder 1": NEARLY_FREE, "harder 2": NEARLY_TIED}
SEEDS = range(5)


def draw(generator: np.random.Generator) -> Bandit:
    """Three contexts of like weight, accuracies rising in the ratio, a floor 1 to 5 points under the best."""
    weights = generator.dirichlet(np.full(3, 8.0))
    accuracy = np.sort(generator.uniform(0.05, 1, (3, len(RATIOS))), axis=1)
    return Bandit(weights, RATIOS, accuracy, float(weights @ accuracy.max(axis=1) - generator.uniform(0.01, 0.05)))


def linear_program(bandit: Bandit) -> tuple[float, float] | None:
    """Savings and price by scipy; None without scipy."""
    try:
        from scipy.optimize import linprog
    except ImportError:
        return None
    contexts, ratios = bandit.accuracy.shape
    right = (bandit.weights[:, None] * bandit.accuracy).ravel()
    gained = right * np.tile(1 - bandit.ratios, contexts)
    solved = linprog(
        -gained,
        A_ub=-right[None],
        b_ub=[-bandit.floor],
        A_eq=np.kron(np.eye(contexts), np.ones(ratios)),
        b_eq=np.ones(contexts),
    )
    return -solved.fun, -solved.ineqlin.marginals[0]


def line(name: str, bandit: Bandit, result: Simulation) -> str:
    """One result, as differences from floor and optimum."""
    optimum = bandit.optimum()
    savings = "" if optimum is None else f" ({result.savings - optimum[0]:+.4f}, optimal lambda {optimum[1]:.2f})"
    return (
        f"{name:28} accuracy {result.accuracy:.4f} ({result.accuracy - bandit.floor:+.4f})  "
        f"savings {result.savings:.4f}{savings}  lambda {result.price:.2f}" + "  INFEASIBLE" * result.infeasible
    )


def spread(name: str, bandits: list[Bandit], results: list[Simulation], short: float, off: float) -> None:
    """The distribution of both errors over random bandits."""
    optima = [bandit.optimum() or (np.nan, np.nan) for bandit in bandits]
    under = np.array([result.accuracy - bandit.floor for bandit, result in zip(bandits, results, strict=True)])
    error = np.array([result.savings - best for (best, _), result in zip(optima, results, strict=True)])
    for label, values in (("accuracy - floor", under), ("savings - optimum", error)):
        cuts = "  ".join(f"{q:g}%: {np.quantile(values, q / 100):+.4f}" for q in (0, 5, 50, 95, 100))
        print(f"{name:12} {label:18} {cuts}")
    good = (under >= -short) & (np.abs(error) <= off)
    print(f"{name:12} {good.sum()} of {len(good)} within {short:g} of the floor and {off:g} of the best savings")


def main() -> None:
    """Print the known bandits, then the random ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10, help="random bandits; docs/results.md has 100")
    parser.add_argument("--steps", type=int, default=8000)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    drawn = [draw(generator) for _ in range(options.draws)]

    checked = [(bandit.optimum(), linear_program(bandit)) for bandit in [*KNOWN.values(), *drawn]]
    errors = [np.abs(np.subtract(ours[0], theirs[0])) for ours, theirs in checked if ours and theirs]
    print(f"optimum against scipy: largest difference {max(errors):.1e}" if errors else "scipy is not installed")

    infeasible = replace(GOLDEN, floor=0.95)
    print(f"-- {options.steps} steps, exact gradient")
    exact = simulate_all([*KNOWN.values(), infeasible, *drawn], options.steps)
    for name, bandit, result in zip([*KNOWN, "golden, floor .95"], [*KNOWN.values(), infeasible], exact, strict=False):
        print(line(name, bandit, result))
    print(line("golden, no constraint", GOLDEN, simulate_all([GOLDEN], 3000, constrained=False)[0]))
    spread("random", drawn, exact[4:], 0.003, 0.004)

    print(f"-- {options.steps} steps, 64 rollouts per arm and step")
    known = list(KNOWN.values())
    sampled = simulate_all([*(bandit for bandit in known for _ in SEEDS), *drawn], options.steps, rollouts=64)
    for number, (name, bandit) in enumerate(KNOWN.items()):
        for run in SEEDS:
            print(line(f"{name}, run {run}", bandit, sampled[number * len(SEEDS) + run]))
    spread("random", drawn, sampled[len(known) * len(SEEDS) :], 0.006, 0.01)


if __name__ == "__main__":
    main()
