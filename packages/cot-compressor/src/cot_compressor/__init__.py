"""Shorten a chain of thought to an exact token budget, formulas whole."""

from importlib.metadata import version

__version__ = version("cot-compressor")
