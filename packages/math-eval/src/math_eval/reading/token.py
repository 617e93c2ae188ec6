"""A token of an answer.

>>> Token("number", "1.50", value=Fraction("1.50"), places=2).text
'1.50'
"""

from fractions import Fraction
from typing import NamedTuple


class Token(NamedTuple):
    """A token: its kind, its text, whether space stood before it, and whether it was set as text.

    The kinds are number, letter, vector, word, function, macro, accent, big, begin, end, mark and unknown. `value` is
    that of a number, and `places` its number of decimals (-1 if they repeat).
    """

    kind: str
    text: str
    gap: bool = False
    upright: bool = False
    value: Fraction = Fraction(0)
    places: int = 0
