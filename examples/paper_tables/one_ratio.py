"""TokenSkip's mixture (arXiv 2502.12067): each trace at one ratio, drawn at random, instead of at all of them.

python examples/paper_tables/one_ratio.py mix/rare-words mix/tokenskip --seed 0
"""

import json
import random
from pathlib import Path

import click


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True)
def main(source: Path, out: Path, seed: int) -> None:
    """Thin the rows of a built mixture; the control tokens and the order of the traces stay."""
    rng = random.Random(f"one ratio {seed}")
    out.mkdir(parents=True, exist_ok=True)
    for name in ("train.jsonl", "heldout.jsonl"):
        traces: dict[tuple[str, int], list[str]] = {}
        for line in (source / name).read_text("utf-8").splitlines():
            row = json.loads(line)
            traces.setdefault((row["id"], row["sample"]), []).append(line)
        (out / name).write_text("".join(f"{rng.choice(lines)}\n" for lines in traces.values()), encoding="utf-8")


if __name__ == "__main__":
    main()
