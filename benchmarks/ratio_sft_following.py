"""Requested against realised ratios of finished quickstart runs, one run for each seed.

python benchmarks/ratio_sft_following.py runs/seed12 runs/seed13 runs/seed14
"""

from pathlib import Path
from typing import Any

import click
from recording import record

from ratio_sft import evaluate
from ratio_sft.evaluation.report import summary, table


def tables(result: dict[str, Any]) -> str:
    """The summary and the table of each run."""
    parts = []
    for name, report in result["runs"].items():
        header, *rows = table(report)
        lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
        parts.append("\n".join([f"**{name}.** {summary(report)}", "", *lines]))
    return "\n\n".join(parts)


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
def main(runs: tuple[Path, ...]) -> None:
    """Record how well the model of each run folder follows its ratios; runs without an evaluation are skipped."""
    reports = {}
    for run in runs or (Path("runs/quickstart"),):
        samples, base = (run / "eval" / name / "samples_test.jsonl" for name in ("sft", "base"))
        if samples.is_file() and base.is_file():
            reports[run.name] = evaluate([samples], base=[base])
        else:
            click.echo(f"{run}: no evaluation; run examples/quickstart/quickstart.py {run} first", err=True)
    if reports:
        record(__file__, {"runs": reports}, tables)


if __name__ == "__main__":
    main()
