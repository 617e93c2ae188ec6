"""CHRPO on TRL: the trainer and its configuration, and a reward function for TRL's own GRPOTrainer.

trainer = CHRPOTrainer("checkpoints/sft", CHRPOConfig("out", max_steps=40), prompts=rows, control_tokens=tokens)
trainer.train()
"""

from .config import CHRPOConfig
from .reward import CHRPOReward
from .trainer import CHRPOTrainer

__all__ = ["CHRPOConfig", "CHRPOReward", "CHRPOTrainer"]
