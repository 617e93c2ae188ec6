"""Pictures of a combined result: accuracy against thinking tokens for every row, and the constraint over the RL steps.

draw(results, Path("examples/paper_tables"))          # pareto.svg, trajectory.svg
"""

from pathlib import Path

import matplotlib
from collect import Row

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "paper_tables", "font.size": 9, "axes.spines.top": False})
import matplotlib.pyplot as plt  # noqa: E402

_METHODS = {
    "sft": ("SFT, our compression", "#1f6f8b", "o-"),
    "random": ("SFT, random words", "#999999", "v--"),
    "head": ("SFT, head", "#b8860b", "^--"),
    "rare-words": ("SFT, rare words (LLMLingua-2-style)", "#7b5ea7", "s--"),
    "tokenskip": ("SFT, TokenSkip-style", "#c39bd3", "d--"),
}


def draw(results: Row, folder: Path) -> None:
    """Write `pareto.svg` and `trajectory.svg`."""
    _save(_pareto(results["rows"]), folder / "pareto.svg")
    _save(_trajectory(results["trajectories"]), folder / "trajectory.svg")


def _save(figure: "plt.Figure", path: Path) -> None:
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def _pareto(rows: list[Row]) -> "plt.Figure":
    figure, axes = plt.subplots(figsize=(8, 5))
    for method, (label, colour, style) in _METHODS.items():
        line = [row for row in rows if row["name"].startswith(f"{method}@") and not row["name"].endswith("policy")]
        axes.errorbar(
            [row["thinking_tokens"] for row in line],
            [100 * row["accuracy"] for row in line],
            yerr=_errors(line),
            fmt=style, color=colour, label=label, capsize=2, markersize=4, linewidth=1,
        )  # fmt: skip
    for row in rows:
        if "@" in row["name"] and row["name"] != "sft@policy":
            continue
        ours = row["name"] == "chrpo"
        axes.errorbar(
            row["thinking_tokens"], 100 * row["accuracy"], yerr=_errors([row]),
            fmt="*" if ours else "x", color="#c8553d" if ours else "#333333", markersize=12 if ours else 6, capsize=2,
        )  # fmt: skip
        axes.annotate(row["name"], (row["thinking_tokens"], 100 * row["accuracy"]), xytext=(5, 4),
                      textcoords="offset points", fontsize=7)  # fmt: skip
    axes.set(xscale="log", xlabel="mean thinking tokens (log scale)", ylabel="accuracy, % (95 % interval over seeds)")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, loc="lower right")
    return figure


def _errors(rows: list[Row]) -> list[list[float]] | None:
    if any(row["accuracy_low"] is None for row in rows):
        return None
    half = [100 * (row["accuracy_high"] - row["accuracy"]) for row in rows]
    return [half, half]


def _trajectory(trajectories: dict[str, dict[str, Row]]) -> "plt.Figure":
    panels = (("policy/accuracy", "accuracy of the rollouts"), ("lambda/policy", "price of accuracy (lambda)"),
              ("policy/thinking_tokens", "thinking tokens"))  # fmt: skip
    figure, axes = plt.subplots(1, len(panels), figsize=(11, 3))
    for seed, rows in trajectories.items():
        for axis, (name, title) in zip(axes, panels, strict=True):
            found = rows["chrpo"].get(name, [])
            axis.plot(range(1, len(found) + 1), found, label=f"seed {seed}", linewidth=1)
            axis.set(title=title, xlabel="CHRPO step")
            axis.grid(alpha=0.25)
    axes[0].legend(fontsize=7)
    return figure
