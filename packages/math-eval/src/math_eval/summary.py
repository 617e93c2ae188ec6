"""The summary of some samples: accuracy with its uncertainty, tokens, rates, speed.

The formulas are in `metrics`; which samples belong together is left to the callers.

    summarise(rows)["accuracy"]          # 0.61
    summarise(rows)["accuracy_low"]      # 0.46, the lower end of the 95 % interval over problems
"""

import json
from collections import Counter
from collections.abc import Sequence
from statistics import stdev
from typing import Any

from . import metrics
from ._shared.records import Row
from .grading import VERDICTS
from .grading.decide import decide
from .ratio import Ratio


def by_problem(rows: list[Row]) -> list[list[Row]]:
    """The samples of each problem, in the order of the rows."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["id"]), []).append(row)
    return list(groups.values())


def results_content(rows: list[Row], tasks: list[str], ratios: Sequence[Ratio]) -> dict[str, Any]:
    """The content of results.json: a summary for each task and ratio."""
    conditions: list[dict[str, Any]] = []
    for task in tasks:
        for ratio in ratios:
            chosen = [row for row in rows if row["task"] == task and row["ratio"] == ratio]
            conditions.append({"task": task, "ratio": ratio, **summarise(chosen)})
    return json.loads(json.dumps({"conditions": conditions}, allow_nan=False))


def summarise(rows: list[Row]) -> dict[str, Any]:
    """Accuracy, tokens, rates and speed of some samples; fractions in [0, 1], 95 % intervals over problems.

    `avg@k`, `pass@k` and `maj@k` are added if every problem has the same number k > 1 of samples, all seeds together.
    `refused` and `first_refusal` are added if the server refused requests, which count as incorrect, with 0 tokens.
    `accuracy_by_seed` and the standard deviations over seeds are added if there are several seeds.
    """
    problems = by_problem(rows)
    correct = [[float(row["verdict"] == "correct") for row in group] for group in problems]
    count, samples = len(rows), max(len(group) for group in problems)
    low, high = metrics.accuracy_interval(correct)
    thinking, thinking_low, thinking_high = metrics.mean_interval(
        [[row["thinking_tokens"] for row in group] for group in problems]
    )
    verdicts = Counter(row["verdict"] for row in rows)
    seconds = sum({row["batch"]: row.get("wall_s", row["latency_s"]) for row in rows}.values())
    summary: dict[str, Any] = {
        "n": len(problems),
        "samples": samples,
        "accuracy": sum(map(sum, correct)) / count,
        "accuracy_low": low,
        "accuracy_high": high,
        "thinking_tokens": thinking,
        "thinking_tokens_low": thinking_low,
        "thinking_tokens_high": thinking_high,
        "completion_tokens": sum(row["completion_tokens"] for row in rows) / count,
        "truncated_rate": sum(row["truncated"] for row in rows) / count,
        "no_answer_rate": verdicts["no_answer"] / count,
        "verdicts": {name: verdicts[name] for name in VERDICTS},
    }
    if samples > 1 and all(len(group) == samples for group in problems):
        summary |= _many_samples(problems, correct, samples)
    return summary | _over_seeds(rows) | _refusals(rows) | {
        "latency_s": sum(row["latency_s"] for row in rows) / count,
        "samples_per_s": count / seconds if seconds else None,
    }  # fmt: skip


def _many_samples(problems: list[list[Row]], correct: list[list[float]], samples: int) -> dict[str, float]:
    """avg@k and maj@k for all k samples; pass@k for k and the powers of two below it."""
    ks = [*(2**power for power in range(1, samples.bit_length()) if 2**power < samples), samples]
    votes = [
        metrics.majority(_one_spelling([row["extracted"] for row in group]), scores)
        for group, scores in zip(problems, correct, strict=True)
    ]
    return {
        f"avg@{samples}": sum(map(sum, correct)) / (len(problems) * samples),
        **{f"pass@{k}": metrics.mean_pass_at_k(correct, k) for k in ks},
        f"maj@{samples}": sum(votes) / len(votes),
    }


def _one_spelling(answers: list[str | None]) -> list[str | None]:
    """The answers, each replaced by the first one that exact arithmetic finds equal: `0.5` and `1/2` vote together."""
    first: dict[str, str] = {}
    for answer in answers:
        if answer is not None and answer not in first:
            first[answer] = next((one for one in dict.fromkeys(first.values()) if decide(answer, one).equal), answer)
    return [None if answer is None else first[answer] for answer in answers]


def _refusals(rows: list[Row]) -> dict[str, Any]:
    """The number of requests that the server refused, and its words for the first one; empty if there are none."""
    words = [row["refused"] for row in rows if "refused" in row]
    return {"refused": len(words), "first_refusal": words[0]} if words else {}


def _over_seeds(rows: list[Row]) -> dict[str, Any]:
    """The accuracy of each seed, and the standard deviations over seeds; empty for a single seed."""
    seeds: dict[int, list[Row]] = {}
    for row in rows:
        seeds.setdefault(row["seed"], []).append(row)
    if len(seeds) < 2:
        return {}
    accuracy = {str(seed): sum(row["verdict"] == "correct" for row in some) / len(some) for seed, some in seeds.items()}
    thinking = [sum(row["thinking_tokens"] for row in some) / len(some) for some in seeds.values()]
    return {
        "accuracy_by_seed": accuracy,
        "accuracy_seed_sd": stdev(accuracy.values()),
        "thinking_tokens_seed_sd": stdev(thinking),
    }
