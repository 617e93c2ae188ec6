"""Reads equations between numbers: operands, results, repetition, and whether the operands are known.

An equation is grounded if every number it computes with occurs in the question or in an earlier equation. Nothing here
evaluates a formula; `arithmetic.py` does.

>>> equation = read_equation("12 + 15 = 27", 0)
>>> sorted(equation.operands), sorted(equation.results)
(['12', '15'], ['27'])
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .negations import is_negated
from .segment import Unit

_NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<=[a-zA-Z}])\d+|(?<!\w)\.\d+")
_EQUALS = re.compile(r"(?<![<>!:=])={1,2}(?!=)|≈|≡|≅|≃|\\(?:approx|equiv|cong)(?![A-Za-z])|&=")
_RELATION = re.compile(r"[=<>≤≥≠≈≡≅≃∈∝]|\\(?:leq?|geq?|neq?|approx|equiv|cong|lt|gt|in)(?![A-Za-z])")
_OPERATION = re.compile(
    r"[+*×·⋅∙/÷^√]|(?<=[\w)}\]])\s*[-−–]|\\(?:times|cdot|div|d?frac|sqrt|binom)|(?<=[\d)])\s*x\s*(?=[\d$(])"
    r"|\b(?:times|plus|minus|mod)\b|(?<=\d)\("
)
_DELIMITERS = re.compile(r"\\[\[\]()]|\$+|\\(?:left|right|displaystyle|,|;|!|quad)|[\s{}]|(?<=\d),(?=\d{3})|\\?[€£¥]")
_PRODUCT = re.compile(r"\\times|\\cdot|×|·|⋅|∙|(?<=\d)x(?=\d)")
_SMALL_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_SPELLED = {word: (str(value),) for value, word in enumerate(_SMALL_NUMBERS.split())} | {
    "thirty": ("30",),
    "forty": ("40",),
    "fifty": ("50",),
    "sixty": ("60",),
    "hundred": ("100",),
    "half": ("2", "0.5"),
    "third": ("3",),
    "thirds": ("3",),
    "triple": ("3",),
    "quarter": ("4", "0.25"),
    "quarters": ("4",),
    "fourth": ("4",),
    "fifth": ("5",),
    "dozen": ("12",),
    "week": ("7",),
    "weeks": ("7",),
    "weekly": ("7",),
    "hour": ("60",),
    "hours": ("60",),
    "minutes": ("60",),
    "day": ("24",),
    "days": ("24",),
    "year": ("12", "52", "365"),
    "percent": ("100",),
    "feet": ("12",),
    "dollars": ("100",),
}
_WORD = re.compile(r"[a-z]+")
ASSUMED = frozenset(["1", "2"])


def normal_number(text: str) -> str:
    """The one spelling of a plain number: no commas, no needless zeros.

    >>> normal_number("01,200.50")
    '1200.5'
    """
    text = text.replace(",", "")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.lstrip("0") or "0" if not text.startswith("0.") else text


def numbers_in(text: str) -> list[str]:
    r"""The numbers of a text in order, as `normal_number` spells them.

    >>> numbers_in(r"\frac{1}{2} of 1,200 pens")
    ['1', '2', '1200']
    """
    return [normal_number(match[0] if match[0][0] != "." else "0" + match[0]) for match in _NUMBER.finditer(text)]


def question_numbers(question: str) -> frozenset[str]:
    """The numbers that a reader knows from the question: digits, number words, and those implied by units of time.

    Our choice: 1 and 2, and 100 if there is a percent sign, count as known, because solutions use them without
    introducing them.
    """
    known = {*numbers_in(question), *ASSUMED}
    if "%" in question:
        known.add("100")
    for word in _WORD.findall(question.lower()):
        known.update(_SPELLED.get(word, ()))
    return frozenset(known)


@dataclass(frozen=True)
class Equation:
    """A math unit that states an equality of numbers."""

    unit: int
    """Index of the unit."""
    operands: frozenset[str]
    """Numbers that the equation computes with."""
    results: frozenset[str]
    """Numbers that the equation computes."""
    key: str
    """A spelling that is the same for all spellings of the equation."""


def formula_key(formula: str) -> str:
    r"""A spelling without spaces, delimiters and currency signs, and with one sign for a product.

    >>> formula_key(r"\(12 \times 5 = 60\)")
    '12*5=60'
    """
    return _PRODUCT.sub("*", _DELIMITERS.sub("", _PRODUCT.sub("*", formula)).replace("\\dfrac", "\\frac")).rstrip(".,;")


def states_relation(formula: str) -> bool:
    """True if the formula contains a relation sign."""
    return _RELATION.search(formula) is not None


def read_equation(formula: str, unit: int) -> Equation | None:
    """The equation that a formula states, or None if it computes nothing with numbers, or is negated.

    The numbers of a side with an operation are operands, and those of another side are results. If every side has an
    operation, the numbers of the last side are results.

    Args:
        formula: Text of the unit.
        unit: Index of the unit.
    """
    sides = _EQUALS.split(formula)
    if len(sides) < 2 or is_negated(formula):
        return None
    operands: set[str] = set()
    results: set[str] = set()
    computed = [_OPERATION.search(side) is not None for side in sides]
    for at, side in enumerate(sides):
        numbers = numbers_in(side)
        if not computed[at] or (at == len(sides) - 1 and all(computed)):
            results.update(numbers)
        else:
            operands.update(numbers)
    if not operands:
        return None
    return Equation(unit, frozenset(operands), frozenset(results), formula_key(formula))


def read_equations(text: str, units: Sequence[Unit]) -> list[Equation]:
    """The equations among the math units of `text`, in order."""
    found = (read_equation(text[unit.start : unit.end], at) for at, unit in enumerate(units) if unit.kind == "math")
    return [equation for equation in found if equation is not None]


def grounded(equations: Iterable[Equation], known: Iterable[str]) -> list[Equation]:
    """The equations whose operands all occur in `known` or in an earlier one of `equations`."""
    seen = set(known)
    chain: list[Equation] = []
    for equation in equations:
        if equation.operands <= seen:
            chain.append(equation)
        seen |= equation.operands | equation.results
    return chain


def contains_answer(text: str, answer: str) -> bool:
    """True if the answer occurs in the text: a number by its value, another answer by its spelling.

    >>> contains_answer("It is 1,200.00 pens", "1200")
    True
    """
    numbers = numbers_in(answer)
    if len(numbers) == 1 and formula_key(answer).lstrip("-").replace(".", "").isdigit():
        return numbers[0] in numbers_in(text)
    key = formula_key(answer)
    return bool(key) and key in formula_key(text)
