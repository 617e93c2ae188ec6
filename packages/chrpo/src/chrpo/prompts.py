"""The prompts of a run: rows of an RL prompts file, and what is known about each before any rollout.

Writing the file is left to `prepare`.

    rows = read_prompts("prompts.jsonl")
    table = PromptTable.of(rows, ControlTokens.load("checkpoints/sft"))
    table.floors(accuracy_slack=0.02)                    # {'policy': 0.86}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ._shared.control_tokens import ControlTokens
from ._shared.records import Row, read_records
from .core.outcome import Bools, Floats, Ints
from .errors import DataError

_GOLDEN_SECTION = (5**0.5 - 1) / 2


def read_prompts(path: str | Path) -> list[Row]:
    """The rows of an RL prompts file.

    Args:
        path: Path of the file, which `chrpo prepare` writes.

    Raises:
        DataError: the file is missing or corrupted, or a row does not fit the schema.
    """
    return list(read_records(path, "rl_prompts"))


@dataclass(frozen=True)
class PromptTable:
    """Facts about each prompt; arrays over the rows of the prompts file, [prompts].

    Args:
        ladder: Ratios in rising order, [ratios].
        policy: True if the model chooses the ratio.
        requested: Index of the requested ratio; -1 if the model chooses.
        group: Name of the constraint group.
        teacher_ratio: Teacher ratio; NaN if there is none.
        reference_tokens: Thinking tokens of the frozen model at full length.
        reference_completion: All completion tokens of the frozen model at full length.
        reference_accuracy: Accuracy of the frozen model: at full length if the model chooses, else at the requested
            ratio.
    """

    ladder: Floats
    policy: Bools
    requested: Ints
    group: list[str]
    teacher_ratio: Floats
    reference_tokens: Floats
    reference_completion: Floats
    reference_accuracy: Floats

    @classmethod
    def of(cls, rows: Sequence[Row], tokens: ControlTokens, by_difficulty: bool = False) -> "PromptTable":
        """The table of an RL prompts file.

        Args:
            rows: Rows of the file.
            tokens: Control tokens of the checkpoint.
            by_difficulty: One constraint group per mode and difficulty, and not only per mode.

        Raises:
            DataError: a prompt does not end in a control token of its mode, or a field that its mode needs is missing.
        """
        indices = {name: index for index, name in enumerate(tokens.ratios)}
        requested, groups, accuracies = [], [], []
        for row in rows:
            token = row["prompt"][-1]["content"].split()[-1:]
            index = indices.get(token[0]) if token else None
            chooses = row["mode"] == "policy"
            wanted = tokens.policy if chooses else "a ratio token"
            if (token != [tokens.policy]) if chooses else (index is None):
                raise DataError(f"id {row['id']!r}: prompt: a {row['mode']} prompt must end in {wanted}; got {token}")
            ratio = None if chooses or index is None else f"{list(tokens.ratios.values())[index]:g}"
            name = "policy" if ratio is None else f"fixed@{ratio}"
            requested.append(-1 if chooses else index)
            groups.append(f"{name}/{_field(row, 'difficulty')}" if by_difficulty else name)
            accuracies.append(row["reference_accuracy"] if ratio is None else _accuracy_at(row, ratio))
        completion = [row.get("reference_completion_tokens", row["reference_tokens"]) for row in rows]
        return cls(
            ladder=np.array(list(tokens.ratios.values())),
            policy=np.array([row["mode"] == "policy" for row in rows]),
            requested=np.array(requested, dtype=np.int64),
            group=groups,
            teacher_ratio=np.array([row["teacher_ratio"] for row in rows], dtype=float),
            reference_tokens=np.array([row["reference_tokens"] for row in rows], dtype=float),
            reference_completion=np.array(completion, dtype=float),
            reference_accuracy=np.array(accuracies, dtype=float),
        )

    def floors(self, accuracy_slack: float) -> dict[str, float]:
        """Accuracy floor of each group: mean accuracy of the frozen model - `accuracy_slack`, not below 0.

        Args:
            accuracy_slack: Accuracy that may be lost, in [0, 1).

        Raises:
            DataError: `accuracy_slack` is outside [0, 1).
        """
        if not 0 <= accuracy_slack < 1:
            raise DataError(f"accuracy_slack must be in [0, 1), such as 0.02 for 2 points; got {accuracy_slack:g}")
        names = np.array(self.group)
        return {
            name: max(0.0, float(self.reference_accuracy[names == name].mean()) - accuracy_slack)
            for name in sorted(set(self.group))
        }

    @cached_property
    def deviation(self) -> Floats:
        """Reference accuracy of each prompt minus the mean of its constraint group, [prompts]."""
        _, index = np.unique(self.group, return_inverse=True)
        return self.reference_accuracy - (np.bincount(index, self.reference_accuracy) / np.bincount(index))[index]

    def at_every_ratio(self, rows: Ints, share: float) -> Bools:
        """True for the prompts that are rolled out at every ratio, [rows].

        Args:
            rows: Index of each prompt in the file.
            share: Share of the prompts, in [0, 1].
        """
        return self.policy[rows] & spread(rows, share)


def spread(index: Ints, share: float) -> Bools:
    """True for a share of the whole numbers 0, 1, 2, …, evenly spread over them and over any part of them.

    Our choice: multiples of the golden section instead of every n-th number, because kinds of problem often take turns
    in a file, and every n-th could then be of one kind.

    Args:
        index: Whole numbers, any shape.
        share: Share, in [0, 1].

    >>> spread(np.arange(8), 0.25).tolist()
    [True, False, True, False, False, True, False, False]
    """
    return index * _GOLDEN_SECTION % 1 < share


def _field(row: Row, name: str) -> object:
    if name not in row:
        raise DataError(f"id {row['id']!r}: {name}: field is missing; write the prompts with `chrpo prepare`")
    return row[name]


def _accuracy_at(row: Row, ratio: str) -> float:
    accuracies = _field(row, "reference_accuracies")
    if not isinstance(accuracies, Mapping) or ratio not in accuracies:
        raise DataError(f"id {row['id']!r}: reference_accuracies: no accuracy at {ratio}, the ratio of the prompt")
    return float(accuracies[ratio])
