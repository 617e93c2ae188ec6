"""What `ratio-sft train` can be told; what training does with it is left to `train`.

TrainSettings(model="checkpoints/base", epochs=2).learning_rate      # 2e-05
"""

from dataclasses import dataclass

from .errors import DataError


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
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "gradient_accumulation", "learning_rate", "max_length"):
            if not getattr(self, name) > 0:
                raise DataError(f"{name} must be above 0; got {getattr(self, name)}")
        for name in ("max_steps", "save_steps"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise DataError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not 0 <= self.warmup_share < 1:
            raise DataError(f"warmup_share must be in [0, 1); got {self.warmup_share:g}")
