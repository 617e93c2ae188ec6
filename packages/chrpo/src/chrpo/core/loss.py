"""The policy-gradient loss of a batch of tokens, normalised by a count that the caller gives.

The advantages are computed before; clipping and reference models are left to the trainers. Needs torch when it is
called.

    token_loss(log_probs, advantages, tokens=mask.sum()).backward()
"""

from typing import TYPE_CHECKING

from chrpo.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


def token_loss(log_probs: "Tensor", advantages: "Tensor", tokens: "float | Tensor") -> "Tensor":
    """-sum(advantage x log-probability) / tokens.

    Our choice: one constant for the whole optimiser step (all micro-batches and processes), never the length of each
    sequence (Dr. GRPO, Liu et al. 2025), because 1/length rewards long incorrect answers and leaves the control token
    of a long answer almost no weight.

    Args:
        log_probs: Log-probabilities of the tokens that were taken, any shape.
        advantages: Advantage of each token, the same shape; 0 on padding.
        tokens: Normaliser, above 0.

    Raises:
        DataError: the shapes differ, or `tokens` is not above 0.
    """
    from torch import Tensor

    if not isinstance(tokens, Tensor) and tokens <= 0:
        raise DataError(f"tokens must be above 0; got {tokens}. Skip a step that has none")
    if log_probs.shape != advantages.shape:
        raise DataError(f"log_probs and advantages need one shape; got {log_probs.shape} and {advantages.shape}")
    return -(advantages.detach().to(log_probs.dtype) * log_probs).sum() / tokens
