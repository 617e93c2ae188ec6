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
    gradient_checkpointing: bool | None = field(  # type: ignore[assignment]
        default=None, metadata={"help": "Deprecated by transformers; set activation_checkpointing."}
    )
    scale_rewards: str = field(
        default="none", metadata={"help": "Only 'none': the objective decides whether advantages are scaled."}
    )
    loss_type: str = field(
        default="dapo", metadata={"help": "Only 'dapo': the loss is divided by the global number of tokens."}
    )
    logging_steps: float = field(default=1, metadata={"help": "Number of steps between lines of metrics.jsonl."})

    def __post_init__(self) -> None:
        if self.bf16 is None:
            # TRL's default is bf16 everywhere, which is about a hundred times slower than fp32 on most CPUs.
            self.bf16 = torch.cuda.is_available() and not self.use_cpu
        GRPOConfig.__post_init__(self)
        CHRPOSettings.__post_init__(self)
        refused = {
            "use_transformers_continuous_batching": (not self.use_transformers_continuous_batching, "False"),
            "scale_rewards": (self.scale_rewards == "none", "'none'"),
            "loss_type": (self.loss_type == "dapo", "'dapo'"),
            "importance_sampling_level": (self.importance_sampling_level == "token", "'token'"),
            "mask_truncated_completions": (not self.mask_truncated_completions, "False (they are format failures)"),
            "off_policy_mask_threshold": (self.off_policy_mask_threshold is None, "None"),
            "eval_strategy": (self.eval_strategy == "no", "'no' (evaluate checkpoints with math-eval)"),
            "max_steps": (self.max_steps > 0, "above 0: CHRPO counts steps, not epochs"),
            "logging_strategy": (self.logging_strategy == "steps", "'steps'"),
        }
        for name, (fine, wanted) in refused.items():
            if not fine:
                raise DataError(f"CHRPOConfig: {name} is {getattr(self, name)!r}; it must be {wanted}")
        every = self.steps_per_rollout
        if self.save_strategy == "steps" and (self.save_steps < 1 or self.save_steps % every):
            raise DataError(
                f"CHRPOConfig: save_steps is {self.save_steps:g}; rollouts are generated every {every} step(s) and not "
                f"saved, so an exact resume needs a multiple of {every}"
            )

    @property
    def steps_per_rollout(self) -> int:
        """Number of optimiser steps between two points at which a generation and a step end together."""
        passes = int(self.steps_per_generation or 1) * self.num_iterations
        return math.lcm(passes, self.gradient_accumulation_steps) // self.gradient_accumulation_steps


def _keep_argparse_metadata() -> None:
    """Reduce the metadata of the inherited settings to what HfArgumentParser may pass on to argparse."""
    for each in fields(CHRPOSettings):
        own = copy(each)
        kept = {name: each.metadata[name] for name in ("help", "choices", "aliases") if name in each.metadata}
        own.metadata = MappingProxyType(kept)
        CHRPOConfig.__dataclass_fields__[each.name] = own


_keep_argparse_metadata()
