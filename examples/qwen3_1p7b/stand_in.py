"""In a dry run, what a trained model would have answered, put into the samples of a random one.

Every sample of the run folder becomes the right answer that the quickstart's generator writes; its measured tokens and
times stay. Without it no trace would be correct and no ratio enough, and the stages behind it would refuse to start.

    python examples/qwen3_1p7b/stand_in.py runs/dry_run/samples/base
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
