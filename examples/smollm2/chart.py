"""The chart of the run: accuracy against thinking tokens of every row.

draw(json.loads(Path("runs/smollm2/results.json").read_text())["rows"], Path("smollm2.svg"))
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from svg_charts import plt, save

_FAMILIES = {
    "base": ("base model", "#333333", "X"),
    "base, ": ("base model, thinking less without training", "#999999", "x"),
    "sft@": ("SFT at the requested ratio, learnt compressor", "#1f6f8b", "o"),
    "sft@policy": ("SFT, the model chooses", "#4d8b57", "P"),
    "l1": ("L1, the model chooses", "#b8860b", "s"),
    "chrpo": ("CHRPO, the model chooses", "#c8553d", "*"),
}
"""Beginning of a row's name -> label, colour and marker; the longest beginning counts."""


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write an SVG; bars are 95 % intervals of the accuracy."""
    figure, axes = plt.subplots(figsize=(6.5, 4.5))
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(max((name for name in _FAMILIES if row["name"].startswith(name)), key=len), []).append(row)
    for name, group in groups.items():
        label, colour, marker = _FAMILIES[name]
        middle = [100 * row["accuracy"] for row in group]
        below = [mean - 100 * row["accuracy_low"] for mean, row in zip(middle, group, strict=True)]
        above = [100 * row["accuracy_high"] - mean for mean, row in zip(middle, group, strict=True)]
        axes.errorbar(
            [row["thinking_tokens"] for row in group], middle, yerr=[below, above], fmt=marker, color=colour,
            label=label, capsize=2, linewidth=1, markersize=7,
        )  # fmt: skip
    axes.set(xlim=(0, None), ylim=(0, 100), xlabel="mean thinking tokens", ylabel="accuracy, %")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7)
    save(figure, path)
