"""A condition as a results file of lm-evaluation-harness, for tools that read such files.

The format is its `EvalResults` (lm_eval/result_schema.py, 0.4.13), which `lm_eval.utils.make_table` reads, for example.

    results_file(entry)["results"]["gsm8k"]["acc,none"]   # 0.61
    file_name(entry)                                      # 'sft@0.2/results_2026-11-24T01-34-41.json'
"""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from math_eval import metrics
from math_eval._shared.records import Row
from math_eval.ratio import ratio_name
from math_eval.run_folders import RESULTS
from math_eval.summary import by_problem, summarise

from .data import Entry


def file_name(entry: Entry) -> str:
    """The condition's folder, and in it a file named after the time at which its run was finished."""
    return f"{safe_name(entry.name)}/results_{date(entry)}.json"


def safe_name(name: str) -> str:
    """The name as a part of a path."""
    quoted = quote(name, "@", errors="surrogatepass")
    return quoted.replace(".", "%2E", 1) if quoted.startswith(".") else quoted


def date(entry: Entry) -> str:
    """`finished` as lm-evaluation-harness writes it in names of files."""
    return f"{datetime.fromtimestamp(finished(entry), UTC):%Y-%m-%dT%H-%M-%S}"


def finished(entry: Entry) -> float:
    """The time at which the run of a condition was finished, in seconds since 1970."""
    return (entry.condition.run / RESULTS).stat().st_mtime


def results_file(entry: Entry) -> dict[str, Any]:
    """The content of the file.

    Each task has its metrics as `name,none`, with standard errors over problems as `name_stderr,none`. A task's version
    is the first twelve digits of the hash of its problems.
    """
    tasks: dict[str, list[Row]] = {}
    for row in entry.condition.rows:
        tasks.setdefault(row["task"], []).append(row)
    settings = entry.manifest["settings"]
    generation = {name: settings[name] for name in ("temperature", "top_p", "max_tokens")}
    counts = {task: len(by_problem(rows)) for task, rows in tasks.items()}
    found = {task: _metrics(rows, settings["max_tokens"]) for task, rows in tasks.items()}
    versions = {task: settings["tasks"][task][:12] for task in tasks}
    return {
        "results": {task: {"alias": task, "sample_len": counts[task], **found[task]} for task in tasks},
        "group_subtasks": {},
        "configs": {
            task: {
                "task": task,
                "output_type": "generate_until",
                "num_fewshot": 0,
                "repeats": max(map(len, by_problem(rows))),
                "generation_kwargs": generation,
                "metadata": {"version": versions[task]},
            }
            for task, rows in tasks.items()
        },
        "versions": versions,
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {task: _HIGHER_IS_BETTER for task in tasks},
        "n-samples": {task: {"original": count, "effective": count} for task, count in counts.items()},
        "config": {
            "model": "math-eval",
            "model_args": {"model": entry.condition.rows[0].get("model"), "ratio": ratio_name(entry.ratio)},
            "limit": settings.get("limit"),
            "gen_kwargs": generation,
            "random_seed": min(row["seed"] for row in entry.condition.rows),
        },
        "date": finished(entry),
        "model_source": "math-eval",
        "model_name": entry.name,
        "math_eval_version": version("cot-math-eval"),
    }


_HIGHER_IS_BETTER = {
    "acc": True,
    "thinking_tokens": False,
    "completion_tokens": False,
    "truncated": False,
    "no_answer": False,
}


def _metrics(rows: list[Row], limit: int) -> dict[str, float]:
    problems = by_problem(rows)
    columns = {
        "acc": [[float(row["verdict"] == "correct") for row in group] for group in problems],
        "thinking_tokens": [[float(row["thinking_tokens"]) for row in group] for group in problems],
        "completion_tokens": [[float(row["completion_tokens"]) for row in group] for group in problems],
        "truncated": [[float(row["truncated"]) for row in group] for group in problems],
        "no_answer": [[float(row["verdict"] == "no_answer") for row in group] for group in problems],
    }
    found: dict[str, float] = {}
    for name, groups in columns.items():
        found[f"{name},none"] = sum(map(sum, groups)) / len(rows)
        found[f"{name}_stderr,none"] = metrics.clustered_error(groups)
    many = {name: value for name, value in summarise(rows, limit).items() if name.startswith(("pass@", "maj@"))}
    return found | {f"{name},none": value for name, value in many.items()}
