"""Matplotlib set up for charts that are committed: SVG that is equal for equal figures, and small.

What is drawn is left to the examples.

    save(figure, Path("pareto.svg"))
"""

import re
from io import StringIO
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "paper_tables",
        "svg.fonttype": "none",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "axes.spines.top": False,
    }
)
import matplotlib.pyplot as plt  # noqa: E402


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure and close it."""
    written = StringIO()
    figure.savefig(written, format="svg", metadata={"Creator": None, "Date": None}, bbox_inches="tight")
    plt.close(figure)
    # A tenth of a point is precise enough, and the repository needs no line for each tag.
    short = re.sub(r"\d+\.\d{2,}", lambda found: f"{float(found.group()):.1f}", written.getvalue())
    short = re.sub(r"\s+", " ", short).replace("> <", "><").replace('<g id="axes', '\n<g id="axes')
    path.write_text(f"{short}\n", encoding="utf-8")
