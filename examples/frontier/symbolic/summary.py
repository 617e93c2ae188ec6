"""Means over seeds of everything that was measured, as one record and as Markdown tables.

Accuracy and tokens are those of answers at temperature .5 with a drawn ratio, as in training; greedy
ones are named so.

    print(tables(results(runs, ["chrpo", "l1:0.1"])))
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from row_settings import settings_of
from run import Result, Run
from seed_means import mean_over_seeds

NEAR, MORE = 0.005, 0.05
"""Accuracy that a cheaper row may lose to count as equal, and tokens that a row may use more than the cheapest."""
HELD = 0.01
"""Accuracy below a floor that still counts as held."""
Row = dict[str, Any]


def results(runs: Sequence[Run], rows: Sequence[str]) -> dict[str, Any]:
    """The record: task -> seeds and rows; a row is listed once every seed of the task has it.

    Args:
        runs: Tasks and seeds.
        rows: Rows, such as "l1:0.1".
    """
    tasks: dict[str, Any] = {}
    for name in dict.fromkeys(run.task.name for run in runs):
        own = [run for run in runs if run.task.name == name]
        starts = [run.start() for run in own]
        listed = [
            *((row, [start[row] for start in starts]) for row in starts[0]),
            *((row, [run.row(row) for run in own]) for row in rows if all(run.finished(row) for run in own)),
        ]
        tasks[name] = {
            "seeds": [run.seed for run in own],
            "rows": [_combined(row, found, starts) for row, found in listed],
        }
    return {"tasks": tasks}


def _combined(name: str, found: Sequence[Result], starts: Sequence[Mapping[str, Result]]) -> Row:
    """Means over seeds; the floor is the accuracy of SFT at ratio 1 on the same test problems, less the slack."""
    trained = "steps" in found[0]
    slack = settings_of(name).accuracy_slack if trained else 0.0
    floors = [start["sft@1"]["sampled"]["accuracy"] - slack for start in starts]
    sampled = [result["sampled"] for result in found]
    kept = [own["tokens"] / start["base"]["sampled"]["tokens"] for own, start in zip(sampled, starts, strict=True)]
    accuracies = [own["accuracy"] for own in sampled]
    return {
        "name": name,
        "family": name.partition(":")[0].partition("@")[0].partition("-")[0].partition("+")[0],
        "setting": name.partition(":")[2] or name.partition("@")[2],
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


def tables(record: Mapping[str, Any]) -> str:
    """One setting on every task, then every row of each task, in Markdown."""
    tasks = record["tasks"]
    return "\n".join([*_every_task(tasks), *(line for name, task in tasks.items() for line in _task(name, task))])


def _every_task(tasks: Mapping[str, Any]) -> Iterator[str]:
    """Points over the floor and tokens of each RL row, compared with the cheapest row that is as accurate."""
    yield "Accuracy over the floor in points (least of a seed) / tokens in multiples of those of the cheapest row whose"
    yield f"accuracy is at most {100 * NEAR:g} points lower; † marks a floor missed by more than {100 * HELD:g} point."
    yield ""
    yield f"| row | {' | '.join(tasks)} | tasks held within 5 % |"
    yield "|---|" + "---|" * (len(tasks) + 1)
    names = dict.fromkeys(row["name"] for task in tasks.values() for row in task["rows"] if row["floor"] is not None)
    for name in names:
        found = [_compared(task["rows"], name) for task in tasks.values()]
        good = sum(held and times <= 1 + MORE for _, _, times, held in filter(None, found))
        cells = [
            f"{100 * cell[0]:+.1f} ({100 * cell[1]:+.1f}) / {cell[2]:.2f}{'' if cell[3] else ' †'}" if cell else ""
            for cell in found
        ]
        yield f"| {name} | {' | '.join(cells)} | {good} |"
    yield ""


def _compared(rows: Sequence[Row], name: str) -> tuple[float, float, float, bool] | None:
    """Accuracy over the floor, its least over seeds, tokens in multiples of the cheapest; True if the floor held."""
    row = next((row for row in rows if row["name"] == name), None)
    if row is None:
        return None
    as_good = [other for other in rows if other["floor"] is not None and other["accuracy"] >= row["accuracy"] - NEAR]
    times = row["thinking_tokens"] / min(other["thinking_tokens"] for other in as_good)
    over = row["accuracy"] - row["floor"]
    return over, row["least_over_floor"], times, over >= -HELD


def _task(name: str, task: Mapping[str, Any]) -> Iterator[str]:
    seeds = ", ".join(map(str, task["seeds"]))
    yield f"{name}, seeds {seeds}: accuracy in percent with its 95 % interval / thinking tokens"
    yield ""
    yield "| row | at temperature .5 | greedy | tokens generated by RL | steps |"
    yield "|---|---|---|---|---|"
    for row in task["rows"]:
        low, high = row["accuracy_low"], row["accuracy_high"]
        interval = "" if low is None else f" ({100 * low:.1f} to {100 * high:.1f})"
        rl = " | " if row["steps"] is None else f"{row['generated_tokens'] / 1e6:.2f} M | {row['steps']:.0f}"
        yield (
            f"| {row['name']} | {100 * row['accuracy']:.1f}{interval} / {row['thinking_tokens']:.1f} | "
            f"{100 * row['greedy_accuracy']:.1f} / {row['greedy_tokens']:.1f} | {rl} |"
        )
    yield ""
