"""The user's own tasks: a problems file, or a TOML task file that names other rows and the meaning of their fields.

The keys of a task file are those of `task.schema.json`: `name`; `problems`, a file beside the task file, or `hub` with
`config`, `split` and `revision`; `fields`; `answer_after`, a mark such as `####`; `keep`, the other fields to keep.

    # physics.toml: problems = "physics.jsonl", fields = {question = "problem", answer = "solution"}
    read_task_file(Path("physics.toml"), None)[0]   # 'physics'
"""

import tomllib
from itertools import islice
from pathlib import Path

from math_eval._shared.records import Row, check_size, read_records, validate
from math_eval.errors import DataError
from math_eval.input_files import check_json_lines

from .gold import after, as_text
from .hub import read_dataset

_OF_THE_HUB = ("config", "split", "revision")
_MOST_BYTES = 2**14
"""Largest task file; tomllib takes quadratic time and memory for a key of many parts."""
Parts = tuple[str, list[Row], Row]


def read_problems(path: Path, limit: int | None) -> Parts:
    """Name, first `limit` problems and source of a file of the problems contract."""
    check_json_lines(path)
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
    return stem, list(islice(read_records(path, "problems"), limit)), {"file": path.name}


def read_task_file(path: Path, limit: int | None) -> Parts:
    """Name, first `limit` problems and source of a task file.

    Raises:
        DataError: The file is missing, no task file or larger than 16 KiB, or a row lacks a field that it names.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    check_size(path, _MOST_BYTES)
    try:
        task = tomllib.loads(path.read_text("utf-8-sig"))
    except RecursionError as error:
        raise DataError(f"{path}: nested too deeply to be a task file; flatten it") from error
    except ValueError as error:
        raise DataError(f"{path}: not TOML ({error})") from error
    validate(task, "task", str(path))
    if ("hub" in task) == ("problems" in task):
        raise DataError(f"{path}: name either hub (a dataset) or problems (a file beside this one)")
    if "hub" in task:
        rows, source = read_dataset(task["hub"], task.get("config"), task.get("split", "test"), task.get("revision"))
        where = task["hub"]
    else:
        if extra := [key for key in _OF_THE_HUB if key in task]:
            raise DataError(f"{path}: {extra[0]} belongs to a hub dataset, not to a problems file; remove it")
        data = path.parent / task["problems"]
        if not data.is_file():
            raise DataError(f"{path}: problems: {data}: no such file; check the name")
        if data.is_symlink() and data.resolve().parent not in (path.parent.resolve(), path.resolve().parent):
            raise DataError(f"{data}: is a symbolic link to another folder; copy the file beside {path.name}")
        check_json_lines(data)
        rows, where, source = list(islice(read_records(data, "row"), limit)), str(data), {"file": data.name}
    name = task.get("name", path.stem)
    try:
        problems = [_problem(name, task, row, index, f"{where}:{index + 1}") for index, row in enumerate(rows[:limit])]
    except DataError as error:
        raise DataError(f"{error}, as {path} reads it") from error
    return name, problems, source


def _problem(name: str, task: Row, row: Row, index: int, where: str) -> Row:
    fields: Row = task["fields"]
    questions = [fields["question"]] if isinstance(fields["question"], str) else fields["question"]
    used = [*questions, fields["answer"], *([fields["id"]] if "id" in fields else [])]
    kept: list[str] = task.get("keep", [field for field in row if field not in {*used, "id", "question", "answer"}])
    if missing := [field for field in [*used, *kept] if field not in row]:
        raise DataError(f"{where}: no field {missing[0]!r}; the fields are {', '.join(row)}")
    try:
        answer = as_text(row[fields["answer"]])
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    if "answer_after" in task:
        answer = after(answer, task["answer_after"]) or ""
    problem = {
        "id": str(row[fields["id"]]) if "id" in fields else f"{name}/{index}",
        "question": " ".join(str(row[question]).strip() for question in questions),
        "answer": answer,
        **{field: row[field] for field in kept},
    }
    return validate(problem, "problems", where)
