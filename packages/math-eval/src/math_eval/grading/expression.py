r"""A parser of answers as exact expressions: numbers, letters, fractions, roots, powers, sums and products.

The parser has static limits, and nothing is evaluated as code. It reads only text with a single meaning; `1/2x`,
`2\frac12`, `x^12`, `f(x)` and anything else is not read, and `same_value` then returns None. The comparison of tuples,
matrices and other shapes is left to `exact`.

>>> same_value(r"\sqrt{8}", r"2\sqrt{2}"), same_value("(x+1)^2", "x^2 + 2x + 1")
(True, True)
>>> same_value(r"\frac{\sqrt{2}}{2}", "0.7071")    # None, since a decimal may be rounded
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from .polynomial import OutOfReach, Quotient, constant, equal, radical, symbol

_MAX_CHARS = 200
_MAX_DEPTH = 24
_MAX_ROOT = 12
_ROUNDING = 1e-3
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
    r"|(?P<name>\\?[A-Za-z]+(?:_\w)?)|(?P<mark>[-+*/^(){}\[\]]))"
)
_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi "
    "varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega"
)
_SYMBOLS = {"\\" + name for name in (*_GREEK.split(), "pi")}
_TIMES = {"*", r"\cdot", r"\times"}
_FUNCTION_LETTERS = set("fghFGP")
_FUNCTIONS = re.compile(
    r"ln|lg|log|sin|cos|tan|cot|sec|csc|exp|mod|gcd|lcm|max|min|det|arg|deg|lim|cis|tg|tr|erf|Re|Im"
)
_MAX_LETTERS = 3
_INFINITE = re.compile(r"\s*([-+]?)\s*\\infty\s*")
_LITERAL = re.compile(r"\s*\{\s*\d+\s*\}\s*\{\s*\d+\s*\}")


class _Unreadable(Exception):
    """The text is outside of the grammar, or has more than one meaning."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Args:
        value: Its exact value.
        decimal: Whether it contains a decimal number, which may have been rounded.
        words: Whether it contains adjacent letters, which may be a unit or a word.
    """

    value: Quotient
    decimal: bool
    words: bool


@lru_cache(maxsize=4096)
def read(text: str) -> Expression | None:
    """The text as an expression, or None if it is not one."""
    if len(text) > _MAX_CHARS or not text.isascii():
        return None
    if infinite := _INFINITE.fullmatch(text):
        sign = Quotient(constant(-1 if infinite[1] == "-" else 1))
        return Expression(sign.times(Quotient(symbol(r"\infty"))), decimal=False, words=False)
    try:
        return _Reader(text).read()
    except (_Unreadable, OutOfReach):
        return None


def same_value(left: str, right: str) -> bool | None:
    """Whether two expressions are equal; None if that is uncertain."""
    one, two = read(left), read(right)
    if one is None or two is None:
        return None
    try:
        same = equal(one.value, two.value)
    except OutOfReach:
        return None
    if same is not False:
        return same
    if one.words or two.words or left.lower() == right.lower() or _differ_by_a_letter(one.value, two.value):
        return None
    return None if (one.decimal or two.decimal) and not _far_apart(one.value, two.value) else False


def _far_apart(one: Quotient, two: Quotient) -> bool:
    """Whether two unequal constants differ by more than rounding explains; False if they are not constants."""
    a, b = one.approximate(), two.approximate()
    return a is not None and b is not None and abs(a - b) > _ROUNDING * max(1, abs(a), abs(b))


def _differ_by_a_letter(one: Quotient, two: Quotient) -> bool:
    """Whether one is a number and the other this number times letters: in `5 m` and `5`, the letter may be a unit."""
    for number, other in ((one, two), (two, one)):
        if not number.letters() and other.letters() and len(other.top) == 1:
            return number.rational() in set(other.top.values())
    return False


class _Reader:
    """A recursive-descent parser of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.decimal = self.words = False
        self.tokens: list[tuple[str, str, int]] = []
        self.at = self.depth = position = 0
        end = len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                raise _Unreadable
            kind = match.lastgroup or ""
            for token in self._letters(match[kind]) if kind == "name" else [match[kind]]:
                self.tokens.append((kind, token, match.end()))
            position = match.end()
        self.tokens.append(("end", "", end))

    def _letters(self, name: str) -> list[str]:
        r"""The tokens of a name: a command, a letter, `pi`, `sqrt`, or two or three adjacent letters."""
        bare = name.lstrip("\\").partition("_")[0]
        if bare in ("pi", "sqrt"):
            return ["\\" + name.lstrip("\\")]
        if name.startswith("\\") or len(bare) == 1:
            return [name]
        if "_" in name or len(bare) > _MAX_LETTERS or _FUNCTIONS.search(bare):
            raise _Unreadable
        self.words = True
        return list(bare)

    def read(self) -> Expression:
        value = self._sum()
        if self._kind != "end":
            raise _Unreadable
        return Expression(value, self.decimal, self.words)

    @property
    def _kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def _next(self) -> str:
        return self.tokens[self.at][1]

    def _take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][1]

    def _accept(self, *expected: str) -> str:
        """The next token, which is consumed, if it is one of `expected`; otherwise an empty string."""
        return self._take() if self._next in expected else ""

    def _group(self, opening: str) -> Quotient | None:
        """The expression between brackets, if the next token is their opening."""
        if not self._accept(opening):
            return None
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _Unreadable
        value = self._sum()
        if not self._accept({"(": ")", "{": "}", "[": "]"}[opening]):
            raise _Unreadable
        self.depth -= 1
        return value

    def _argument(self, *openings: str) -> Quotient:
        for opening in openings:
            if (value := self._group(opening)) is not None:
                return value
        raise _Unreadable

    def _sum(self) -> Quotient:
        total, sign = Quotient({}), self._accept("+", "-") or "+"
        while sign:
            total = total.plus(self._product(), -1 if sign == "-" else 1)
            sign = self._accept("+", "-")
        return total

    def _product(self) -> Quotient:
        """A product; unreadable if a factor without sign follows a division, as in `1/2x`, which has two meanings."""
        total, divided = self._factor(), False
        while True:
            if self._accept(*_TIMES):
                total, divided = total.times(self._factor()), False
            elif self._accept("/"):
                total, divided = total.times(self._factor().inverse()), True
            elif self._kind != "name" and self._next != "(":
                return total
            elif divided:
                raise _Unreadable
            else:
                total = total.times(self._factor())

    def _factor(self) -> Quotient:
        value = self._atom()
        if not self._accept("^"):
            return value
        if self._kind == "number" and len(self._next) == 1:
            return value.power(Fraction(self._take()))
        exponent = self._argument("{", "(").rational()
        if exponent is None:
            raise _Unreadable
        return value.power(exponent)

    def _atom(self) -> Quotient:
        if self._kind == "number":
            return self._number()
        if (inside := self._group("(")) is not None:
            return inside
        if self._kind != "name":
            raise _Unreadable
        name = self._take()
        if name == r"\frac":
            return self._argument("{").times(self._argument("{").inverse())
        if name == r"\sqrt":
            return self._root()
        if name in _FUNCTION_LETTERS and self._next == "(":
            raise _Unreadable
        if not name.startswith("\\") or name in _SYMBOLS:
            return Quotient(symbol(name))
        raise _Unreadable

    def _number(self) -> Quotient:
        text = self._take()
        self.decimal = self.decimal or "." in text
        after = self.tokens[self.at - 1][2]
        mixed = self._next == r"\frac" and _LITERAL.match(self.text, self.tokens[self.at][2])
        if mixed or self._kind == "number" or self.text[after : after + 1] == "_":
            raise _Unreadable
        return Quotient(constant(Fraction(text.replace(",", "").rstrip("."))))

    def _root(self) -> Quotient:
        degree = (self._group("[") or Quotient(constant(2))).rational()
        inside = self._argument("{", "(").rational()
        if inside is None or degree is None or degree.denominator != 1 or not 2 <= degree <= _MAX_ROOT:
            raise _Unreadable
        if inside >= 0:
            return Quotient(radical(inside, int(degree)))
        if degree != 2:
            raise _Unreadable
        return Quotient(symbol("i")).times(Quotient(radical(-inside, 2)))
