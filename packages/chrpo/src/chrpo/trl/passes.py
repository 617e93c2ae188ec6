"""Passes of a training step without needless padding: rows of similar length together, each pass as short as its rows.

TRL pads every row of a generation to the longest one and divides the rows by chance. The gradient of a step is a sum
over its passes, so their rows may be exchanged. What a pass computes is left to TRL.

    cut_passes(passes, step=2, tails=True)               # two passes [8, 90] become [8, 90] and [8, 21]
"""

from typing import Any

import torch
from trl.trainer.utils import split_tensor_dict

Batch = dict[str, Any]


def cut_passes(passes: list[Batch], *, step: int, tails: bool) -> list[Batch]:
    """The same rows in other passes, with less padding.

    The longest rows come first, so that the first pass needs the most memory.

    Args:
        passes: Passes of one generation as TRL divides them, of the same number of rows each.
        step: Number of passes that belong to one optimiser step and may exchange rows.
        tails: Whether to remove the last tokens of a row if their advantage is 0, because the loss has no other term.
    """
    found: list[Batch] = []
    for start in range(0, len(passes), step):
        together = passes[start : start + step]
        whole = {name: _joined([each[name] for each in together]) for name in together[0]}
        if tails:
            whole["completion_mask"] = _without_tails(whole["completion_mask"], whole["advantages"])
        order = whole["completion_mask"].sum(dim=1).argsort(descending=True, stable=True)
        ordered = {name: value[order] if _has_rows(value) else value for name, value in whole.items()}
        found += [_cut(each) for each in split_tensor_dict(ordered, len(together))]
    return found


def _has_rows(value: Any) -> bool:
    return value is not None and value.ndim > 0


def _joined(values: list[Any]) -> Any:
    return torch.cat(values) if _has_rows(values[0]) else values[0]


def _without_tails(mask: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """The mask up to the last token with an advantage; the first token stays, so that no row is empty."""
    places = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(advantages != 0, places, 0).amax(dim=1, keepdim=True)
    return mask * (places <= last)


def _cut(batch: Batch) -> Batch:
    """A pass without the columns that are padding in all its rows: left of the prompts, right of the completions."""
    prompt, completion = (int(batch[f"{part}_mask"].sum(dim=1).max()) for part in ("prompt", "completion"))
    return {
        name: value[:, -prompt:] if name.startswith("prompt_") else value[:, :completion] if _has_rows(value) else value
        for name, value in batch.items()
    }
