"""What survives a compression, measured without a language model.

Every number is a function of question, text, kept spans and answer. None of them is proof that a model trained on the
text will do well; that is measured downstream. `report.py` shows them beside the baselines.

    measure(Sample(question, cot, units, answer), spans, text)["grounded_recall"]
"""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .arithmetic import equation_truths
from .phrases import first_word, negated
from .relations import formula_key, grounded, numbers_in, question_numbers, read_equations, states_relation
from .render import Span
from .segment import Unit

KEPT: dict[str, str] = {
    "ratio_error": "achieved minus asked ratio",
    "within_one_unit": "texts within the budget and short of it by less than the smallest unit left out, of all",
    "unit_integrity": "formulas kept whole or dropped whole, of all formulas",
    "torn_equations": "formulas with a relation of which only a part is kept, of all such",
    "grounded_recall": "grounded equations kept whole and still grounded in what is kept, of all grounded ones",
    "answer_retention": "texts in which the answer still occurs, of those that had it",
    "question_numbers": "numbers of the question still there, of those the text used",
    "negations": "negations kept with what they negate, of all",
    "turned": "negations dropped where a part of what they negate is kept, of all",
    "equation_validity": "equations between plain numbers in the shortened text that hold, of all of them there",
}
"""What survives."""
FORM: dict[str, str] = {
    "orphan_equations": "kept equations that compute with a number not known by then, of all kept whole",
    "dangling_operators": "pieces that begin or end with an operator or a relation sign, of all pieces",
    "balanced": "texts whose brackets and dollars still pair up, of those where they did",
    "punctuation_pieces": "pieces of punctuation alone, of all pieces",
    "piece_words": "words in a piece",
}
"""How what survives reads; a piece is what stood together in the source."""
METRICS = KEPT | FORM
_OPERATORS = "=+*/×·÷^<>≤≥≠≈"
_BRACKET = re.compile(r"\\\$|[()\[\]{}$]")
_WORD = re.compile(r"\w+")
_CLOSED_BY = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Sample:
    """One chain of thought before compression."""

    question: str
    cot: str
    units: Sequence[Unit]
    answer: str | None


@dataclass(frozen=True)
class Interval:
    """A mean over rows with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    rows: int


def kept_characters(spans: Sequence[Span], unit: Unit) -> int:
    """How many characters of a unit lie in `spans` (sorted, disjoint)."""
    kept = 0
    at = bisect_right(spans, unit.start, key=lambda span: span[1])
    while at < len(spans) and spans[at][0] < unit.end:
        kept += min(unit.end, spans[at][1]) - max(unit.start, spans[at][0])
        at += 1
    return kept


def says(answer: str, text: str) -> bool:
    """True if the answer occurs: as a number by value, else as a spelling without spaces and delimiters."""
    numbers = numbers_in(answer)
    if len(numbers) == 1 and formula_key(answer).lstrip("-").replace(".", "").isdigit():
        return numbers[0] in numbers_in(text)
    key = formula_key(answer)
    return bool(key) and key in formula_key(text)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def measure(sample: Sample, spans: Sequence[Span], text: str) -> dict[str, float | None]:
    """All metrics but those of the length; None where there is nothing to measure."""
    units = sample.units
    kept = [kept_characters(spans, unit) for unit in units]
    whole = [count == unit.end - unit.start for count, unit in zip(kept, units, strict=True)]
    math = [at for at, unit in enumerate(units) if unit.kind == "math"]
    related = [at for at in math if states_relation(sample.cot[units[at].start : units[at].end])]
    torn = [at for at in math if kept[at] and not whole[at]]

    given = question_numbers(sample.question)
    equations = read_equations(sample.cot, units)
    all_grounded = {equation.key for equation in grounded(equations, given)}
    stated = [one for one in equations if whole[one.unit]]
    held = grounded(stated, given)
    still = {equation.key for equation in held}

    used = set(numbers_in(sample.question)) & set(numbers_in(sample.cot))
    negations = [at for at, unit in enumerate(units) if negated(sample.cot[unit.start : unit.end])]
    turned = [at for at in negations if _is_turned(sample.cot, spans, units[at])]
    truths = equation_truths(text)
    answered = sample.answer is not None and says(sample.answer, sample.cot)
    return {
        "unit_integrity": _share(len(math) - len(torn), len(math)),
        "torn_equations": _share(len(set(torn) & set(related)), len(related)),
        "grounded_recall": _share(len(still & all_grounded), len(all_grounded)),
        "answer_retention": float(says(sample.answer or "", text)) if answered else None,
        "question_numbers": _share(len(used & set(numbers_in(text))), len(used)),
        "negations": _share(sum(whole[at] for at in negations), len(negations)),
        "turned": _share(len(turned), len(negations)),
        "equation_validity": _share(truths.count(True), len(truths)),
        "orphan_equations": _share(len(stated) - len(held), len(stated)),
        "balanced": float(_pair_up(text)) if _pair_up(sample.cot) else None,
        **_pieces([sample.cot[start:end] for start, end in spans]),
    }


def _is_turned(text: str, spans: Sequence[Span], unit: Unit) -> bool:
    """Whether a negation lost its first word but not every other; marks between them (`not** a prime`) say nothing."""
    end = unit.start + len(first_word(text[unit.start : unit.end]))
    others = (unit._replace(start=found.start(), end=found.end()) for found in _WORD.finditer(text, end, unit.end))
    return not kept_characters(spans, unit._replace(end=end)) and any(kept_characters(spans, one) for one in others)


def _pieces(pieces: Sequence[str]) -> dict[str, float | None]:
    """How the pieces read, each by itself."""
    return {
        "dangling_operators": _share(
            sum(one[0] in _OPERATORS or one[-1] in _OPERATORS + "-−" for one in pieces), len(pieces)
        ),
        "punctuation_pieces": _share(sum(not any(map(str.isalnum, one)) for one in pieces), len(pieces)),
        "piece_words": _share(sum(len(one.split()) for one in pieces), len(pieces)),
    }


def _pair_up(text: str) -> bool:
    """True if every bracket has its partner, and dollars are even; escaped dollars do not count."""
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


def bootstrap(
    values: Sequence[float | None], groups: Sequence[str], *, seed: int = 0, draws: int = 1000
) -> Interval | None:
    """Mean of the values there are, with a percentile interval that resamples whole groups.

    Args:
        values: One per row; None is left out.
        groups: One per row: rows on the same question vary together.
        seed: Of the draws.
        draws: How many.

    Returns:
        None if there is no value.
    """
    sums: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        if value is not None:
            entry = sums.setdefault(group, [0.0, 0.0])
            entry[0] += value
            entry[1] += 1
    if not sums:
        return None
    table = np.array(list(sums.values()))
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):
        total, rows = table[generator.integers(len(table), size=len(table))].sum(axis=0)
        means[draw] = total / rows
    low, high = np.quantile(means, [0.025, 0.975])
    total, rows = table.sum(axis=0)
    return Interval(float(total / rows), float(low), float(high), int(rows))


def summarise(
    rows: Sequence[Mapping[str, float | None]], groups: Sequence[str], *, seed: int = 0
) -> dict[str, Interval | None]:
    """Each metric over all rows."""
    return {name: bootstrap([row[name] for row in rows], groups, seed=seed) for name in METRICS}
