"""The figures of all measured seeds as one record: means over seeds with intervals, by task and row.

Reads the evaluations and training metrics that the stages of `rows.py` write. Drawing is left to others.

    results(Path("runs/frontier"))["tasks"]["steep"]["rows"][0]["accuracy"]
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from rows import ROWS, TASKS
from seed_means import mean_over_seeds

from chrpo.metrics import read_metrics

Row = dict[str, Any]


def results(run: Path) -> dict[str, Any]:
    """The record of a run: task -> seeds and rows; a row is listed once every seed of the task has it."""
    tasks = {}
    for task in TASKS:
        seeds = {int(folder.name[4:]): dict(_measured(folder)) for folder in sorted((run / task).glob("seed*"))}
        seeds = {seed: rows for seed, rows in seeds.items() if "base" in rows}
        if seeds:
            names = [name for name in _order(seeds.values()) if all(name in rows for rows in seeds.values())]
            rows = [_combined(name, list(seeds.values())) for name in names]
            tasks[task] = {"seeds": sorted(seeds), "rows": rows}
    return {"tasks": tasks}


def _order(seeds: Iterable[dict[str, Row]]) -> list[str]:
    """Names of all rows: base, SFT, then the table of `rows.py`."""
    found = {name for rows in seeds for name in rows}
    return [
        "base",
        *sorted(name for name in found if name.startswith("sft")),
        *(name for name in ROWS if name in found),
    ]


def _measured(run: Path) -> Iterator[tuple[str, Row]]:
    """Name and figures of each row of a seed."""
    for path in sorted((run / "eval").glob("*/samples_test.jsonl")):
        groups: dict[str, list[Row]] = {}
        for line in path.read_text("utf-8").splitlines():
            sample = json.loads(line)
            groups.setdefault(_row_name(path.parent.name, sample["ratio"]), []).append(sample)
        for name, samples in groups.items():
            yield name, {**_means(samples), **_training(run / "rows" / name / "model")}


def _row_name(folder: str, ratio: float | str | None) -> str:
    if folder != "sft":
        return folder
    return f"sft@{ratio:g}" if isinstance(ratio, float) else f"sft@{ratio}"


def _means(samples: Sequence[Row]) -> Row:
    return {
        "accuracy": fmean(sample["verdict"] == "correct" for sample in samples),
        "thinking_tokens": fmean(sample["thinking_tokens"] for sample in samples),
    }


def _training(model: Path) -> Row:
    """Floor and generated tokens of an RL run; None for a row without RL."""
    if not model.is_dir():
        return {"floor": None, "generated_tokens": None}
    steps = read_metrics(model)
    return {
        "floor": steps[-1]["floor/policy"],
        "generated_tokens": sum(step["generated_tokens"] for step in steps),
    }


def _combined(name: str, seeds: Sequence[dict[str, Row]]) -> Row:
    """Means over seeds, accuracy with its interval; `token_reduction` = 1 - tokens / tokens of base."""
    own = [rows[name] for rows in seeds]
    kept = [row["thinking_tokens"] / rows["base"]["thinking_tokens"] for row, rows in zip(own, seeds, strict=True)]
    trained = own[0]["floor"] is not None
    kind = name.partition("@")[0]
    return {
        "name": name,
        "family": ROWS[name].family if name in ROWS else kind,
        "setting": ROWS[name].setting if name in ROWS else "",
        **mean_over_seeds("accuracy", [row["accuracy"] for row in own]),
        "thinking_tokens": fmean(row["thinking_tokens"] for row in own),
        "token_reduction": 1 - fmean(kept),
        **{field: fmean(row[field] for row in own) if trained else None for field in ("floor", "generated_tokens")},
    }
