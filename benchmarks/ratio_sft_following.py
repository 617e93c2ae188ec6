"""Asked against realised ratios of finished quickstart runs; the table of docs/results.md.

python benchmarks/ratio_sft_following.py runs/quickstart runs/seed1 runs/seed2
"""

from pathlib import Path

import click

from ratio_sft.evaluate import evaluate, summary, table


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
def main(runs: tuple[Path, ...]) -> None:
    """Print a Markdown table for every run folder of the quickstart that has come to its evaluation."""
    for run in runs or (Path("runs/quickstart"),):
        samples, base = (run / "eval" / name / "samples_test.jsonl" for name in ("sft", "base"))
        if not (samples.is_file() and base.is_file()):
            click.echo(f"{run}: no evaluation; run examples/quickstart/quickstart.py {run} first")
            continue
        report = evaluate([samples], base=[base])
        header, *rows = table(report)
        click.echo(f"\n{run.name}: {summary(report)}\n")
        for row in (header, ["---"] * len(header), *rows):
            click.echo("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
