r"""Units after numbers: splitting them off, and deciding whether two units differ.

The most common units are known with their spellings, so `5 hours` differs from `5 minutes`. Two units that are not
known may be the same. Units are not converted: an answer is expected in the requested unit.

>>> without_unit(r"15 \text{ square inches}")
('15', 'in^2')
>>> different_units("in^2", "in^3"), different_units("sq. units", "in^2")    # the second is uncertain
(True, False)
"""

import re

from .spelling import is_mathematical

_UNITS = {
    alias: names.split()[0]
    for names in (
        "mm millimeter millimetre", "cm centimeter centimetre", "m meter metre", "km kilometer kilometre",
        "in inch inches", "ft foot feet", "yd yard", "mi mile", "s sec second", "min minute", "h hr hour", "day",
        "week", "month", "year", "am a.m", "pm p.m", "mg milligram", "g gram", "kg kilogram", "oz ounce", "lb pound",
        "ton", "ml milliliter millilitre", "l liter litre", "gal gallon", "cent", "dollar usd", "degree",
    )
    for alias in names.split()
}  # fmt: skip
_MAX_LETTERS = 3
_BARE = str.maketrans("", "", " {}")
_POWERS = {"square": "^2", "sq": "^2", "sq.": "^2", "cubic": "^3", "cu": "^3"}
_UNIT = re.compile(
    r"^\s*(.*?(?:[\d.})]|\\pi))\s*"
    r"(?:\\text\s*\{\s*([^{}\d]*?)\s*\}|(?<=\d)\s+([A-Za-z][A-Za-z ./]*))\s*(\^\s*\{?[23]\}?)?\s*$"
)
_WORDS = r"(?:\\text\s*\{[^{}\d]*\}|[A-Za-z ]*)"
_NUMBER_IN_WORDS = re.compile(rf"{_WORDS}\s*[-+]?\d[\d.,/]*\s*{_WORDS}")
_NO_UNIT = re.compile(
    r"\b(?:is|not|never|negative|remainder|at (?:least|most)"
    r"|(?:or|and) (?:more|less|fewer|greater|above|below|over|under))\b"
)


def without_unit(text: str, *, letters: bool = False) -> tuple[str, str]:
    r"""A quantity and its unit ("" if it has none, or if the words may be mathematics).

    Args:
        text: The answer.
        letters: Whether a single letter outside `\text{}` counts as a unit if it is a known one.
    """
    match = _UNIT.match(text)
    if match is None:
        return text, ""
    unit = (match[2] or match[3] or "").strip().rstrip(".").lower()
    spelt = match[2] is not None or _is_plain(unit.split(), letters)
    if not unit or not spelt or any(map(is_mathematical, unit.split())) or _NO_UNIT.search(unit):
        return text, ""
    unit += (match[4] or "").translate(_BARE)
    return match[1], _canonical(unit) or unit


def _is_plain(found: list[str], letters: bool) -> bool:
    r"""Whether words outside `\text{}` are a unit and not a product of letters: all known, or one of them long."""
    known = [all(map(_known, word.split("/"))) for word in found]
    if letters and all(known):
        return True
    return all(len(word) > 1 for word in found) and any(
        sure or len(word) > _MAX_LETTERS for sure, word in zip(known, found, strict=True)
    )


def changes_the_number(text: str) -> bool:
    """Whether the text is a number with words that change it, such as `5 or more`."""
    return bool(_NUMBER_IN_WORDS.fullmatch(text) and _NO_UNIT.search(text.lower()))


def different_units(one: str, two: str) -> bool:
    """Whether both units, in the form that `without_unit` returns, are known and differ."""
    return one != two and bool(_canonical(one) and _canonical(two))


def _canonical(unit: str) -> str:
    """The standard spelling of a known unit, or an empty string."""
    word, power, exponent = unit.partition("^")
    first, _, rest = word.partition(" ")
    if first in _POWERS:
        word, power, exponent = rest, "^", _POWERS[first][1:]
    parts = [_known(part.strip()) for part in word.split("/")]
    return "/".join(parts) + power + exponent if all(parts) else ""


def _known(word: str) -> str:
    word = word.rstrip(".")
    singular = word.removesuffix("s") if len(word) > len("ms") else word
    return _UNITS.get(word) or _UNITS.get(singular, "")
