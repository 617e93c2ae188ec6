"""Charts: accuracy against thinking tokens of every compression, and what each RL objective ends with.

draw_compressions(results["rows"], folder)            # pareto.svg
draw_objectives(seeds, folder)                        # objectives.svg
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from collect import Row
from svg_charts import plt, save

_METHODS = {
    "sft": ("SFT, our rules with our learnt scorer", "#1f6f8b", "o-"),
    "rules": ("SFT, our rules", "#4d8b57", "P-"),
    "learnt": ("SFT, our learnt scorer alone", "#5d6d7e", "h-"),
    "random": ("SFT, random words", "#999999", "v--"),
    "head": ("SFT, head", "#b8860b", "^--"),
    "rare-words": ("SFT, rare words (LLMLingua-2-style)", "#7b5ea7", "s--"),
    "tokenskip": ("SFT, TokenSkip-style", "#c39bd3", "d--"),
}
_OURS = "#c8553d"
_BARS = "Means over seeds; bars from the least to the most of a seed"


def draw_compressions(rows: list[Row], folder: Path) -> None:
    """Write `pareto.svg`."""
    figure, axes = plt.subplots(figsize=(6.5, 5))
    marked = {row["name"]: row for row in rows}
    for method, (label, colour, style) in _METHODS.items():
        line = [row for row in rows if row["name"].startswith(f"{method}@") and row["name"] != "sft@policy"]
        if line:
            _points(axes, line, fmt=style, color=colour, label=label, markersize=4)
    if ways := [row for row in rows if row["name"].startswith("base, budget")]:
        _points(axes, ways, fmt="x:", color="#333333", label="base, thinking stopped at N tokens", markersize=5)
    _points(axes, [marked["base"]], fmt="X", color="#333333", label="base", markersize=8)
    if "sft@policy" in marked:
        _points(axes, [marked["sft@policy"]], fmt="*", color=_OURS, label="SFT, the model chooses", markersize=12)
    axes.set(xscale="log", ylim=(0, 100), xlabel="mean thinking tokens (log scale)", ylabel="accuracy, %")
    axes.set_xticks([15, 20, 40, 60, 100], [15, 20, 40, 60, 100])
    axes.minorticks_off()
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1))
    axes.grid(alpha=0.25)
    axes.set_title(_BARS, fontsize=9)
    save(figure, folder / "pareto.svg")


def _points(axes: plt.Axes, rows: list[Row], **style: Any) -> None:
    """Accuracy against thinking tokens."""
    middle = [100 * row["accuracy"] for row in rows]
    low = [mean - 100 * min(row["accuracy_seeds"]) for mean, row in zip(middle, rows, strict=True)]
    high = [100 * max(row["accuracy_seeds"]) - mean for mean, row in zip(middle, rows, strict=True)]
    axes.errorbar([row["thinking_tokens"] for row in rows], middle, yerr=[low, high], capsize=2, linewidth=1, **style)


def draw_objectives(seeds: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write `objectives.svg`."""
    found = list(reversed(list(zip(*(seed["rows"] for seed in seeds), strict=True))))
    figure, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
    titles = {"thinking_tokens": (1, "mean thinking tokens"), "accuracy": (100, "accuracy, %")}
    for axes, (field, (scale, title)) in zip(panels, titles.items(), strict=True):
        for at, rows in enumerate(found):
            colour = _OURS if rows[0]["name"] == "chrpo" else "#333333"
            values = [scale * row[field] for row in rows]
            axes.plot(values, [at] * len(values), "-", color=colour, linewidth=1, alpha=0.5)
            axes.plot(fmean(values), at, "o", color=colour, markersize=5)
        axes.set(xlabel=title)
        axes.grid(alpha=0.25)
    panels[0].set_yticks(range(len(found)), [rows[0]["name"] for rows in found])
    panels[0].set(xlim=(0, None))
    figure.suptitle(_BARS, fontsize=9)
    save(figure, folder / "objectives.svg")
