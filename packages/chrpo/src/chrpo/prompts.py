"""The prompts of a run: rows of an RL prompts file, and what is known about each before any rollout.

Writing the file is left to `prepare`.

    rows = read_prompts("prompts.jsonl")
    table = PromptTable.of(rows, control_tokens("checkpoints/sft"))
    table.floors(accuracy_slack=0.02)                    # {'policy': 0.86}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ._shared.checkpoint_files import check_inside
from ._shared.control_tokens import FILE_NAME, ControlTokens
from ._shared.records import Row, read_records, validate
from .core.outcome import Bools, Floats, Ints
from .errors import DataError

WITHOUT_LADDER = "no control tokens: the whole response is shortened"
"""What is printed about a checkpoint without `control_tokens.json`."""

_GOLDEN_SECTION = (5**0.5 - 1) / 2
_CONTROL_TOKEN = "<COMP_"


def read_prompts(path: str | Path) -> list[Row]:
    """The rows of an RL prompts file.

    Args:
        path: Path of the file, which `chrpo prepare` writes.

    Raises:
        DataError: the file is missing or corrupted, or a row does not fit the schema.
    """
    return list(read_records(path, "rl_prompts"))


def control_tokens(folder: str | Path) -> ControlTokens | None:
    """The control tokens of a checkpoint folder; None if it has none.

    Raises:
        DataError: there is no such folder, a file of it is a link to elsewhere, or `control_tokens.json` is corrupted.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: no such folder; give the folder of a checkpoint")
    check_inside(Path(folder))
    return ControlTokens.load(folder) if (Path(folder) / FILE_NAME).is_file() else None


@dataclass(frozen=True)
class PromptTable:
    """Facts about each prompt; arrays over the rows of the prompts file, [prompts].

    Args:
        ladder: Ratios in rising order, [ratios]; 1 alone, the whole response, without control tokens.
        policy: True if the model chooses the ratio, or there is none.
        requested: Index of the requested ratio; -1 if the model chooses.
        group: Name of the constraint group.
        teacher_ratio: Teacher ratio; NaN if there is none.
        reference_tokens: Thinking tokens of the frozen model at full length.
        reference_completion: All completion tokens of the frozen model at full length.
        reference_accuracy: Accuracy of the frozen model: at full length if the model chooses, else at the requested
            ratio.
        control: True if every rollout opens with a control token.
    """

    ladder: Floats
    policy: Bools
    requested: Ints
    group: list[str]
    teacher_ratio: Floats
    reference_tokens: Floats
    reference_completion: Floats
    reference_accuracy: Floats
    control: bool = True

    @classmethod
    def of(cls, rows: Sequence[Row], tokens: ControlTokens | None, by_difficulty: bool = False) -> "PromptTable":
        """The table of an RL prompts file.

        Args:
            rows: Rows of the file; `answer`, which only a grader reads, may be missing.
            tokens: Control tokens of the checkpoint; None if it has none.
            by_difficulty: One constraint group per mode and difficulty, and not only per mode.

        Raises:
            DataError: a row does not fit the schema, a prompt does not end in a control token of its mode, or ends in
                one that the checkpoint does not have, or a field that its mode needs is missing.
        """
        for number, row in enumerate(rows, 1):
            validate({"answer": "0", **row}, "rl_prompts", f"prompt {number}")
        facts = [request_of(row, tokens, by_difficulty) for row in rows]
        completion = [row.get("reference_completion_tokens", row["reference_tokens"]) for row in rows]
        return cls(
            ladder=np.array(list(tokens.ratios.values()) if tokens else [1.0]),
            policy=np.array([row["mode"] == "policy" for row in rows]),
            requested=np.array([index for index, _, _ in facts], dtype=np.int64),
            group=[group for _, group, _ in facts],
            teacher_ratio=np.array([row["teacher_ratio"] for row in rows], dtype=float),
            reference_tokens=np.array([row["reference_tokens"] for row in rows], dtype=float),
            reference_completion=np.array(completion, dtype=float),
            reference_accuracy=np.array([accuracy for _, _, accuracy in facts], dtype=float),
            control=tokens is not None,
        )

    def floors(self, accuracy_slack: float, accuracy: float | None = None) -> dict[str, float]:
        """Accuracy floor of each group: mean accuracy of the frozen model - `accuracy_slack`, not below 0.

        Args:
            accuracy_slack: Accuracy that may be lost, in [0, 1).
            accuracy: Accuracy of every group in place of the frozen model's.

        Raises:
            DataError: `accuracy_slack` is outside [0, 1).
        """
        if not 0 <= accuracy_slack < 1:
            raise DataError(f"accuracy_slack must be in [0, 1), such as 0.02 for 2 points; got {accuracy_slack:g}")
        names = np.array(self.group)
        frozen = {name: float(self.reference_accuracy[names == name].mean()) for name in sorted(set(self.group))}
        return {
            name: max(0.0, (own if accuracy is None else accuracy) - accuracy_slack) for name, own in frozen.items()
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


def completion_limit(rows: Sequence[Row]) -> int:
    """Maximum number of tokens of a completion, control token included: 1.5 times the longest reference and 8 more.

    Args:
        rows: Rows of an RL prompts file.
    """
    longest = max(int(row.get("reference_completion_tokens", row["reference_tokens"])) for row in rows)
    return longest + longest // 2 + 8


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


def request_of(row: Row, tokens: ControlTokens | None, by_difficulty: bool = False) -> tuple[int, str, float]:
    """Index of the ratio that a prompt requests (-1 for none), its constraint group, and its reference accuracy.

    Args:
        row: A row that fits the schema of an RL prompts file.
        tokens: Control tokens of the checkpoint; None if it has none.
        by_difficulty: See `PromptTable.of`.

    Raises:
        DataError: the prompt does not fit the control tokens, or a field that its mode needs is missing.
    """
    index, accuracy = _requested(row, tokens), row["reference_accuracy"]
    group = "policy"
    if tokens is not None and index >= 0:
        ratio = f"{list(tokens.ratios.values())[index]:g}"
        group, accuracy = f"fixed@{ratio}", _accuracy_at(row, ratio)
    if by_difficulty:
        group = f"{group}/{_field(row, 'difficulty')}"
        if tokens is None:  # with a ladder, difficulty is measured at other ratios
            accuracy = row.get("held_out_accuracy", accuracy)
    return index, group, accuracy


def _requested(row: Row, tokens: ControlTokens | None) -> int:
    """Index of the ratio that a prompt requests; -1 if the model chooses, or there is none."""
    token = row["prompt"][-1]["content"].split()[-1:]
    chooses = row["mode"] == "policy"
    if tokens is None:
        if not chooses or (token and token[0].startswith(_CONTROL_TOKEN)):
            raise DataError(
                f"id {row['id']!r}: prompt: a {row['mode']} prompt that ends in {token} is for a model with control "
                "tokens, and this one has none; prepare the prompts from samples without a ratio"
            )
        return -1
    indices = {tokens.request(ratio): index for index, ratio in enumerate(tokens.ratios.values())}
    index = indices.get(token[0]) if token else None
    wanted = tokens.policy if chooses else "a ratio token"
    if (token != [tokens.policy]) if chooses else (index is None):
        raise DataError(f"id {row['id']!r}: prompt: a {row['mode']} prompt must end in {wanted}; got {token}")
    return -1 if chooses or index is None else index


def _field(row: Row, name: str) -> Any:
    if name not in row:
        raise DataError(
            f"id {row['id']!r}: {name}: field is missing; write the prompts with `chrpo prepare`, from two samples or "
            "more of each problem"
        )
    return row[name]


def _accuracy_at(row: Row, ratio: str) -> float:
    accuracies = _field(row, "reference_accuracies")
    if not isinstance(accuracies, Mapping) or ratio not in accuracies:
        raise DataError(f"id {row['id']!r}: reference_accuracies: no accuracy at {ratio}, the ratio of the prompt")
    return float(accuracies[ratio])


def reference_answers(rows: Sequence[Row]) -> list[str]:
    """The reference answer of each row, for a grader; everything else in a row is left to `PromptTable.of`.

    Args:
        rows: Rows of an RL prompts file.

    Raises:
        DataError: an answer is missing.
    """
    for number, row in enumerate(rows, 1):
        if "answer" not in row:
            validate(row, "rl_prompts", f"prompt {number}")
    return [row["answer"] for row in rows]
