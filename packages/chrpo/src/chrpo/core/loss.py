"""The policy-gradient loss of a batch of tokens, normalised by a count that the caller gives.

Advantages are ready when they come here; clipping and reference models are left to the trainers.

    token_loss(log_probs, advantages, tokens=mask.sum()).backward()
"""

import torch

from chrpo.errors import DataError


def token_loss(log_probs: torch.Tensor, advantages: torch.Tensor, tokens: float | torch.Tensor) -> torch.Tensor:
    """-sum of advantage x log-probability, over `tokens`.

    Our choice: one constant for the whole optimiser step (all micro-batches and processes), never the length of each
    sequence (Dr. GRPO, Liu et al. 2025), because 1/length pays for long wrong answers and starves the control token.

    Args:
        log_probs: of the tokens that were taken, any shape; padding must carry an advantage of 0.
        advantages: the same shape.
        tokens: the normaliser, above 0.
    """
    if not isinstance(tokens, torch.Tensor) and tokens <= 0:
        raise DataError(f"tokens must be above 0; got {tokens}. Skip a step that has none")
    if log_probs.shape != advantages.shape:
        raise DataError(f"log_probs and advantages need one shape; got {log_probs.shape} and {advantages.shape}")
    return -(advantages.detach().to(log_probs.dtype) * log_probs).sum() / tokens
