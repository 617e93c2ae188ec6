"""Reinforcement learning for short and correct answers: a hierarchical reward under an accuracy constraint.

What is named in `__all__` here and in `chrpo.core`, `chrpo.trl` and `chrpo.verl` is for everybody to use; other modules
may change. torch, transformers and the trainers are imported when they are needed.
"""

from importlib.metadata import version

# A module that is imported later would replace the function of the same name here, so these two are imported now.
from . import prepare as _prepare  # noqa: F401
from . import train as _train  # noqa: F401
from ._shared.control_tokens import ControlTokens
from .batch import Rollout
from .errors import ChrpoError
from .grader import grade
from .prepare import prepare
from .prompts import read_prompts
from .rollout import RolloutReader, RolloutStats
from .settings import CHRPOSettings, TrainSettings
from .step import CHRPOController
from .train import train

__all__ = [
    "CHRPOController",
    "CHRPOSettings",
    "ChrpoError",
    "ControlTokens",
    "Rollout",
    "RolloutReader",
    "RolloutStats",
    "TrainSettings",
    "grade",
    "prepare",
    "read_prompts",
    "train",
]
__version__ = version("chrpo")
