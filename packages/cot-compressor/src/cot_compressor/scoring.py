"""What a scorer is, and how one is chosen by name.

A scorer sees the question, the chain of thought and its units, and says which units to keep sooner. How many are kept
is not its business.

    scorer = load_scorer("rules")
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from .errors import DataError
from .segment import Unit

DTYPES = ("float32", "bfloat16")
"""What a trained scorer computes in. In bfloat16 a score moves a little with what is scored beside it."""


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


def load_scorer(name: str | Path, *, dtype: str | None = None) -> Scorer:
    """`"rules"`, a folder written by `cot-compressor train`, or a hub's `owner/name@revision`; `dtype` of the latter.

    Raises:
        DataError: no such scorer, or the folder holds no usable model; `dtype` is unknown or means nothing.
    """
    if str(name) == "rules":
        if dtype is not None:
            raise DataError(f"dtype {dtype!r} is for a trained scorer; `rules` computes in none")
        from .rules import Rules

        return Rules()
    from .classifier import TokenClassifier

    return TokenClassifier.from_folder(name, dtype=dtype)
