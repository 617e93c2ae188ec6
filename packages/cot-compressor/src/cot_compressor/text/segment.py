"""Cuts a chain of thought into units: formulas, numbers, words, punctuation.

A unit is the smallest part of a text that can be kept or dropped. A formula is one unit, however long it is, and so are
a line of a fenced code block and a negation with the words it negates (`negations.py`). Units are sorted and disjoint,
and cover all text but white space. `latex.py` finds formulas between delimiters, `tokens.py` cuts the rest into tokens,
and `formulas.py` joins tokens into plain-text formulas; each takes linear time. Ranking units is left to the scorers.

>>> [unit.kind for unit in segment("12 + 15 = 27. Check it")]
['math', 'punctuation', 'word', 'word']
"""

from typing import Literal, NamedTuple

from .formulas import FUNCTIONS, FormulaFinder
from .negations import NEGATIONS, OPENERS, OPERATIONS, end_of_modifiers
from .tokens import Tokens, tokenise

Kind = Literal["math", "number", "word", "punctuation"]


class Unit(NamedTuple):
    """One indivisible part of a text."""

    start: int
    """Offset of the first character."""
    end: int
    """Offset after the last character."""
    kind: Kind
    """`"math"`, `"number"`, `"word"` or `"punctuation"`."""
    step: int
    """Index, from 0, of the sentence or line that the unit belongs to."""


_TAKE_FORMULAS = NEGATIONS | OPERATIONS
_KINDS: dict[str, Kind] = {"M": "math", "N": "number", "W": "word", "V": "word", "L": "math"}


def _unit_at(tokens: Tokens, finder: FormulaFinder, at: int) -> tuple[int, Kind]:
    """(token after the unit that begins at token `at`, its kind)."""
    types = tokens.types
    kind = types[at]
    if kind != "W":
        return finder.formula_at(at) or (at + 1, _KINDS.get(kind, "punctuation"))
    word = tokens.text[tokens.starts[at] : tokens.ends[at]]
    opens = at + 1 < len(types) and (types[at + 1] in {"R", "O", "A"} or word in FUNCTIONS)
    if opens and (formula := finder.formula_at(at)):
        return formula
    if word in OPENERS:
        return _phrase_at(tokens, finder, at)
    return at + 1, "word"


def _phrase_at(tokens: Tokens, finder: FormulaFinder, at: int) -> tuple[int, Kind]:
    """A negation or comparison with the words after it; a formula joins negations and operations only."""
    modifiers_end = end_of_modifiers(finder, at)
    target = finder.after_marks(modifiers_end, brackets=finder.token(modifiers_end - 1) in NEGATIONS)
    if modifiers_end > at and tokens.types[target : target + 1] == ["R"]:
        target += 1
    if modifiers_end > at and finder.near(target):
        stop, kind = _unit_at(tokens, finder, target)
        if kind in {"word", "number"} or (kind == "math" and finder.token(at) in _TAKE_FORMULAS):
            return finder.marks_closed(at + 1, target, stop), kind
    return max(modifiers_end, at + 1), "word"


def segment(text: str) -> list[Unit]:
    """Cut `text` into units.

    Steps are sentences or lines: a new step begins after a line break, and after `.`, `?` or `!` before a space.

    Returns:
        The units in order. They cover every character that is not white space; a blank text has none.
    """
    tokens = tokenise(text)
    types, starts, ends = tokens.types, tokens.starts, tokens.ends
    finder = FormulaFinder(tokens)
    units: list[Unit] = []
    step = at = previous = 0
    count = len(types)
    next_break = -1
    sentence_end = False
    while at < count:
        start = starts[at]
        new_line = False
        if start > next_break:
            new_line = text.find("\n", previous, start) >= 0
            found = text.find("\n", start)
            next_break = found if found >= 0 else len(text)
        if start > previous and (sentence_end or new_line) and units:
            step += 1
        stop, shape = _unit_at(tokens, finder, at)
        previous = ends[stop - 1]
        units.append(Unit(start, previous, shape, step))
        sentence_end = shape == "punctuation" and text[previous - 1] in ".?!"
        at = stop
    return units
