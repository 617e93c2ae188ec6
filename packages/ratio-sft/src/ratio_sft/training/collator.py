"""The collator: encoded rows to one batch, padded or packed end to end into fewer lines, with the same loss.

Packing joins rows of one batch only, so every step has the same rows as without it. Positions restart at each row;
transformers then restricts attention to the row. `leaks` detects the architectures that ignore this. Which rows form a
batch is left to `sampler`.

>>> rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [8], "labels": [8]}]
>>> Collator(pad_id=0, pack=True, one_line=True)(rows)["position_ids"]
tensor([[0, 1, 2, 0]])
"""

from collections.abc import Sequence
from typing import Any

import torch

from .encoding import IGNORED

_PROBE_TOKENS = 16
_NOISE = {torch.float32: 2e-5, torch.bfloat16: 1e-2}


class Collator:
    """Turns rows with `input_ids`, `labels` and optionally `weight` into tensors `[lines, longest line]`.

    Args:
        pad_id: Token id that fills the lines; the loss never counts it.
        pack: Put several rows into a line.
        one_line: Pack all rows into a single line, as flash attention requires. Otherwise a line is as long as the
            longest row of the batch, because the cost of plain attention grows with the square of the line's length.
    """

    def __init__(self, pad_id: int, *, pack: bool, one_line: bool = False) -> None:
        self.pad_id = pad_id
        self.pack = pack
        self.one_line = one_line

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """One batch.

        Returns:
            `input_ids`, `labels`, and `position_ids` (packed) or `attention_mask` (padded); also `weights`, the loss
            weight of each token, if the rows have a `weight`. All are `[lines, longest line]`.
        """
        lengths = [len(row["input_ids"]) for row in rows]
        room = sum(lengths) if self.one_line else max(lengths)
        lines = fit(lengths, room) if self.pack else [[index] for index in range(len(rows))]
        width = max(sum(lengths[index] for index in line) for line in lines)
        shape = (len(lines), width)
        batch = {
            "input_ids": torch.full(shape, self.pad_id),
            "labels": torch.full(shape, IGNORED),
            "weights": torch.ones(shape),
        }
        batch |= {"position_ids" if self.pack else "attention_mask": torch.zeros(shape, dtype=torch.long)}
        for number, line in enumerate(lines):
            start = 0
            for index in line:
                row, here = rows[index], (number, slice(start, start + lengths[index]))
                batch["input_ids"][here] = torch.tensor(row["input_ids"])
                batch["labels"][here] = torch.tensor(row["labels"])
                batch["weights"][here] = row.get("weight", 1.0)
                if self.pack:
                    batch["position_ids"][here] = torch.arange(lengths[index])
                else:
                    batch["attention_mask"][here] = 1
                start += lengths[index]
            if self.pack:
                batch["position_ids"][number, start:] = torch.arange(width - start)
        if "weight" not in rows[0]:
            del batch["weights"]
        return batch


def leaks(model: Any, collator: Collator) -> bool:
    """Whether the logits of a row depend on the row before it in the same line; such a model must not be packed.

    Makes two forward passes of 64 tokens without gradients or random numbers, in float32, or in bfloat16 for flash
    attention (`one_line`), and restores the model's mode. Our choice: a difference counts above 2e-5 of the largest
    logit (bfloat16: 1e-2), because routed experts round differently when other tokens are in the batch.

    Args:
        model: Causal language model, not yet wrapped for several devices.
        collator: Collator with `pack=True`.
    """
    dtype = torch.bfloat16 if collator.one_line else torch.float32
    training = model.training
    model.eval()
    with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16, enabled=collator.one_line):
        first, second = (_probe(model, collator, shift).float() for shift in (0, 1))
    model.train(training)
    return bool((first - second).abs().max() > _NOISE[dtype] * first.abs().max())


def _probe(model: Any, collator: Collator, shift: int) -> torch.Tensor:
    """Logits `[tokens, vocabulary]` of the last row of a line; all tokens of the rows before it depend on `shift`."""
    vocabulary = model.config.get_text_config().vocab_size
    shapes = ((2 * _PROBE_TOKENS, shift), (_PROBE_TOKENS, shift), (_PROBE_TOKENS, 0))
    ids = [[(first + place) % vocabulary for place in range(length)] for length, first in shapes]
    batch = collator([{"input_ids": row, "labels": row} for row in ids])
    inputs = {name: batch[name].to(model.device) for name in ("input_ids", "position_ids")}
    return model(**inputs, use_cache=False).logits[-1, -_PROBE_TOKENS:]


def fit(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Row numbers of each line by best-fit decreasing; no line is longer than `room` tokens.

    >>> fit([3, 9, 2, 6], 9)
    [[1], [3, 0], [2]]
    """
    lines: list[list[int]] = []
    free: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        fitting = [line for line, left in enumerate(free) if left >= lengths[index]]
        if fitting:
            line = min(fitting, key=free.__getitem__)
            lines[line].append(index)
            free[line] -= lengths[index]
        else:
            lines.append([index])
            free.append(room - lengths[index])
    return lines
