"""Puts the figures of `examples/frontier/symbolic` among the recorded results, and its charts into docs/results.

The figures themselves stay in the example's folder.

python examples/frontier/symbolic/compare.py runs/symbolic --seed 100 --seed 101 --seed 102 --jobs 2
cp runs/symbolic/results.json runs/symbolic/rows.jsonl examples/frontier
python benchmarks/examples_frontier.py
"""

import json
import sys
from pathlib import Path
from typing import Any

from recording import PAGES, record

EXAMPLE = Path(__file__).parents[1] / "examples" / "frontier"
sys.path.insert(0, str(EXAMPLE / "symbolic"))
from frontier_tables import tables as example_tables  # noqa: E402


def tables(result: dict[str, Any]) -> str:
    """The example's tables, made from its results."""
    return example_tables(json.loads((EXAMPLE / result["file"]).read_text("utf-8")))


def main() -> None:
    """Draw the charts; record the name of the example's file and the machine. Nothing is run."""
    from frontier_charts import draw

    draw(json.loads((EXAMPLE / "results.json").read_text("utf-8")), PAGES)
    record(__file__, {"file": "results.json"}, tables)


if __name__ == "__main__":
    main()
