"""Records the figures of finished examples/thinking_baselines.py; nothing is run.

python benchmarks/math_eval_baselines.py "Quickstart, seed 0=runs/seed0/ways"
"""

import json
from pathlib import Path
from typing import Any

import click
from recording import record

_HEADS = (
    "condition", "accuracy", "difference, points", "thinking tokens", "all tokens", "trial tokens", "closed by run",
    "no answer",
)  # fmt: skip
_NUMBERS = (
    "accuracy", "accuracy_low", "accuracy_high", "accuracy_difference", "accuracy_difference_low",
    "accuracy_difference_high", "thinking_tokens", "completion_tokens", "trial_tokens", "closed_rate", "no_answer_rate",
)  # fmt: skip


def tables(result: dict[str, Any]) -> str:
    """A table for each model."""
    parts = []
    for name, report in result["models"].items():
        lines = [f"**{name}**, {report['n']} problems:", "", f"| {' | '.join(_HEADS)} |"]
        lines += [f"|---|{'---:|' * (len(_HEADS) - 1)}", *map(_line, report["conditions"])]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _line(row: dict[str, Any]) -> str:
    def points(name: str) -> str:
        return f"{100 * row[name]:+.1f}"

    low, high = (f"accuracy_difference_{end}" for end in ("low", "high"))
    cells = (
        row["name"],
        f"{row['accuracy']:.1%} ({row['accuracy_low']:.1%} – {row['accuracy_high']:.1%})",
        f"{points('accuracy_difference')} ({points(low)} to {points(high)})" if low in row else "",
        f"{row['thinking_tokens']:.1f}",
        f"{row['completion_tokens']:.1f}",
        f"{row.get('trial_tokens', 0):.1f}",
        f"{row.get('closed_rate', 0):.1%}",
        f"{row['no_answer_rate']:.1%}",
    )
    return f"| {' | '.join(cells)} |"


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="NAME=FOLDER...")
def main(models: tuple[str, ...]) -> None:
    """Read report.json of every FOLDER and record it."""
    found = {}
    for name, _, folder in (model.partition("=") for model in models):
        report = json.loads((Path(folder) / "report.json").read_text("utf-8"))
        kept = [{key: row[key] for key in ("name", *_NUMBERS) if key in row} for row in report["conditions"]]
        found[name] = {"n": report["n"], "conditions": kept}
    record(__file__, {"models": found}, tables)


if __name__ == "__main__":
    main()
