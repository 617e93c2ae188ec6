"""A blind reading: which of two short texts lets a reader find the argument and its conclusion again.

`write` draws general traces on the questions that `cot_compressor_meaning.py` holds out, at most two of a domain, and
writes pairs of short texts of the same length: `rules` and the tail, `rules` and whole sentences by overlap. Order and
sides are shuffled by a seed, and the names are in the key only. Before the key is opened, the reader writes
`verdicts.txt` beside it: for each pair a line with its number and `A`, `B` or `=`. `count` records the result.

    python benchmarks/cot_compressor_reading.py write runs/first --data-dir data --tokenizer runs/smollm2/base
    python benchmarks/cot_compressor_reading.py count runs/first
"""

import itertools
import json
import random
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from cot_compressor_meaning import FILES, load
from recording import data_dir_option, record

from cot_compressor import Compressor, select_baseline
from cot_compressor.evaluation.fidelity import mean_with_interval

RATIO, TRACES, MOST_OF_A_DOMAIN = 0.2, 20, 2
SHORTEST, LONGEST = 1200, 3600
OTHERS = ("tail", "overlap")
POINTS = {"rules": 1.0, "equal": 0.5, "other": 0.0}
PAIRS, KEY, VERDICTS = "pairs.md", "key.json", "verdicts.txt"


def draw(rows: list[dict[str, Any]], read: set[str], chance: random.Random) -> list[dict[str, Any]]:
    """Traces of a readable length in random order, each on another question not read yet, at most two of a domain."""
    rows = [row for row in rows if SHORTEST <= len(row["cot"]) <= LONGEST and row["language"] == "en"]
    rows = [row for row in rows if row["question"] not in read]
    chance.shuffle(rows)
    rows = list({row["question"]: row for row in rows}.values())
    domains: Counter[str] = Counter()
    drawn: list[dict[str, Any]] = []
    for row in rows:
        domains[row["domain"]] += 1
        if domains[row["domain"]] <= MOST_OF_A_DOMAIN:
            drawn.append(row)
    return drawn[:TRACES]


def tables(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "| reading | pairs of `rules` and | pairs | `rules` better | equal | other better | share, equal as half |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for reading, name in itertools.product(result, OTHERS):
        found = result[reading][name]
        counts, share = Counter(found["verdicts"]), found["share"]
        cells = [reading, name, counts.total(), counts["rules"], counts["equal"], counts["other"]]
        mean = f"{share['mean']:.2f} ({share['low']:.2f}–{share['high']:.2f})"
        lines.append(f"| {' | '.join(map(str, cells))} | {mean} |")
    return "\n".join(lines)


@click.group()
def cli() -> None:
    """Write pairs to read, and count the verdicts."""


@cli.command()
@click.argument("out", type=click.Path(path_type=Path))
@data_dir_option
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True, help="Model folder.")
@click.option(
    "--earlier", type=click.Path(path_type=Path), help="OUT of an earlier reading; its questions are left out."
)
@click.option("--seed", default=0, show_default=True, help="Random seed of traces, order and sides.")
def write(out: Path, data_dir: Path, tokenizer: Path, earlier: Path | None, seed: int) -> None:
    """Write OUT/pairs.md and OUT/key.json."""
    chance = random.Random(seed)
    read = {one["question"] for one in json.loads((earlier / KEY).read_text("utf-8"))} if earlier else set[str]()
    compressor = Compressor.from_pretrained("rules", tokenizer=tokenizer)
    pairs: list[tuple[dict[str, Any], str, list[tuple[str, str]]]] = []
    for row in draw(load(data_dir / FILES["general"], held_out=True), read, chance):
        short = compressor.compress(row["cot"], question=row["question"], ratio=RATIO)
        for name in OTHERS:
            other = select_baseline(name, row["cot"], short.tokens, compressor.counter, question=row["question"])
            sides = [("rules", short.text), (name, other.text)]
            chance.shuffle(sides)
            pairs.append((row, name, sides))
    chance.shuffle(pairs)
    key: list[dict[str, str]] = []
    text: list[str] = []
    for number, (row, name, sides) in enumerate(pairs, 1):
        key.append({"id": row["id"], "question": row["question"], "against": name, "A": sides[0][0], "B": sides[1][0]})
        text.append(f"# {number}\n\n## Question\n\n{row['question']}\n\n## Response\n\n{row['response']}\n")
        text += [f"## {side}\n\n{shown}\n" for side, (_, shown) in zip("AB", sides, strict=True)]
    out.mkdir(parents=True, exist_ok=True)
    (out / PAIRS).write_text("\n".join(text), encoding="utf-8")
    (out / KEY).write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
    click.echo(f"{len(pairs)} pairs in {out / PAIRS}")


@cli.command()
@click.argument("outs", metavar="OUT...", nargs=-1, required=True, type=click.Path(path_type=Path))
def count(outs: tuple[Path, ...]) -> None:
    """Compare verdicts and key of each OUT, print and record."""
    record(__file__, {out.name: compare(out) for out in outs}, tables)


def compare(out: Path) -> dict[str, Any]:
    """The verdicts of one reading by the method beside `rules`."""
    key = json.loads((out / KEY).read_text("utf-8"))
    lines = [line.split() for line in (out / VERDICTS).read_text("utf-8").splitlines() if line.strip()]
    if [line[0] for line in lines] != [str(number) for number in range(1, len(key) + 1)]:
        raise click.ClickException(f"{out / VERDICTS}: expected a line for each pair from 1 to {len(key)}, in order")
    found: dict[str, Any] = {}
    for name in OTHERS:
        pairs = [(one, line[1]) for one, line in zip(key, lines, strict=True) if one["against"] == name]
        judged = ["equal" if side == "=" else "rules" if one[side] == "rules" else "other" for one, side in pairs]
        share = mean_with_interval([POINTS[one] for one in judged], [one["question"] for one, _ in pairs])
        assert share is not None
        found[name] = {"verdicts": judged, "ids": [one["id"] for one, _ in pairs], "share": asdict(share)}
    return found


if __name__ == "__main__":
    cli()
