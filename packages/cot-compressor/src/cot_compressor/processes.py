"""The processes that `accelerate launch` or `torchrun` started: which one this is, and sums over all of them.

On a machine without a GPU `accelerate launch` starts one process, whatever number it is given; `torchrun` starts them
all. A program that was started alone is the first of one, and needs nothing installed for it. Who does what is left to
the callers.

    if processes.rank() == 0: write(report)
    processes.wait()
"""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .errors import DataError

if TYPE_CHECKING:
    import torch

_PATIENCE = timedelta(days=7)
"""How long a process waits for the slowest one; the default of half an hour is shorter than a large file takes."""


def count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which one this is, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def wait() -> None:
    """Until every process is here."""
    if count() > 1:
        _state().wait_for_everyone()


def total(tensor: "torch.Tensor") -> "torch.Tensor":
    """The sum over all processes, in place; bit for bit the same in each."""
    if count() > 1:
        import torch

        _state()
        torch.distributed.all_reduce(tensor)
    return tensor


def device() -> "torch.device":
    """The GPU of this process if there is one."""
    import torch

    if count() > 1:
        return _state().device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _state() -> Any:
    """The state of accelerate; the first call meets the other processes.

    Without an accelerator accelerate joins them only if it is told that there is none.

    Raises:
        DataError: accelerate is not installed.
    """
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise DataError("several processes need accelerate: pip install 'cot-compressor[train]'") from error
    from torch.cuda import is_available

    return PartialState(cpu=not is_available(), timeout=_PATIENCE)
