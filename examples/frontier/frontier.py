"""Objectives side by side on tasks in which the last tokens of thinking buy much, some or little accuracy.

The command is resumable: it skips finished stages and continues an interrupted one. Each task and seed computes with
one thread. The rows are listed in `rows.py`.

    python examples/frontier/frontier.py runs/frontier --task steep --task shallow --seed 0 --jobs 2
"""

import json
import os
import shlex
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
@click.option("--task", "tasks", type=click.Choice(list(TASKS)), multiple=True, help="Task; repeatable [default: all].")
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
    os.environ["OMP_NUM_THREADS"] = "1"
    with ThreadPoolExecutor(jobs) as pool:
        pairs = product(tasks or TASKS, seeds)
        list(pool.map(lambda pair: _run_pair(run, *pair, wanted), pairs))
    path = run / "results.json"
    path.write_text(json.dumps(results(run), indent=1) + "\n", encoding="utf-8")
    click.echo(f"The results are in {path}.")


def _run_pair(run: Path, task: str, seed: int, names: Sequence[str]) -> None:
    folder = run / task / f"seed{seed}"
    sources = [*SOURCES, TASKS[task]]
    _run_stages(folder, shared_stages(folder, task, seed), sources, f"{task}, seed {seed}")
    for name in names:
        # The record of the shared stages changes if one of them ran again; then the row runs again, too.
        before = [*sources, folder / "stages.json"]
        _run_stages(folder / "rows" / name, row_stages(folder, name, seed), before, f"{task}, seed {seed}, {name}")


def _run_stages(folder: Path, commands: Sequence[tuple[str, str]], sources: Sequence[Path], label: str) -> None:
    stages = Stages(folder, sources)
    for number, (title, command) in enumerate(commands, 1):
        stages.run(f"{label}, {number}/{len(commands)}", title, shlex.split(command))


if __name__ == "__main__":
    main()
