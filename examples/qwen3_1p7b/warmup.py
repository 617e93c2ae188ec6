"""Choose the questions whose smallest sufficient ratio is measured: a seeded sample of the mixture's questions.

python examples/qwen3_1p7b/warmup.py runs/qwen3_1p7b 10000
"""

import json
import random
from pathlib import Path

import click
from inputs import write


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.argument("count", type=int)
def main(run: Path, count: int) -> None:
    """Write RUN/problems/warmup.jsonl from RUN/problems/sft.jsonl and RUN/mix/ratios/train.jsonl."""
    with (run / "mix/ratios/train.jsonl").open(encoding="utf-8") as lines:
        mixed = sorted({json.loads(line)["id"] for line in lines})
    chosen = set(random.Random(0).sample(mixed, min(count, len(mixed))))
    with (run / "problems/sft.jsonl").open(encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["id"] in chosen]
    click.echo(f"{write(run / 'problems/warmup.jsonl', rows)} of {len(mixed)} questions of the mixture")


if __name__ == "__main__":
    main()
