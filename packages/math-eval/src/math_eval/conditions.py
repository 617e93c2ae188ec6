"""A condition: the samples of one run that were asked for one ratio, with their summary.

Reads finished run folders; producing them is left to `runner`.

    conditions = load_run("runs/sft")
    [condition.ratio for condition in conditions]     # [0.2, 0.4, 'policy']
    select("runs/sft", "policy").summary()["accuracy"]   # 0.95
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DataError
from .records import Row, parse_json, read_records
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
    folder = Path(folder)
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise DataError(f"{folder}: no manifest.json, so this is not a run folder; check the path")
    if not (folder / "results.json").is_file():
        raise DataError(
            f"{folder}: this run is not finished (no results.json); repeat its `math-eval run` to resume it"
        )
    settings = parse_json(manifest.read_text("utf-8"), str(manifest))["settings"]
    rows = [row for task in settings["tasks"] for row in read_records(folder / f"samples_{task}.jsonl", "samples")]
    return [Condition(folder, ratio, [row for row in rows if row["ratio"] == ratio]) for ratio in settings["ratios"]]


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
    conditions = load_run(run)
    known = ", ".join(ratio_name(condition.ratio) for condition in conditions)
    if ratio is None:
        if len(conditions) > 1:
            raise DataError(f"{run}: this run has several ratios ({known}); name one of them")
        return conditions[0]
    wanted = parse_ratio(ratio)
    for condition in conditions:
        if condition.ratio == wanted:
            return condition
    raise DataError(f"{run}: no ratio {ratio} in this run; it has {known}")


def dump_results(rows: list[Row], tasks: list[str], ratios: list[Ratio]) -> dict[str, Any]:
    """The content of results.json."""
    conditions: list[dict[str, Any]] = []
    for task in tasks:
        for ratio in ratios:
            chosen = [row for row in rows if row["task"] == task and row["ratio"] == ratio]
            conditions.append({"task": task, "ratio": ratio, **summarise(chosen)})
    return json.loads(json.dumps({"conditions": conditions}, allow_nan=False))
