"""Words that turn what follows them: negations (`not prime`) and comparisons (`at least 3`, `divisible by 7`).

Kept without its `not`, a text says the opposite, so `segment.py` makes such words one unit with what they lean on: both
are kept or neither. English only. Our choice: that, rather than to keep every `not` in any case, because at a low ratio
a `not` without its word tells a reader nothing.

>>> from cot_compressor.segment import segment
>>> text = "so 91 is not a prime, and at least 3 are left"
>>> [text[unit.start : unit.end] for unit in segment(text) if " " in text[unit.start : unit.end]]
['not a prime', 'at least 3']
"""

import re

from .plain import WITH_BY, FormulaFinder, words

_CONTRACTED = words(
    "isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't can't couldn't won't wouldn't shouldn't "
    "mustn't needn't"
)
_NEGATIONS = words("not no never none neither nor cannot without unless except") | _CONTRACTED
_COMPARED = words(
    "less more fewer greater larger smaller bigger higher lower older younger longer shorter taller heavier lighter "
    "faster slower other rather"
)
_PAIRS = {
    **dict.fromkeys(_COMPARED, words("than")),
    **dict.fromkeys(WITH_BY, words("by")),
    "at": words("least most"),
    "divisible": words("by"),
    "equal": words("to"),
}
_ALONE = words("only equals exceeds")
_BETWEEN = words(
    "a an the be been have has had any all by in of to actually really exactly necessarily even quite just yet always "
    "simply"
)


_FIRST = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)?")


def _spellings(known: frozenset[str]) -> frozenset[str]:
    """With a first capital, in capitals, and with a typographic apostrophe."""
    straight = {spelling for word in known for spelling in (word, word.capitalize(), word.upper())}
    return frozenset(straight | {word.replace("'", "’") for word in straight})


NEGATIONS = _spellings(_NEGATIONS)
OPERATIONS = _spellings(WITH_BY)
_LEANING = NEGATIONS | _spellings(_ALONE)
OPENERS = _LEANING | _spellings(frozenset(_PAIRS))
"""Words at which a phrase may begin."""


def leaning_words(finder: FormulaFinder, at: int) -> int:
    """The token after the words that lean on what follows, from the opener at `at`; `at` if there are none."""
    stop = here = at
    while here == at or finder.near(here):
        word = finder.token(here)
        if word in _LEANING or (here > at and word in _BETWEEN and finder.formula_at(here) is None):
            stop = here + 1
        elif finder.near(here + 1) and finder.token(here + 1) in _PAIRS.get(word.lower(), ()):
            stop = here + 2
        elif here > at and word == "or" and finder.near(here + 1) and finder.token(here + 1) in _PAIRS:
            stop = here + 1  # `greater than or equal to`; what comes now is such a pair, or ends the phrase
        else:
            break
        here = finder.after_marks(stop, brackets=finder.token(stop - 1) in NEGATIONS)
    return stop


def negated(text: str) -> bool:
    """True if a unit with this text begins with a negation."""
    return first_word(text) in NEGATIONS


def first_word(text: str) -> str:
    """The word a unit's text begins with, without marks behind it; empty where it begins with none."""
    found = _FIRST.match(text)
    return found[0] if found else ""
