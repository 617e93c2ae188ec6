"""TokenSkip's mixture (arXiv 2502.12067): each trace at one random ratio, even if its other ratios are unusable.

python examples/paper_tables/tokenskip_mixture.py compressed-rare-words.jsonl mix/tokenskip --seed 0
"""

import random
from collections import defaultdict
from itertools import chain
from pathlib import Path

import click

from ratio_sft import MixSettings, mix
from ratio_sft._shared.records import read_records, write_records


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
    for row in read_records(source, "compressed"):
        entry = rng.choice(row["compressions"])
        drawn[entry["ratio"]].append({**row, "compressions": [entry]})
    mixes = [
        mix(rows, MixSettings(ratios=(ratio,), policy_share=0, heldout_share=0))
        for ratio, rows in sorted(drawn.items())
    ]
    write_records(out / "train.jsonl", chain.from_iterable(found.train for found in mixes))
    for ratio, found in zip(sorted(drawn), mixes, strict=True):
        click.echo(f"ratio {ratio:g}: {found.tally.summary()}")


if __name__ == "__main__":
    main()
