"""Measures what a compression keeps, without a language model.

Every number is a function of question, text, kept spans and answer. None of them proves that a model trained on the
text will do well; that is measured on the trained model. `evaluate.py` compares them with those of the baselines.

>>> from cot_compressor.text.segment import segment
>>> sample = Sample("What is 12 + 15?", "so 12 + 15 = 27", segment("so 12 + 15 = 27"), "27")
>>> measure_fidelity(sample, [(3, 15)], "12 + 15 = 27")["grounded_recall"]
1.0
"""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cot_compressor._shared import intervals
from cot_compressor.text.arithmetic import equation_truths
from cot_compressor.text.negations import first_word, is_negated
from cot_compressor.text.relations import (
    contains_answer,
    grounded,
    numbers_in,
    question_numbers,
    read_equations,
    states_relation,
)
from cot_compressor.text.render import Span
from cot_compressor.text.segment import Unit

from .statements import measure_statements

KEPT: dict[str, str] = {
    "ratio_error": "achieved ratio minus requested ratio",
    "budget_used": "share of the budget that is used",
    "unit_integrity": "share of formulas that are kept whole or dropped whole",
    "torn_equations": "share of formulas with a relation sign of which only a part is kept",
    "grounded_recall": "share of grounded equations that are kept whole and still grounded in what is kept",
    "answer_retention": "share of texts that still contain the answer, of those that contained it",
    "response_coverage": "share of the response's formulas, numbers and content words that are kept, by weight",
    "reader_gain": "share of the likelihood that the whole thinking adds to the response which the kept text adds",
    "conclusion_kept": "share of texts that still contain the sentence that answers or concludes",
    "decisive": "share of the decisive statements of a row that are kept",
    "question_numbers": "share of the question's numbers that are kept, of those that the text used",
    "negations": "share of negations that are kept together with what they negate",
    "turned": "share of negations that are dropped while a part of what they negate is kept",
    "equation_validity": "share of true equations among the equations between plain numbers in the shortened text",
}
"""Metrics of what is kept, and what each means."""
FORM: dict[str, str] = {
    "fragments": "share of the sentences of which something is kept that are cut, single formulas aside",
    "holes": "share of the sentences of which something is kept that have a gap inside",
    "orphan_equations": "share of the equations kept whole that compute with a number not known at that point",
    "dangling_operators": "share of kept pieces that begin or end with an operator or a relation sign",
    "balanced": "share of texts whose brackets and dollar signs are balanced, of those where they were before",
    "punctuation_pieces": "share of kept pieces that are punctuation only",
    "piece_words": "number of words in a kept piece",
}
"""Metrics of how the kept text reads, and what each means; a piece is a run of text without a gap."""
METRICS = KEPT | FORM
_RESAMPLES = 1000
_OPERATORS = "=+*/×·÷^<>≤≥≠≈"
_BRACKET = re.compile(r"\\\$|[()\[\]{}$]")
_WORD = re.compile(r"\w+")
_CLOSED_BY = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Sample:
    """One chain of thought before compression, and what it is measured against, if there is that."""

    question: str
    cot: str
    units: Sequence[Unit]
    answer: str | None
    """The reference answer."""
    response: str = ""
    """What the model wrote after the chain of thought."""
    decisive: Sequence[str] = ()
    """Statements of the chain of thought without which it leads nowhere."""


@dataclass(frozen=True)
class Mean:
    """A mean over rows with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    rows: int
    """Number of rows that have a value."""


def kept_characters(spans: Sequence[Span], unit: Unit) -> int:
    """The number of characters of a unit that `spans` (sorted, disjoint) contain."""
    kept = 0
    at = bisect_right(spans, unit.start, key=lambda span: span[1])
    while at < len(spans) and spans[at][0] < unit.end:
        kept += min(unit.end, spans[at][1]) - max(unit.start, spans[at][0])
        at += 1
    return kept


def measure_fidelity(sample: Sample, spans: Sequence[Span], text: str) -> dict[str, float | None]:
    """Every metric but those of the length and of a reader.

    Args:
        sample: The chain of thought before compression.
        spans: `[start, end)` of what is kept, sorted and disjoint.
        text: The shortened text.

    Returns:
        One value for each metric, None where there is nothing to measure.
    """
    units = sample.units
    kept = [kept_characters(spans, unit) for unit in units]
    whole = [count == unit.end - unit.start for count, unit in zip(kept, units, strict=True)]
    math = [at for at, unit in enumerate(units) if unit.kind == "math"]
    related = [at for at in math if states_relation(sample.cot[units[at].start : units[at].end])]
    cut = [at for at in math if kept[at] and not whole[at]]

    given = question_numbers(sample.question)
    equations = read_equations(sample.cot, units)
    all_grounded = {equation.key for equation in grounded(equations, given)}
    kept_whole = [equation for equation in equations if whole[equation.unit]]
    still_grounded = grounded(kept_whole, given)
    recalled = {equation.key for equation in still_grounded} & all_grounded

    used = set(numbers_in(sample.question)) & set(numbers_in(sample.cot))
    negations = [at for at, unit in enumerate(units) if is_negated(sample.cot[unit.start : unit.end])]
    lost = [at for at in negations if _negation_lost(sample.cot, spans, units[at])]
    truths = equation_truths(text)
    answered = sample.answer is not None and contains_answer(sample.cot, sample.answer)
    return {
        "unit_integrity": _share(len(math) - len(cut), len(math)),
        "torn_equations": _share(len(set(cut) & set(related)), len(related)),
        "grounded_recall": _share(len(recalled), len(all_grounded)),
        "answer_retention": float(contains_answer(text, sample.answer or "")) if answered else None,
        **measure_statements(sample, kept, text),
        "question_numbers": _share(len(used & set(numbers_in(text))), len(used)),
        "negations": _share(sum(whole[at] for at in negations), len(negations)),
        "turned": _share(len(lost), len(negations)),
        "equation_validity": _share(truths.count(True), len(truths)),
        "orphan_equations": _share(len(kept_whole) - len(still_grounded), len(kept_whole)),
        "balanced": float(_is_balanced(text)) if _is_balanced(sample.cot) else None,
        **_measure_pieces([sample.cot[start:end] for start, end in spans]),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _negation_lost(text: str, spans: Sequence[Span], unit: Unit) -> bool:
    """Whether the first word of a negation is dropped while another word of it is kept; other marks do not count."""
    end = unit.start + len(first_word(text[unit.start : unit.end]))
    others = (unit._replace(start=word.start(), end=word.end()) for word in _WORD.finditer(text, end, unit.end))
    return not kept_characters(spans, unit._replace(end=end)) and any(kept_characters(spans, word) for word in others)


def _measure_pieces(pieces: Sequence[str]) -> dict[str, float | None]:
    """The metrics of the pieces, each read by itself."""
    return {
        "dangling_operators": _share(
            sum(piece[0] in _OPERATORS or piece[-1] in _OPERATORS + "-−" for piece in pieces), len(pieces)
        ),
        "punctuation_pieces": _share(sum(not any(map(str.isalnum, piece)) for piece in pieces), len(pieces)),
        "piece_words": _share(sum(len(piece.split()) for piece in pieces), len(pieces)),
    }


def _is_balanced(text: str) -> bool:
    """True if every bracket has a partner and the number of dollar signs, escaped ones left out, is even."""
    waiting: list[str] = []
    dollars = 0
    for sign in _BRACKET.findall(text):
        if sign in _CLOSED_BY:
            waiting.append(_CLOSED_BY[sign])
        elif sign == "$":
            dollars += 1
        elif sign in ")]}" and (not waiting or waiting.pop() != sign):
            return False
    return not waiting and dollars % 2 == 0


def mean_with_interval(values: Sequence[float | None], groups: Sequence[str], *, seed: int = 0) -> Mean | None:
    """The mean of the values that are not None, with a percentile interval that resamples whole groups.

    >>> mean_with_interval([0.5, 0.5, None], ["first question", "second question", "third question"])
    Mean(mean=0.5, low=0.5, high=0.5, rows=2)

    Args:
        values: One value for each row.
        groups: One group for each row; rows on the same question vary together.
        seed: Random seed of the draws.

    Returns:
        The mean, or None if there is no value. With one group the interval is the mean itself.
    """
    totals: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        if value is not None:
            entry = totals.setdefault(group, [0.0, 0.0])
            entry[0] += value
            entry[1] += 1
    if not totals:
        return None
    table = np.array(list(totals.values()))
    total, rows = table.sum(axis=0)
    mean = low = high = float(total / rows)
    if len(totals) > 1:
        low, high = intervals.bootstrap(table.T.tolist(), intervals.ratio, seed=seed, resamples=_RESAMPLES)
    return Mean(mean, low, high, int(rows))


def summarise(
    rows: Sequence[Mapping[str, float | None]], groups: Sequence[str], *, seed: int = 0
) -> dict[str, Mean | None]:
    """The mean of each metric over all rows."""
    return {name: mean_with_interval([row[name] for row in rows], groups, seed=seed) for name in METRICS}
