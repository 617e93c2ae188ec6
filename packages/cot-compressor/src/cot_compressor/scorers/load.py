"""Loads a scorer by its name: the rules, a folder on disk, a model on a hub, or a hybrid of the rules and one of these.

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
from .hybrid import HybridScorer
from .rules import RuleScorer

_HYBRID = "hybrid:"


def load_scorer(name: str | Path, *, dtype: str | None = None) -> Scorer:
    """Load a scorer.

    Args:
        name: `"rules"`, a folder written by `cot-compressor train` or `export`, a hub's `owner/name@revision`, or
            `hybrid:` and one of the latter two (`hybrid.py`).
        dtype: Number format of a trained scorer, one of `DTYPES`; by default the first.

    Raises:
        DataError: there is no such scorer, its folder contains no usable model, `dtype` is unknown or not for this
            scorer, or the packages of a trained scorer are not installed.
    """
    if str(name) == "rules":
        if dtype is not None:
            raise DataError(f"dtype {dtype!r} is for a trained scorer; `rules` has no number format, so leave it out")
        return RuleScorer()
    kind, of_model = _split_name(name)
    folder = find_folder(of_model)
    with needs_extra("scorer", f"scorer {name}: a trained scorer needs torch and transformers"):
        from .classifier import TokenClassifier
    trained = TokenClassifier.from_folder(folder, dtype=dtype)
    return HybridScorer(trained) if kind else trained


def scorer_fingerprint(name: str | Path) -> str:
    """A text that differs for two scorers: the version of `rules`, the digest of a model's files, or both of a hybrid.

    Raises:
        DataError: there is no such scorer, or a file leads out of its folder or has no measure.
    """
    if str(name) == "rules":
        return f"rules {__version__}"
    kind, of_model = _split_name(name)
    folder = find_folder(of_model)
    check_settings(folder)
    digest = runs.digest(folder)
    return f"{kind}{__version__} {digest}" if kind else digest


def _split_name(name: str | Path) -> tuple[str, str]:
    """`hybrid:` or nothing, and the name of the trained scorer.

    Raises:
        DataError: the hybrid is one of the rules, or of nothing.
    """
    kind = _HYBRID if str(name).startswith(_HYBRID) else ""
    of_model = str(name).removeprefix(kind)
    if kind and of_model in {"", "rules"}:
        raise DataError(f"scorer {name}: a hybrid needs a trained scorer; give {_HYBRID}FOLDER, or `rules` alone")
    return kind, of_model
