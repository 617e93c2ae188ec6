"""Ways to think less without training, measured beside trained models: one command for each, one page for all.

    pip install './packages/math-eval[transformers]'
    python examples/thinking_baselines.py checkpoints/base problems.jsonl runs/ways --budget 256 --budget 512 \
        --beside sft=runs/sft:policy --beside chrpo=runs/chrpo -- --max-tokens 4096

What follows `--` goes to every `math-eval run`. The runs of --beside are finished ones, on the same problems. After an
interruption the same command continues. The page is OUT/report.html.
"""

import shlex
import subprocess
import sys
from pathlib import Path

import click


def call(command: str, *words: str) -> None:
    """Print a command of math-eval and run it; if it fails, this process ends as it does."""
    click.secho(f"\n$ math-eval {command} {shlex.join(words)}", bold=True)
    program = Path(sys.executable).with_name("math-eval")
    if code := subprocess.run([program, command, *words], check=False).returncode:
        sys.exit(code)


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False))
@click.argument("task")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
@click.option("--budget", "budgets", type=int, multiple=True, default=(256, 512, 1024), help="Thinking tokens.")
@click.option("--exit", "early", default="exit", show_default=True, help="Early exit, such as exit=0.95:128.")
@click.option("--beside", multiple=True, metavar="LABEL=RUN", help="Finished run to draw in the same charts.")
def main(
    model: str,
    task: str,
    out: Path,
    flags: tuple[str, ...],
    budgets: tuple[int, ...],
    early: str,
    beside: tuple[str, ...],
) -> None:
    """Run the model folder MODEL on TASK in every way, and report into OUT."""
    ways = ["none", *(f"budget={budget}" for budget in budgets), "concise", early]
    runs = {out / "free": [], **{out / way.partition(":")[0]: ["--thinking", way] for way in ways}}
    for folder, way in runs.items():
        call("run", "--model", model, "--tasks", task, *way, *flags, "--output-dir", str(folder))
    call("report", *(f"base={folder}" for folder in runs), *beside, "--output", str(out / "report.html"))


if __name__ == "__main__":
    main()
