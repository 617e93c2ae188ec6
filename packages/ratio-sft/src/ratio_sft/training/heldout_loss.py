"""The held-out loss for each ratio, after training.

Generated answers are left to `evaluation.check`.

    heldout_loss(trainer, heldout)     # {'all': 3.01, 'fixed 0.2': 3.02, 'fixed 1': 3.0, 'policy': 3.04}
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from . import encoded_file
from .compat import token_log_probs

if TYPE_CHECKING:
    from .trainer import RatioTrainer


def heldout_loss(trainer: "RatioTrainer", data: Dataset) -> dict[str, float]:
    """Mean loss in nats per completion token.

    Args:
        trainer: The trainer with the trained model.
        data: Held-out rows of an `encoded_file`.

    Returns:
        The loss over all rows ("all"), over each fixed ratio ("fixed 0.2"), over rows without a control token
        ("plain"), and over the policy rows ("policy"); the same on every process.
    """
    accelerator = trainer.accelerator
    model: Any = trainer.model
    names = sorted({name for kind in zip(data["ratio"], data["mode"], strict=True) for name in _groups(*kind)})
    sums = torch.zeros(len(names), 2, dtype=torch.float64, device=accelerator.device)
    lengths = encoded_file.lengths(data)
    order = sorted(range(len(data)), key=lengths.__getitem__)
    mine = [(index, True) for index in order[accelerator.process_index :: accelerator.num_processes]]
    if len(mine) < math.ceil(len(data) / accelerator.num_processes):
        # A sharded model computes on all processes at the same time, so each needs the same number of batches.
        mine.append((order[0], False))

    def collate(batch: list[tuple[int, bool]]) -> tuple[dict[str, torch.Tensor], list[list[str]]]:
        rows = [data[index] for index, _ in batch]
        groups = [_groups(row["ratio"], row["mode"]) for row in rows]
        return trainer.padded(rows), [
            found if counted else [] for found, (_, counted) in zip(groups, batch, strict=True)
        ]

    loader: Any = DataLoader(mine, batch_size=trainer.args.per_device_eval_batch_size, collate_fn=collate)  # type: ignore[arg-type]
    model.eval()
    with torch.no_grad(), accelerator.autocast():
        for batch, groups in loader:
            inputs = {name: tensor.to(accelerator.device) for name, tensor in batch.items()}
            log_probs, counted = token_log_probs(model, inputs)
            per_row = torch.stack([-log_probs.double().sum(dim=1), counted.double().sum(dim=1)], dim=1)
            for values, row_groups in zip(per_row, groups, strict=True):
                for name in row_groups:
                    sums[names.index(name)] += values
    sums = accelerator.reduce(sums, reduction="sum")
    return {name: (total / count).item() for name, (total, count) in zip(names, sums, strict=True)}


def _groups(ratio: float, mode: str) -> list[str]:
    return ["all", f"fixed {ratio:g}" if mode == "fixed" else mode]
