"""`chrpo simulate`: a bandit of ratios from a JSON file, to try floors and gains before a GPU is used.

The simulation itself is left to `core.bandit`. No language model is sampled.

    # bandit.json: {"weights": [1], "ratios": [0.2, 1], "accuracy": [[0.5, 0.9]], "floor": 0.8}
    bandit = read_bandit("bandit.json")
    report(bandit, simulate(bandit, 20_000))["savings"]
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._shared.records import read_json
from .core.bandit import Bandit, Simulation
from .errors import DataError
from .plot import write_page

_FIELDS = ("weights", "ratios", "accuracy", "floor")
_POINTS = 400


def read_bandit(path: str | Path) -> Bandit:
    """The bandit of a JSON file.

    Args:
        path: Path of a file with the fields `weights`, `ratios`, `accuracy` and `floor`.

    Raises:
        DataError: the file is missing or corrupted, or is no bandit; the message names field and remedy.
    """
    path = Path(path)
    data = read_json(path)
    if not isinstance(data, dict) or set(data) != set(_FIELDS):
        raise DataError(f"{path}: expected one object with exactly the fields {', '.join(_FIELDS)}")
    numbers = {name: _numbers(path, name, data[name], depth) for name, depth in zip(_FIELDS, (1, 1, 2, 0), strict=True)}
    try:
        return Bandit(numbers["weights"], numbers["ratios"], numbers["accuracy"], float(numbers["floor"]))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _numbers(path: Path, name: str, value: object, depth: int) -> np.ndarray:
    kind = ("a number", "a list of numbers", "a list of equally long lists of numbers")[depth]
    try:
        array = np.array(value)
    except ValueError as error:
        raise DataError(f"{path}: {name} must be {kind}") from error
    if array.ndim != depth or not array.size or array.dtype.kind not in "if" or not np.all(np.isfinite(array)):
        raise DataError(f"{path}: {name} must be {kind}, finite and not empty")
    return array.astype(float)


def report(bandit: Bandit, result: Simulation) -> dict[str, Any]:
    """The object that `chrpo simulate --json` prints: the final policy and the exact optimum.

    The values of `optimum` are null if the floor is infeasible. `policy` is [contexts][ratios].

    Args:
        bandit: The problem.
        result: The simulation's result.
    """
    optimum = bandit.optimum()
    savings, price = optimum or (None, None)
    return {
        "accuracy": result.accuracy,
        "savings": result.savings,
        "lambda": result.price,
        "policy": result.policy.tolist(),
        "infeasible": result.infeasible,
        "optimum": {"savings": savings, "lambda": price},
    }


def report_lines(bandit: Bandit, found: Mapping[str, Any]) -> list[str]:
    """The lines that `chrpo simulate` prints.

    Args:
        bandit: The problem.
        found: Object that `report` returned.
    """
    best = found["optimum"]["savings"]
    optimum = "none: no policy reaches the floor" if best is None else f"{best:.4f}"
    lines = [
        f"accuracy {found['accuracy']:.4f}  floor {bandit.floor:.4f}" + "  INFEASIBLE" * found["infeasible"],
        f"savings  {found['savings']:.4f}  optimum {optimum}",
        f"lambda   {found['lambda']:.4f}",
    ]
    for weight, shares in zip(bandit.weights, found["policy"], strict=True):
        arms = "  ".join(f"{ratio:g}: {share:.3f}" for ratio, share in zip(bandit.ratios, shares, strict=True))
        lines.append(f"context of weight {weight:.3f}: {arms}")
    return lines


def write_trajectory(path: str | Path, bandit: Bandit, result: Simulation) -> None:
    """Write one HTML file with accuracy, savings and price over the steps, each with its target.

    Args:
        path: Path of the HTML file.
        bandit: The problem.
        result: The simulation's result.
    """
    steps = np.unique(np.linspace(0, len(result.trajectory) - 1, _POINTS).round().astype(int))
    rows = [(step + 1, *result.trajectory[step]) for step in steps.tolist()]
    savings, price = bandit.optimum() or (None, None)
    charts = [
        ("Accuracy", _lines(rows, 1, "floor", bandit.floor)),
        ("Savings on correct answers", _lines(rows, 2, "optimum", savings)),
        ("Price of accuracy (lambda)", _lines(rows, 3, "optimum", price)),
    ]
    final = {
        f"context {context + 1}, ratio {ratio:g}": float(share)
        for context, shares in enumerate(result.policy)
        for ratio, share in zip(bandit.ratios, shares, strict=True)
    }
    note = "Accuracy and savings of the policy at every step."
    write_page(path, "Simulated bandit", note, charts, final, "Probability of each ratio, mean over the last tenth")


def _lines(
    rows: Sequence[tuple[float, ...]], column: int, name: str, target: float | None
) -> dict[str, list[tuple[float, float]]]:
    series = {"policy": [(row[0], row[column]) for row in rows]}
    if target is not None:
        series[name] = [(row[0], target) for row in rows]
    return series
