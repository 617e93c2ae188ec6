r"""Checks the equations between plain numbers in a text, with exact arithmetic; nothing is ever run as code.

Reads whole numbers, decimals, `+ - * / ^`, brackets, `\frac` and percent. An equation that contains anything else, or
a number of more than 10,000 bits, is left out.

>>> equation_truths("12 + 15 = 27, then 48/2 = 25, and x = 3")
[True, False]
"""

import re
from fractions import Fraction

from .relations import formula_key
from .segment import segment

_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|[-+*/^()]")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_SIGNS = str.maketrans({"÷": "/", "−": "-", "–": "-"})
_PLAIN = re.compile(r"[\d.+*/^()=%-]+")
_MAX_CHARS = 200
_MAX_BITS = 10_000


class _Unreadable(Exception):
    """The text is no expression of plain numbers."""


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _limit(bits: int) -> None:
    """Refuse a result with too many bits before it is computed, such as a tower of powers."""
    if bits > _MAX_BITS:
        raise _Unreadable


class _Parser:
    """A recursive-descent parser for one side of an equation, which computes its value."""

    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.at = 0
        if sum(map(len, self.tokens)) != len(text):
            raise _Unreadable

    def _take(self, signs: str) -> str:
        if self.at < len(self.tokens) and self.tokens[self.at] in signs:
            self.at += 1
            return self.tokens[self.at - 1]
        return ""

    def value(self) -> Fraction:
        found = self.sum()
        if self.at != len(self.tokens):
            raise _Unreadable
        return found

    def sum(self) -> Fraction:
        total = self.product()
        while sign := self._take("+-"):
            term = self.product()
            _limit(_bits(total) + _bits(term))
            total += term if sign == "+" else -term
        return total

    def product(self) -> Fraction:
        total = self.power()
        while sign := self._take("*/"):
            factor = self.power()
            if sign == "/" and not factor:
                raise _Unreadable
            _limit(_bits(total) + _bits(factor))
            total = total * factor if sign == "*" else total / factor
        return total

    def power(self) -> Fraction:
        if sign := self._take("+-"):
            found = self.power()
            return -found if sign == "-" else found
        base = self.atom()
        if not self._take("^"):
            return base
        exponent = self.power()
        if exponent.denominator != 1 or (not base and exponent <= 0):
            raise _Unreadable
        _limit(_bits(base) * abs(int(exponent)))
        return base ** int(exponent)

    def atom(self) -> Fraction:
        if self._take("("):
            found = self.sum()
            if not self._take(")"):
                raise _Unreadable
            return found
        token = self.tokens[self.at] if self.at < len(self.tokens) else ""
        if not token[:1].isdigit() and token[:1] != ".":
            raise _Unreadable
        self.at += 1
        return Fraction(token)


def _is_true(equation: str) -> bool | None:
    """Whether all sides are equal, up to the digits of the last side; None if a side is no plain arithmetic."""
    if len(equation) > _MAX_CHARS or "=" not in equation or not _PLAIN.fullmatch(equation):
        return None
    try:
        sides = [_Parser(side.replace("%", "/100")).value() for side in equation.split("=")]
    except (_Unreadable, RecursionError):
        return None
    # A result may be rounded: a difference of half a unit in its last digit is accepted.
    decimals = re.search(r"\.(\d+)%?$", equation)
    digits = len(decimals[1]) + 2 * equation.endswith("%") if decimals else 0
    slack = Fraction(1, 2 * 10**digits) if digits else Fraction(0)
    return all(abs(side - sides[-1]) <= slack for side in sides)


def equation_truths(text: str) -> list[bool]:
    """For each equation between plain numbers in `text` that computes something, True if both sides are equal."""
    found: list[bool] = []
    for unit in segment(text):
        if unit.kind == "math":
            formula = _FRACTION.sub(r"((\1)/(\2))", text[unit.start : unit.end])
            equation = formula_key(formula).translate(_SIGNS)
            # The first operand of a continued formula (`+ 5 = 9`) is not known.
            truth = _is_true(equation) if equation[:1] not in "+*/" else None
            if truth is not None and any(sign in equation.partition("=")[0].lstrip("-") for sign in "+-*/^"):
                found.append(truth)
    return found
