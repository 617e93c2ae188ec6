"""What a scorer is: it sees question, chain of thought and units, and ranks the units.

How many units are kept is decided by the selection (`budget/select.py`); a scorer is loaded by name in `load.py`.

>>> from cot_compressor.text.segment import segment
>>> text = "so 12 + 15 = 27"
>>> ScoringInput("What is 12 + 15?", text, segment(text)).units[0].kind
'word'
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from cot_compressor.text.segment import Unit

DTYPES = ("float32", "bfloat16")
"""Number formats of a trained scorer. In bfloat16 a score depends slightly on the texts scored in the same batch."""


class ScoringInput(NamedTuple):
    """One chain of thought to score."""

    question: str
    cot: str
    units: Sequence[Unit]


class Scorer(Protocol):
    """Anything that ranks units."""

    name: str
    """Name of the rules or of the model folder, which is written into results."""

    def score(self, items: Sequence[ScoringInput]) -> list[list[float]]:
        """One finite score for each unit of each item.

        A unit with a higher score is kept first. The scores of an item do not depend on the other items.
        """
        ...
