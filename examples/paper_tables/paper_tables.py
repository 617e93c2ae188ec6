"""The paper's tables in miniature: every claim of the toolkit beside its neighbours and its ablations, over seeds.

One resumable command. A finished stage is skipped and a killed one goes on; every process computes with one thread, so
that a second run of a seed gives the same numbers.

    python examples/paper_tables/paper_tables.py runs/paper_tables --seed 5 --seed 6 --jobs 2
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))
from charts import draw
from collect import combine, measure
from pipeline import SOURCES, measured_commands, pipeline
from stages import Stages
from tables import tables

HERE = Path(__file__).parent
SEEDS = (5, 6, 7, 8, 9)
"""Never looked at while settings were chosen; seeds 0 to 4 were."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--seed", "seeds", type=int, multiple=True, default=SEEDS, show_default=True, help="Repeatable.")
@click.option("--jobs", default=1, show_default=True, help="Seeds at a time; each computes on one core.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the results.  [default: RUN]")
@click.option("--collect-only", is_flag=True, help="Combine the seeds that OUTPUT holds; run nothing.")
def main(run: Path, seeds: tuple[int, ...], jobs: int, output: Path | None, collect_only: bool) -> None:
    """Run all rows for each seed in RUN, then write OUTPUT/results.json, tables.md and two charts.

    What each seed measured is kept in OUTPUT/seeds, so seeds may be run on different days; only seeds of the same
    stages are put together.
    """
    output = output or run
    if not collect_only:
        if len(seeds) == 1:
            _run_seed(run / f"seed{seeds[0]}", seeds[0], output)
        else:
            with ThreadPoolExecutor(jobs) as pool:
                list(pool.map(lambda seed: _in_a_process(run, seed, output), seeds))
    measured = [json.loads(path.read_text("utf-8")) for path in sorted((output / "seeds").glob("*.json"))]
    if not measured:
        raise click.ClickException(f"{output}/seeds: no seed has been measured yet")
    if len({seed["stages"] for seed in measured}) > 1:
        raise click.ClickException(f"{output}/seeds: measured with different stages; run those seeds again")
    results = combine(measured)
    _write(output / "results.json", results)
    (output / "tables.md").write_text(tables(results) + "\n", encoding="utf-8")
    draw(results, output)
    click.echo(tables(results))


def _in_a_process(run: Path, seed: int, output: Path) -> None:
    command = [sys.executable, __file__, str(run), "--seed", str(seed), "--output", str(output)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def _run_seed(run: Path, seed: int, output: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    stages = Stages(run / "rows", SOURCES)
    commands = pipeline(run, seed)
    for number, (title, command) in enumerate(commands, 1):
        stages.run(f"seed {seed}, {number}/{len(commands)}", title, shlex.split(command))
    _write(output / "seeds" / f"{seed}.json", {**measure(run, seed), "stages": _digest(), "seconds": stages.seconds})


def _digest() -> str:
    """Of all stages and their scripts, so that seeds measured in different ways are never put together."""
    commands = "\n".join(measured_commands(Path("run"))).replace(str(HERE.parent), "examples")
    return hashlib.sha256(commands.encode() + b"".join(path.read_bytes() for path in SOURCES)).hexdigest()


def _write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
