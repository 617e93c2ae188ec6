"""Negations and comparisons, which change the meaning of the words after them: `not prime`, `at least 3`.

Without its `not` a text means the opposite, so `segment.py` makes one unit of such words and the words they belong to:
both are kept or neither. English only. Our choice: one unit, instead of keeping every `not` in any case, because a
`not` without the word after it has no meaning.

>>> from cot_compressor.text.segment import segment
>>> text = "so 91 is not a prime, and at least 3 are left"
>>> [text[unit.start : unit.end] for unit in segment(text) if " " in text[unit.start : unit.end]]
['not a prime', 'at least 3']
"""

import re

from .formulas import WITH_BY, FormulaFinder, word_set

_CONTRACTED = word_set(
    "isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't can't couldn't won't wouldn't shouldn't "
    "mustn't needn't"
)
_NEGATIONS = word_set("not no never none neither nor cannot without unless except") | _CONTRACTED
_COMPARED = word_set(
    "less more fewer greater larger smaller bigger higher lower older younger longer shorter taller heavier lighter "
    "faster slower other rather"
)
_PAIRS = {
    **dict.fromkeys(_COMPARED, word_set("than")),
    **dict.fromkeys(WITH_BY, word_set("by")),
    "at": word_set("least most"),
    "divisible": word_set("by"),
    "equal": word_set("to"),
}
_ALONE = word_set("only equals exceeds")
_BETWEEN = word_set(
    "a an the be been have has had any all by in of to actually really exactly necessarily even quite just yet always "
    "simply"
)


_FIRST = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)?")


def _spellings(known: frozenset[str]) -> frozenset[str]:
    """The words as they are, with a first capital, in capitals, and each with a typographic apostrophe."""
    straight = {spelling for word in known for spelling in (word, word.capitalize(), word.upper())}
    return frozenset(straight | {word.replace("'", "’") for word in straight})


NEGATIONS = _spellings(_NEGATIONS)
OPERATIONS = _spellings(WITH_BY)
_MODIFIERS = NEGATIONS | _spellings(_ALONE)
OPENERS = _MODIFIERS | _spellings(frozenset(_PAIRS))
"""Words at which a negation or comparison may begin."""


def end_of_modifiers(finder: FormulaFinder, at: int) -> int:
    """The index of the token after the words that change the meaning of what follows.

    Args:
        finder: The tokens of the text.
        at: Index of the first of these words, one of `OPENERS`.

    Returns:
        An index, which is `at` if the words there change nothing.
    """
    stop = here = at
    while here == at or finder.near(here):
        word = finder.token(here)
        if word in _MODIFIERS or (here > at and word in _BETWEEN and finder.formula_at(here) is None):
            stop = here + 1
        elif finder.near(here + 1) and finder.token(here + 1) in _PAIRS.get(word.lower(), ()):
            stop = here + 2
        elif here > at and word == "or" and finder.near(here + 1) and finder.token(here + 1) in _PAIRS:
            stop = here + 1  # `greater than or equal to`: a pair or the end of the phrase follows
        else:
            break
        here = finder.after_marks(stop, brackets=finder.token(stop - 1) in NEGATIONS)
    return stop


def is_negated(text: str) -> bool:
    """True if a unit with this text begins with a negation.

    >>> is_negated("not a prime"), is_negated("a prime")
    (True, False)
    """
    return first_word(text) in NEGATIONS


def first_word(text: str) -> str:
    """The word that a unit's text begins with, without the marks after it; empty if it begins with no word."""
    found = _FIRST.match(text)
    return found[0] if found else ""
