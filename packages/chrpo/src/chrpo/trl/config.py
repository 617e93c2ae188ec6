"""The configuration of `CHRPOTrainer`: TRL's GRPOConfig and the settings of CHRPO.

A setting of TRL that CHRPO does not support is refused here; the effect of the settings is left to `trainer`.

    CHRPOConfig("out", max_steps=100, num_generations=10, accuracy_slack=0.01)
"""

import math
from copy import copy
from dataclasses import dataclass, field, fields
from types import MappingProxyType

import torch
from trl.trainer.grpo_config import GRPOConfig

from chrpo.errors import DataError
from chrpo.settings import CHRPOSettings

from .compat import continuous_batching, set_checkpointing

_PROMPTS = 16
"""Number of prompts in a step of one process, as in `chrpo train`."""
_SAMPLING = {
    "top_p": (1,),
    "top_k": (0, None),
    "min_p": (None, 0),
    "repetition_penalty": (1,),
    "generation_kwargs": (None, {}),
}
"""Values of the options that change the distribution of rollouts, with which they do not."""


# The order of the bases decides the order of the fields: `output_dir` of GRPOConfig comes first.
@dataclass
class CHRPOConfig(CHRPOSettings, GRPOConfig):
    """GRPOConfig with the settings of CHRPO; TRL's own settings keep their meaning except where they are refused.

    The loss is TRL's "dapo": a sum over tokens divided by the global number of tokens, never per sequence.

    Raises:
        DataError: a setting is out of range, or is one of TRL's that CHRPO does not support.
    """

    num_generations: int | None = field(
        default=10, metadata={"help": "Number of rollouts per prompt; at least the number of ratios."}
    )
    per_device_train_batch_size: int = field(  # type: ignore[assignment]
        default=None,
        metadata={"help": "Number of rollouts in one pass of a process; by default those of one prompt."},
    )
    gradient_accumulation_steps: int = field(  # type: ignore[assignment]
        default=None,
        metadata={"help": "Number of passes per step; by default 16, or 1 if per_device_train_batch_size is given."},
    )
    max_completion_length: int | None = field(
        default=None,
        metadata={"help": "Maximum number of response tokens; by default 1.5 times the longest reference."},
    )
    activation_checkpointing: bool | None = field(
        default=None, metadata={"help": "Recompute activations in the backward pass, to save memory."}
    )
    gradient_checkpointing: bool | None = field(  # type: ignore[assignment]
        default=None, metadata={"help": "Deprecated by transformers; set activation_checkpointing."}
    )
    scale_rewards: str = field(
        default="none", metadata={"help": "Only 'none': the objective decides whether advantages are scaled."}
    )
    loss_type: str = field(
        default="dapo", metadata={"help": "Only 'dapo': the loss is divided by the global number of tokens."}
    )
    use_bias_correction_kl: bool = field(
        default=True,
        metadata={"help": "Multiply the KL penalty by the importance ratio, as TRL does by default since 1.10."},
    )
    logging_steps: float = field(default=1, metadata={"help": "Number of steps between lines of metrics.jsonl."})
    log_completions: bool = field(
        default=False, metadata={"help": "Write the rollouts of each step, with what they earned, to completions/."}
    )
    num_completions_to_print: int | None = field(
        default=None, metadata={"help": "Number of rollouts of a step that log_completions writes; by default all."}
    )

    def __post_init__(self) -> None:
        self._refuse_unsupported()
        if self.bf16 is None:
            # TRL's default is bf16 everywhere, which is about a hundred times slower than fp32 on most CPUs.
            self.bf16 = torch.cuda.is_available() and not self.use_cpu
        one_prompt = self.per_device_train_batch_size is None
        if self.gradient_accumulation_steps is None:
            self.gradient_accumulation_steps = _PROMPTS if one_prompt else 1
        if one_prompt:
            self.per_device_train_batch_size = int(self.num_generations or 1)
        set_checkpointing(self)
        GRPOConfig.__post_init__(self)
        CHRPOSettings.__post_init__(self)
        check_save_steps("CHRPOConfig", self)

    def _refuse_unsupported(self) -> None:
        """Name a setting of TRL that CHRPO does not support, before TRL complains about what it leads to."""
        refused = {
            "eval_strategy": (self.eval_strategy == "no", "'no' (evaluate checkpoints with math-eval)"),
            "max_steps": (self.max_steps > 0, "above 0: CHRPO counts steps, not epochs"),
            "use_transformers_continuous_batching": (not continuous_batching(self), "False"),
            "scale_rewards": (self.scale_rewards == "none", "'none'"),
            "loss_type": (self.loss_type == "dapo", "'dapo'"),
            "importance_sampling_level": (self.importance_sampling_level == "token", "'token'"),
            "mask_truncated_completions": (not self.mask_truncated_completions, "False (they are format failures)"),
            "off_policy_mask_threshold": (self.off_policy_mask_threshold is None, "None"),
            "logging_strategy": (self.logging_strategy == "steps", "'steps'"),
            "top_entropy_quantile": (self.top_entropy_quantile == 1, "1 (else control tokens may not be trained)"),
            "use_liger_kernel": (not self.use_liger_kernel, "False (its loss has one advantage for a whole rollout)"),
            "auto_find_batch_size": (not self.auto_find_batch_size, "False (groups would be split)"),
            "reward_weights": (self.reward_weights is None, "None: there is one reward"),
        }
        for name, (fine, wanted) in refused.items():
            if not fine:
                raise DataError(f"CHRPOConfig: {name} is {getattr(self, name)!r}; it must be {wanted}")
        check_sampling("CHRPOConfig", self)

    @property
    def steps_per_rollout(self) -> int:
        """Number of optimiser steps between two points at which a generation and a step end together."""
        return steps_per_rollout(self)


def steps_per_rollout(args: GRPOConfig) -> int:
    """Number of optimiser steps between two points at which a generation and a step end together."""
    passes = int(args.steps_per_generation or 1) * args.num_iterations
    accumulated = args.gradient_accumulation_steps
    return math.lcm(passes, accumulated) // accumulated


def check_sampling(name: str, args: GRPOConfig) -> None:
    """Refuse options with which rollouts are drawn from another distribution than the one that is trained.

    Raises:
        DataError: there is such an option; the message begins with the name.
    """
    for option, values in _SAMPLING.items():
        if (found := getattr(args, option)) not in values:
            raise DataError(
                f"{name}: {option} is {found!r}; it must be {values[0]} (else rollouts are drawn from another "
                "distribution than the one that is trained)"
            )


def check_save_steps(name: str, args: GRPOConfig) -> None:
    """Refuse checkpoints between two generations, whose rollouts they do not contain.

    Raises:
        DataError: there would be such a checkpoint; the message begins with the name.
    """
    every = steps_per_rollout(args)
    if args.save_strategy == "steps" and (args.save_steps < 1 or args.save_steps % every):
        raise DataError(
            f"{name}: save_steps is {args.save_steps:g}; rollouts are generated every {every} step(s) and not "
            f"saved, so an exact resume needs a multiple of {every}"
        )


def _keep_argparse_metadata() -> None:
    """Reduce the metadata of the inherited settings to what HfArgumentParser may pass on to argparse."""
    for each in fields(CHRPOSettings):
        own = copy(each)
        kept = {name: each.metadata[name] for name in ("help", "choices", "aliases") if name in each.metadata}
        own.metadata = MappingProxyType(kept)
        CHRPOConfig.__dataclass_fields__[each.name] = own


_keep_argparse_metadata()
