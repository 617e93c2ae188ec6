"""Rows of the tables by name, and the settings of `chrpo train` that each stands for.

A row is NAME or NAME:W. Training and evaluating it is left to `run`.

    settings_of("l1:0.1").length_weight                  # 0.1
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from generators import Problem, Task
from reinforce import new_controller

from chrpo import CHRPOController, CHRPOSettings
from chrpo.objective import ADDABLE, OBJECTIVES, PARTS

OWN = tuple(part for part in PARTS if part not in ADDABLE)
ROWS: dict[str, dict[str, Any]] = {
    **{name: {"objective": name} for name in OBJECTIVES if name != "paper"},
    **{f"chrpo+{part}": {"adding": [part]} for part in ADDABLE},
    **{f"chrpo+{scale}": {"advantage_scale": scale} for scale in ("group", "batch")},
    "chrpo-0": {"price_minimum": 0.0},
    "chrpo-2": {"price_minimum": 0.0, "accuracy_slack": 0.02},
    "chrpo-5": {"price_minimum": 0.0, "accuracy_slack": 0.05},
    "chrpo-best": {"floor": "best"},
    "chrpo-control": {},
    "chrpo-every-ratio": {"ladder_share": 1.0},
    **{f"chrpo-no-{part}": {"without": [part]} for part in OWN},
    "l1": {"objective": "l1", "advantage_scale": "none"},
    "l1-scaled": {"objective": "l1"},
    "l1-token": {"objective": "l1", "length_unit": "token"},
}
"""Row -> settings of the objective; `paper` needs teacher ratios, which these problems do not have."""
DEFAULT_ROWS = (
    *("chrpo", "chrpo-2", "chrpo-5", "chrpo-0"),
    *(f"l1:{weight}" for weight in (0.01, 0.03, 0.1, 0.3, 1)),
    *("chrpo-no-constraint", "grpo:24", "dler:24", "laconic:20", "gfpo:0.67"),
    *("grpo", "chrpo-best", "l1-token", "shortest_correct:0.1", "degrpo", "alp", "adaptthink"),
)
WEIGHTS = {
    "chrpo-control": "control_weight",
    "gfpo": "keep_share",
    "gfpo_efficiency": "keep_share",
    "laconic": "token_budget",
}
"""Row -> setting that W in NAME:W gives; `length_weight` for those that have another."""
LIMITED = ("grpo", "dler")
"""Rows of which W in NAME:W is the token limit of the rollouts."""


def settings_of(row: str) -> CHRPOSettings:
    """Settings of a row such as "l1:0.1".

    Raises:
        ValueError: no such row, or it takes no weight.
    """
    name, _, weight = row.partition(":")
    if name not in ROWS:
        raise ValueError(f"unknown row {name!r}; choose one of {', '.join(ROWS)}")
    if not weight or name in LIMITED:
        return CHRPOSettings(**ROWS[name])
    return CHRPOSettings(**ROWS[name], **{WEIGHTS.get(name, "length_weight"): float(weight)})


def limited(task: Task, row: str) -> Task:
    """The task with the token limit of a row such as "dler:20"; only its rollouts have it, not the evaluation.

    Raises:
        ValueError: the limit is no whole number above 1.
    """
    name, _, limit = row.partition(":")
    if not limit or name not in LIMITED:
        return task
    if int(limit) < 2:
        raise ValueError(f"a limit of {limit} tokens has no room for an answer")
    return replace(task, max_tokens=int(limit))


def row_controller(row: str, problems: Sequence[Problem], references: Sequence[Sequence[float]]) -> CHRPOController:
    """The controller of a row; see `reinforce.new_controller`."""
    return new_controller(problems, references, settings_of(row))
