"""Teach a language model control tokens that set the length of its thinking.

from ratio_sft import MixSettings, TrainSettings, build, train

build("compressed.jsonl", "mix", MixSettings())
train("mix", "checkpoints/sft", TrainSettings(model="checkpoints/base"))
"""

from importlib.metadata import version

from ._shared.control_tokens import ControlTokens
from .build import build
from .errors import DataError, RatioSftError
from .evaluate import evaluate
from .mixture import MixSettings, mix
from .settings import TrainSettings
from .train import train

__all__ = [
    "ControlTokens",
    "DataError",
    "MixSettings",
    "RatioSftError",
    "TrainSettings",
    "build",
    "evaluate",
    "mix",
    "train",
]
__version__ = version("ratio-sft")
