r"""Converts the published files into rows of the contracts: real thinking traces, and GSM8K problems to train on.

The traces are from Qwen3, DeepSeek-R1 distillates and gpt-oss on MATH questions. The published ids name the model; here
an id names the question, so each question has one id. All traces are correct. A few have no reference answer: it is
taken from the box of their own response, and they are counted.

    python examples/smollm2/inputs.py data runs/smollm2/inputs
"""

import gzip
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

TRACES, PROBLEMS = "traces_math_train.jsonl.gz", "gsm8k_train.jsonl.gz"
RL_PROBLEMS = 4
_BOX = re.compile(r"\\boxed\{([^{}]+)\}")

Row = dict[str, Any]


def read(path: Path) -> Iterator[Row]:
    """The rows of a published file."""
    if not path.is_file():
        raise click.ClickException(f"{path}: no such file; --data-dir is the folder of the published files")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def traces(rows: Iterator[Row]) -> Iterator[Row]:
    """Rows of the traces contract; `answer_from` records the source of the answer."""
    questions: dict[str, int] = {}
    for row in rows:
        number = questions.setdefault(row["question"], len(questions))
        boxes = _BOX.findall(row["response"])
        if row["answer"] is None and not boxes:
            raise click.ClickException(f"trace {row['id']}: neither a reference answer nor a boxed one")
        yield {
            "id": f"math-train/{number}",
            "question": row["question"],
            "answer": row["answer"] if row["answer"] is not None else boxes[-1],
            "cot": row["cot"],
            "response": row["response"],
            "model": row["model"],
            "correct": True,
            "sample": 0,
            "source_id": row["id"],
            "answer_from": "reference" if row["answer"] is not None else "response",
        }


def problems(rows: Iterator[Row]) -> Iterator[Row]:
    """Rows of the problems contract from GSM8K, whose solutions end in `#### answer`."""
    for number, row in enumerate(islice(rows, RL_PROBLEMS)):
        answer = row["answer"].rpartition("####")[2].strip()
        yield {"id": f"gsm8k-train/{number}", "question": row["question"], "answer": answer}


def write(path: Path, rows: list[Row]) -> None:
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(data: Path, out: Path) -> None:
    """Write OUT/traces.jsonl and OUT/rl.jsonl from the published files in DATA."""
    out.mkdir(parents=True, exist_ok=True)
    found = list(traces(read(data / TRACES)))
    write(out / "traces.jsonl", found)
    write(out / "rl.jsonl", list(problems(read(data / PROBLEMS))))
    unnamed = sum(row["answer_from"] == "response" for row in found)
    click.echo(
        f"{len(found)} traces on {len({row['id'] for row in found})} questions by "
        f"{len({row['model'] for row in found})} models; {unnamed} have no reference answer and get their own"
    )


if __name__ == "__main__":
    main()
