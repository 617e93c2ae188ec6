"""Tasks: named lists of problems.

`datasets` reads published benchmarks, `champ` and `procedural` those that are Python packages, `files` the user's
own files. Plug-ins register a function in the entry-point group `math_eval.tasks`. This module finds a task by its name
and checks ids and fields. Prompts are left to `generate`, answers to `grading`.

    load_task("gsm8k", data_dir="data").problems[0]["answer"]   # '18'
    load_task("mine/algebra.jsonl").name                        # 'algebra'
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from math_eval._shared.records import Row, validate
from math_eval.errors import DataError
from math_eval.task_names import check_name

from . import champ, datasets, files, procedural

_GENERATED = {"prompt", "completion", "finish_reason", "thinking_tokens", "thinking_chars", "completion_tokens"}
_ENDED = {"truncated", "refused", "closing_text", "trial_tokens", "over_budget", "limit_ignored"}
_TIMED = {"latency_s", "wall_s"}
_GRADED = {"extracted", "verdict", "first_correct_chars"}
_REQUESTED = {"task", "model", "ratio", "chosen_ratio", "seed", "sample", "batch", "key"}
SAMPLE_FIELDS = _GENERATED | _ENDED | _TIMED | _GRADED | _REQUESTED
"""Fields that a sample has besides those of its problem."""
_GROUP = "math_eval.tasks"


@dataclass(frozen=True)
class Task:
    """A named list of problems.

    Args:
        name: Name of the task, which is part of the name of its samples file.
        problems: Rows of the `problems` contract, other fields kept.
        source: Origin of the problems, for the manifest: a file, a dataset with its revision, or a package's version.
    """

    name: str
    problems: list[Row]
    source: Row

    @cached_property
    def sha256(self) -> str:
        """The hash of the problems, independent of the file's name and layout.

        The sampling seeds depend on it (see `generate.list_requests`), so the algorithm stays as it is.
        """
        return hashlib.sha256(json.dumps(self.problems, sort_keys=True).encode()).hexdigest()


def load_task(name: str, *, data_dir: str | Path | None = None, limit: int | None = None) -> Task:
    """Load a task.

    Args:
        name: A name that `math-eval tasks` lists, or the path of a problems file (`.jsonl`) or a task file (`.toml`).
        data_dir: Folder of the published benchmark files; None reads the Hugging Face hub.
        limit: Number of problems kept, the first ones; None keeps all. Rows of a file behind them are not read.

    Raises:
        DataError: There is no such task or file, a package is not installed, a row is bad, or two problems have one id.
    """
    task = _find(name, data_dir, limit)
    _check(task, f"task {task.name}" if name == task.name else f"{name}: task {task.name}")
    return replace(task, problems=task.problems[:limit]) if limit else task


def known_tasks() -> Iterator[tuple[str, str, str]]:
    """Name, number of problems and origin of every task that needs no file of the user's."""
    for name, benchmark in datasets.BENCHMARKS.items():
        otherwise = f"{benchmark.file} in --data-dir"
        yield name, str(benchmark.size), f"{benchmark.origin}{', or ' if benchmark.on_hub else ': '}{otherwise}"
    yield champ.NAME, str(champ.SIZE), "package champ-dataset"
    for name in procedural.GENERATORS:
        yield f"{procedural.PREFIX}{name}", "any", "package reasoning-gym"
    for plugin in _plugins():
        yield plugin.name, "", f"plug-in {plugin.value}"


def _plugins() -> list[EntryPoint]:
    return sorted(entry_points(group=_GROUP), key=lambda plugin: plugin.name)


def _find(name: str, data_dir: str | Path | None, limit: int | None) -> Task:
    if name in datasets.BENCHMARKS:
        return Task(name, *datasets.read(name, data_dir, limit))
    if name == champ.NAME:
        return Task(name, *champ.read())
    if name.startswith(procedural.PREFIX):
        return Task(procedural.file_name(name), *procedural.read(name))
    path = Path(name)
    if path.suffix == ".toml":
        return Task(*files.read_task_file(path, limit))
    if path.is_file():
        return Task(*files.read_problems(path, limit))
    for plugin in _plugins():
        if plugin.name == name:
            return Task(name, *_from_plugin(plugin))
    raise DataError(
        f"{name}: neither a task nor a file; tasks are {', '.join([*datasets.BENCHMARKS, champ.NAME])}, "
        f"{procedural.PREFIX}NAME and those of plug-ins: `math-eval tasks` lists them"
    )


def _from_plugin(plugin: EntryPoint) -> tuple[list[Row], Row]:
    """Problems and source of a plug-in: a function without arguments that returns rows of the problems contract."""
    where = f"plug-in {plugin.name} ({plugin.value})"
    rows = [validate(row, "problems", f"{where}, row {index}") for index, row in enumerate(plugin.load()(), 1)]
    if not rows:
        raise DataError(f"{where}: returned no problems")
    source: dict[str, Any] = {"plugin": plugin.value}
    if plugin.dist is not None:
        source |= {"package": plugin.dist.name, "version": plugin.dist.version}
    return rows, source


def _check(task: Task, where: str) -> None:
    check_name(task.name, where[:200])
    seen: set[str] = set()
    for problem in task.problems:
        if problem["id"] in seen:
            raise DataError(f"{where}: id: two problems are called {problem['id']!r}; give each its own id")
        seen.add(problem["id"])
        try:
            problem["question"].encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{where}: question: problem {problem['id']!r} has half a surrogate pair "
                f"({problem['question'][error.start]!r}), which no tokenizer reads; correct its text"
            ) from error
        if clash := sorted(SAMPLE_FIELDS & set(problem)):
            raise DataError(
                f"{where}: {clash[0]}: problem {problem['id']!r} has a field that samples define themselves; "
                "rename or remove it, or leave it out with `keep` in a task file"
            )
        try:
            json.dumps(problem, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{where}: problem {problem['id']!r} has a field that JSON cannot represent ({error}); leave "
                "it out with `keep` in a task file"
            ) from error
