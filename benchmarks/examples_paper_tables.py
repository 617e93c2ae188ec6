"""Puts the figures of `examples/paper_tables` among the recorded results, and its chart into docs/results.

The figures themselves stay in the example's folder.

python examples/paper_tables/paper_tables.py runs/paper_tables --output examples/paper_tables
python benchmarks/examples_paper_tables.py
"""

import sys
from pathlib import Path
from typing import Any

from recording import PAGES, record

EXAMPLE = Path(__file__).parents[1] / "examples" / "paper_tables"
sys.path.insert(0, str(EXAMPLE))
from collect import combine, read_seeds  # noqa: E402
from tables import tables as example_tables  # noqa: E402


def tables(result: dict[str, Any]) -> str:
    """The example's tables, made from its recorded seeds."""
    return example_tables(combine(read_seeds(EXAMPLE / result["file"])))


def main() -> None:
    """Draw the chart; record the name of the example's file and the machine. Nothing is run."""
    from charts import draw_compressions

    draw_compressions(combine(read_seeds(EXAMPLE / "seeds.jsonl"))["rows"], PAGES)
    record(__file__, {"file": "seeds.jsonl"}, tables)


if __name__ == "__main__":
    main()
