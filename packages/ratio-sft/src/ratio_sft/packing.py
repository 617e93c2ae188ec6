"""Batches of encoded rows: padded, or laid end to end in fewer and fuller lines, with the same loss either way.

Packing joins only rows of one batch, so every step sees the rows it would see unpacked. Positions restart at each row,
by which transformers keeps attention inside it; `leaks` finds the architectures that take no notice. Which rows make a
batch is left to `batches`.

    Collator(pad_id=0, pack=True)([{"input_ids": [5, 6], "labels": [-100, 6]}, …])["position_ids"]
"""

from collections.abc import Sequence
from typing import Any

import torch

from .encoding import IGNORED

_PROBE_TOKENS = 16
_NOISE = {torch.float32: 2e-5, torch.bfloat16: 1e-2}


class Collator:
    """Rows with `input_ids`, `labels` and perhaps `weight` to tensors [lines, longest line].

    Args:
        pad_id: fills the lines; never counted in the loss.
        pack: put several rows in a line.
        one_line: pack all rows into a single line, as flash attention wants them; else lines are as long as the
            batch's longest row, because the cost of plain attention grows with the square of a line.
    """

    def __init__(self, pad_id: int, *, pack: bool, one_line: bool = False) -> None:
        self.pad_id = pad_id
        self.pack = pack
        self.one_line = one_line

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """One batch; `weights` [lines, longest line] holds each token's loss weight if the rows have one."""
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
    """Whether a row's logits change with the content of the row before it in a line, which training must not allow.

    Two forward passes of 64 tokens, in float32, or in bfloat16 where flash attention (`one_line`) knows nothing else;
    no gradients, no random numbers, and the model's mode is restored. Our choice: a change counts above 2e-5 of the
    largest logit (bfloat16: 1e-2), because routed experts alone round differently when other tokens stand beside.
    """
    dtype = torch.bfloat16 if collator.one_line else torch.float32
    training = model.training
    model.eval()
    with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16, enabled=collator.one_line):
        one, other = (_probe(model, collator, shift).float() for shift in (0, 1))
    model.train(training)
    return bool((one - other).abs().max() > _NOISE[dtype] * one.abs().max())


def _probe(model: Any, collator: Collator, shift: int) -> torch.Tensor:
    """Logits of a row that stands last in its line; all tokens of the other rows depend on `shift`."""
    vocabulary = model.config.get_text_config().vocab_size
    shapes = ((2 * _PROBE_TOKENS, shift), (_PROBE_TOKENS, shift), (_PROBE_TOKENS, 0))
    ids = [[(first + place) % vocabulary for place in range(length)] for length, first in shapes]
    batch = collator([{"input_ids": row, "labels": row} for row in ids])
    inputs = {name: batch[name].to(model.device) for name in ("input_ids", "position_ids")}
    return model(**inputs, use_cache=False).logits[-1, -_PROBE_TOKENS:]


def fit(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Best-fit decreasing: row numbers of each line, no line above `room` tokens.

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
