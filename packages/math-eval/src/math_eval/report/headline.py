"""The result of a report in two or three sentences: what it shows, and just as plainly what it cannot show.

headline(data)[0]   # 'sft@policy thinks with 60 % fewer tokens than base (40.0 against 100.0), at 97.5 % …'
"""

from typing import Any

from math_eval import metrics

from . import format as fmt
from . import text
from .data import Entry, ReportData


def headline(data: ReportData) -> list[str]:
    """The comparison of the last condition with the baseline, or a summary of the only condition."""
    if data.comparison is None:
        return _alone(data.last)
    values = data.comparison.values
    return [_lead(values), _evidence(values), *_seeds(values)]


def _alone(entry: Entry) -> list[str]:
    values = entry.values
    interval = fmt.interval(values["accuracy_low"], values["accuracy_high"])
    problems = "1 problem" if values["n"] == 1 else f"{values['n']:,} problems"
    samples = len(entry.condition.rows)
    smallest = metrics.smallest_difference(0.0, samples) if metrics.can_differ(values["n"]) else None
    unseen = "no difference from another run can be shown"
    if smallest is not None:
        unseen = (
            f"a difference from another run below {100 * smallest:.1f} points would be missed in more than one case of "
            "five, even if every changed answer changed the same way"
        )
    return [
        f"{entry.name} answers {fmt.percent(values['accuracy'])} of {problems} correctly (95 % interval {interval}), "
        f"with {fmt.number(values['thinking_tokens'])} thinking tokens on average.",
        f"With {problems}{f' and {samples:,} samples' if samples > values['n'] else ''}, {unseen}.",
    ]


def _lead(values: dict[str, Any]) -> str:
    tokens = f"{fmt.number(values['thinking_tokens_b'])} against {fmt.number(values['thinking_tokens_a'])}"
    if not values["accuracy_a"] and not values["accuracy_b"]:
        return (
            f"Neither {values['a']} nor {values['b']} has a correct answer: accuracy cannot be compared, and "
            f"shorter thinking is no gain ({tokens} tokens)."
        )
    verb = "is compared with"
    if values["token_reduction"] is not None:
        share = round(100 * values["token_reduction"])
        verb = (
            f"thinks with {abs(share)} % {'fewer' if share > 0 else 'more'} tokens than"
            if share
            else "thinks as long as"
        )
    low, high = (fmt.points(values[f"accuracy_difference_{end}"]) for end in ("low", "high"))
    return (
        f"{values['b']} {verb} {values['a']} ({tokens}), at {fmt.percent(values['accuracy_b'])} accuracy against "
        f"{fmt.percent(values['accuracy_a'])}: a difference of {fmt.points(values['accuracy_difference'])} points, "
        f"95 % interval {low} to {high}."
    )


def _evidence(values: dict[str, Any]) -> str:
    pairs = f"Paired on {values['n']:,} samples of {values['problems']:,} problems"
    if values["unpaired_a"] or values["unpaired_b"]:
        unpaired = f"{values['unpaired_a']} of {values['a']}, {values['unpaired_b']} of {values['b']}"
        pairs += f" (left out because the other has no such sample: {unpaired})"
    conclusion = text.conclusion(values)
    reduction = ""
    fewer, low, high = (values[f"token_reduction{end}"] for end in ("", "_low", "_high"))
    if fewer is not None and low is not None:
        reduction = f" Token reduction {100 * fewer:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f}."
        reduction = reduction.replace("-", "−")
    return (
        f"{pairs}; correct only in {values['a']}: {values['only_a_correct']:,}, correct only in {values['b']}: "
        f"{values['only_b_correct']:,}. {conclusion[0].upper()}{conclusion[1:]}.{reduction}"
    )


def _seeds(values: dict[str, Any]) -> list[str]:
    spread = text.over_seeds(values)
    return [f"Difference {spread}.".replace("-", "−")] if spread else []
