"""Facts about the rollouts of all processes, in the order of the processes.

What is computed from them is left to `trainer` and `reward`.

    gathered_columns({"row": [0, 0, 3, 3]})["row"]       # of two processes, on both: [0, 0, 3, 3, 1, 1, 2, 2]
"""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather


def gathered_columns(local: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of numbers from every process, by name, as float64.

    Args:
        local: Columns of this process, [rollouts of a process] each; every process has as many.
    """
    names = list(local)
    columns = torch.stack([torch.as_tensor(local[name], dtype=torch.float64) for name in names], dim=1)
    gathered: Any = gather(columns.to(PartialState().device))
    return dict(zip(names, gathered.cpu().numpy().T, strict=True))
