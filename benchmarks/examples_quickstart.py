"""Records the figures of finished quickstart runs; nothing is run.

make quickstart SEED=12 RUN=runs/seed12      # and so on
python benchmarks/examples_quickstart.py runs/seed12 runs/seed13 runs/seed14
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from recording import record

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "quickstart"))
from quickstart import rl_verdict


def tables(result: dict[str, Any]) -> str:
    """Two tables: all conditions by seed, and the comparison with the base model."""
    runs = result["runs"]
    head = "| condition | " + " | ".join(f"seed {run['seed']}: accuracy | tokens" for run in runs) + " |"
    lines = [head, "|---|" + "---|---|" * len(runs)]
    for rows in zip(*(run["conditions"] for run in runs), strict=True):
        cells = [
            f"{row['accuracy']:.1%} ({row['accuracy_low']:.1%} – {row['accuracy_high']:.1%}) | "
            f"{row['thinking_tokens']:.1f}"
            for row in rows
        ]
        lines.append(f"| {rows[0]['name']} | {' | '.join(cells)} |")
    lines += ["", "chrpo@policy against base, paired on the same problems:", ""]
    lines += ["| seed | fewer thinking tokens | accuracy difference, points | seconds |", "|---|---|---|---|"]
    for run in runs:
        found = run["comparison"]
        low, high = found["accuracy_difference_low"], found["accuracy_difference_high"]
        lines.append(
            f"| {run['seed']} | {found['token_reduction']:.1%} | {100 * found['accuracy_difference']:+.1f} "
            f"({100 * low:+.1f} to {100 * high:+.1f}) | {run['seconds']:.0f} |"
        )
    compared = [run for run in runs if "rl_comparison" in run]
    if compared:
        lines += ["", "chrpo@policy against sft@policy, paired on the same problems:", ""]
        lines += [f"- seed {run['seed']}: {rl_verdict(run['rl_comparison'])}" for run in compared]
    return "\n".join(lines)


def main() -> None:
    """Read results.json of every run and record it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="Folders of finished quickstart runs.")
    runs = [json.loads((run / "results.json").read_text("utf-8")) for run in parser.parse_args().runs]
    record(__file__, {"runs": runs}, tables)


if __name__ == "__main__":
    main()
