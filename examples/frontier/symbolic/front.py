"""Chrpo's front of accuracy and thinking tokens, at its floors, beside the front of all rivals at all their weights.

A front also contains what a random choice between two models of it reaches. Rows of a task come from `summary`.

    >>> round(accuracy_at([(10.0, 0.8), (20.0, 0.9)], 15.0), 3), round(tokens_at([(10.0, 0.8), (20.0, 0.9)], 0.85), 3)
    (0.85, 15.0)
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from seed_means import mean_over_seeds

FLOORS = ("chrpo", "chrpo-2", "chrpo-5")
"""Rows of chrpo's front."""
NEAR, LOWEST = 0.005, 0.055
"""Accuracy that counts as equal, and the largest loss, compared with SFT at ratio 1, of a rival in the first column."""
Point = tuple[float, float]
Row = Mapping[str, Any]


def accuracy_at(points: Sequence[Point], tokens: float) -> float:
    """Highest accuracy of a front with at most this number of tokens; -inf if every point has more.

    Args:
        points: Tokens and accuracy of each model.
        tokens: Number of tokens.
    """
    alone = [accuracy for own, accuracy in points if own <= tokens]
    mixed = [a + (b - a) * (tokens - own) / (more - own) for (own, a), (more, b) in _pairs(points, 0, tokens)]
    return max([*alone, *mixed], default=-inf)


def tokens_at(points: Sequence[Point], accuracy: float) -> float:
    """Smallest number of tokens of a front with at least this accuracy; inf if every point has a lower one.

    Args:
        points: Tokens and accuracy of each model.
        accuracy: Accuracy.
    """
    alone = [own for own, reached in points if reached >= accuracy]
    mixed = [own + (more - own) * (accuracy - a) / (b - a) for (own, a), (more, b) in _pairs(points, 1, accuracy)]
    return min([*alone, *mixed], default=inf)


def _pairs(points: Sequence[Point], axis: int, value: float) -> Iterator[tuple[Point, Point]]:
    """Pairs of points with the value between them on an axis, the lower one first."""
    return ((low, high) for low, high in product(points, points) if low[axis] < value < high[axis])


def shared_seeds(rows: Iterable[Row]) -> list[int]:
    """Seeds that all of these rows have, in order."""
    return sorted(set.intersection(*(set(row["seeds"]) for row in rows)))


def mean_in(seeds: Sequence[int], row: Row, field: str) -> float:
    """Mean of a field of a row over some of its seeds.

    Args:
        seeds: Seeds.
        row: Row.
        field: Name of the field, such as "accuracy".
    """
    of_seed = dict(zip(row["seeds"], row[f"{field}_seeds"], strict=True))
    return fmean(of_seed[seed] for seed in seeds)


def rivals_of(rows: Iterable[Row]) -> list[Row]:
    """The rows of RL that are no variants of chrpo."""
    return [row for row in rows if row["floor"] is not None and row["family"] != "chrpo"]


def with_rivals(tasks: Mapping[str, Any]) -> dict[str, Any]:
    """The tasks in which a rival was run."""
    return {name: task for name, task in tasks.items() if rivals_of(task["rows"])}


def fronts(tasks: Mapping[str, Any]) -> Iterator[str]:
    """How far rivals are above chrpo's front in each task, and what chrpo saves beside theirs, in Markdown."""
    yield "Fronts of chrpo at its floors and of all rivals at all weights, in the seeds that rows have in common. First"
    yield f"column: rivals at most {100 * LOWEST:g} points below SFT at ratio 1. Least share: tokens of a chrpo"
    yield f"row over those of the rivals' front where this is {100 * NEAR:g} points less accurate, for the row with"
    yield "the least (95 % t interval)."
    yield ""
    yield "| task | rival farthest above chrpo's front, points | least share, % |"
    yield "|---|---|---|"
    for name, task in tasks.items():
        yield f"| {name} | {' | '.join(_compared(task['rows']))} |"
    yield ""


def _compared(rows: Sequence[Row]) -> tuple[str, str]:
    full = next(row for row in rows if row["name"] == "sft@1")
    ours = [row for row in rows if row["name"] in FLOORS]
    rivals = rivals_of(rows)
    if not ours or not rivals:
        return "", ""
    above = {rival["name"]: _above(rival, ours, full) for rival in rivals}
    shares = {row["name"]: _share(row, rivals) for row in ours}
    rival, own = max(above, key=above.__getitem__), min(shares, key=lambda name: shares[name]["share"])
    return f"{rival}: {100 * above[rival]:+.1f}", f"{own}: {_percent(shares[own])}"


def _above(rival: Row, ours: Sequence[Row], full: Row) -> float:
    """Accuracy of a rival over chrpo's front in its seeds; -inf if it has lost too much, or no seed is shared."""
    seeds = shared_seeds([rival, *ours])
    if not seeds or mean_in(seeds, rival, "accuracy") < mean_in(seeds, full, "accuracy") - LOWEST:
        return -inf
    front = _points(ours, seeds)
    tokens = max(mean_in(seeds, rival, "thinking_tokens"), min(own for own, _ in front))
    return mean_in(seeds, rival, "accuracy") - accuracy_at(front, tokens)


def _share(row: Row, rivals: Sequence[Row]) -> dict[str, Any]:
    """Tokens of a row over those of the rivals' front, in each seed and as a mean."""
    shares = []
    for seed in row["seeds"]:
        tokens, accuracy = _points([row], [seed])[0]
        front = _points([rival for rival in rivals if seed in rival["seeds"]], [seed])
        shares.append(tokens / tokens_at(front, accuracy - NEAR))
    return mean_over_seeds("share", shares)


def _percent(share: Row) -> str:
    low, high = share["share_low"], share["share_high"]
    interval = "" if low is None else f" ({100 * low:.0f} to {100 * high:.0f})"
    return f"{100 * share['share']:.0f}{interval}"


def _points(rows: Iterable[Row], seeds: Sequence[int]) -> list[Point]:
    """Tokens and accuracy of each row, as means over these seeds."""
    return [(mean_in(seeds, row, "thinking_tokens"), mean_in(seeds, row, "accuracy")) for row in rows]
