"""The part of the page about tokens: accuracy at a budget as a chart, and two tables of measures of thinking.

The measures are defined in `math_eval.efficiency`, the drawing in `curve`.

    efficiency(data)     # '<h2>Accuracy for the tokens</h2><figure>…'
"""

import math
from typing import Any

from math_eval.efficiency import accuracy_at
from math_eval.summary import by_problem

from . import format as fmt
from .curve import Curve, curves, legend
from .data import Entry, ReportData
from .escaping import html
from .html_table import grid, row

_DESKTOP, _PHONE = (900, 380), (380, 340)
_STEPS = 4
"""Points of a line for each doubling of the budget."""
_MOST_BANDS = 4
_LEFT_OUT = 0.02
"""Share of the samples that may be shorter than the smallest budget of the chart."""


def efficiency(data: ReportData) -> str:
    """The chart and the tables."""
    return f"<h2>Accuracy for the tokens</h2>{_figure(data)}{_scores(data)}{_lengths(data)}"


def _figure(data: ReportData) -> str:
    lines = _curves(data)
    charts = "".join(
        f'<div class="{name}">{curves(lines, width=width, height=height)}</div>'
        for name, (width, height) in (("desktop", _DESKTOP), ("phone", _PHONE))
    )
    banded = [line.name for line in lines if line.banded]
    whose = "" if len(banded) == len(lines) else f" of {html(' and '.join(banded))}"
    ends = " A line ends at the token limit of its run if that cut samples." if _any_cut(data) else ""
    return (
        f"<figure>{legend(lines)}{charts}<figcaption><b>Figure 2.</b> Share of samples that are correct with at most "
        "so many completion tokens; higher and to the left is better. It is counted in the stored samples: a model "
        f"that knew its budget could do better.{ends} Bands are 95 % intervals{whose}.</figcaption></figure>"
    )


def _any_cut(data: ReportData) -> bool:
    return any(entry.values["truncated_rate"] for entry in data.entries)


def _curves(data: ReportData) -> list[Curve]:
    runs, budgets = data.runs, _budgets(data)
    seen = dict.fromkeys(runs, 0)
    few = len(data.entries) <= _MOST_BANDS
    lines: list[Curve] = []
    for entry in data.entries:
        banded = few or entry in (data.baseline, data.last)
        points = _points(entry, budgets)
        lines.append(Curve(entry.name, runs.index(entry.run), points, banded, seen[entry.run]))
        seen[entry.run] += 1
    return lines


def _points(entry: Entry, budgets: list[float]) -> list[tuple[float, float, float, float]]:
    limit = entry.manifest["settings"]["max_tokens"]
    if entry.values["truncated_rate"] and limit > budgets[0]:
        budgets = [*(budget for budget in budgets if budget < limit), min(limit, budgets[-1])]
    problems = by_problem(entry.condition.rows)
    return [(budget, *accuracy_at(problems, budget)) for budget in budgets]


def _budgets(data: ReportData) -> list[float]:
    """Budgets at equal distances on a log scale, between powers of two that nearly all samples lie between."""
    lengths = sorted(row["completion_tokens"] for entry in data.entries for row in entry.condition.rows)
    last = math.ceil(math.log2(max(lengths[-1], 4)))
    first = min(math.floor(math.log2(max(lengths[int(_LEFT_OUT * len(lengths))], 1))), last - 2)
    return [2 ** (first + step / _STEPS) for step in range((last - first) * _STEPS + 1)]


def _scores(data: ReportData) -> str:
    against = ["AES"] if data.comparison else []
    heads = ("condition", "tokens per correct answer", *against, "area under the curve", "overthinking score")
    body = [
        row(
            entry.name,
            [
                _with_interval(entry.values, "tokens_per_correct", fmt.number),
                *("0" if entry is data.baseline else _with_interval(entry.values, "aes", fmt.signed) for _ in against),
                _with_interval(entry.values, "budget_area", lambda value: fmt.fraction(value, 3)),
                fmt.fraction(entry.values["overthinking_score"]),
            ],
        )
        for entry in data.entries
    ]
    scores = (
        f" AES compares with {html(data.baseline.name)}: the share of completion tokens saved, + 3 × the relative gain "
        "of accuracy or − 5 × the relative loss."
        if against
        else ""
    )
    return (
        "<figure><figcaption><b>Table 2.</b> One number for accuracy and tokens. Tokens per correct answer: completion "
        f"tokens of all samples divided by the number of correct ones.{scores} Area under the curve of accuracy at a "
        "budget from 256 to 32,768 tokens, on a log scale. Overthinking score: harmonic mean of accuracy and "
        "1 − mean completion tokens / token limit of the run; higher is better. Small figures are 95 % intervals."
        f"</figcaption>{grid(heads, body)}</figure>"
    )


def _lengths(data: ReportData) -> str:
    heads = ("condition", "tokens if correct", "if not", "hard / easy", "after the answer", "accuracy, not cut")
    body = [
        row(
            entry.name,
            [
                _with_interval(entry.values, "completion_tokens_correct", fmt.number),
                _with_interval(entry.values, "completion_tokens_incorrect", fmt.number),
                fmt.fraction(entry.values["hard_easy_ratio"]),
                _with_interval(entry.values, "after_first_correct", fmt.percent),
                _with_interval(entry.values, "accuracy_untruncated", fmt.percent),
            ],
        )
        for entry in data.entries
    ]
    return (
        "<figure><figcaption><b>Table 3.</b> Where the tokens go: mean completion tokens of correct samples and of the "
        "others; those on problems that are mostly missed divided by those on the others; share of the thinking of "
        "correct samples that follows the first statement of the answer; accuracy of the samples that the token limit "
        f"did not cut. Small figures are 95 % intervals.</figcaption>{grid(heads, body)}</figure>"
    )


def _with_interval(values: dict[str, Any], name: str, form: Any) -> str:
    """A value with its interval, both in one form; a dash if there is no value."""
    value, low, high = (values.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None or low is None:
        return form(value)
    return f"{form(value)} <small>{form(low)} to {form(high)}</small>"
