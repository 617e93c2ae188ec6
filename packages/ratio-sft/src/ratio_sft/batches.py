"""The order of training rows: batches of rows of similar length, in an order that depends on seed and epoch only.

Padding is work for nothing, and CPU time has none to spare. The order is the same for every number of processes and
after a resume, which the sampler of transformers does not promise. Where the last rows of an epoch do not go round all
processes, accelerate would take rows twice; a blank row, which the loss does not count, stands in instead.

    list(SimilarLengths([5, 90, 6, 91], group=2, seed=0))      # [3, 1, 2, 0], say: 91 and 90 together
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

POOL_GROUPS = 16


class SimilarLengths(Sampler[int]):
    """Rows shuffled, sorted by length within pools of 16 groups, and the groups shuffled.

    Our choice: small pools, because groups sorted over everything would each hold one ratio only.

    Args:
        lengths: tokens of each row.
        group: rows of one optimiser step, over all processes and accumulation steps.
        seed: with the epoch, fixes the order.
        round_of: rows of one batch on every process; the epoch is filled up to whole rounds with the blank row, whose
            number is that of the rows.
    """

    def __init__(self, lengths: Sequence[int], *, group: int, seed: int, round_of: int = 1) -> None:
        self.lengths = lengths
        self.group = group
        self.seed = seed
        self.round_of = round_of
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order `iter` gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.lengths) / self.round_of) * self.round_of

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order: list[int] = torch.randperm(len(self.lengths), generator=generator).tolist()
        pool = self.group * POOL_GROUPS
        groups: list[list[int]] = []
        for start in range(0, len(order), pool):
            rows = sorted(order[start : start + pool], key=self.lengths.__getitem__, reverse=True)
            groups += [rows[first : first + self.group] for first in range(0, len(rows), self.group)]
        last = [groups.pop()] if groups and len(groups[-1]) < self.group else []
        shuffled = [groups[index] for index in torch.randperm(len(groups), generator=generator).tolist()]
        blanks = [len(self.lengths)] * (len(self) - len(self.lengths))
        return iter([row for group in shuffled + last for row in group] + blanks)
