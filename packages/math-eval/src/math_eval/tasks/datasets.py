r"""Published benchmarks such as GSM8K and MATH-500, from the Hugging Face hub or from a folder of files.

Datasets differ in the field of the answer and in its notation; each has a reader that turns its rows into rows of the
`problems` contract. Revisions are pinned, so a name means the same problems at any time.

    problems, source = read("gsm8k", data_dir=None)
    source   # {'hub': 'openai/gsm8k', 'config': 'main', 'split': 'test', 'revision': '740312a…'}
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from math_eval._shared.records import Row, read_records, validate
from math_eval.errors import DataError

from .gold import after, as_text, last_box, scientific, without_dollars
from .hub import read_dataset

_Reader = Callable[[Row, int], Row]


@dataclass(frozen=True)
class Benchmark:
    """The place and the format of a benchmark.

    Args:
        hub: Name of the dataset, `owner/dataset`.
        config: Configuration of the dataset; None for its only one.
        split: Name of the split with the problems.
        revision: The commit that is read.
        file: Name of the file in a folder of published files.
        size: Number of problems at that commit; a file may be another edition.
        reader: Function that makes a problem from a row and the row's number.
    """

    hub: str
    config: str | None
    split: str
    revision: str
    file: str
    size: int
    reader: _Reader

    @property
    def origin(self) -> str:
        """Dataset, config and split on one line."""
        return f"{self.hub} ({', '.join(filter(None, (self.config, self.split)))})"


def read(name: str, data_dir: str | Path | None, limit: int | None = None) -> tuple[list[Row], Row]:
    """The first `limit` problems of a benchmark, and their origin.

    Raises:
        DataError: Neither the hub nor the file can be read, or a row is not one of this benchmark.
    """
    benchmark = BENCHMARKS[name]
    if data_dir is None:
        otherwise = f", or put {benchmark.file} into a folder and name the folder with --data-dir"
        rows, source = read_dataset(
            benchmark.hub, benchmark.config, benchmark.split, benchmark.revision, otherwise=otherwise
        )
        where = benchmark.hub
    else:
        path = Path(data_dir) / benchmark.file
        if not path.is_file():
            raise DataError(f"{path}: no such file; without --data-dir, {name} is fetched from the hub")
        rows, where, source = list(islice(read_records(path, "row"), limit)), str(path), {"file": benchmark.file}
    return [_problem(name, benchmark.reader, row, index, where) for index, row in enumerate(rows[:limit])], source


def _problem(name: str, reader: _Reader, row: Row, index: int, where: str) -> Row:
    where = f"{where}:{index + 1}"
    try:
        problem = reader(row, index)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{where}: not a row of {name} ({error}); its fields are {', '.join(row)}") from error
    return validate(problem, "problems", where)


def _but(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def _gsm8k(row: Row, index: int) -> Row:
    solution = row["answer"].rpartition("####")[0].strip()
    return {
        "id": f"gsm8k/{index}",
        "question": row["question"],
        "answer": after(row["answer"], "####") or "",
        "solution": solution,
    }


def _math500(row: Row, index: int) -> Row:
    return {
        "id": str(row.get("unique_id", f"math500/{index}")),
        "question": row["problem"],
        **_but(row, "problem", "unique_id"),
    }


def _math(row: Row, index: int) -> Row:
    return {
        "id": f"math/{index}",
        "question": row["problem"],
        "answer": last_box(row["solution"]) or "",
        **_but(row, "problem"),
    }


def _contest(name: str) -> _Reader:
    def reader(row: Row, index: int) -> Row:
        return {
            "id": f"{name}/{row.get('id', index)}",
            "question": row.get("problem") or row["question"],
            "answer": as_text(row["answer"]),
            **_but(row, "id", "problem", "question", "answer"),
        }

    return reader


def _minerva(row: Row, index: int) -> Row:
    """The hub has the answer, the authors' file a solution with a box; both write 4.5e33 and np.arcsin."""
    answer = as_text(row["answer"]) if "answer" in row else last_box(row["solution"]) or ""
    return {
        "id": f"minerva_math/{row.get('idx', index)}",
        "question": row.get("problem") or row["question"],
        "answer": scientific(answer.replace("np.", "\\")),
        **_but(row, "idx", "problem", "question", "answer"),
    }


def _olympiadbench(row: Row, index: int) -> Row:
    """Answers are lists of LaTeX; several answers in one text are separated by commas. The unit is a separate field."""
    answers = [without_dollars(answer) for answer in row["final_answer"]]
    kept = ("subfield", "answer_type", "is_multiple_answer", "unit")
    return {
        "id": f"olympiadbench/{row.get('id', index)}",
        "question": row["question"],
        "answer": ", ".join(answers),
        **{name: row[name] for name in kept if row.get(name) is not None},
    }


def _svamp(row: Row, index: int) -> Row:
    body = row["Body"].strip().removesuffix(".")
    return {
        "id": f"svamp/{row.get('ID', index)}",
        "question": f"{body}. {row['Question'].strip()}",
        "answer": as_text(float(row["Answer"])),
        "type": row["Type"],
        "equation": row["Equation"],
    }


BENCHMARKS = {
    "gsm8k": Benchmark(
        "openai/gsm8k", "main", "test", "740312add88f781978c0658806c59bc2815b9866", "gsm8k_test.jsonl", 1319, _gsm8k
    ),
    "math500": Benchmark(
        "HuggingFaceH4/MATH-500",
        None,
        "test",
        "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        "math500_test.jsonl",
        500,
        _math500,
    ),
    "amc23": Benchmark(
        "math-ai/amc23",
        None,
        "test",
        "80815d37005feb82cd7f8fbc6901d5d3eff43057",
        "amc23.jsonl",
        40,
        _contest("amc23"),
    ),
    "aime24": Benchmark(
        "HuggingFaceH4/aime_2024",
        None,
        "train",
        "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        "aime24.jsonl",
        30,
        _contest("aime24"),
    ),
    "aime25": Benchmark(
        "math-ai/aime25",
        None,
        "test",
        "563bb8404243c5f09de6ec262f2db674fe5bce9b",
        "aime25.jsonl",
        30,
        _contest("aime25"),
    ),
    "math": Benchmark(
        "DigitalLearningGmbH/MATH-lighteval",
        None,
        "test",
        "0530c78699ea5e8eb5530600900e1f328b48acad",
        "math_test.jsonl",
        5000,
        _math,
    ),
    "minerva_math": Benchmark(
        "math-ai/minervamath",
        None,
        "test",
        "ee46ddc498933b1977577953250ca5c66be64f96",
        "minerva_math.jsonl",
        272,
        _minerva,
    ),
    "olympiadbench": Benchmark(
        "math-ai/olympiadbench",
        None,
        "test",
        "4faaf1e6ec17d11a4218a9bf4c049ecaf954dd84",
        "olympiadbench.jsonl",
        674,
        _olympiadbench,
    ),
    "svamp": Benchmark(
        "ChilleD/SVAMP", None, "test", "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef", "svamp_test.jsonl", 300, _svamp
    ),
}
