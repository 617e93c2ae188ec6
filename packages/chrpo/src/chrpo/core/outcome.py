"""Outcomes of rollouts, before they are rewarded: format, answer, requested and realised ratio, cost.

Reading them off token ids is left to the adapters, rewarding them to `rewards`.

>>> len(Outcomes.of(format_ok=[True], correct=[True], requested_ratio=[0.4], realised_ratio=[0.35], cost=[0.4]))
1
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from chrpo.errors import DataError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outcomes:
    """A batch of rollouts; every field has shape [rollouts].

    Args:
        format_ok: True if the rollout is well formed: finished, one closed thinking block, one answer, no second
            control token.
        correct: True if the grader accepts the answer.
        requested_ratio: Ratio of the control token that opens the answer (r_c in the paper).
        realised_ratio: Thinking tokens / reference length of that prompt (r^ in the paper).
        cost: ALL completion tokens / completion tokens of the reference, so that moving the thinking to another place
            earns nothing.
        teacher_ratio: Teacher ratio of the prompt (r* in the paper); NaN where no ratio passes.
        policy: True if the model chose the ratio, False if the user requested it.
        integrity: Share of the integrity checks that fail, in [0, 1] (repetition, an empty thinking block).
        prompt: Whole number that the rollouts of one prompt share.
        tokens: Number of all completion tokens; NaN where only the cost is known.
    """

    format_ok: Bools
    correct: Bools
    requested_ratio: Floats
    realised_ratio: Floats
    cost: Floats
    teacher_ratio: Floats
    policy: Bools
    integrity: Floats
    prompt: Ints
    tokens: Floats

    def __post_init__(self) -> None:
        shapes = {field.name: np.shape(getattr(self, field.name)) for field in fields(self)}
        if len(set(shapes.values())) != 1 or len(self.format_ok.shape) != 1:
            raise DataError(f"every field needs shape [rollouts]; got {shapes}")
        for name in ("requested_ratio", "realised_ratio", "cost"):
            values = getattr(self, name)
            if not np.all(np.isfinite(values)) or np.any(values < 0):
                refused = values[~(np.isfinite(values) & (values >= 0))][:3]
                raise DataError(f"{name} must be finite and not negative; got {refused}")
        if np.any(self.tokens < 0) or np.any(np.isinf(self.tokens)):
            refused = self.tokens[(self.tokens < 0) | np.isinf(self.tokens)][:3]
            raise DataError(f"tokens must be finite and not negative, or NaN where they are unknown; got {refused}")
        for name in ("requested_ratio", "teacher_ratio", "integrity"):
            values = getattr(self, name)
            if np.any(values > 1) or np.any(values < 0) or (name == "integrity" and np.any(np.isnan(values))):
                refused = values[~((values >= 0) & (values <= 1))][:3]
                raise DataError(f"{name} must be in [0, 1], such as 0.2 (not 20); got {refused}")

    def __len__(self) -> int:
        return len(self.format_ok)

    @classmethod
    def of(
        cls,
        *,
        format_ok: Sequence[bool] | Bools,
        correct: Sequence[bool] | Bools,
        requested_ratio: Sequence[float] | Floats,
        realised_ratio: Sequence[float] | Floats,
        cost: Sequence[float] | Floats,
        teacher_ratio: Sequence[float | None] | Floats | None = None,
        policy: Sequence[bool] | Bools | None = None,
        integrity: Sequence[float] | Floats | None = None,
        prompt: Sequence[int] | Ints | None = None,
        tokens: Sequence[float] | Floats | None = None,
    ) -> "Outcomes":
        """Outcomes from plain lists.

        Defaults: no prompt has a teacher ratio, the model chose every ratio, no integrity check fails, all rollouts
        belong to one prompt, and the numbers of tokens are unknown.
        """
        count = len(format_ok)
        return cls(
            format_ok=truths("format_ok", format_ok),
            correct=truths("correct", correct),
            requested_ratio=np.asarray(requested_ratio, float),
            realised_ratio=np.asarray(realised_ratio, float),
            cost=np.asarray(cost, float),
            teacher_ratio=np.full(count, np.nan) if teacher_ratio is None else np.array(teacher_ratio, dtype=float),
            policy=np.ones(count, bool) if policy is None else truths("policy", policy),
            integrity=np.zeros(count) if integrity is None else np.asarray(integrity, float),
            prompt=np.zeros(count, np.int64) if prompt is None else whole_numbers("prompt", prompt),
            tokens=np.full(count, np.nan) if tokens is None else np.asarray(tokens, float),
        )

    def known_tokens(self) -> Floats:
        """Number of all completion tokens of each rollout, [rollouts].

        Raises:
            DataError: the number is unknown for some rollout.
        """
        if np.any(np.isnan(self.tokens)):
            raise DataError("the length is counted in tokens, which are unknown for some rollouts; give `tokens`")
        return self.tokens


def truths(name: str, values: Sequence[bool] | Bools) -> Bools:
    """`values` as booleans; 0 and 1 are accepted.

    Raises:
        DataError: a value is neither true nor false.
    """
    found = np.asarray(values)
    if found.dtype.kind == "b":
        return found
    if found.dtype.kind not in "iuf" or not np.isin(found, (0, 1)).all():
        raise DataError(f"{name} must be True or False (or 1 or 0); got {found.ravel()[:3]}")
    return found.astype(bool)


def whole_numbers(name: str, values: Sequence[int] | Ints) -> Ints:
    """`values` as integers.

    Raises:
        DataError: the values have another type.
    """
    found = np.asarray(values)
    if found.size and found.dtype.kind not in "iu":
        raise DataError(f"{name} must be whole numbers; got {found.ravel()[0]!r}, of type {found.dtype}")
    return found.astype(np.int64, copy=False)
