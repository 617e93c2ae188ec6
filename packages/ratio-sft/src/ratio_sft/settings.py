"""The settings of `ratio-sft build` and `ratio-sft train`; the commands' flags are made from the same fields.

Every setting has its default and its help text here and nowhere else. The work itself is left to `data.build` and
`training.train`.

>>> TrainSettings(model="checkpoints/base", epochs=2).learning_rate
2e-05
"""

from dataclasses import dataclass, field
from importlib.util import find_spec

from ._shared.control_tokens import INSTRUCTION, ControlTokens
from ._shared.thinking_formats import FLAG_HELP, given_format
from .errors import DataError

POLICY_SHARE = 1 / 7
RECORDED_PACKAGES = ("ratio-sft", "torch", "transformers", "trl", "accelerate")
"""Distributions whose versions are recorded in every manifest."""
_SCHEDULERS = ("cosine", "linear", "constant")
_TRACKERS = ("tensorboard", "trackio", "wandb")


def _ratio_pair(text: str) -> tuple[float, float]:
    ratio, _, number = text.partition("=")
    try:
        return float(ratio), float(number)
    except ValueError as error:
        raise ValueError(f"{text!r} is not RATIO=NUMBER, such as 0.2=2") from error


def _switch(text: str) -> tuple[float, str]:
    ratio, _, word = text.partition("=")
    try:
        return float(ratio), word
    except ValueError as error:
        raise ValueError(f"{text!r} is not RATIO=SWITCH, such as 0=/no_think") from error


def _check_word(name: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise DataError(f"{name} must be one of {', '.join(known)}; got {word!r}")


@dataclass(frozen=True)
class MixSettings:
    """Settings of a mixture; the paper's values are the defaults where the paper gives one.

    Raises:
        DataError: a value is out of range, or two settings contradict each other.
    """

    ratios: tuple[float, ...] = field(
        default=(),
        metadata={"flag": "--ratio", "help": "Ratio of the ladder; repeatable.", "default": "all ratios in IN"},
    )
    switches: tuple[tuple[float, str], ...] = field(
        default=(),
        metadata={
            "flag": "--switch",
            "metavar": "R=WORD",
            "parse": _switch,
            "help": "The model's own switch that ends a prompt of ratio R, such as 0=/no_think or "
            "0.2=reasoning_effort=low; repeatable.",
            "default": "the ratio token",
        },
    )
    """(ratio, switch) pairs. The response still opens with the ratio token, so that the model can choose this ratio."""
    tolerance: float = field(
        default=0.05, metadata={"help": "Maximum difference between the requested and the achieved ratio."}
    )
    """The paper's value (section 2.1, step 2)."""
    policy_share: float = field(
        default=POLICY_SHARE, metadata={"help": "Share of policy rows in the mixture.", "default": "1/7"}
    )
    """The paper has 10k policy rows beside 60k rows of fixed ratio (section 2.1)."""
    policy_quotas: tuple[tuple[float, float], ...] = field(
        default=(),
        metadata={
            "flag": "--policy-quota",
            "metavar": "R=SHARE",
            "parse": _ratio_pair,
            "help": "Share of policy rows whose target is ratio R; repeatable.",
            "default": "as measured",
        },
    )
    """(ratio, share) pairs. The paper's shares are .18 .24 .26 .22 .10 (section 2.2). Our choice: none, because each
    target then has the share that was measured."""
    heldout_share: float = field(default=0.05, metadata={"help": "Share of questions to hold out."})
    """Our choice: half of the paper's 10 %, because one split of many rows suffices."""
    plain_share: float = field(default=0.0, metadata={"help": "Share of full-length rows without a control token."})
    """Such rows preserve the model's behaviour when no ratio is requested. The paper uses one half (section 2.1, step
    6)."""
    traces: int | None = field(
        default=None,
        metadata={"help": "Number of traces to keep, spread evenly over their lengths.", "default": "all"},
    )
    """The lengths of thinking are divided into five bins of equal width (section 2.1, step 1)."""
    instruction: str = field(default=INSTRUCTION, metadata={"help": "Text before each question."})
    seed: int = field(
        default=0, metadata={"help": "Random seed for choosing held-out questions, policy rows and kept traces."}
    )
    thinking_format: str = field(default="think", metadata={"help": FLAG_HELP})
    """The format of the model that is to be trained; `ratio-sft train` names it if another one is needed."""
    paper_floors: bool = field(
        default=False, metadata={"help": "Reject traces below the paper's floors of length and numbers."}
    )
    """The floors are those of `data.clean.below_floor`. Our choice: off, because the paper made them for thinking of
    500 tokens and more."""

    def __post_init__(self) -> None:
        if self.ratios:
            ControlTokens.ladder(self.ratios, dict(self.switches))
        given_format(self.thinking_format)
        if not 0 <= self.tolerance <= 1:
            raise DataError(f"tolerance must be in [0, 1]; got {self.tolerance:g}")
        shares = [share for _, share in self.policy_quotas]
        if shares and not (min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6):
            raise DataError(f"the shares of policy_quotas must be 0 or more and add up to 1; got {sum(shares):g}")
        if len(dict(self.policy_quotas)) < len(shares):
            raise DataError("policy_quotas names a ratio twice; give each one share")
        if len(dict(self.switches)) < len(self.switches):
            raise DataError("switches names a ratio twice; give each one switch")
        for name in ("policy_share", "heldout_share"):
            if not 0 <= getattr(self, name) < 1:
                raise DataError(f"{name} must be in [0, 1); got {getattr(self, name):g}")
        if not 0 <= self.plain_share <= 1:
            raise DataError(f"plain_share must be in [0, 1]; got {self.plain_share:g}")
        if self.traces is not None and self.traces < 1:
            raise DataError(f"traces must be at least 1; got {self.traces}")


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run; the defaults are the paper's (section 2.3) unless a field's documentation differs.

    Raises:
        DataError: a value is out of range, or a tracker is not installed.
    """

    model: str = field(
        metadata={"metavar": "FOLDER", "help": "Folder of the base model, or of a checkpoint that follows ratios."}
    )
    epochs: float = field(default=3.0, metadata={"help": "Number of passes over the rows."})
    max_steps: int | None = field(
        default=None,
        metadata={"help": "Number of optimiser steps in all; overrides --epochs.", "default": "as --epochs"},
    )
    batch_size: int = field(default=8, metadata={"help": "Number of rows in a forward pass of one process."})
    """Our choice: the paper has 2 on each GPU, and accumulates 8."""
    gradient_accumulation: int = field(default=1, metadata={"help": "Number of batches in an optimiser step."})
    learning_rate: float = field(default=2e-5, metadata={"help": "Learning rate after the warm-up."})
    lr_scheduler: str = field(
        default="cosine", metadata={"help": "Course of the learning rate after the warm-up.", "choices": _SCHEDULERS}
    )
    warmup_share: float = field(default=0.05, metadata={"help": "Share of the steps in which the rate warms up."})
    weight_decay: float = field(default=0.05, metadata={"help": "Weight decay of AdamW."})
    max_length: int = field(
        default=6144,
        metadata={"help": "Maximum number of tokens of a row; longer rows are rejected and counted, never cut."},
    )
    save_steps: int | None = field(
        default=None, metadata={"help": "Number of steps between checkpoints.", "default": "a tenth of the run"}
    )
    packing: bool = field(
        default=False, metadata={"help": "Lay the rows of a batch end to end instead of padding them."}
    )
    """Steps and losses stay the same."""
    ratio_weights: tuple[tuple[float, float], ...] = field(
        default=(),
        metadata={
            "flag": "--ratio-weight",
            "metavar": "R=W",
            "parse": _ratio_pair,
            "help": "Loss weight W of the completion tokens of ratio R; repeatable.",
            "default": "1 for every ratio",
        },
    )
    """(ratio, weight) pairs. The weights are scaled so that their mean over all completion tokens is 1."""
    lora_rank: int | None = field(
        default=None,
        metadata={"help": "Rank of LoRA adapters, merged at the end.", "default": "train all weights"},
    )
    """The embeddings are trained too, since new tokens need it."""
    follow: int = field(
        default=0,
        metadata={"help": "Number of held-out questions to answer at every ratio at each checkpoint."},
    )
    thinking_format: str | None = field(
        default=None,
        metadata={"help": FLAG_HELP, "default": "thinking_format.json of the model, or what its chat template shows"},
    )
    report_to: tuple[str, ...] = field(
        default=(),
        metadata={"choices": _TRACKERS, "help": "Tracker that gets the log too; repeatable."},
    )
    """Tensorboard files are written to OUT/runs."""
    run_name: str | None = field(
        default=None, metadata={"help": "Name of the run in the trackers.", "default": "chosen by the tracker"}
    )
    bf16: bool | None = field(
        default=None,
        metadata={
            "help": "Compute in bfloat16; the weights are float32.",
            "flag": "--bf16/--no-bf16",
            "default": "on a GPU",
        },
    )
    gradient_checkpointing: bool | None = field(
        default=None,
        metadata={
            "help": "Recompute activations in the backward pass, to save memory.",
            "flag": "--gradient-checkpointing/--no-gradient-checkpointing",
            "default": "on a GPU",
        },
    )
    seed: int = field(
        default=0, metadata={"help": "Random seed for new embedding rows, adapters and the order of rows."}
    )

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
        if not 0 <= self.warmup_share < 1:
            raise DataError(f"warmup_share must be in [0, 1); got {self.warmup_share:g}")
        _check_word("lr_scheduler", self.lr_scheduler, _SCHEDULERS)
        for tracker in self.report_to:
            _check_word("report_to", tracker, _TRACKERS)
            if find_spec(tracker) is None:
                raise DataError(f"report_to {tracker} needs that package; pip install {tracker}")
