"""The processes that `accelerate launch` or `torchrun` started: rank, count, and sums over all of them.

On a machine without a GPU `accelerate launch` starts one process only, and `torchrun` the number it is given. A program
that was started alone is the first of one process, and needs neither torch nor accelerate for that. Sharing the work is
left to the callers.

>>> rank(), count()
(0, 1)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._shared.lock import locked
from .errors import CompressorError, needs_extra

if TYPE_CHECKING:
    import torch

_LONGEST_JOINING = timedelta(minutes=10)
"""Time in which all processes have to start."""
_LONGEST_WAIT = timedelta(days=7)
"""Time to wait for the slowest process; the default of half an hour is less than a large file takes."""


def count() -> int:
    """The number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def wait() -> None:
    """Wait until every process is here."""
    if count() > 1:
        _state().wait_for_everyone()


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Keep other runs, also those with another number of processes, from writing `out`.

    Raises:
        DataError: another run is writing it.
    """
    with locked(out, rank()):
        wait()  # If one process is refused, none has written yet.
        yield


def total(tensor: "torch.Tensor") -> "torch.Tensor":
    """The sum of `tensor` over all processes, in place; bit for bit the same in each process."""
    if count() > 1:
        import torch

        _state()
        torch.distributed.all_reduce(tensor)
    return tensor


def device() -> "torch.device":
    """The GPU of this process if there is one, otherwise the CPU."""
    import torch

    if count() > 1:
        return _state().device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _state() -> Any:
    """The state of accelerate; the first call connects the processes.

    Without a GPU, accelerate connects them only with `cpu=True`.

    Raises:
        DataError: accelerate is not installed.
        CompressorError: the other processes did not start.
    """
    with needs_extra("train", "several processes need accelerate"):
        from accelerate import PartialState
    from torch import cuda, distributed
    from torch.distributed.distributed_c10d import _set_pg_timeout

    if distributed.is_initialized():
        return PartialState(cpu=not cuda.is_available())
    try:
        state = PartialState(cpu=not cuda.is_available(), timeout=_LONGEST_JOINING)
        distributed.barrier()
    except RuntimeError as error:
        raise CompressorError(
            f"process {rank()} of {count()}: the others did not join ({' '.join(str(error).split())[:200]}); start all "
            "with torchrun or accelerate launch, which end all if one ends"
        ) from error
    _set_pg_timeout(_LONGEST_WAIT)
    return state
