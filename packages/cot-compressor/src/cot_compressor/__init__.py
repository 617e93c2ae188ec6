"""Shortens a chain of thought to an exact token budget, formulas whole.

Everything that a program may use is named here; other modules may change.

>>> from cot_compressor import Compressor
>>> compressor = Compressor.from_pretrained("rules")
>>> compressor.compress("Let me see. So 12 + 15 = 27, yes.", question="What is 12 + 15?", ratio=0.5).text
'So 12 + 15 = 27'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import CompressorError, InfeasibleBudget

if TYPE_CHECKING:
    from ._shared.row_layout import Layout
    from .compress import compress_file
    from .compressor import Compression, Compressor
    from .evaluation.baselines import select_baseline
    from .evaluation.evaluate import evaluate_file
    from .llmlingua import PromptCompressor
    from .text.segment import segment
    from .training.annotate import annotate_file
    from .training.settings import TrainSettings
    from .training.train import train_file

__all__ = [
    "Compression",
    "Compressor",
    "CompressorError",
    "InfeasibleBudget",
    "Layout",
    "PromptCompressor",
    "TrainSettings",
    "__version__",
    "annotate_file",
    "compress_file",
    "evaluate_file",
    "segment",
    "select_baseline",
    "train_file",
]
_PLACES = {
    "Compression": ".compressor",
    "Compressor": ".compressor",
    "Layout": "._shared.row_layout",
    "PromptCompressor": ".llmlingua",
    "TrainSettings": ".training.settings",
    "annotate_file": ".training.annotate",
    "compress_file": ".compress",
    "evaluate_file": ".evaluation.evaluate",
    "segment": ".text.segment",
    "select_baseline": ".evaluation.baselines",
    "train_file": ".training.train",
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, so that importing the package takes no time."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name], __name__), name)
