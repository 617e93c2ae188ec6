"""Fetch DeepSeek-R1-Distill-Qwen-1.5B and DeepScaleR's questions from the Hugging Face hub, once.

The questions are taken in the order of a hash of their text; those of a test set are left out, and those without an
answer. `source.json` records the commits. GPQA is behind a form of the hub, which has to be accepted first.

    python examples/r1_distill_1p5b/questions.py runs/r1_distill_1p5b
"""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
from scales import FULL

sys.path.append(str(Path(__file__).parents[1] / "qwen3_1p7b"))
from inputs import fetch_model, key, write

MODEL, QUESTIONS = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "agentica-org/DeepScaleR-Preview-Dataset"

Row = dict[str, Any]


def problems(rows: Iterable[Row], tests: Iterable[str]) -> Iterator[Row]:
    """Rows of the problems contract: each answered question once, without `tests`, in the order of hashes."""
    found: dict[str, Row] = {}
    for row in rows:
        if answer := str(row["answer"] or "").strip():
            found.setdefault(key(row["problem"]), {"question": row["problem"].strip(), "answer": answer})
    for name in sorted(found.keys() - set(map(key, tests))):
        yield {"id": f"deepscaler/{name[:16]}", **found[name]}


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def main(run: Path) -> None:
    """Write RUN/base, RUN/problems/rl.jsonl and RUN/source.json."""
    from math_eval import load_task
    from math_eval.tasks.hub import read_dataset

    names = ",".join(FULL.tests.values()).split(",")
    asked = [row["question"] for name in names for row in load_task(name).problems]
    rows, source = read_dataset(QUESTIONS, None, "train")
    written = write(run / "problems/rl.jsonl", islice(problems(rows, asked), FULL.questions))
    click.echo(f"{written} questions")
    sources = {"model": fetch_model(MODEL, run / "base"), "questions": source}
    (run / "source.json").write_text(json.dumps(sources, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
