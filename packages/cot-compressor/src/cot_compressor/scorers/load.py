"""Loads a scorer by its name: the rules, a folder on disk, or a model on a hub.

Only a trained scorer needs torch and transformers, which the extra `[scorer]` installs.

>>> load_scorer("rules").name
'rules'
"""

from pathlib import Path

from cot_compressor._shared import runs
from cot_compressor._shared.checkpoint_settings import check_settings
from cot_compressor._version import __version__
from cot_compressor.errors import DataError, needs_extra

from .base import Scorer
from .hub import find_folder
from .rules import RuleScorer


def load_scorer(name: str | Path, *, dtype: str | None = None) -> Scorer:
    """Load a scorer.

    Args:
        name: `"rules"`, a folder written by `cot-compressor train` or `export`, or a hub's `owner/name@revision`.
        dtype: Number format of a trained scorer, one of `DTYPES`; by default the first.

    Raises:
        DataError: there is no such scorer, its folder contains no usable model, `dtype` is unknown or not for this
            scorer, or the packages of a trained scorer are not installed.
    """
    if str(name) == "rules":
        if dtype is not None:
            raise DataError(f"dtype {dtype!r} is for a trained scorer; `rules` has no number format, so leave it out")
        return RuleScorer()
    folder = find_folder(name)
    with needs_extra("scorer", f"scorer {name}: a trained scorer needs torch and transformers"):
        from .classifier import TokenClassifier
    return TokenClassifier.from_folder(folder, dtype=dtype)


def scorer_fingerprint(name: str | Path) -> str:
    """A text that differs for two scorers: the version of `rules`, or the digest of a model's files.

    Raises:
        DataError: there is no such scorer, or a file leads out of its folder or has no measure.
    """
    if str(name) == "rules":
        return f"rules {__version__}"
    folder = find_folder(name)
    check_settings(folder)
    return runs.digest(folder)
