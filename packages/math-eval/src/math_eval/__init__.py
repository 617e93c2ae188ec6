"""A math benchmark that grades safely, counts thinking tokens and compares runs with statistics."""

from importlib.metadata import version

__version__ = version("math-eval")
