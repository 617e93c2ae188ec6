"""The settings of a training run, which are also the flags of `cot-compressor train`.

>>> TrainSettings(encoder="models/encoder").epochs
5
"""

from dataclasses import dataclass, field
from pathlib import Path

from cot_compressor.errors import DataError


@dataclass(frozen=True)
class TrainSettings:
    """Settings of the training of a scorer.

    Raises:
        DataError: a value is out of range.
    """

    encoder: Path | str = field(
        metadata={
            "metavar": "FOLDER",
            "help": "Folder with config and fast tokenizer of the encoder; its weights are optional.",
        }
    )
    epochs: int = field(default=5, metadata={"help": "Maximum number of epochs; early stopping may end sooner."})
    batch_size: int = field(default=16, metadata={"help": "Number of windows in a step, of all processes together."})
    learning_rate: float | None = field(
        default=None,
        metadata={"help": "Peak learning rate.", "default": "3e-5 for pretrained weights, 1e-3 for random ones"},
    )
    max_length: int | None = field(
        default=None,
        metadata={"help": "Number of tokens in a window.", "default": "what the encoder accepts, at most 4096"},
    )
    seed: int = field(default=0, metadata={"help": "Random seed of the split, the order and random weights."})

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise DataError(f"epochs and batch size must be at least 1; got {self.epochs} and {self.batch_size}")
        if self.learning_rate is not None and not 0 < self.learning_rate < 1:
            raise DataError(f"learning rate must be in (0, 1); got {self.learning_rate:g}")
        if self.max_length is not None and self.max_length < 16:
            raise DataError(f"max length must be at least 16; got {self.max_length}")
        if self.seed < 0:
            raise DataError(f"seed must be at least 0; got {self.seed}")
