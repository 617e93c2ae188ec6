"""The settings of `trl.CHRPOTrainer`: those of TRL's GRPOConfig, and CHRPO's own.

A setting of TRL that CHRPO cannot honour is refused here; what the settings do is left to `trl`.

    CHRPOConfig("out", max_steps=100, num_generations=10, eps=0.01)
"""

import math
from dataclasses import dataclass, field

import torch
from trl.trainer.grpo_config import GRPOConfig

from .core.constraint import Gains
from .errors import DataError


@dataclass
class CHRPOConfig(GRPOConfig):
    """GRPOConfig with the settings of CHRPO; TRL's own keep their meaning except where they are refused.

    The loss is TRL's "dapo": a sum over tokens divided by the global count of tokens, never per sequence.

    Raises:
        DataError: a setting of TRL that CHRPO cannot honour.
    """

    num_generations: int | None = field(
        default=10, metadata={"help": "Rollouts per prompt; at least twice as many as ratios."}
    )
    gradient_checkpointing: bool | None = field(  # type: ignore[assignment]
        default=None, metadata={"help": "Deprecated by transformers: set activation_checkpointing."}
    )
    scale_rewards: str = field(default="none", metadata={"help": "Only 'none': no division by a standard deviation."})
    loss_type: str = field(default="dapo", metadata={"help": "Only 'dapo': a global token normaliser."})
    logging_steps: float = field(default=1, metadata={"help": "Steps between lines of metrics.jsonl."})
    objective: str = field(default="chrpo", metadata={"help": "What is optimised: a name in objective.OBJECTIVES."})
    without: list[str] = field(
        default_factory=list, metadata={"help": "Parts of it to leave out, for an ablation: see objective.PARTS."}
    )
    length_weight: float | None = field(
        default=None, metadata={"help": "Weight of the length penalty of l1 and shortest_correct."}
    )
    control_weight: float | None = field(
        default=None, metadata={"help": "Weight of the control token in the loss, instead of the objective's own."}
    )
    control_floor: float = field(
        default=1e-3, metadata={"help": "Ratios with a smaller probability are not pushed down any further."}
    )
    response_policy_mix: float = field(
        default=0.5, metadata={"help": "Responses count alike at every ratio (0) … as often as chosen (1)."}
    )
    eps: float = field(default=0.0, metadata={"help": "Accuracy that may be given up, below the frozen model's."})
    constraint_by_difficulty: bool = field(
        default=False, metadata={"help": "One constraint per mode and difficulty, instead of one per mode."}
    )
    price_proportional: float = field(default=50.0, metadata={"help": "Gain on the violation."})
    price_integral: float = field(default=Gains.integral, metadata={"help": "Gain on its sum."})
    price_reach: float = field(default=Gains.reach, metadata={"help": "Largest violation that the sum takes in."})
    price_derivative: float = field(default=Gains.derivative, metadata={"help": "Gain on its growth."})
    price_memory: float = field(default=Gains.memory, metadata={"help": "What the running accuracy keeps a step."})
    price_cap: float = field(default=Gains.cap, metadata={"help": "Largest price of accuracy."})
    budget_step: float | None = field(
        default=None, metadata={"help": "Lower the cost that is paid for by this, from 1, while the floors hold."}
    )
    budget_hold: int = field(default=20, metadata={"help": "Generations that the floors must hold before each step."})
    price_patience: int = field(default=Gains.patience, metadata={"help": "Steps at the cap that mean infeasible."})

    def __post_init__(self) -> None:
        if self.bf16 is None:
            # TRL takes bf16 everywhere, which is some hundred times slower than fp32 on most CPUs.
            self.bf16 = torch.cuda.is_available() and not self.use_cpu
        super().__post_init__()
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
            "response_policy_mix": (0 <= self.response_policy_mix <= 1, "in [0, 1]"),
        }
        for name, (fine, wanted) in refused.items():
            if not fine:
                raise DataError(f"CHRPOConfig: {name} is {getattr(self, name)!r}; it must be {wanted}")
        every = self.steps_per_rollout
        if self.save_strategy == "steps" and (self.save_steps < 1 or self.save_steps % every):
            raise DataError(
                f"CHRPOConfig: save_steps is {self.save_steps:g}; rollouts are drawn every {every} step(s) and are not "
                f"saved, so an exact resume needs a multiple of {every}"
            )

    @property
    def steps_per_rollout(self) -> int:
        """Optimiser steps from one generation to the next generation boundary that is also a step boundary."""
        passes = int(self.steps_per_generation or 1) * self.num_iterations
        return math.lcm(passes, self.gradient_accumulation_steps) // self.gradient_accumulation_steps

    @property
    def gains(self) -> Gains:
        """Of the dual price."""
        return Gains(
            proportional=self.price_proportional,
            integral=self.price_integral,
            reach=self.price_reach,
            derivative=self.price_derivative,
            memory=self.price_memory,
            cap=self.price_cap,
            patience=self.price_patience,
        )
