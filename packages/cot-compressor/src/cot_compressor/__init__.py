"""Shorten a chain of thought to an exact token budget, formulas whole.

    from cot_compressor import Compressor

    Compressor.from_pretrained("rules", tokenizer="models/base").compress(cot, question=question, ratio=0.2).text
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .errors import CompressorError, DataError, InfeasibleBudget

if TYPE_CHECKING:
    from .compressor import Compression, Compressor
    from .segment import Unit, segment

__version__ = version("cot-compressor")
__all__ = ["Compression", "Compressor", "CompressorError", "DataError", "InfeasibleBudget", "Unit", "segment"]

_LAZY = {"Compression": "compressor", "Compressor": "compressor", "Unit": "segment", "segment": "segment"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
