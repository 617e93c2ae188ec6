"""A condition: the samples of one run that were asked for one ratio, with their summary.

Reads finished run folders; producing them is left to `runner`.

    conditions = load_run("runs/sft")
    [condition.ratio for condition in conditions]     # [0.2, 0.4, 'policy']
    select("runs/sft", "policy").summary()["accuracy"]   # 0.95
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._shared.records import Row, parse_json, read_records
from .errors import DataError
from .summary import summarise

Ratio = float | str | None
ItemKey = tuple[str, str, int, int]


def ratio_name(ratio: Ratio) -> str:
    """`0.2`, `policy` or `none`."""
    return "none" if ratio is None else ratio if isinstance(ratio, str) else str(float(ratio))


def parse_ratio(text: str) -> Ratio:
    """The inverse of `ratio_name`.

    Raises:
        DataError: neither `policy`, `none` nor a number in (0, 1].
    """
    if text in ("none", "policy"):
        return None if text == "none" else text
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise DataError(f"ratio must be policy, none or a number in (0, 1]; got {text!r}. Write 20 % as 0.2.")
    return value


@dataclass(frozen=True)
class Condition:
    """Rows of the samples contract that share a run and a ratio, all seeds together."""

    run: Path
    ratio: Ratio
    rows: list[Row]

    def items(self) -> dict[ItemKey, Row]:
        """The rows by (task, id, seed, sample)."""
        return {(row["task"], row["id"], row["seed"], row["sample"]): row for row in self.rows}

    def summary(self) -> dict[str, Any]:
        """What a results file says of these samples."""
        return summarise(self.rows)


def load_run(folder: str | Path) -> list[Condition]:
    """The conditions of a finished run, in the order they were asked for.

    Raises:
        DataError: not a run folder, or not finished.
    """
    settings = read_manifest(Path(folder))["settings"]
    rows = list(_samples(Path(folder), settings))
    return [
        Condition(Path(folder), ratio, [row for row in rows if row["ratio"] == ratio]) for ratio in settings["ratios"]
    ]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises:
        DataError: not a run folder, or not finished.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise DataError(f"{folder}: no manifest.json, so this is not a run folder; check the path")
    if not (folder / "results.json").is_file():
        raise DataError(
            f"{folder}: this run is not finished (no results.json); repeat its `math-eval run` to resume it"
        )
    return parse_json(manifest.read_text("utf-8"), str(manifest))


def run_files(folder: Path) -> list[Path]:
    """The files of a finished run.

    Raises:
        DataError: not a run folder, or not finished.
    """
    samples = sample_files(folder, read_manifest(folder)["settings"])
    return [folder / "manifest.json", folder / "results.json", *samples]


def sample_files(folder: Path, settings: dict[str, Any]) -> list[Path]:
    """The files of a run's samples, one a task."""
    return [folder / f"samples_{task}.jsonl" for task in settings["tasks"]]


def _samples(folder: Path, settings: dict[str, Any]) -> Iterator[Row]:
    for path in sample_files(folder, settings):
        yield from read_records(path, "samples")


def split_name(name: str) -> tuple[str, str | None]:
    """`RUN` or `RUN:RATIO` as (run, ratio or None); an existing folder is never split."""
    if Path(name).is_dir() or ":" not in name:
        return name, None
    run, _, ratio = name.rpartition(":")
    return run, ratio


def select(run: str, ratio: str | None) -> Condition:
    """The condition of a run that was asked for `ratio`, or its only one.

    Raises:
        DataError: the run has several ratios and none is named, or has not the one named.
    """
    return Condition(Path(run), _find(run, ratio), list(stream(run, ratio)))


def stream(run: str, ratio: str | None) -> Iterator[Row]:
    """The rows of that condition, one at a time for a run that does not fit in memory.

    Raises:
        DataError: as for `select`.
    """
    wanted = _find(run, ratio)
    return (row for row in _samples(Path(run), read_manifest(Path(run))["settings"]) if row["ratio"] == wanted)


def _find(run: str, ratio: str | None) -> Ratio:
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


def dump_results(rows: list[Row], tasks: list[str], ratios: list[Ratio]) -> dict[str, Any]:
    """The content of results.json."""
    conditions: list[dict[str, Any]] = []
    for task in tasks:
        for ratio in ratios:
            chosen = [row for row in rows if row["task"] == task and row["ratio"] == ratio]
            conditions.append({"task": task, "ratio": ratio, **summarise(chosen)})
    return json.loads(json.dumps({"conditions": conditions}, allow_nan=False))
