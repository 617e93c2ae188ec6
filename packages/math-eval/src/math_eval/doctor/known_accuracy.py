"""Accuracies that models are known to have, and the check of a run against them.

A run that misses one by far has usually a fault in its prompts, limits or answers. Published figures are compared only
with runs under their conditions; a figure of the user's own always is.

    accuracy_findings(rows, manifest, {"math500": 0.84})[0].found     # 'math500: 61.2 % (56.9 – 65.4), known 84.0 % …'
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from math_eval import metrics
from math_eval._shared.records import Row
from math_eval.efficiency import correct

from .finding import OK, WARNING, Finding

_MARGIN = 0.03
"""Our choice: re-runs of one model by different papers differ by up to about three points."""
_LEAST_TOKENS = 30_000


@dataclass(frozen=True)
class Known:
    """A published accuracy, at temperature 0.6 and a limit of 32k tokens.

    Args:
        model: Last part of the model's name.
        task: Name of the task.
        accuracy: Accuracy in [0, 1].
    """

    model: str
    task: str
    accuracy: float


_SOURCE = "DLER, arXiv 2510.15110, table 1"
KNOWN = (
    Known("DeepSeek-R1-Distill-Qwen-1.5B", "math500", 0.8431),
    Known("DeepSeek-R1-Distill-Qwen-1.5B", "aime24", 0.2979),
    Known("DeepSeek-R1-Distill-Qwen-7B", "math500", 0.9360),
    Known("DeepSeek-R1-Distill-Qwen-7B", "aime24", 0.5540),
)


def accuracy_findings(rows: Sequence[Row], manifest: Mapping[str, Any], expected: Mapping[str, float]) -> list[Finding]:
    """A finding for each task with a known accuracy; one that there is none, if there is none.

    Args:
        rows: The samples of the run.
        manifest: Its manifest.
        expected: Known accuracies of the user, by task; a published one of the same task gives way.
    """
    plain = [row for row in rows if row["ratio"] is None]
    found: list[Finding] = []
    for task in manifest["settings"]["tasks"]:
        some = [row for row in plain if row["task"] == task]
        known = next((one for one in KNOWN if some and one.task == task and _is(one.model, some[0]["model"])), None)
        if task in expected and some:
            found.append(_compared(task, some, expected[task], "as given"))
        elif known is not None and _same_conditions(manifest["settings"]):
            found.append(_compared(task, some, known.accuracy, _SOURCE))
    return found or [
        Finding("accuracy", OK, "not checked: no known accuracy of this model and task; give one with --expect")
    ]


def _is(known: str, model: str) -> bool:
    return model.rpartition("/")[2].lower() == known.lower()


def _same_conditions(settings: Mapping[str, Any]) -> bool:
    sampled = abs(settings["temperature"] - 0.6) < 0.01 and settings["max_tokens"] >= _LEAST_TOKENS
    return sampled and settings.get("thinking") is None and settings.get("limit") is None


def _compared(task: str, rows: Sequence[Row], known: float, source: str) -> Finding:
    problems: dict[str, list[float]] = {}
    for row in rows:
        problems.setdefault(row["id"], []).append(correct(row))
    groups = list(problems.values())
    low, high = metrics.accuracy_interval(groups)
    mean = sum(map(sum, groups)) / len(rows)
    words = f"{task}: {mean:.1%} (95 % {low:.1%} to {high:.1%}), known {known:.1%} ({source})"
    if low - _MARGIN <= known <= high + _MARGIN:
        return Finding("accuracy", OK, words)
    return Finding(
        "accuracy",
        WARNING,
        words,
        "look first at prompts, token limit and answers above; then at model, revision and number format",
    )
