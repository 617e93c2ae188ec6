"""Charts of a record of `summary`: accuracy and thinking tokens of every row by task, and chrpo's run over its steps.

draw(results(runs, rows), Path("docs/results"))       # frontier.svg, frontier_courses.svg
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from front import FLOORS, mean_in, with_rivals
from svg_charts import plt, save

_OURS, _FLOOR = "#c8553d", "#333333"
_FAMILIES = {"l1": ("#1f6f8b", "o"), "grpo": ("#7b5ea7", "s"), "dler": ("#b8860b", "D"), "laconic": ("#4d8b57", "^")}
_REST = ("#999999", "v")
_LEAST, _MOST = -12, 2
"""Limits of the accuracy axis, in points from the floor; rows below are drawn at its lower end."""
_COURSE = {
    "accuracy": (100, "accuracy, %"),
    "tokens": (1, "thinking tokens"),
    "price": (1, "price of accuracy"),
    "violation": (100, "floor less running accuracy, points"),
}
"""Field of a course -> factor and title of its panel."""
_WINDOW = 10
"""Steps of a running mean of accuracy and tokens."""


def draw(record: Mapping[str, Any], folder: Path) -> None:
    """Write `frontier.svg` and `frontier_courses.svg`."""
    save(_frontier(with_rivals(record["tasks"])), folder / "frontier.svg")
    save(_courses(record["tasks"]), folder / "frontier_courses.svg")


def _frontier(tasks: Mapping[str, Any]) -> plt.Figure:
    """One panel for each task; accuracy in points over the accuracy of SFT at ratio 1 in the same seed."""
    figure, panels = plt.subplots(1, len(tasks), figsize=(3.1 * len(tasks), 3.6), squeeze=False)
    for axes, (name, task) in zip(panels[0], tasks.items(), strict=True):
        full = next(row for row in task["rows"] if row["name"] == "sft@1")
        for row in task["rows"]:
            if row["floor"] is not None and not _is_ablation(row["name"]):
                _point(axes, row, full)
        axes.margins(x=0.1)
        axes.axhline(0, color=_FLOOR, linewidth=0.7, linestyle="--")
        axes.set(title=name, xlabel="thinking tokens", ylim=(_LEAST - 0.7, _MOST), xlim=(0, None))
        axes.grid(alpha=0.25)
    panels[0][0].set(ylabel="accuracy over the floor, points")
    handles = [
        plt.Line2D([], [], color=colour, marker=marker, linestyle="", label=label)
        for label, (colour, marker) in {"chrpo": (_OURS, "*"), **_FAMILIES, "other rivals": _REST}.items()
    ]
    figure.legend(handles=handles, loc="upper center", ncols=len(handles), bbox_to_anchor=(0.5, 0), fontsize=8)
    figure.suptitle(f"Means over seeds, bars from the least to the most of a seed; triangles: below {_LEAST} points")
    figure.tight_layout()
    return figure


def _is_ablation(name: str) -> bool:
    return name.startswith("chrpo") and name not in FLOORS


def _point(axes: plt.Axes, row: Mapping[str, Any], full: Mapping[str, Any]) -> None:
    over = [100 * (mean_in([seed], row, "accuracy") - mean_in([seed], full, "accuracy")) for seed in row["seeds"]]
    middle = sum(over) / len(over)
    ours = row["family"] == "chrpo"
    colour, marker = (_OURS, "*") if ours else _FAMILIES.get(row["family"], _REST)
    if middle < _LEAST:
        axes.plot(row["thinking_tokens"], _LEAST, marker=11, color=colour, linestyle="")
        return
    axes.errorbar(
        row["thinking_tokens"],
        middle,
        yerr=[[middle - min(over)], [max(over) - middle]],
        fmt=marker,
        color=colour,
        markersize=9 if ours else 4,
        capsize=2,
        linewidth=0.8,
        zorder=3 if ours else 2,
    )


def _courses(tasks: Mapping[str, Any]) -> plt.Figure:
    """Accuracy, tokens, price and violation of chrpo at every step, one line for each task, first seed."""
    figure, panels = plt.subplots(1, len(_COURSE), figsize=(13, 3))
    for name, task in tasks.items():
        course = next(row["course"] for row in task["rows"] if row["name"] == "chrpo")
        for axes, (field, (factor, title)) in zip(panels, _COURSE.items(), strict=True):
            values = [factor * value for value in course[field]]
            if field in ("accuracy", "tokens"):
                values = [fmean(values[max(0, end - _WINDOW) : end]) for end in range(1, len(values) + 1)]
            axes.plot(range(1, len(values) + 1), values, linewidth=1, label=name)
            axes.set(title=title, xlabel="step")
    for axes in panels:
        axes.grid(alpha=0.25)
    panels[0].legend(fontsize=7)
    figure.suptitle(
        f"chrpo with its defaults, first seed of each task; accuracy and tokens are means of {_WINDOW} steps"
    )
    figure.tight_layout()
    return figure
