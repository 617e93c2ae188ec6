"""Teach a language model control tokens that set the length of its thinking."""

from importlib.metadata import version

__version__ = version("ratio-sft")
