"""The rollouts of one step as columns, in the form in which they are scored.

Generating rollouts is left to the adapters, reading them off token ids to `rollout`, scoring them to `score`.

    batch = RolloutBatch.of({"row": [0, 0], "ratio_index": [0, 1], **stats}, log_probs)      # log_probs [2, ratios]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from .core.outcome import Bools, Floats, Ints
from .rollout import RolloutStats

_UNDERFLOW = -600.0


@dataclass(frozen=True)
class Rollout:
    """One rollout, for `CHRPOController.step`.

    Args:
        row: Index of the prompt in the prompts file.
        stats: Facts about the rollout, see `RolloutReader`.
        ratio_index: Index of the control token in the ladder; None without control tokens.
        log_prob: Log-probability of the control token after the prompt, at the temperature of the rollouts; None
            without control tokens.
    """

    row: int
    stats: RolloutStats
    ratio_index: int | None = None
    log_prob: float | None = None


@dataclass(frozen=True)
class RolloutBatch:
    """Facts about all rollouts of a step; the rollouts of a prompt are adjacent.

    Args:
        row: Index of the prompt in `PromptTable`, [rollouts].
        ratio_index: Index of the control token in the ladder, [rollouts].
        format_ok: See `RolloutStats`, [rollouts].
        correct: See `RolloutStats`, [rollouts].
        truncated: See `RolloutStats`, [rollouts].
        thinking_tokens: See `RolloutStats`, [rollouts].
        completion_tokens: See `RolloutStats`, [rollouts].
        integrity: See `RolloutStats`, [rollouts].
        policy: Probability of each ratio after the prompt, normalised over the ladder, [rollouts, ratios]; NaN where
            it is unknown.
        ladder_mass: Probability of all ratio tokens together, [rollouts].
    """

    row: Ints
    ratio_index: Ints
    format_ok: Bools
    correct: Bools
    truncated: Bools
    thinking_tokens: Floats
    completion_tokens: Floats
    integrity: Floats
    policy: Floats
    ladder_mass: Floats

    @classmethod
    def of(cls, columns: Mapping[str, npt.ArrayLike], log_probs: Floats) -> "RolloutBatch":
        """A batch from columns by name.

        Args:
            columns: Values of `row`, `ratio_index` and each field of `RolloutStats`, name -> [rollouts].
            log_probs: Log-probability of each ratio token, [rollouts, ratios]; NaN where it is unknown.
        """
        # If the model gives the whole ladder almost no probability, exp would be 0 for every ratio.
        most = log_probs.max(axis=1)
        shift = np.where(most < _UNDERFLOW, most, 0.0)
        probabilities = np.exp(log_probs - shift[:, None])
        mass = probabilities.sum(axis=1)
        found = {name: np.asarray(values, dtype=float) for name, values in columns.items()}
        return cls(
            row=found["row"].astype(np.int64),
            ratio_index=found["ratio_index"].astype(np.int64),
            format_ok=found["format_ok"].astype(bool),
            correct=found["correct"].astype(bool),
            truncated=found["truncated"].astype(bool),
            thinking_tokens=found["thinking_tokens"],
            completion_tokens=found["completion_tokens"],
            integrity=found["integrity"],
            policy=probabilities / mass[:, None],
            ladder_mass=mass * np.exp(shift),
        )

    @classmethod
    def of_rollouts(
        cls, rollouts: Sequence[Rollout], *, group_size: int, requested: Ints, ratios: int
    ) -> "RolloutBatch":
        """A batch from rollouts in groups of one prompt, with the policy taken from their own control tokens.

        The mean log-probability of the control tokens of one ratio is the log-probability of that ratio. The policy of
        a prompt is unknown if the model chooses its ratio and some ratio has no rollout.

        Args:
            rollouts: Rollouts of all workers; the rollouts of a prompt are adjacent.
            group_size: Number of rollouts per prompt.
            requested: Index of each rollout's requested ratio; -1 if the model chooses, [rollouts].
            ratios: Number of ratios of the ladder.
        """
        columns = stat_columns([rollout.stats for rollout in rollouts])
        ratio_index = np.array([rollout.ratio_index for rollout in rollouts])
        group = np.arange(len(rollouts)) // group_size
        cell = group * ratios + ratio_index
        cells = len(rollouts) // group_size * ratios
        counts = np.bincount(cell, minlength=cells)
        sums = np.bincount(cell, np.array([rollout.log_prob for rollout in rollouts]), cells)
        unknown = np.where(np.repeat(requested[::group_size] < 0, ratios), np.nan, -np.inf)
        log_probs = np.where(counts > 0, sums / np.maximum(counts, 1), unknown).reshape(-1, ratios)
        columns |= {"row": [rollout.row for rollout in rollouts], "ratio_index": ratio_index}
        return cls.of(columns, log_probs[group])


def stat_columns(stats: Sequence[RolloutStats]) -> dict[str, npt.ArrayLike]:
    """The fields of `RolloutStats` as columns, name -> [rollouts]."""
    return {field.name: [getattr(each, field.name) for each in stats] for field in fields(RolloutStats)}
