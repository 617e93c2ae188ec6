"""Teach a language model control tokens that set the length of its thinking.

The names below are the public API; every other module may change. They are loaded on first use, so that
`import ratio_sft` loads neither torch nor transformers.

    from ratio_sft import MixSettings, TrainSettings, build, train

    build("compressed.jsonl", "mix", MixSettings())
    train("mix", "checkpoints/sft", TrainSettings(model="checkpoints/base"))
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ._shared.control_tokens import ControlTokens
from .errors import DataError, RatioSftError
from .settings import MixSettings, TrainSettings

if TYPE_CHECKING:
    from .data.build import build
    from .data.mixture import mix
    from .evaluation.evaluate import evaluate
    from .model.checkpoints import load_model
    from .model.tokens import add_control_tokens
    from .training.train import train

__all__ = [
    "ControlTokens",
    "DataError",
    "MixSettings",
    "RatioSftError",
    "TrainSettings",
    "add_control_tokens",
    "build",
    "evaluate",
    "load_model",
    "mix",
    "train",
]
__version__ = version("ratio-sft")

_MODULES = {
    "add_control_tokens": ".model.tokens",
    "build": ".data.build",
    "evaluate": ".evaluation.evaluate",
    "load_model": ".model.checkpoints",
    "mix": ".data.mixture",
    "train": ".training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
