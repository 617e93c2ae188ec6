"""Objectives side by side on tasks in which the last tokens of thinking buy much, some or little accuracy.

The command is resumable: it skips finished stages and continues an interrupted one. Each task and seed computes with
one thread. The rows are listed in `rows.py`.

    python examples/frontier/frontier.py runs/frontier --task steep --task shallow --seed 0 --jobs 2
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))
from results import results
from rows import ROWS, SOURCES, TASKS, row_stages, shared_stages
from stages import Stages


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--task", "tasks", type=click.Choice(list(TASKS)), multiple=True, help="Task; repeatable.  [default: all]"
)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True, help="Seed; repeatable.")
@click.option("--row", "names", type=click.Choice(list(ROWS)), multiple=True, help="RL row; repeatable [default: all].")
@click.option("--shared-only", is_flag=True, help="Run only the stages that all rows share: base, SFT, RL prompts.")
@click.option("--jobs", default=1, show_default=True, help="Number of tasks and seeds that run at once, one core each.")
def main(
    run: Path, tasks: Sequence[str], seeds: Sequence[int], names: Sequence[str], shared_only: bool, jobs: int
) -> None:
    """Run the rows for each task and seed in RUN; then write RUN/results.json.

    Settings are chosen on seeds below 100. Later seeds are tested on problems that these never saw.
    """
    wanted = [] if shared_only else [name for name in ROWS if not names or name in names]
    pairs = list(product(tasks or TASKS, seeds))
    if len(pairs) == 1:
        _run_pair(run, *pairs[0], wanted)
    else:
        options = ["--shared-only"] if shared_only else [word for name in wanted for word in ("--row", name)]
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda pair: _in_a_process(run, *pair, options), pairs))
    path = run / "results.json"
    path.write_text(json.dumps(results(run), indent=1) + "\n", encoding="utf-8")
    click.echo(f"The results are in {path}.")


def _in_a_process(run: Path, task: str, seed: int, options: Sequence[str]) -> None:
    command = [sys.executable, __file__, str(run), "--task", task, "--seed", str(seed), *options]
    result = subprocess.run(command, check=False)
    if result.returncode:
        raise click.ClickException(f"task {task}, seed {seed} failed with exit code {result.returncode}")


def _run_pair(run: Path, task: str, seed: int, names: Sequence[str]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = run / task / f"seed{seed}"
    _run_stages(folder, shared_stages(folder, task, seed), SOURCES, f"{task}, seed {seed}")
    for name in names:
        # The record of the shared stages changes if one of them ran again; then the row runs again, too.
        before = [*SOURCES, folder / "stages.json"]
        _run_stages(folder / "rows" / name, row_stages(folder, name, seed), before, f"{task}, seed {seed}, {name}")


def _run_stages(folder: Path, commands: Sequence[tuple[str, str]], sources: Sequence[Path], label: str) -> None:
    stages = Stages(folder, sources)
    for number, (title, command) in enumerate(commands, 1):
        stages.run(f"{label}, {number}/{len(commands)}", title, shlex.split(command))


if __name__ == "__main__":
    main()
