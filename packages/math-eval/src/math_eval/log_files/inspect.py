"""A condition as logs of Inspect (`inspect view`, `inspect_ai.log.read_eval_log`): one log for each task.

The format is its `EvalLog`, version 2 (inspect_ai 0.3.285).

    dict(files(entry))     # {'sft_gsm8k.json': {'version': 2, 'status': 'success', …}}
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from math_eval._shared.records import Row
from math_eval.report.data import Entry
from math_eval.report.lm_eval import finished, results_file, safe_name

from .files import measured, numbered, problem, tasks

_SCORER = "math_eval"


def files(entry: Entry) -> Iterator[tuple[str, Row]]:
    """A log for each task."""
    found = results_file(entry)["results"]
    for task, rows in tasks(entry):
        yield f"{safe_name(entry.name)}_{safe_name(task)}.json", _log(entry, task, rows, found[task])


def _log(entry: Entry, task: str, rows: list[Row], found: Row) -> Row:
    settings, at = (
        entry.manifest["settings"],
        datetime.fromtimestamp(finished(entry), UTC).isoformat(timespec="seconds"),
    )
    model = f"math-eval/{entry.name}"
    names = list(dict.fromkeys(row["id"] for row in rows))
    metrics = {name: found[f"{key},none"] for name, key in (("accuracy", "acc"), ("stderr", "acc_stderr"))}
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": f"{entry.name}/{task}",
            "run_id": entry.name,
            "task_id": task,
            "created": at,
            "task": task,
            "task_version": settings["tasks"][task][:12],
            "dataset": {"name": task, "samples": len(names), "sample_ids": names, "shuffled": False},
            "model": model,
            "model_generate_config": {name: settings[name] for name in ("temperature", "top_p", "max_tokens")},
            "config": {"epochs": max(draw for _, draw, _ in numbered(rows)) + 1, "epochs_reducer": ["mean"]},
            "packages": {"math-eval": version("cot-math-eval")},
            "metadata": {"model": rows[0].get("model"), "ratio": entry.ratio},
        },
        "results": {
            "total_samples": len(rows),
            "completed_samples": len(rows),
            "scores": [
                {
                    "name": _SCORER,
                    "scorer": _SCORER,
                    "reducer": "mean",
                    "metrics": {name: {"name": name, "value": value} for name, value in metrics.items()},
                }
            ],
        },
        "stats": {"started_at": at, "completed_at": at},
        "samples": [_sample(row, draw + 1, model) for _, draw, row in numbered(rows)],
    }


def _sample(row: Row, epoch: int, model: str) -> Row:
    reply = {"role": "assistant", "content": row["completion"], "source": "generate", "model": model}
    usage: dict[str, Any] = {
        "output_tokens": row["completion_tokens"],
        "total_tokens": row["completion_tokens"],
        "reasoning_tokens": row["thinking_tokens"],
    }
    stop = "max_tokens" if row["truncated"] else "stop"
    return {
        "id": row["id"],
        "epoch": epoch,
        "input": row["prompt"],
        "target": row["answer"],
        "messages": [{"role": "user", "content": row["prompt"]}, reply],
        "output": {"model": model, "choices": [{"message": reply, "stop_reason": stop}], "usage": usage},
        "scores": {
            _SCORER: {
                "value": "C" if row["verdict"] == "correct" else "I",
                "answer": row["extracted"],
                "explanation": row.get("refused", row["verdict"]),
            }
        },
        "metadata": {**problem(row), **measured(row)},
    }
