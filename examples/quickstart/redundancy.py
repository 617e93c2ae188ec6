"""Wordiness of the generated traces, compared with real thinking traces.

A reduction of padded traces would be worthless, so the generated traces follow these numbers. Three shares of all
characters are printed: math, relations (formulas with a relation sign), and the first statement of each relation.

    python examples/quickstart/redundancy.py --real data/traces_math_train.jsonl.gz
"""

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click
from problems import problems, write_trace

from cot_compressor import segment


def shares(traces: Iterable[str]) -> dict[str, float]:
    """Shares of all characters, and the mean number of statements of a relation."""
    characters: Counter[str] = Counter()
    stated = distinct = 0
    for text in traces:
        seen: set[str] = set()
        characters["all"] += len(text)
        for unit in segment(text):
            formula = text[unit.start : unit.end]
            if unit.kind == "math":
                characters["math"] += len(formula)
            if unit.kind == "math" and any(sign in formula for sign in "=<>≤≥≠≈"):
                stated += 1
                characters["relations"] += len(formula)
                key = "".join(formula.split())
                characters["first statements"] += 0 if key in seen else len(formula)
                seen.add(key)
        distinct += len(seen)
    total = characters.pop("all")
    return {
        **{name: characters[name] / total for name in ("math", "relations", "first statements")},
        "statements of each": stated / distinct,
    }


@click.command()
@click.option("--real", type=click.Path(path_type=Path, exists=True), help="JSON Lines with `cot` and `model`.")
@click.option("--count", type=int, default=1000, show_default=True, help="Number of generated traces.")
def main(real: Path | None, count: int) -> None:
    """Print one row for each source of traces."""
    sources: dict[str, list[str]] = {
        "generated": [write_trace(row, random.Random(row["id"]))[0] for row in problems("test", 0, count)]
    }
    if real is not None:
        data = real.read_bytes()
        for line in (gzip.decompress(data) if real.suffix == ".gz" else data).splitlines():
            row = json.loads(line)
            sources.setdefault(row["model"], []).append(row["cot"])
    for name, traces in sources.items():
        found = shares(traces)
        numbers = ", ".join(f"{key} {value:.3f}" for key, value in found.items())
        click.echo(f"{name:36} {len(traces):5} traces: {numbers}")


if __name__ == "__main__":
    main()
