"""Cuts a chain of thought into units: formulas, numbers, words, punctuation.

A unit is the smallest part of a text that can be kept or dropped. A formula is one unit, however long it is, and so are
a line of a fenced code block and a negation with the words it negates (`negations.py`). Units are sorted and disjoint,
and cover all text but white space. `latex.py` finds formulas between delimiters, `tokens.py` cuts the rest into tokens,
and `formulas.py` joins tokens into plain-text formulas; each takes linear time. Ranking units is left to the scorers.

>>> [unit.kind for unit in segment("12 + 15 = 27. Check it")]
['math', 'punctuation', 'word', 'word']
"""

from bisect import bisect_left, bisect_right
from typing import Literal, NamedTuple

from .formulas import FUNCTIONS, FormulaFinder, word_set
from .joins import ARROW_STARTS, aside_end, connected, equation_spans
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
_KINDS: dict[str, Kind] = {"M": "math", "N": "number", "W": "word", "V": "word", "C": "word", "L": "math"}
_WIDE_ENDS = frozenset("。！？；")
_ENDS = frozenset(".?!") | _WIDE_ENDS
_CLOSING = frozenset(['"', "'", "”", "’", ")", "]", "*", "**", "_", "」", "』", "）"])
_ABBREVIATIONS = word_set("Mr Mrs Ms Dr Prof St vs cf resp approx Fig fig Eq eq No no Nr ca bzw Sr Sra etc al Jr")


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


def _grown(tokens: Tokens, finder: FormulaFinder, first: int, stop: int, kind: Kind) -> tuple[int, Kind]:
    """The unit together with what an operator, an arrow or a missing space connects it with (`joins.py`)."""
    count = len(tokens.types)
    while stop < count and (start := connected(finder, first, stop, kind)) >= 0:
        if tokens.types[start] == "A" and finder.formula_at(start) is None:
            end, more = aside_end(finder, start), "punctuation"
        else:
            end, more = _unit_at(tokens, finder, start)
        if start > stop or "math" in (kind, more):
            kind = "math"
        elif kind != "number" or tokens.ends[stop - 1] == tokens.starts[start]:
            kind = "word"
        stop = end
    return stop, kind


def segment(text: str) -> list[Unit]:
    """Cut `text` into units.

    Steps are sentences or lines: a new step begins after a line break, and after a sentence end before a space, except
    that of an abbreviation or of the number of a list item.

    Returns:
        The units in order. They cover every character that is not white space; a blank text has none.
    """
    tokens = tokenise(text)
    types, starts, ends = tokens.types, tokens.starts, tokens.ends
    finder = FormulaFinder(tokens)
    units: list[Unit] = []
    step = at = previous = line_first = 0
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
            line_first = at
        if units and (new_line or (sentence_end and (start > previous or text[previous - 1] in _WIDE_ENDS))):
            step += 1
        # A relation sign that begins a line continues a chain: `= 3 + 4`.
        continues = types[at] == "R" and (new_line or at == 0) and finder.near(at + 1) and finder.formula_at(at + 1)
        stop, shape = continues or _unit_at(tokens, finder, at)
        if stop < count and shape != "punctuation":
            follower = types[stop]
            # The usual cases, a mark or another word after a space, are decided here, because they must be cheap.
            if follower[0] == "P":
                grows = text[starts[stop]] in ARROW_STARTS
            else:
                grows = follower != "W" or types[stop - 1] != "W" or starts[stop] == ends[stop - 1]
            if grows:
                stop, shape = _grown(tokens, finder, at, stop, shape)
        previous = ends[stop - 1]
        units.append(Unit(start, previous, shape, step))
        if shape == "punctuation":
            glued = len(units) > 1 and start == units[-2].end
            if text[previous - 1] in _ENDS:
                sentence_end = not (text[start] == "." and _is_abbreviated(tokens, at, line_first))
            else:
                sentence_end = sentence_end and glued and text[start:previous] in _CLOSING
        else:
            sentence_end = False
        at = stop
    return _joined(text, units)


def _is_abbreviated(tokens: Tokens, at: int, line_first: int) -> bool:
    """True if the full stop at `at` follows an abbreviation, or the number or letter that begins a line."""
    if at == 0 or tokens.ends[at - 1] != tokens.starts[at]:
        return False
    before = tokens.text[tokens.starts[at - 1] : tokens.ends[at - 1]]
    return before in _ABBREVIATIONS or (at - 1 == line_first and (before.isdecimal() or len(before) == 1))


def _joined(text: str, units: list[Unit]) -> list[Unit]:
    """The units, with those of each equation that fills its line joined."""
    found: list[Unit] = []
    at = 0
    for start, end in equation_spans(text):
        low = bisect_left(units, start, at, key=lambda unit: unit.start)
        high = bisect_right(units, end, low, key=lambda unit: unit.end)
        if high - low > 1 and units[low].start == start:
            found += units[at:low]
            found.append(Unit(start, units[high - 1].end, "math", units[low].step))
            at = high
    return [*found, *units[at:]] if found else units
