"""A table of our change from the base model beside the changes that papers report, task by task.

Papers measure this base model with other samplers, limits and graders, and their base tokens on MATH-500 reach from
3300 to 5500. So each method is compared with the base model of its own paper only: by the difference in accuracy and by
the share of tokens saved. Our base must agree with DLER's (same sampler and limit): its accuracy within half the width
of the 95 % interval over problems, 1.96 sqrt(p (1 - p) / n), and its tokens within 15 %.

    python examples/r1_distill_1p5b/compare_with_published.py runs/r1_distill_1p5b
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

sys.path.append(str(Path(__file__).parents[1] / "qwen3_1p7b"))
from compare_with_paper import BASE_TOKENS, tolerance

Figures = tuple[float, int]
"""Accuracy in percent, and completion tokens."""
PROBLEMS = {"aime24": 30, "math500": 500, "olympiadbench": 674}
PUBLISHED: dict[str, dict[str, tuple[Figures, Figures]]] = {
    "DLER (arXiv 2510.15110)": {
        "aime24": ((29.79, 16916), (34.38, 3551)),
        "math500": ((84.31, 5500), (86.95, 1652)),
        "olympiadbench": ((44.07, 11620), (48.31, 2563)),
    },
    "DA-DLER (arXiv 2510.15110)": {
        "aime24": ((29.79, 16916), (34.37, 2888)),
        "math500": ((84.31, 5500), (86.70, 1484)),
        "olympiadbench": ((44.07, 11620), (48.70, 2109)),
    },
    "SIRI-low (arXiv 2509.25176)": {
        "aime24": ((28.2, 12333), (40.4, 7093)),
        "math500": ((82.4, 4745), (87.7, 2881)),
    },
}
SAME_PROTOCOL = "DLER (arXiv 2510.15110)"
HEAD = (
    "| task | method | accuracy, base | accuracy | difference | tokens, base | tokens | fewer tokens, % |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|"
)


def line(task: str, method: str, base: Figures, short: Figures) -> str:
    """One row of the table."""
    saved = 100 * (1 - short[1] / base[1])
    return (
        f"| {task} | {method} | {base[0]:.1f} | {short[0]:.1f} | {short[0] - base[0]:+.1f} | {base[1]:.0f} | "
        f"{short[1]:.0f} | {saved:.0f} |"
    )


def agreement(task: str, base: Figures) -> str:
    """Whether our base model's figures are those of the paper with the same protocol."""
    (accuracy, tokens), _ = PUBLISHED[SAME_PROTOCOL][task]
    points = tolerance(accuracy, PROBLEMS[task])
    missed = {"accuracy": abs(base[0] - accuracy) > points, "tokens": abs(base[1] / tokens - 1) > BASE_TOKENS}
    differs = " and ".join(name for name, is_missed in missed.items() if is_missed)
    verdict = f"differs in {differs}; do not compare this task" if differs else "agrees"
    return (
        f"- {task}: our base {base[0]:.1f} / {base[1]:.0f}, theirs {accuracy:.1f} ± {points:.1f} / {tokens}: {verdict}"
    )


def table(run: Path) -> str:
    """Rows of every measured task, and whether the base models agree."""
    measured = {model: _figures(run, model) for model in ("base", "short")}
    lines = [HEAD]
    for task in (name for name in PROBLEMS if name in measured["base"]):
        lines.append(line(task, "**chrpo**", measured["base"][task], measured["short"][task]))
        lines += [line(task, method, *rows[task]) for method, rows in PUBLISHED.items() if task in rows]
    lines += ["", f"The base model here and in {SAME_PROTOCOL}:", ""]
    return "\n".join([*lines, *(agreement(task, base) for task, base in measured["base"].items() if task in PROBLEMS)])


def _figures(run: Path, model: str) -> dict[str, Figures]:
    rows: list[dict[str, Any]] = []
    for path in sorted(run.glob(f"eval/*-{model}/results.json")):
        rows += json.loads(path.read_text("utf-8"))["conditions"]
    return {row["task"]: (100 * row["accuracy"], row["completion_tokens"]) for row in rows}


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
def main(run: Path) -> None:
    """Print the table and write it to RUN/compare_with_published.md."""
    text = table(run)
    (run / "compare_with_published.md").write_text(text + "\n", encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
