"""CHRPO on TRL: the trainer and its configuration.

trainer = CHRPOTrainer("checkpoints/sft", CHRPOConfig("out", max_steps=40), prompts=rows, control_tokens=tokens)
trainer.train()
"""

from .config import CHRPOConfig
from .trainer import CHRPOTrainer

__all__ = ["CHRPOConfig", "CHRPOTrainer"]
