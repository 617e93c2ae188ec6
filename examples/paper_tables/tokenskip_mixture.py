"""TokenSkip's mixture (arXiv 2502.12067): each trace at one random ratio, even if its other ratios are unusable.

python examples/paper_tables/tokenskip_mixture.py compressed-rare-words.jsonl mix/tokenskip --seed 0
"""

import json
import random
from collections import defaultdict
from itertools import chain
from pathlib import Path

import click

from ratio_sft import MixSettings, mix


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Random seed of the ratios.")
def main(source: Path, out: Path, seed: int) -> None:
    """Write OUT/train.jsonl from a compressed file.

    Each ratio is mixed separately, so a trace is never rejected because another ratio is missing.
    """
    rng = random.Random(f"one ratio {seed}")
    drawn: dict[float, list[dict]] = defaultdict(list)
    with source.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            entry = rng.choice(row["compressions"])
            drawn[entry["ratio"]].append({**row, "compressions": [entry]})
    mixes = [
        mix(rows, MixSettings(ratios=(ratio,), policy_share=0, heldout_share=0))
        for ratio, rows in sorted(drawn.items())
    ]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "train.jsonl").open("w", encoding="utf-8") as rows:
        for row in chain.from_iterable(found.train for found in mixes):
            rows.write(json.dumps(row, ensure_ascii=False) + "\n")
    for ratio, found in zip(sorted(drawn), mixes, strict=True):
        click.echo(f"ratio {ratio:g}: {found.tally.summary()}")


if __name__ == "__main__":
    main()
