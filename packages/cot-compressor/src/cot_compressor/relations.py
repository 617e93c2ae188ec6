"""What the formulas of a trace say about numbers: operands, results, repetition, grounding.

An equation is grounded if every number it computes with occurs in the question or in an earlier equation. Read by the
rules scorer and by the fidelity metrics; nothing here evaluates a formula.

>>> from cot_compressor.segment import segment
>>> text = "12 + 15 = 27"
>>> equation = read_equation(text, 0)
>>> sorted(equation.operands), sorted(equation.results)
(['12', '15'], ['27'])
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .phrases import negated
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
    """One spelling for a plain number: no commas, no needless zeros."""
    text = text.replace(",", "")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.lstrip("0") or "0" if not text.startswith("0.") else text


def numbers_in(text: str) -> list[str]:
    """The numbers of a text in order, as `normal_number` spells them; LaTeX and words around them do no harm."""
    return [normal_number(match[0] if match[0][0] != "." else "0" + match[0]) for match in _NUMBER.finditer(text)]


def question_numbers(question: str) -> frozenset[str]:
    """Numbers a reader may take from the question: digits, number words, and what units of time and money imply.

    Our choice: 1 and 2 and, beside a percent sign, 100 count as given, because solutions use them unannounced.
    """
    known = {*numbers_in(question), *ASSUMED}
    if "%" in question:
        known.add("100")
    for word in _WORD.findall(question.lower()):
        known.update(_SPELLED.get(word, ()))
    return frozenset(known)


@dataclass(frozen=True)
class Equation:
    """One math unit that states an equality of numbers."""

    unit: int
    """Index of the unit."""
    operands: frozenset[str]
    """Numbers it computes with."""
    results: frozenset[str]
    """Numbers it arrives at."""
    key: str
    """Equal for two spellings of the same equation."""


def formula_key(formula: str) -> str:
    """A spelling that ignores spaces, delimiters, currency signs and the sign used for a product."""
    return _PRODUCT.sub("*", _DELIMITERS.sub("", _PRODUCT.sub("*", formula)).replace("\\dfrac", "\\frac")).rstrip(".,;")


def states_relation(formula: str) -> bool:
    """True if the formula holds a relation sign."""
    return _RELATION.search(formula) is not None


def read_equation(formula: str, unit: int) -> Equation | None:
    """The equation a formula states, or None if it computes nothing with numbers, or is negated.

    Sides with an operation give operands, a side that is a lone number gives a result; if every side has an
    operation, the last one is the result.
    """
    sides = _EQUALS.split(formula)
    if len(sides) < 2 or negated(formula):
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
    """The statements whose operands all occur in `known` or in an earlier equation of `equations`."""
    seen = set(known)
    chain: list[Equation] = []
    for equation in equations:
        if equation.operands <= seen:
            chain.append(equation)
        seen |= equation.operands | equation.results
    return chain
