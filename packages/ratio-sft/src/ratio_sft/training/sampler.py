"""The length-grouped sampler: rows of similar length form a batch, in an order that depends on seed and epoch only.

Batches of similar lengths need less padding. The order is the same for every number of processes and after a resume,
which the sampler of transformers does not guarantee. If the last rows of an epoch do not fill a batch on every process,
accelerate would use some rows twice; this sampler adds blank rows instead, which the loss does not count.

>>> list(LengthGroupedSampler([5, 90, 6, 91], group=2, seed=0))
[3, 1, 2, 0]
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

_POOL_GROUPS = 16


class LengthGroupedSampler(Sampler[int]):
    """Shuffles the rows, sorts them by length within pools of 16 groups, and shuffles the groups.

    Our choice: small pools, because groups sorted over all rows would contain rows of one ratio only.

    Args:
        lengths: Number of tokens of each row.
        group: Number of rows of an optimiser step, over all processes and accumulation steps.
        seed: Random seed; seed and epoch determine the order.
        round_of: Number of rows in one batch on every process. The epoch is filled up to a multiple of it with the
            blank row, whose index is `len(lengths)`.
    """

    def __init__(self, lengths: Sequence[int], *, group: int, seed: int, round_of: int = 1) -> None:
        self.lengths = lengths
        self.group = group
        self.seed = seed
        self.round_of = round_of
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order is iterated next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.lengths) / self.round_of) * self.round_of

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order: list[int] = torch.randperm(len(self.lengths), generator=generator).tolist()
        pool = self.group * _POOL_GROUPS
        groups: list[list[int]] = []
        for start in range(0, len(order), pool):
            rows = sorted(order[start : start + pool], key=self.lengths.__getitem__, reverse=True)
            groups += [rows[first : first + self.group] for first in range(0, len(rows), self.group)]
        last = [groups.pop()] if groups and len(groups[-1]) < self.group else []
        shuffled = [groups[index] for index in torch.randperm(len(groups), generator=generator).tolist()]
        blanks = [len(self.lengths)] * (len(self) - len(self.lengths))
        return iter([row for group in shuffled + last for row in group] + blanks)
