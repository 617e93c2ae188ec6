"""An optimiser that trains small models in fewer steps: Muon for the weight matrices, AdamW for the rest.

Muon (Keller Jordan et al., 2024, kellerjordan.github.io/posts/muon) replaces a matrix's momentum by its nearest
orthogonal matrix. `torch.optim.Muon` computes that in bfloat16, which many CPUs emulate slowly; here it is float32.

    optimizer = Muon(model, matrix_lr=0.02, other_lr=3e-3)
"""

import torch
from torch import nn

MOMENTUM = 0.95
BETAS = (0.9, 0.98)
DECAY = 0.01
# Coefficients and number of the quintic Newton-Schulz iterations (from the article above).
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """Approximation of U Vᵀ, where U S Vᵀ is the singular value decomposition of `matrix`, [rows, columns]."""
    a, b, c = QUINTIC
    wide = matrix if matrix.size(0) <= matrix.size(1) else matrix.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.size(0) <= matrix.size(1) else x.T


class Muon(torch.optim.Optimizer):
    """Muon for all matrices except embeddings, AdamW for embeddings and vectors."""

    def __init__(self, model: nn.Module, *, matrix_lr: float, other_lr: float) -> None:
        matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
        known = {id(p) for p in matrices}
        others = [p for p in model.parameters() if id(p) not in known]
        groups = [
            {"params": matrices, "lr": matrix_lr, "rule": "muon"},
            {"params": others, "lr": other_lr, "rule": "adamw"},
        ]
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters from their gradients."""
        for group in self.param_groups:
            update = self._muon if group["rule"] == "muon" else self._adamw
            for p in group["params"]:
                p.mul_(1 - group["lr"] * DECAY)
                p.add_(update(p), alpha=-group["lr"])

    def _muon(self, p: torch.Tensor) -> torch.Tensor:
        momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
        momentum.mul_(MOMENTUM).add_(p.grad)
        return orthogonalise(p.grad + MOMENTUM * momentum) * max(1, p.size(0) / p.size(1)) ** 0.5

    def _adamw(self, p: torch.Tensor) -> torch.Tensor:
        state = self.state[p]
        count = state["step"] = state.get("step", 0) + 1
        means = []
        for name, beta, value in (("first", BETAS[0], p.grad), ("second", BETAS[1], p.grad**2)):
            mean = state.setdefault(name, torch.zeros_like(p))
            mean.mul_(beta).add_(value, alpha=1 - beta)
            means.append(mean / (1 - beta**count))
        return means[0] / (means[1].sqrt() + 1e-8)
