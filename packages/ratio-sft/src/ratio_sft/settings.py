"""What `ratio-sft train` can be told; what training does with it is left to `train`.

TrainSettings(model="checkpoints/base", epochs=2).learning_rate      # 2e-05
"""

from dataclasses import dataclass
from importlib.util import find_spec

from .errors import DataError

_TRACKERS = ("tensorboard", "trackio", "wandb")


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults are the paper's (section 2.3) unless said otherwise."""

    model: str
    """The base model's folder, or a checkpoint that follows ratios already."""
    epochs: float = 3.0
    max_steps: int | None = None
    """Optimiser steps in all; overrides `epochs`."""
    batch_size: int = 8
    """Rows of one process and forward pass. Our choice: the paper has 2 on each GPU with 8 accumulated."""
    gradient_accumulation: int = 1
    learning_rate: float = 2e-5
    warmup_share: float = 0.05
    weight_decay: float = 0.05
    max_length: int = 6144
    """Longer rows, in tokens, are rejected and counted, never cut."""
    save_steps: int | None = None
    """Steps between checkpoints; by default a tenth of the run."""
    packing: bool = False
    """Lay the rows of a batch end to end instead of padding them; steps and losses stay the same."""
    ratio_weights: tuple[tuple[float, float], ...] = ()
    """(ratio, weight) pairs: how much a completion token of that ratio's rows counts; 1 for ratios not named. The
    weights are scaled so that their mean over all completion tokens is 1."""
    lora_rank: int | None = None
    """Train adapters of this rank and the embeddings instead of all weights; they are merged at the end."""
    follow: int = 0
    """Held-out questions to answer at every ratio at each checkpoint."""
    report_to: str | None = None
    """Where else to log: tensorboard (into OUT/runs), trackio or wandb."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "gradient_accumulation", "learning_rate", "max_length"):
            if not getattr(self, name) > 0:
                raise DataError(f"{name} must be above 0; got {getattr(self, name)}")
        for name in ("max_steps", "save_steps", "lora_rank"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise DataError(f"{name} must be at least 1; got {getattr(self, name)}")
        for ratio, weight in self.ratio_weights:
            if not weight >= 0:
                raise DataError(f"the weight of ratio {ratio:g} must be at least 0; got {weight}")
        if self.follow < 0:
            raise DataError(f"follow must be at least 0; got {self.follow}")
        if self.report_to is not None and self.report_to not in _TRACKERS:
            raise DataError(f"report_to must be one of {', '.join(_TRACKERS)}; got {self.report_to!r}")
        if self.report_to is not None and find_spec(self.report_to) is None:
            raise DataError(f"report_to {self.report_to} needs that package; pip install {self.report_to}")
        if not 0 <= self.warmup_share < 1:
            raise DataError(f"warmup_share must be in [0, 1); got {self.warmup_share:g}")
