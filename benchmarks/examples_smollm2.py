"""Records the figures of a finished run of `examples/smollm2`, and draws its chart; no model is run.

make smollm2
python benchmarks/examples_smollm2.py runs/smollm2
"""

import json
import sys
from pathlib import Path
from typing import Any

import click
from recording import PAGES, record

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "smollm2"))


def tables(result: dict[str, Any]) -> str:
    """All rows; CHRPO against the base model, SFT and L1; the development problems."""
    lines = [
        f"Seed {result['seed']}, {result['rows'][0]['n']} test problems, {result['seconds'] / 3600:.1f} hours:",
        "",
        "| row | accuracy, % | thinking tokens | all tokens | accuracy - base, points | fewer thinking tokens, % |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        middle, low, high = (100 * row[f"accuracy{end}"] for end in ("", "_low", "_high"))
        cells = [f"{middle:.1f} ({low:.1f} to {high:.1f})", f"{row['thinking_tokens']:.1f}"]
        cells += [f"{row['completion_tokens']:.1f}", *_differences(row.get("against_base"))]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    lines += ["", "| chrpo against | accuracy, points | fewer thinking tokens, % |", "|---|---:|---:|"]
    for name, found in result["chrpo_against"].items():
        lines.append(f"| {name} | {' | '.join(_differences(found))} |")
    lines += ["", "| development problems | accuracy, % | thinking tokens |", "|---|---:|---:|"]
    for name, row in result["development"].items():
        lines.append(f"| {name} | {100 * row['accuracy']:.1f} | {row['thinking_tokens']:.1f} |")
    return "\n".join(lines)


def _differences(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["", ""]
    cells = []
    for name, sign in (("accuracy_difference", "+"), ("token_reduction", "")):
        middle, low, high = (f"{100 * found[f'{name}{end}']:{sign}.1f}" for end in ("", "_low", "_high"))
        cells.append(f"{middle} ({low} to {high})")
    return cells


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(run: Path) -> None:
    """Read results.json of a finished RUN, draw a chart, and record it."""
    from chart import draw

    result = json.loads((run / "results.json").read_text("utf-8"))
    draw(result["rows"], PAGES / "smollm2.svg")
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
