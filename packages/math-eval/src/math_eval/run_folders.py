"""Run folders: finding a run's files and reading its samples, one condition (a run at one ratio) at a time.

Writing run folders is left to `run` and `grade`.

    conditions = load_run("runs/sft")
    [condition.ratio for condition in conditions]                  # [0.2, 0.4, 'policy']
    load_condition("runs/sft", "policy").summary()["accuracy"]     # 0.95
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._shared import runs
from ._shared.checkpoint_files import check_inside
from ._shared.control_tokens import ControlTokens
from ._shared.records import Row, read_json, read_records, validate
from ._shared.thinking import THINK, Thinking, ThinkingFormat, split_thinking
from .errors import DataError
from .ratio import Ratio, parse_ratio, ratio_name
from .shard import SHARD
from .summary import summarise
from .tags import own_text
from .task_names import check_name

RESULTS = "results.json"
_COMMANDS = ("math-eval run", "math-eval grade")
"""Commands that write run folders."""
ItemKey = tuple[str, str, int, int]
"""Task, id, seed and sample."""


@dataclass(frozen=True)
class Condition:
    """The samples of one run at one ratio, with all its seeds.

    Args:
        run: The run folder.
        ratio: The ratio that was requested.
        rows: Rows of the `samples` contract.
    """

    run: Path
    ratio: Ratio
    rows: list[Row]

    def items(self) -> dict[ItemKey, Row]:
        """The rows by (task, id, seed, sample)."""
        return {(row["task"], row["id"], row["seed"], row["sample"]): row for row in self.rows}

    @property
    def title(self) -> str:
        """`sft:policy`; with a way to think less `base:none (thinking budget=256)`."""
        return f"{self.run.name}:{ratio_name(self.ratio)}{self.thinking_suffix}"

    @property
    def thinking_suffix(self) -> str:
        """The run's way to think less, as names of conditions end; empty if it has none."""
        mode = read_manifest(self.run)["settings"].get("thinking")
        return f" (thinking {mode['name']})" if mode else ""

    def summary(self) -> dict[str, Any]:
        """Accuracy, tokens, efficiency, rates and speed of these samples, as in results.json."""
        return summarise(self.rows, token_limit(self.run))


def load_run(folder: str | Path) -> list[Condition]:
    """The conditions of a finished run, in the order in which its command named the ratios.

    Raises:
        DataError: The folder is no run folder, or the run is not finished.
    """
    settings = read_manifest(Path(folder))["settings"]
    rows: dict[Ratio, list[Row]] = {ratio: [] for ratio in settings["ratios"]}
    for row in _samples(Path(folder), settings):
        if row["ratio"] in rows:
            rows[row["ratio"]].append(row)
    return [Condition(Path(folder), ratio, rows[ratio]) for ratio in rows]


def load_condition(run: str | Path, ratio: str | None = None) -> Condition:
    """One condition of a finished run.

    Args:
        run: The run folder.
        ratio: The ratio as `--ratio` spells it (`0.2`, `policy`, `none`); unnecessary if the run has only one.

    Raises:
        DataError: The run is not finished, has several ratios and none is named, or does not have the named ratio.
    """
    return Condition(Path(run), _find(run, ratio), list(stream(run, ratio)))


def stream(run: str | Path, ratio: str | None) -> Iterator[Row]:
    """The rows of `load_condition(run, ratio)` one at a time, for a run that does not fit in memory.

    Raises:
        DataError: See `load_condition`.
    """
    wanted = _find(run, ratio)
    return (row for row in _samples(Path(run), read_manifest(Path(run))["settings"]) if row["ratio"] == wanted)


def split_name(name: str) -> tuple[str, str | None]:
    """`RUN` or `RUN:RATIO` as (run, ratio or None); the name of an existing folder is never split.

    >>> split_name("runs/sft:policy")
    ('runs/sft', 'policy')
    """
    if Path(name).is_dir() or ":" not in name:
        return name, None
    run, _, ratio = name.rpartition(":")
    return run, ratio


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises:
        DataError: The folder is no run folder, it is a shard of a run, or the run is not finished.
    """
    if not (folder / runs.MANIFEST).is_file():
        raise DataError(f"{folder}: no manifest.json, so this is not a run folder; check the path")
    if (folder / SHARD).is_file() or not (folder / RESULTS).is_file():
        raise DataError(f"{folder}: {_why_unread(folder)}")
    return checked_manifest(folder)


def is_run_manifest(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is that of a run folder or of a shard of a run, and not of graded files or another program."""
    return manifest["command"] in _COMMANDS and "shards" not in manifest["settings"]


def _why_unread(folder: Path) -> str:
    """What a folder is that is no finished run, and what to do about it."""
    check_inside(folder)
    found = runs.read_manifest(folder / runs.MANIFEST)
    command, shard = found["command"], found["settings"].get("shard")
    merge = "join all of its shards with `math-eval merge`"
    if not is_run_manifest(found):
        return f"written by {command}, and not a run folder; name one that `math-eval run` made"
    if (folder / SHARD).is_file():
        return f"this is shard {shard} of a run; {merge}, and name the joined run"
    if shard is not None:
        again = f"repeat its `math-eval run --shard {shard}` to resume it"
        return f"this is shard {shard} of a run, and not finished (no {SHARD}); {again}, and {merge}"
    return f"this run is not finished (no {RESULTS}); repeat its `{command}` to resume it"


def token_limit(folder: Path) -> int:
    """The maximum number of new tokens in a completion of a finished run.

    Raises:
        DataError: The folder is no run folder, or the run is not finished.
    """
    return read_manifest(folder)["settings"]["max_tokens"]


def checked_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run, finished or not.

    Raises:
        DataError: A field is missing, or has a value that no run writes, or a link leads out of the folder.
    """
    check_inside(folder)
    path = folder / runs.MANIFEST
    manifest = validate(runs.read_manifest(path), "run_manifest", str(path))
    for name in ("ratios", "seeds"):
        _check_distinct(manifest["settings"][name], f"{path}: settings.{name}")
    for task in manifest["settings"]["tasks"]:
        check_name(task, f"{path}: settings.tasks")
    return manifest


def thinking_parts(row: Row, manifest: Mapping[str, Any]) -> Thinking:
    """Thinking and answer of a sample, without the ratio token that opens its completion and a text of the run's own.

    Args:
        row: A row of the `samples` contract.
        manifest: The manifest of its run, which names the thinking format and the ladder.
    """
    completion = _run_tokens(row, manifest).without_token(row["completion"])
    own = own_text(completion, row.get("closing_text"), run_format(manifest))
    return split_thinking(own, row["prompt"], run_format(manifest))


def _run_tokens(row: Row, manifest: Mapping[str, Any]) -> ControlTokens:
    """The ladder of a run; of a manifest that names none, the usual token of the ratio that the sample opens with."""
    found = manifest.get("control_tokens")
    if found is not None:
        return ControlTokens(**found)
    chosen = row.get("chosen_ratio")
    return ControlTokens({}, "") if chosen is None else ControlTokens.ladder({chosen, 1.0})


def run_format(manifest: Mapping[str, Any]) -> ThinkingFormat:
    """The thinking format that the manifest of a run names; `<think>` if it names none."""
    found = manifest.get("thinking_format")
    return THINK if found is None else ThinkingFormat(**found)


def read_results(folder: Path) -> dict[str, Any]:
    """The content of results.json of a finished run.

    Raises:
        DataError: The file is corrupted, or a field has a value that no run writes.
    """
    return validate(read_json(folder / RESULTS), "results", str(folder / RESULTS))


def run_files(folder: Path) -> list[Path]:
    """The files of a finished run.

    Raises:
        DataError: The folder is no run folder, or the run is not finished.
    """
    samples = sample_files(folder, read_manifest(folder)["settings"])
    return [folder / runs.MANIFEST, folder / RESULTS, *samples]


def sample_files(folder: Path, settings: dict[str, Any]) -> list[Path]:
    """The files of a run's samples, one for each task."""
    return [samples_file(folder, task) for task in settings["tasks"]]


def samples_file(folder: Path, task: str, *, partial: bool = False) -> Path:
    """The file of a task's samples in a run folder; `partial` names that of an unfinished run.

    Raises:
        DataError: The name of the task could lead out of the folder.
    """
    return folder / f"samples_{check_name(task, str(folder))}{'.partial' if partial else ''}.jsonl"


def read_samples(folder: Path, task: str, ratios: list[Ratio]) -> Iterator[Row]:
    """The samples of one task of a run.

    Args:
        folder: The run folder.
        task: Name of the task.
        ratios: Ratios of the run.

    Raises:
        DataError: A row is not a sample of this task, or a ratio has none.
    """
    path, missing = samples_file(folder, task), dict.fromkeys(ratios)
    for row in read_records(path, "samples", "run_sample"):
        check_task(row, task, str(path))
        missing.pop(row["ratio"], None)
        yield row
    if missing:
        raise DataError(
            f"{path}: no sample of ratio {ratio_name(next(iter(missing)))}, which the manifest names; copy it again"
        )


def check_task(row: Row, task: str, where: str) -> None:
    """Refuse a sample of another task.

    Raises:
        DataError: The sample names another task.
    """
    if row["task"] != task:
        raise DataError(f"{where}: task: sample {row['id']!r} belongs to {row['task']!r}, not to {task!r}; move it")


def _check_distinct(values: list[Any], where: str) -> None:
    seen = set[Any]()
    for value in values:
        if value in seen:
            raise DataError(f"{where}: {json.dumps(value)} occurs twice, which no run writes; copy the folder again")
        seen.add(value)


def _samples(folder: Path, settings: dict[str, Any]) -> Iterator[Row]:
    for task in settings["tasks"]:
        yield from read_samples(folder, task, settings["ratios"])


def _find(run: str | Path, ratio: str | None) -> Ratio:
    ratios: list[Ratio] = read_manifest(Path(run))["settings"]["ratios"]
    known = ", ".join(map(ratio_name, ratios))
    if ratio is None:
        if len(ratios) > 1:
            raise DataError(f"{run}: this run has several ratios ({known}); name one of them")
        return ratios[0]
    wanted = parse_ratio(ratio)
    if wanted not in ratios:
        raise DataError(f"{run}: no ratio {ratio} in this run; it has {known}")
    return wanted
