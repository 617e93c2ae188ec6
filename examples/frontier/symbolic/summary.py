"""Means over seeds of everything that was measured, as one record; its tables and charts are left to others.

Accuracy and tokens are those of answers at temperature .5 with a drawn ratio, as in training; greedy
ones are named so.

    results(runs)["tasks"]["shallow"]["rows"]
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from row_settings import DEFAULT_ROWS, settings_of
from run import Result, Run
from seed_means import mean_over_seeds

Row = dict[str, Any]


def results(runs: Sequence[Run]) -> dict[str, Any]:
    """The record: task -> seeds and rows; each row has its own seeds, those in which it is finished.

    Args:
        runs: Tasks and seeds.
    """
    tasks: dict[str, Any] = {}
    for name in dict.fromkeys(run.task.name for run in runs):
        own = [run for run in runs if run.task.name == name]
        starts = {run: run.start() for run in own}
        rows = [_combined(row, {run: start[row] for run, start in starts.items()}, starts) for row in starts[own[0]]]
        finished = dict.fromkeys(row for run in own for row in run.finished_rows())
        for row in sorted(finished, key=_place):
            rows.append(_combined(row, {run: run.row(row) for run in own if run.finished(row)}, starts))
        tasks[name] = {"seeds": [run.seed for run in own], "rows": rows}
    return {"tasks": tasks}


def _place(row: str) -> tuple[int, str]:
    return (DEFAULT_ROWS.index(row) if row in DEFAULT_ROWS else len(DEFAULT_ROWS), row)


def _combined(name: str, results_of: Mapping[Run, Result], starts: Mapping[Run, Mapping[str, Result]]) -> Row:
    """Means over seeds; the floor is the accuracy of SFT at ratio 1 on the same test problems, less the slack."""
    found = list(results_of.values())
    trained = "steps" in found[0]
    slack = settings_of(name).accuracy_slack if trained else 0.0
    floors = [starts[run]["sft@1"]["sampled"]["accuracy"] - slack for run in results_of]
    sampled = [result["sampled"] for result in found]
    kept = [
        result["sampled"]["tokens"] / starts[run]["base"]["sampled"]["tokens"] for run, result in results_of.items()
    ]
    accuracies = [own["accuracy"] for own in sampled]
    return {
        "name": name,
        "family": name.partition(":")[0].partition("@")[0].partition("-")[0].partition("+")[0],
        "setting": name.partition(":")[2] or name.partition("@")[2],
        "seeds": [run.seed for run in results_of],
        **mean_over_seeds("accuracy", accuracies),
        **mean_over_seeds("thinking_tokens", [own["tokens"] for own in sampled]),
        "token_reduction": 1 - fmean(kept),
        "greedy_accuracy": fmean(result["greedy"]["accuracy"] for result in found),
        "greedy_tokens": fmean(result["greedy"]["tokens"] for result in found),
        "floor": fmean(floors) if trained else None,
        "least_over_floor": min(a - floor for a, floor in zip(accuracies, floors, strict=True)) if trained else None,
        "generated_tokens": fmean(result["generated_tokens"] for result in found) if trained else None,
        "steps": fmean(result["steps"] for result in found) if trained else None,
        **({"course": _rounded(found[0]["course"])} if name == "chrpo" else {}),
    }


def _rounded(course: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The course of the first seed's run, name -> value at each step."""
    return {name: [round(step[name], 4) for step in course] for name in course[0]}
