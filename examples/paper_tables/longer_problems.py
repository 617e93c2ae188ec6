"""Problems with 4 and 5 steps; training problems have at most 3. Everything else is as in the quickstart.

python examples/paper_tables/longer_problems.py problems.jsonl --seed 0
"""

import json
import random
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "quickstart"))
from problems import KINDS, WORDY_SHARE, make_problem

STEPS = (4, 5)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--count", default=200, show_default=True, help="Number of problems for each number of steps.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the problems.")
def main(out: Path, count: int, seed: int) -> None:
    """Write a problems file."""
    rng = random.Random(f"longer {seed}")
    rows: dict[str, dict] = {}
    for steps in STEPS:
        while sum(row["level"].endswith(f"{steps} steps") for row in rows.values()) < count:
            problem = make_problem(rng, KINDS[rng.random() >= WORDY_SHARE], steps)
            row = {key: problem[key] for key in ("id", "question", "answer", "equations")}
            rows[problem["id"]] = {**row, "level": problem["level"].partition(" ")[2]}
    out.write_text("".join(f"{json.dumps(row)}\n" for row in rows.values()), encoding="utf-8")


if __name__ == "__main__":
    main()
