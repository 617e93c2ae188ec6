"""Tasks: named lists of problems, from the published files in a data folder or from a problems file of one's own.

The published files are read as their authors wrote them, gold quirks included (`#### 1,234`, 27.0, level numbers);
fetching them is left to the user. A task's fields beyond id, question and answer travel with every sample.

    load_task("gsm8k", data_dir="data").problems[0]["answer"]   # '18'
    load_task("mine/algebra.jsonl").name                        # 'algebra'
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .errors import DataError
from .records import Row, read_records, validate

_GENERATED = {"prompt", "completion", "finish_reason", "thinking_tokens", "completion_tokens", "truncated"}
_TIMED = {"latency_s", "wall_s"}
_GRADED = {"extracted", "verdict"}
_ASKED = {"task", "model", "ratio", "chosen_ratio", "seed", "sample", "batch", "key"}
_RESERVED = _GENERATED | _TIMED | _GRADED | _ASKED


@dataclass(frozen=True)
class Task:
    """A named list of problems (rows of the `problems` contract, other fields kept)."""

    name: str
    problems: list[Row]

    @cached_property
    def sha256(self) -> str:
        """The hash of the content, independent of the file's name and layout."""
        return hashlib.sha256(json.dumps(self.problems, sort_keys=True).encode()).hexdigest()


def _gsm8k(row: Row, index: int) -> Row:
    solution, _, answer = row["answer"].rpartition("####")
    return {"id": f"gsm8k/{index}", "question": row["question"], "answer": answer.strip(), "solution": solution.strip()}


def _math500(row: Row, index: int) -> Row:
    kept = {name: value for name, value in row.items() if name not in ("problem", "unique_id")}
    return {"id": str(row.get("unique_id", f"math500/{index}")), "question": row["problem"], **kept}


def _contest(row: Row, index: int, *, name: str) -> Row:
    answer = row["answer"]
    whole = isinstance(answer, float) and answer.is_integer()
    kept = {field: value for field, value in row.items() if field not in ("problem", "question", "id", "answer")}
    question = row.get("problem") or row["question"]
    return {
        "id": f"{name}/{row.get('id', index)}",
        "question": question,
        "answer": str(int(answer) if whole else answer),
        **kept,
    }


_Reader = Callable[[Row, int], Row]
BUILTIN: dict[str, tuple[str, _Reader]] = {
    "gsm8k": ("gsm8k_test.jsonl", _gsm8k),
    "math500": ("math500_test.jsonl", _math500),
    "amc23": ("amc23.jsonl", lambda row, index: _contest(row, index, name="amc23")),
    "aime24": ("aime24.jsonl", lambda row, index: _contest(row, index, name="aime24")),
}


def load_task(name: str, *, data_dir: str | Path | None = None, limit: int | None = None) -> Task:
    """Load a task by its built-in name or by the path of a problems file.

    Args:
        name: `gsm8k`, `math500`, `amc23`, `aime24`, or a path whose stem becomes the task's name.
        data_dir: the folder with the published files; needed for built-in names only.
        limit: keep the first so many problems.

    Raises:
        DataError: no such task or file, a row that does not fit, or two problems with one id.
    """
    if name in BUILTIN:
        task = Task(name, _read_builtin(name, data_dir))
    else:
        path = Path(name)
        if not path.is_file():
            raise DataError(
                f"{name}: neither a task ({', '.join(BUILTIN)}) nor a problems file; check the name or path"
            )
        stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
        task = Task(stem, list(read_records(path, "problems")))
    _check(task)
    return Task(task.name, task.problems[:limit]) if limit else task


def _read_builtin(name: str, data_dir: str | Path | None) -> list[Row]:
    if data_dir is None:
        raise DataError(f"task {name} is read from a folder of published files; say where with --data-dir")
    file_name, reader = BUILTIN[name]
    path = Path(data_dir) / file_name
    problems: list[Row] = []
    for index, row in enumerate(read_records(path, "benchmark")):
        where = f"{path}:{index + 1}"
        try:
            problems.append(validate(reader(row, index), "problems", where))
        except (KeyError, AttributeError) as error:
            raise DataError(f"{where}: not a row of {name} ({error}); is it the published file?") from error
    return problems


def _check(task: Task) -> None:
    seen: set[str] = set()
    for problem in task.problems:
        if problem["id"] in seen:
            raise DataError(f"task {task.name}: id: two problems are called {problem['id']!r}; give each its own id")
        seen.add(problem["id"])
        if clash := sorted(_RESERVED & set(problem)):
            raise DataError(
                f"task {task.name}: {clash[0]}: problem {problem['id']!r} has a field that samples define themselves; "
                "rename or remove it"
            )
