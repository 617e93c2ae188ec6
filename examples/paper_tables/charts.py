"""Charts of a combined result: accuracy and thinking tokens of every row, and the constraint over the RL steps.

draw(results, Path("examples/paper_tables"))          # pareto.svg, trajectory.svg
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from collect import Row
from svg_charts import plt, save

_METHODS = {
    "sft": ("SFT, our compression", "#1f6f8b", "o-"),
    "random": ("SFT, random words", "#999999", "v--"),
    "head": ("SFT, head", "#b8860b", "^--"),
    "rare-words": ("SFT, rare words (LLMLingua-2-style)", "#7b5ea7", "s--"),
    "tokenskip": ("SFT, TokenSkip-style", "#c39bd3", "d--"),
}

_OURS = "#c8553d"


def draw(results: Row, folder: Path) -> None:
    """Write `pareto.svg` and `trajectory.svg`."""
    save(_pareto(results["rows"]), folder / "pareto.svg")
    save(_trajectory(results["trajectories"]), folder / "trajectory.svg")


def _pareto(rows: list[Row]) -> plt.Figure:
    figure, (ladder, tokens, accuracy) = plt.subplots(1, 3, figsize=(12, 5), width_ratios=(2.4, 1, 1))
    marked = {row["name"]: row for row in rows}
    for method, (label, colour, style) in _METHODS.items():
        line = [row for row in rows if row["name"].startswith(f"{method}@") and row["name"] != "sft@policy"]
        _points(ladder, line, fmt=style, color=colour, label=label, markersize=4)
    _points(ladder, [marked["base"]], fmt="X", color="#333333", label="base", markersize=8)
    _points(ladder, [marked["chrpo"]], fmt="*", color=_OURS, label="CHRPO, the model chooses", markersize=12)
    ladder.set(xscale="log", ylim=(0, 100), xlabel="mean thinking tokens (log scale)", ylabel="accuracy, %")
    ladder.set_xticks([15, 20, 40, 60, 100], [15, 20, 40, 60, 100])
    ladder.minorticks_off()
    ladder.legend(fontsize=7, loc="center left", bbox_to_anchor=(0.01, 0.46))
    free = [row for row in reversed(rows) if "@" not in row["name"] or row["name"] == "sft@policy"]
    for axes, field, scale, title in (
        (tokens, "thinking_tokens", 1, "mean thinking tokens"),
        (accuracy, "accuracy", 100, "accuracy, %"),
    ):
        for at, row in enumerate(free):
            colour = _OURS if row["name"] == "chrpo" else "#333333"
            seeds = [scale * value for value in row[f"{field}_seeds"]]
            axes.plot(seeds, [at] * len(seeds), "-", color=colour, linewidth=1, alpha=0.5)
            axes.plot(scale * row[field], at, "o", color=colour, markersize=5)
        axes.set_yticks(range(len(free)), [row["name"] for row in free])
        axes.set(xlabel=title)
    accuracy.tick_params(labelleft=False)
    tokens.set(xscale="log")
    tokens.set_xticks([20, 40, 80], [20, 40, 80])
    tokens.minorticks_off()
    for axes in (ladder, tokens, accuracy):
        axes.grid(alpha=0.25)
    figure.suptitle("Means over seeds; bars from the least to the most of a seed", fontsize=9)
    figure.tight_layout()
    return figure


def _points(axes: plt.Axes, rows: list[Row], **style: Any) -> None:
    """Accuracy against thinking tokens."""
    middle = [100 * row["accuracy"] for row in rows]
    low = [mean - 100 * min(row["accuracy_seeds"]) for mean, row in zip(middle, rows, strict=True)]
    high = [100 * max(row["accuracy_seeds"]) - mean for mean, row in zip(middle, rows, strict=True)]
    axes.errorbar([row["thinking_tokens"] for row in rows], middle, yerr=[low, high], capsize=2, linewidth=1, **style)


def _trajectory(trajectories: dict[str, dict[str, Row]]) -> plt.Figure:
    panels = {
        "policy/accuracy": "accuracy of a step; dashed: floor",
        "lambda/policy": "price of accuracy (lambda)",
        "policy/thinking_tokens": "thinking tokens",
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(11, 3))
    for seed, rows in trajectories.items():
        for axis, (name, title) in zip(axes, panels.items(), strict=True):
            found = rows["chrpo"].get(name, [])
            (line,) = axis.plot(range(1, len(found) + 1), found, label=f"seed {seed}", linewidth=1)
            if name == "policy/accuracy":
                floor = rows["chrpo"]["floor/policy"]
                axis.plot(range(1, len(floor) + 1), floor, "--", color=line.get_color(), linewidth=0.7)
            axis.set(title=title, xlabel="CHRPO step")
            axis.grid(alpha=0.25)
    axes[0].legend(fontsize=7)
    return figure
