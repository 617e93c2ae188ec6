"""Puts what `examples/paper_tables` measured among the recorded results.

python examples/paper_tables/paper_tables.py runs/paper_tables --output examples/paper_tables
python benchmarks/examples_paper_tables.py
"""

import json
import sys
from pathlib import Path

from recording import record

EXAMPLE = Path(__file__).parents[1] / "examples" / "paper_tables"
sys.path.insert(0, str(EXAMPLE))
from tables import tables  # noqa: E402


def main() -> None:
    """Record the committed results; nothing is run."""
    record(__file__, json.loads((EXAMPLE / "results.json").read_text("utf-8")), tables)


if __name__ == "__main__":
    main()
