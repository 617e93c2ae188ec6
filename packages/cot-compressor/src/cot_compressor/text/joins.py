"""Joins units that say something else apart: formulas with words inside, numbers with their units, arrows with both
sides.

`formulas.py` stops where prose may begin (`v = u` in `v = u + at = 22`). Here a unit grows over the operator, relation
sign or arrow that connects it with the next one, and a number over its unit of measurement. A line that is nothing but
an equation is one unit between its commas. What a unit is otherwise is decided in `segment.py`.

>>> from cot_compressor.text.segment import segment
>>> text = "so v = u + at = 4 + 3 * 6 = 22 m/s if P -> Q"
>>> [text[unit.start : unit.end] for unit in segment(text) if unit.kind == "math"]
['v = u + at = 4 + 3 * 6 = 22 m/s', 'P -> Q']
"""

import re
from collections.abc import Iterator

from .formulas import FUNCTIONS, MEASURES, PROSE, FormulaFinder
from .tokens import CJK

_IS_CJK = re.compile(f"[{CJK}]")
_ARROWS = frozenset("→⇒⟹⇔↔⇌⟶⟷")
ARROW_STARTS = _ARROWS | frozenset("-=<")
_ARROW_WORDS = frozenset(["->", "-->", "=>", "<-", "<->", "<=>"])
_LONGEST_ASIDE = 60
_EQUATION_LINE = re.compile(r"^(?=[^\n]*[=≈≤≥<>])[^\n]{3,200}$", re.MULTILINE)
_BULLET = re.compile(r"\s*(?:[-+*•]\s+|\d+[.)]\s+)?")
_DELIMITED = re.compile(r"\\[(\[]|\$\D|[`|<>{}]{2}|\*\*|`")
_PART_END = re.compile(r"[,;.]\s+|\s*(?:→|⇒|⟹|=>|-+>)\s*|[.,;:!?]*\s*$")
_RELATION = re.compile(r"[=≈≤≥<>]|\bis\b")
_INDEX = "\u1d2c-\u1d6a\u2071\u207f\u2090-\u209c\u2c7c"
"""Raised and lowered letters: an index belongs to the letter before it, which stays a letter."""
_WORD = re.compile(rf"[^\W\d_{_INDEX}]{{2,}}")
_NAME = re.compile(r"[^\W\d]+(?:[ '’-][^\W\d]+)*(?:\([^()=]{1,20}\))?\s*")
_READ = FUNCTIONS | MEASURES | {"mod", "gcd", "lcm", "max", "min"}
_LABEL = re.compile(r"(?:[^\W\d]{1,6} )?\d{1,4}:\s+")
_MOST_NAME_WORDS = 3
_LONGEST_PRODUCT = 3
_DIFFERENTIALS = frozenset(["dx", "dy", "dz", "dt", "dr"])
_GREEK = frozenset(["pi", "theta", "alpha", "beta", "gamma", "delta", "lambda", "mu", "sigma", "omega", "phi", "rho"])


def is_arrow(finder: FormulaFinder, at: int) -> bool:
    """True if token `at` is an arrow."""
    token = finder.token(at)
    return token in _ARROW_WORDS or token in _ARROWS


def _is_operand(finder: FormulaFinder, at: int) -> bool:
    """True if token `at` can be an operand: a word of prose cannot, unless an operator follows it."""
    kind = finder.types[at]
    if kind in {"N", "V", "M", "L", "A", "S"}:
        return True
    if kind not in {"W", "C"} or at + 1 > len(finder.types):
        return False
    follows = finder.near(at + 1) and finder.types[at + 1] in {"R", "O"}
    return follows or (kind == "W" and finder.token(at).lower() not in PROSE)


def connected(finder: FormulaFinder, first: int, stop: int, kind: str) -> int:
    """The token at which the next part of a unit begins, or `stop` if the unit ends there.

    Args:
        finder: The tokens of the text.
        first: Index of the unit's first token.
        stop: Index of the token after the unit.
        kind: Kind of the unit so far.
    """
    types = finder.types
    here = types[stop]
    if finder.glued(stop):
        before, after = finder.text[finder.ends[stop - 1] - 1], finder.text[finder.starts[stop]]
        if before.isalnum() and after.isalnum() and not (_IS_CJK.match(before) or _IS_CJK.match(after)):
            return stop
    if not finder.near(stop) or stop + 1 > len(types):
        return -1
    operand = kind in {"math", "number"} or types[stop - 1] == "V"
    if operand and here in {"R", "O"}:
        return stop + 1 if _links(finder, stop) else -1
    if here[0] == "P" and is_arrow(finder, stop) and finder.near(stop + 1):
        left = operand or (types[stop - 1] in {"W", "C"} and finder.token(stop - 1).lower() not in PROSE)
        return stop + 1 if left and _is_operand(finder, stop + 1) else -1
    if kind == "math" and here in {"V", "W"} and _is_factor(finder, stop):
        return stop
    if types[stop - 1] in {"N", "M"} and kind != "punctuation" and here in {"W", "V", "C"}:
        token = finder.token(stop)
        rate = finder.glued(stop + 1) and finder.token(stop + 1) in {"/", "·"}
        return stop if token in MEASURES or rate or (here == "C" and token.split("/")[0] in MEASURES) else -1
    if here == "E" and types[stop - 1] == "N" and finder.glued(stop) and finder.near(stop + 1):
        return stop if types[stop + 1] in {"R", "O"} else -1
    if kind == "math" and here == "A" and finder.token(stop + 1) == "mod":
        return stop
    return -1


def _is_factor(finder: FormulaFinder, at: int) -> bool:
    """True if the letter or short word at `at` is a factor of the formula before it: `2 H2O`, `m a`, `pi r^2`."""
    token, before = finder.token(at), finder.types[at - 1]
    if finder.types[at] == "V":
        return token not in {"a", "A", "I"} and (before in {"N", "Z", "V", "L", "S"} or finder.token(at - 1) in _GREEK)
    if before in {"N", "Z"} and ((token[0].isupper() and not token.isalpha()) or token in _DIFFERENTIALS):
        return True
    raised = finder.glued(at + 1) and finder.types[at + 1] in {"O", "S"} and finder.token(at + 1) != "-"
    return len(token) <= _LONGEST_PRODUCT and raised


def _links(finder: FormulaFinder, at: int) -> bool:
    """True if the operator or relation sign at `at` connects the operand before it with the one after it."""
    if not finder.near(at + 1) or not _is_operand(finder, at + 1):
        return False
    if finder.types[at] == "R":
        return True
    return finder.glued(at) == finder.glued(at + 1)


def aside_end(finder: FormulaFinder, at: int) -> int:
    """The token after the short bracket that begins at `at`, or `at + 1` if there is none."""
    close = finder.partners.get(at, -1)
    if close < 0 or finder.ends[close] - finder.starts[at] > _LONGEST_ASIDE:
        return at + 1
    return at + 1 if "\n" in finder.text[finder.starts[at] : finder.ends[close]] else close + 1


def equation_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the parts, between commas and arrows, of lines that are only equations in plain text."""
    for line in _EQUATION_LINE.finditer(text):
        if _DELIMITED.search(text, *line.span()):
            continue
        bullet = _BULLET.match(text, *line.span())
        start = bullet.end() if bullet else line.start()
        while start < line.end():
            border = _PART_END.search(text, start, line.end())
            low, high = border.span() if border else (line.end(), line.end())
            label = _LABEL.match(text, start, low)
            if _is_equation(text[label.end() if label else start : low]):
                yield start, low
            start = max(high, start + 1)


def _is_equation(part: str) -> bool:
    """True for a part with a relation sign and no words but units, functions and a short name alone on the left."""
    name, *sides = _RELATION.split(part)
    words = _WORD.findall(name)
    if not sides or any(word.lower() in PROSE for word in words):
        return False
    alone = len(words) <= _MOST_NAME_WORDS and _NAME.fullmatch(name)
    return all(word in _READ for side in (sides if alone else [name, *sides]) for word in _WORD.findall(side))
