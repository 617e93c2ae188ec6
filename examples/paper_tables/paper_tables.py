"""The paper's tables in miniature: SFT on our compression and on others, over several seeds.

The command is resumable: it skips finished stages and continues an interrupted one. Every process computes with one
thread, so a second run of a seed gives the same numbers.

    python examples/paper_tables/paper_tables.py runs/paper_tables --seed 12 --seed 13 --jobs 2
    python examples/paper_tables/paper_tables.py runs/paper_tables --task gradual
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))
from charts import draw_compressions
from collect import Row, combine, measure, read_seeds
from pipeline import FREE, TASKS, measured_commands, pipeline, sources
from stages import Stages
from tables import tables

HERE = Path(__file__).parent
SEEDS, TASK_SEEDS = (12, 13, 14, 15, 16), (100, 101, 102)
"""Seeds that were not used while settings were chosen: of the quickstart's problems, and of the other tasks."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--task", type=click.Choice(list(TASKS)), default=FREE, show_default=True, help="Task of the frontier.")
@click.option("--seed", "seeds", type=int, multiple=True, help="Seed; repeatable.  [default: 12 to 16, or 100 to 102]")
@click.option("--jobs", default=1, show_default=True, help="Number of seeds that run at once, one core each.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the results.  [default: RUN/TASK]")
@click.option("--collect-only", is_flag=True, help="Run nothing; combine the seeds recorded in OUTPUT/seeds.jsonl.")
def main(run: Path, task: str, seeds: tuple[int, ...], jobs: int, output: Path | None, collect_only: bool) -> None:
    """Run all rows for each seed in RUN/TASK; then write OUTPUT/results.json, tables.md and a chart.

    OUTPUT/seeds.jsonl records what each seed measured, one line per seed. Seeds may therefore run on different days.
    Only seeds of the same stages are combined.
    """
    run = run / task
    output = output or run
    path = output / "seeds.jsonl"
    measured = {seed["seed"]: seed for seed in read_seeds(path)} if path.exists() else {}
    if not collect_only:
        seeds = seeds or (SEEDS if task == FREE else TASK_SEEDS)
        measured |= {seed["seed"]: seed for seed in _measure(run, task, seeds, jobs)}
        output.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(measured[seed], sort_keys=True, separators=(",", ":")) for seed in sorted(measured)]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if not measured:
        raise click.ClickException(f"{path}: no seed has been measured yet")
    if len({seed["stages"] for seed in measured.values()}) > 1:
        raise click.ClickException(f"{path}: seeds were measured with different stages; run those seeds again")
    results = combine([measured[seed] for seed in sorted(measured)])
    (output / "results.json").write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (output / "tables.md").write_text(tables(results) + "\n", encoding="utf-8")
    draw_compressions(results["rows"], output)
    click.echo(tables(results))


def _measure(run: Path, task: str, seeds: Sequence[int], jobs: int) -> list[Row]:
    if len(seeds) == 1:
        return [_run_seed(run / f"seed{seeds[0]}", task, seeds[0])]
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda seed: _in_a_process(run, task, seed), seeds))


def _in_a_process(run: Path, task: str, seed: int) -> Row:
    folder = run / f"seed{seed}"
    options = ["--task", task, "--seed", str(seed), "--output", str(folder)]
    command = [sys.executable, __file__, str(run.parent), *options]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return read_seeds(folder / "seeds.jsonl")[0]


def _run_seed(run: Path, task: str, seed: int) -> Row:
    os.environ["OMP_NUM_THREADS"] = "1"
    stages = Stages(run / "rows", sources(task))
    commands = pipeline(run, seed, task)
    for number, (title, command) in enumerate(commands, 1):
        stages.run(f"seed {seed}, {number}/{len(commands)}", title, shlex.split(command))
    return {**measure(run, seed), "stages": _digest(task), "seconds": stages.seconds}


def _digest(task: str) -> str:
    """The hash of all stages and their scripts; seeds measured in different ways have different hashes."""
    commands = "\n".join(measured_commands(Path("run"), task)).replace(str(HERE.parent), "examples")
    return hashlib.sha256(commands.encode() + b"".join(path.read_bytes() for path in sources(task))).hexdigest()


if __name__ == "__main__":
    main()
