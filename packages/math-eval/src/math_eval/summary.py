"""The summary of some samples: accuracy with its uncertainty, tokens, efficiency, rates, speed.

The formulas are in `metrics` and `efficiency`; which samples belong together is left to the callers.

    summarise(rows, 4096)["accuracy"]          # 0.61
    summarise(rows, 4096)["accuracy_low"]      # 0.46, the lower end of the 95 % interval over problems
"""

import json
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from . import metrics
from ._shared.records import Row
from .efficiency import correct, efficiency, shortest, tokens
from .grading import VERDICTS
from .grading.decide import decide
from .ratio import Ratio


def by_problem(rows: list[Row]) -> list[list[Row]]:
    """The samples of each problem, in the order of the rows."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["id"]), []).append(row)
    return list(groups.values())


def results_content(rows: list[Row], tasks: list[str], ratios: Sequence[Ratio], limit: int) -> dict[str, Any]:
    """The content of results.json: a summary for each task and ratio.

    Args:
        rows: The samples of a run.
        tasks: Its tasks.
        ratios: Its ratios.
        limit: Its token limit.
    """
    conditions: list[dict[str, Any]] = []
    for task in tasks:
        for ratio in ratios:
            chosen = [row for row in rows if row["task"] == task and row["ratio"] == ratio]
            conditions.append({"task": task, "ratio": ratio, **summarise(chosen, limit)})
    return json.loads(json.dumps({"conditions": conditions}, allow_nan=False))


def summarise(rows: list[Row], limit: int) -> dict[str, Any]:
    """Accuracy, tokens, efficiency, rates and speed of some samples; fractions in [0, 1], 95 % intervals over problems.

    `avg@k`, `pass@k`, `maj@k` and `shortest@k` are added if every problem has the same number k > 1 of samples, all
    seeds together.
    `closed_rate` is added if a run closed the thinking of samples, `trial_tokens` (a mean) if it asked for trial
    answers, `over_budget` and `limit_ignored` (numbers of samples) if a limit did not hold or a server ignored it, and
    `over_budget_longest`, the most thinking tokens of such a sample.
    `refused` and `first_refusal` are added if the server refused requests, which count as incorrect, with 0 tokens.
    `accuracy_by_seed` and the standard deviations over seeds are added if there are several seeds.

    Args:
        rows: The samples.
        limit: Token limit of their run.
    """
    problems = by_problem(rows)
    scores = [[correct(row) for row in group] for group in problems]
    count, samples = len(rows), max(len(group) for group in problems)
    low, high = metrics.accuracy_interval(scores)
    thinking, thinking_low, thinking_high = metrics.mean_interval(
        [[row["thinking_tokens"] for row in group] for group in problems]
    )
    verdicts = Counter(row["verdict"] for row in rows)
    seconds = sum({row["batch"]: row.get("wall_s", row["latency_s"]) for row in rows}.values())
    summary: dict[str, Any] = {
        "n": len(problems),
        "samples": samples,
        "accuracy": sum(map(sum, scores)) / count,
        "accuracy_low": low,
        "accuracy_high": high,
        "thinking_tokens": thinking,
        "thinking_tokens_low": thinking_low,
        "thinking_tokens_high": thinking_high,
        "completion_tokens": sum(map(tokens, rows)) / count,
        "truncated_rate": sum(row["truncated"] for row in rows) / count,
        "no_answer_rate": verdicts["no_answer"] / count,
        "verdicts": {name: verdicts[name] for name in VERDICTS},
    }
    if samples > 1 and all(len(group) == samples for group in problems):
        summary |= _many_samples(problems, scores, samples)
    return summary | efficiency(problems, limit) | _over_seeds(rows) | _of_mode(rows) | _refusals(rows) | {
        "latency_s": sum(row["latency_s"] for row in rows) / count,
        "samples_per_s": count / seconds if seconds else None,
    }  # fmt: skip


def _many_samples(problems: list[list[Row]], scores: list[list[float]], samples: int) -> dict[str, float]:
    """avg@k, maj@k and shortest@k for all k samples; pass@k for k and the powers of two below it."""
    ks = [*(2**power for power in range(1, samples.bit_length()) if 2**power < samples), samples]
    votes = [
        metrics.majority(_one_spelling([row["extracted"] for row in group]), some)
        for group, some in zip(problems, scores, strict=True)
    ]
    chosen = [shortest(group) for group in problems]
    return {
        f"avg@{samples}": sum(map(sum, scores)) / (len(problems) * samples),
        **{f"pass@{k}": metrics.mean_pass_at_k(scores, k) for k in ks},
        f"maj@{samples}": sum(votes) / len(votes),
        f"shortest@{samples}": fmean(map(correct, chosen)),
        f"shortest@{samples}_tokens": fmean(map(tokens, chosen)),
    }


def _one_spelling(answers: list[str | None]) -> list[str | None]:
    """The answers, each replaced by the first one that exact arithmetic finds equal: `0.5` and `1/2` vote together."""
    first: dict[str, str] = {}
    for answer in answers:
        if answer is not None and answer not in first:
            first[answer] = next((one for one in dict.fromkeys(first.values()) if decide(answer, one).equal), answer)
    return [None if answer is None else first[answer] for answer in answers]


def _of_mode(rows: list[Row]) -> dict[str, Any]:
    """What a way to think less did; empty if there was none, or it did nothing."""
    count = len(rows)
    found = {
        "closed_rate": sum("closing_text" in row for row in rows) / count,
        "trial_tokens": sum(row.get("trial_tokens", 0) for row in rows) / count,
        **{name: sum(name in row for row in rows) for name in ("over_budget", "limit_ignored")},
        "over_budget_longest": max((row["thinking_tokens"] for row in rows if "over_budget" in row), default=0),
    }
    return {name: value for name, value in found.items() if value}


def remarks(summary: dict[str, Any], thinking: str | None) -> list[str]:
    """Lines about what a reader of a summary must know: requests that were refused, limits that did not hold.

    Args:
        summary: A summary of some samples.
        thinking: The run's way to think less.
    """
    lines: list[str] = []
    if "refused" in summary:
        count, first = summary["refused"], summary["first_refusal"]
        lines.append(f"{count} requests refused by the server, counted as errors; first: {first}")
    if "over_budget" in summary:
        count, longest = summary["over_budget"], summary["over_budget_longest"]
        lines.append(f"{count} samples think longer than {thinking} permits, up to {longest} tokens")
    if "limit_ignored" in summary:
        lines.append(
            f"{summary['limit_ignored']} samples for which the server wrote more tokens than it was asked for; the "
            "surplus is cut off"
        )
    return lines


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
    accuracy = {str(seed): fmean(map(correct, some)) for seed, some in seeds.items()}
    thinking = [sum(row["thinking_tokens"] for row in some) / len(some) for some in seeds.values()]
    return {
        "accuracy_by_seed": accuracy,
        "accuracy_seed_sd": stdev(accuracy.values()),
        "thinking_tokens_seed_sd": stdev(thinking),
    }
