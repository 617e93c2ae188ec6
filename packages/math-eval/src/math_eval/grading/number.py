r"""Plain numbers as exact fractions: decimal, repeating, mixed, grouped in thousands, in per cent, or in another base.

Numbers with letters or roots are left to `expression`.

>>> as_fraction("1,234.50"), as_fraction(r"0.1\overline{6}")
((Fraction(2469, 2), False), (Fraction(1, 6), False))
>>> as_fraction(r"50\%")    # True: it was a percentage
(Fraction(50, 1), True)
>>> as_digits("52_8")
Digits(written=52, value=42)
"""

import re
from fractions import Fraction
from typing import NamedTuple

_NUMBER = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?")
_FRACTION = re.compile(r"([-+]?)\s*(\d*)\s*\\frac\{\s*([-+]?[\d.,]+)\s*\}\{\s*([-+]?[\d.,]+)\s*\}")
_SLASHED = re.compile(r"([-+]?)\s*(?:(\d+)\s+)?([\d.,]+)\s*/\s*([\d.,]+)")
_REPEATING = re.compile(r"([-+]?\d*)\.(\d*)\\(?:overline|bar)\s*\{?(\d+)\}?")
_PERCENT = re.compile(r"\s*(?:\\?%|\\text\s*\{\s*percent\s*\}|(?<=\d)\s+percent)$")
_BASED = re.compile(r"(\d+)\s*_\s*\{?(\d{1,2})\}?")
_COMMA = re.compile(r"([-+]?0(?=,\d\d)|[-+]?\d+(?=,(?:\d\d|\d{4,})$)),(\d+)")
_POINT = re.compile(r"[-+]?\d*\.\d+")


class Digits(NamedTuple):
    """A number in some base: its digits read as a decimal number, and its value."""

    written: int
    value: int


def as_fraction(text: str) -> tuple[Fraction, bool] | None:
    """The exact value of a plain number, and whether it is a percentage; None for any other text."""
    bare = _PERCENT.sub("", text.strip())
    value = _plain(bare)
    return None if value is None else (value, bare != text.strip())


def _plain(text: str) -> Fraction | None:
    if any(char.isdigit() for char in text) and text.isascii() and _NUMBER.fullmatch(text):
        return Fraction(text.replace(",", "").rstrip("."))
    if text.isascii() and (repeating := _REPEATING.fullmatch(text)):
        whole, once, again = repeating.groups()
        added = Fraction(int(again), 10 ** len(once) * (10 ** len(again) - 1))
        return Fraction(f"{whole}.{once}0") + (-added if whole.startswith("-") else added)
    match = _FRACTION.fullmatch(text) or _SLASHED.fullmatch(text)
    if match is None or not text.isascii():
        return None
    sign, whole, above, below = match.groups()
    top, bottom = _plain(above), _plain(below)
    if top is None or not bottom or (whole and (top < 0 or bottom < 0)):
        return None
    value = Fraction(whole or 0) + top / bottom
    return -value if sign == "-" else value


def as_digits(text: str) -> Digits | None:
    """A whole number with its base as a subscript, or None."""
    match = _BASED.fullmatch(text.strip())
    if match is None or not text.isascii() or not int(max(match[1])) < int(match[2]) <= 36:
        return None
    return Digits(int(match[1]), int(match[1], int(match[2])))


def same_with_comma(left: str, right: str) -> bool:
    """Whether both are one decimal number, one with a comma and one with a point; `1,2` and `1,222` are not read so."""
    for one, two in ((left, right), (right, left)):
        match = _COMMA.fullmatch(one)
        if match and _POINT.fullmatch(two):
            return Fraction(f"{match[1]}.{match[2]}") == Fraction(two)
    return False
