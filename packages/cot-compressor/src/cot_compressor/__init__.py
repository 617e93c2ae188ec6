"""Shorten a chain of thought to an exact token budget, formulas whole.

from cot_compressor import Compressor

Compressor.from_pretrained("rules", tokenizer="models/base").compress(cot, question=question, ratio=0.2).text
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .errors import CompressorError, DataError, InfeasibleBudget

if TYPE_CHECKING:
    from .compressor import Compression, Compressor

__version__ = version("cot-compressor")
__all__ = ["Compression", "Compressor", "CompressorError", "DataError", "InfeasibleBudget"]


def __getattr__(name: str) -> Any:
    """The public class on first use, so that importing the package does not wait for what it needs."""
    if name in {"Compression", "Compressor"}:
        from . import compressor

        return getattr(compressor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
