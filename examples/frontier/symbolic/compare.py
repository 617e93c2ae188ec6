"""Compare RL objectives on symbolic frontier tasks: minutes a row on one CPU core.

The command is resumable: trained models and results of finished rows are files in FOLDER, and what is there is not
computed again. FOLDER/rows.jsonl has all results: copied into another folder, it is continued there. What is computed
is left to `run`, what is shown to `summary` and `frontier_tables`.

    python examples/frontier/symbolic/compare.py runs/symbolic --task shallow --row l1:0.1 --row chrpo
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).parent))
from frontier_tables import tables
from generators import TASKS
from row_settings import DEFAULT_ROWS, limited, settings_of
from run import Run, pack, unpack
from summary import results


def _checked(context: click.Context, parameter: click.Parameter, rows: Sequence[str]) -> Sequence[str]:
    for row in rows:
        try:
            settings_of(row)
            limited(TASKS["steep"], row)
        except ValueError as error:
            raise click.BadParameter(f"{row}: {error} (a row is NAME or NAME:WEIGHT, such as l1:0.1)") from error
    return rows


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--task", "names", type=click.Choice(list(TASKS)), multiple=True, help="Task; repeatable.  [default: all]"
)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True, help="Seed; repeatable.")
@click.option(
    "--steps",
    default=160,
    show_default=True,
    type=click.IntRange(1),
    help="Cost of RL: every row generates as many tokens as the SFT model would in this number of steps (taught: with "
    "a uniform choice).",
)
@click.option(
    "--learning-rate",
    default=2e-4,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Learning rate of RL (AdamW).",
)
@click.option(
    "--row",
    "rows",
    multiple=True,
    callback=_checked,
    help="RL row to train, NAME or NAME:WEIGHT; repeatable.  [default: those of DEFAULT_ROWS]",
)
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Rows at once, one core each.")
def main(
    folder: Path,
    names: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    learning_rate: float,
    rows: Sequence[str],
    jobs: int,
) -> None:
    """Train each row from one SFT model, print accuracy and thinking tokens, and write FOLDER/results.json.

    Tables and results.json contain every row that is finished in FOLDER for these tasks and seeds.

    Rows: the objectives of `chrpo train`, with their authors' numbers. W in NAME:W is the weight of the length (l1,
    l1-scaled, l1-token, shortest_correct, alp, adaptthink), the share of rollouts that is kept (gfpo, gfpo_efficiency),
    the token budget (laconic), the token limit of the rollouts (dler, grpo), or the weight of the control token as a
    share of its response (chrpo-control). l1 is the length penalty alone, l1-scaled divides it by the standard
    deviation of the group, and l1-token, its authors' own, also counts tokens. chrpo-2 and chrpo-5 have a floor that
    is lower by 2 and 5 points and, like chrpo-0, no smallest price; chrpo-no-PART is without a part, chrpo+PART has a
    part of `--with`.

    Example: compare.py runs/symbolic --task shallow --row l1:0.1 --row l1:0.3 --row chrpo
    """
    folder.mkdir(parents=True, exist_ok=True)
    unpack(folder)
    runs = [Run(folder, TASKS[name], seed, steps, learning_rate) for name, seed in product(names or TASKS, seeds)]
    wanted = rows or DEFAULT_ROWS
    # Tasks of a form share a base model, so that one process prepares them in turn.
    forms = {(run.task.form, run.seed): [] for run in runs}
    for run in runs:
        if not all(run.finished(row) for row in wanted):
            forms[run.task.form, run.seed].append(run)
    _each(_prepare, list(forms.values()), jobs)
    _each(_train, [(run, row) for row, run in product(wanted, runs) if not run.finished(row)], jobs)
    pack(folder)
    found = results(runs)
    (folder / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    click.echo(tables(found))


def _each(work: Callable[[Any], None], items: Sequence[Any], jobs: int) -> None:
    """Do the work for each item, in this process or in several, with one thread each."""
    if jobs == 1:
        torch.set_num_threads(1)
        for item in items:
            work(item)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(work, items))


def _prepare(runs: Iterable[Run]) -> None:
    for run in runs:
        run.start()
        run.references()


def _train(job: tuple[Run, str]) -> None:
    run, row = job
    run.row(row)


if __name__ == "__main__":
    main()
