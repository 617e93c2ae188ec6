"""Correct answers for a dry run, in place of the samples of a barely trained model.

Every sample of the run folder gets the correct answer that the quickstart's generator writes; the measured tokens and
times stay. Without this step no trace would be correct and no ratio sufficient, so later stages would refuse to start.

    python examples/qwen3_1p7b/fake_answers.py runs/dry_run/samples/base
"""

import json
import random
import sys
from pathlib import Path

import click
from inputs import write

sys.path.insert(0, str(Path(__file__).parents[1] / "quickstart"))
from problems import write_trace


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def main(folder: Path) -> None:
    """Replace the completions in FOLDER/samples_*.jsonl."""
    for path in folder.glob("samples_*.jsonl"):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for row in rows:
            thinking, response = write_trace(row, random.Random(row["id"]))
            row |= {"completion": f"<think>\n{thinking}\n</think>\n\n{response}", "extracted": row["answer"]}
            row |= {"verdict": "correct", "finish_reason": "stop", "truncated": False}
        write(path, rows)


if __name__ == "__main__":
    main()
