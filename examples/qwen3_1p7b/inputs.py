"""Fetch the base model, MetaMath's questions and the test problems from the Hugging Face hub, once.

Each question of MetaMath is used once. In the order of a hash of its text, the first questions are for evaluation
(MetaMath-1k), the next for CHRPO, and the base model answers the others. Questions of a test set are left out; those
that only share 13 words with one are left to `ratio-sft build --exclude`. `source.json` records the commits.

    python examples/qwen3_1p7b/inputs.py runs/qwen3_1p7b
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
from settings import PAPER

MODEL, QUESTIONS = "Qwen/Qwen3-1.7B", "meta-math/MetaMathQA"
TESTS = ("gsm8k", "math500", "amc23")
_ANSWER = "The answer is: "

Row = dict[str, Any]


def key(question: str) -> str:
    """A hash of a question's text, equal for questions that differ in case and white space only."""
    return hashlib.sha256(" ".join(question.casefold().split()).encode()).hexdigest()


def questions(rows: Iterable[Row], tests: Iterable[str]) -> Iterator[Row]:
    """Rows of the problems contract from MetaMath: each question once, without `tests`, in the order of hashes."""
    found: dict[str, Row] = {}
    for row in rows:
        _, mark, answer = row["response"].rpartition(_ANSWER)
        if mark and answer.strip():
            problem = {"question": row["query"].strip(), "answer": answer.strip(), "type": row["type"]}
            found.setdefault(key(row["query"]), problem)
    for name in sorted(found.keys() - set(map(key, tests))):
        yield {"id": f"metamath/{name[:16]}", **found[name]}


def write(path: Path, rows: Iterable[Row]) -> int:
    """Write JSON Lines; returns the number of rows."""
    lines = [json.dumps(row) + "\n" for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def fetch_model(name: str, folder: Path) -> dict[str, str | None]:
    """Download a model of the hub into `folder`; returns its name and commit."""
    from huggingface_hub import HfApi, snapshot_download

    revision = HfApi().model_info(name).sha
    snapshot_download(name, revision=revision, local_dir=folder, allow_patterns=["*.json", "*.safetensors", "*.txt"])
    return {"hub": name, "revision": revision}


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--evaluated", default=PAPER.metamath_questions, show_default=True, help="Number of questions of MetaMath-1k."
)
@click.option("--rl", default=PAPER.rl_questions, show_default=True, help="Number of questions of CHRPO.")
@click.option(
    "--sft", default=PAPER.sft_questions, show_default=True, help="Number of questions that the base model answers."
)
def main(run: Path, evaluated: int, rl: int, sft: int) -> None:
    """Write RUN/base, RUN/problems/*.jsonl and RUN/source.json."""
    from math_eval import load_task
    from math_eval.tasks.hub import read_dataset

    tests = {name: load_task(name) for name in TESTS}
    for name, task in tests.items():
        write(run / f"problems/{name}.jsonl", task.problems)
    asked = [row["question"] for task in tests.values() for row in task.problems]
    rows, source = read_dataset(QUESTIONS, None, "train")
    left = questions(rows, asked)
    sizes = {"metamath1k": evaluated, "rl": rl, "sft": sft}
    for name, size in sizes.items():
        written = write(run / f"problems/{name}.jsonl", islice(left, size))
        click.echo(f"{name}: {written} questions" + (f"; MetaMath has no more of the {size}" if written < size else ""))
    sources = {"model": fetch_model(MODEL, run / "base"), "questions": source}
    sources |= {name: task.source for name, task in tests.items()}
    (run / "source.json").write_text(json.dumps(sources, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
