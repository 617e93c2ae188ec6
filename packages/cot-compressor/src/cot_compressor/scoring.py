"""What a scorer is, and how one is chosen by name.

A scorer sees the question, the chain of thought and its units, and says which units to keep sooner. How many are kept
is not its business.

    scorer = load_scorer("rules")
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from .segment import Unit


class Item(NamedTuple):
    """One chain of thought to score."""

    question: str
    cot: str
    units: Sequence[Unit]


class Scorer(Protocol):
    """Anything that ranks units."""

    name: str
    """Written into results; names the rules, or the model folder and its weights."""

    def score(self, items: Sequence[Item]) -> list[list[float]]:
        """One finite score per unit, higher is kept sooner; an item's scores do not depend on the others."""
        ...


def load_scorer(name: str | Path) -> Scorer:
    """`"rules"`, a folder written by `cot-compressor train`, or a hub's `owner/name@revision`.

    Raises:
        DataError: no such scorer, or the folder holds no usable model.
    """
    if str(name) == "rules":
        from .rules import Rules

        return Rules()
    from .classifier import TokenClassifier

    return TokenClassifier.from_folder(name)
