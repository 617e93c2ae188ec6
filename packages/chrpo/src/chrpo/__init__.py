"""A reinforcement-learning objective for short and right answers: hierarchical reward under an accuracy constraint."""

from importlib.metadata import version

__version__ = version("chrpo")
