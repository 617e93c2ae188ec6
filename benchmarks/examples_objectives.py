"""Combines the seeds that `examples/paper_tables/objectives.py` measured; no model is run.

make quickstart SEED=12 RUN=runs/seed12      # and so on, with seeds whose test problems nobody looked at
python examples/paper_tables/objectives.py runs/seed12 --seed 12
python benchmarks/examples_objectives.py runs/seed12 runs/seed13 runs/seed14
"""

import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from recording import PAGES, record

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "paper_tables"))


def tables(result: dict[str, Any]) -> str:
    """One line for each row: means over seeds, and chrpo's difference from it, mean and range over seeds."""
    seeds = result["seeds"]
    lines = [
        f"Seeds {', '.join(str(seed['seed']) for seed in seeds)}:",
        "",
        "| row | accuracy, % | thinking tokens | RL tokens, thousands | chrpo's accuracy less the row's, points "
        "| chrpo's tokens over the row's, % |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for rows in zip(*(seed["rows"] for seed in seeds), strict=True):
        accuracy, thinking, generated = (
            fmean(row[field] for row in rows) for field in ("accuracy", "thinking_tokens", "generated_tokens")
        )
        compared = [row["chrpo"] for row in rows]
        differences = (
            [100 * found["accuracy_difference"] for found in compared],
            [0 - 100 * found["token_reduction"] for found in compared],
        )
        lines.append(
            f"| {rows[0]['name']} | {100 * accuracy:.1f} | {thinking:.1f} | {generated / 1000:.0f} | "
            f"{' | '.join('' if rows[0]['name'] == 'chrpo' else _range(each) for each in differences)} |"
        )
    return "\n".join(lines)


def _range(values: list[float]) -> str:
    return f"{fmean(values):+.1f} ({min(values):+.1f} to {max(values):+.1f})"


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(runs: tuple[Path, ...]) -> None:
    """Read objectives.json of every run, draw a chart, and record them."""
    from charts import draw_objectives

    seeds = [json.loads((run / "objectives.json").read_text("utf-8")) for run in runs]
    draw_objectives(seeds, PAGES)
    record(__file__, {"seeds": seeds}, tables)


if __name__ == "__main__":
    main()
