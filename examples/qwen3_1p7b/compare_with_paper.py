"""A table of our numbers and the published ones: thinking tokens and accuracy, with a tolerance for chance.

The published accuracies are of one completion for each problem, ours of several; the problems are the same. The
tolerance is half the width of the 95 % interval of the published accuracy, 1.96 sqrt(p (1 - p) / n): 4 points for 500
problems at p = .65. The base model must agree in both directions; otherwise no other row can be compared. The trained
models must reach the published accuracy and saving.

    python examples/qwen3_1p7b/compare_with_paper.py runs/qwen3_1p7b
"""

import json
import math
from pathlib import Path
from typing import Any

import click

# (run folder, ratio) -> (task, published thinking tokens, published accuracy in percent), from the paper's main table.
PUBLISHED: dict[tuple[str, float | str | None], list[tuple[str, int, float]]] = {
    ("base", None): [("gsm8k", 873, 86.8), ("math500", 1675, 64.2), ("amc23", 2092, 47.5)],
    ("sft", 0.2): [("gsm8k", 303, 80.2), ("math500", 481, 47.8), ("amc23", 782, 17.5)],
    ("sft", 0.4): [("gsm8k", 469, 82.3), ("math500", 920, 54.2), ("amc23", 945, 25.0)],
    ("sft", 0.8): [("gsm8k", 807, 86.7), ("math500", 1520, 64.2), ("amc23", 1845, 42.5)],
    ("chrpo", "policy"): [("gsm8k", 210, 85.8), ("math500", 452, 64.8), ("amc23", 675, 50.0)],
}
PROBLEMS = {"gsm8k": 1319, "math500": 500, "amc23": 40}
BASE_TOKENS, SAVING = 0.15, 0.05
"""Largest relative difference of the base model's tokens, and largest excess of an ActRatio over the published one. Our
choice: the paper reports no spread of its token counts."""
HEAD = (
    "| | task | thinking tokens, paper | ours | ActRatio, paper | ours | accuracy, paper | ours | tolerance | |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---|"
)


def tolerance(percent: float, problems: int) -> float:
    """Half the width of the 95 % interval of an accuracy on so many problems, in percentage points."""
    share = percent / 100
    return 100 * 1.96 * math.sqrt(share * (1 - share) / problems)


def table(run: Path) -> str:
    """The table in Markdown; its last column is the verdict."""
    conditions = {name: _conditions(run / "eval" / name) for name in ("base", "sft", "chrpo")}
    whole = {task: conditions["base"][task, None]["thinking_tokens"] for task in PROBLEMS}
    published_whole = {task: tokens for task, tokens, _ in PUBLISHED["base", None]}
    lines = [HEAD]
    for (name, ratio), rows in PUBLISHED.items():
        for task, tokens, accuracy in rows:
            found = conditions[name][task, ratio]
            ours, points = 100 * found["accuracy"], tolerance(accuracy, PROBLEMS[task])
            if name == "base":
                missed = {
                    "accuracy": abs(ours - accuracy) > points,
                    "tokens": abs(found["thinking_tokens"] / tokens - 1) > BASE_TOKENS,
                }
            else:
                saving = found["thinking_tokens"] / whole[task] - tokens / published_whole[task]
                missed = {"accuracy": ours < accuracy - points, "tokens": saving > SAVING}
            good, bad = ("agrees", "differs") if name == "base" else ("reached", "missed")
            reasons = ", ".join(aim for aim, is_missed in missed.items() if is_missed)
            verdict = f"**{bad}**: {reasons}" if reasons else good
            lines.append(
                f"| {name}{'' if ratio is None else f' {ratio}'} | {task} | {tokens} | {found['thinking_tokens']:.0f} "
                f"| {tokens / published_whole[task]:.2f} | {found['thinking_tokens'] / whole[task]:.2f} "
                f"| {accuracy} | {ours:.1f} | ±{points:.1f} | {verdict} |"
            )
    return "\n".join(lines)


def _conditions(folder: Path) -> dict[tuple[str, Any], dict[str, Any]]:
    content = json.loads((folder / "results.json").read_text("utf-8"))
    return {(row["task"], row["ratio"]): row for row in content["conditions"]}


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
def main(run: Path) -> None:
    """Print the table and write it to RUN/compare_with_paper.md."""
    text = table(run)
    (run / "compare_with_paper.md").write_text(text + "\n", encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
