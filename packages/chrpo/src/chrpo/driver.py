"""CHRPO for a trainer with one driver: the facts of a step's rollouts in, token-level advantages out.

The driver sees the rollouts of all workers at once and keeps the only copy of the prices, so nothing is reduced over
processes. Every prompt was rolled out at all ratios, so the log-probabilities of the forced control tokens, which any
PPO trainer computes, are the whole policy over the ladder. Generating and the loss are left to the adapter.

    driver = Driver(rows, ControlTokens.load("checkpoints/sft"), group_size=10)
    step = driver.judge(rollouts)                        # step.control, step.response, step.metrics
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np

from ._shared.control_tokens import ControlTokens
from ._shared.records import Row
from .core.constraint import AccuracyConstraint, Gains
from .core.outcome import Floats
from .errors import ChrpoError, DataError
from .judge import Prompts, Table, judge
from .objective import choose
from .rollout import Facts


@dataclass(frozen=True)
class Settings:
    """What the driver needs beside prompts and ladder; the same names and defaults as in `trl.CHRPOConfig`.

    Args:
        eps: accuracy that may be given up, below the frozen model's.
        constraint_by_difficulty: one constraint per mode and difficulty, instead of one per mode.
        control_weight: weight of the control token in the loss; a response token has 1.
        control_floor: ratios with a smaller probability are not pushed down any further.
        response_policy_mix: responses count alike at every ratio (0) … as often as chosen (1).
        gains: of the dual price, see `core.Gains`.
    """

    eps: float = 0.0
    constraint_by_difficulty: bool = False
    control_weight: float = 5.0
    control_floor: float = 1e-3
    response_policy_mix: float = 0.5
    gains: Gains = field(default_factory=lambda: Gains(proportional=50.0))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Settings":
        """Read a section of a configuration file.

        Raises:
            DataError: an unknown name.
        """
        try:
            gains = Gains(**{"proportional": 50.0, **values.get("gains", {})})
            return cls(**{**values, "gains": gains})
        except TypeError as error:
            known = ", ".join([*cls.__dataclass_fields__, *(f"gains.{name}" for name in Gains.__dataclass_fields__)])
            raise DataError(f"settings of chrpo: {error}; known are {known}") from error


@dataclass(frozen=True)
class Rollout:
    """One rollout as its worker saw it.

    Args:
        row: of its prompt in the prompts file.
        rung: of the control token that it opens with.
        facts: see `rollout.Facts`.
        log_prob: log-probability of that control token after the prompt, at the temperature of the rollouts.
    """

    row: int
    rung: int
    facts: Facts
    log_prob: float


@dataclass(frozen=True)
class Step:
    """What a step teaches.

    Args:
        control: advantage of each rollout's first token, [rollouts].
        response: advantage of each of its other tokens, [rollouts].
        metrics: name -> number, for people.
    """

    control: Floats
    response: Floats
    metrics: dict[str, float]


class Driver:
    """Judges every step of one run.

    Args:
        rows: of the RL prompts file (`chrpo prepare` writes it).
        tokens: the checkpoint's ladder.
        group_size: rollouts per prompt; a multiple of the ladder's length, at least twice it.
        settings: see `Settings`.

    Raises:
        DataError: prompts and ladder do not fit each other, or the group size does not fit the ladder.
    """

    def __init__(
        self, rows: Sequence[Row], tokens: ControlTokens, group_size: int, settings: Settings | None = None
    ) -> None:
        ratios = len(tokens.ratios)
        if group_size % ratios or group_size < 2 * ratios:
            raise DataError(
                f"{group_size} rollouts per prompt; the ladder has {ratios} ratios, and each needs the same number of "
                f"rollouts, at least 2: take {2 * ratios} or another multiple of {ratios}"
            )
        self.settings = settings or Settings()
        self.prompts = Prompts.of(rows, tokens, self.settings.constraint_by_difficulty)
        self.constraint = AccuracyConstraint(self.prompts.floors(self.settings.eps), self.settings.gains)
        self._objective = choose("chrpo", control_weight=self.settings.control_weight)
        self._group_size = group_size

    def judge(self, rollouts: Sequence[Rollout], prompt: Sequence[str]) -> Step:
        """Advantages of a step, and the prices moved for the next one.

        They are scaled for a loss that is divided by the count of all response tokens, control tokens included ("token
        mean"): responses then count per token that carries signal, so that dead groups do not dilute the others, and
        control tokens weigh `control_weight` response tokens of a step in which every group is alive.

        Args:
            rollouts: of all workers, in any order.
            prompt: label of each rollout's prompt in this step; a prompt that is drawn twice has two.

        Raises:
            ChrpoError: a prompt without all its rollouts.
        """
        labels, group, sizes = np.unique(np.asarray(prompt), return_inverse=True, return_counts=True)
        if np.any(sizes != self._group_size):
            short = labels[sizes != self._group_size][0]
            raise ChrpoError(
                f"prompt {short} came back with {sizes[labels == short][0]} of {self._group_size} rollouts; "
                "see the rollout workers' log for the error that took the others"
            )
        rungs = np.array([rollout.rung for rollout in rollouts])
        order = np.lexsort((rungs, group))
        prices = {name: self.constraint.price(name) for name in self.constraint.floors}
        judgement = judge(
            self._table([rollouts[index] for index in order]),
            self.prompts,
            self._objective,
            group_size=self._group_size,
            prices=prices,
            mix=self.settings.response_policy_mix,
            floor=self.settings.control_floor,
        )
        self.constraint.update(judgement.measured, judgement.attainable)

        back = np.argsort(order)
        control, response = judgement.control[back], judgement.response[back]
        answer_tokens = np.array([rollout.facts.completion_tokens - 1 for rollout in rollouts])
        alive, answers = max(answer_tokens[~judgement.dead[back]].sum(), 1), max(answer_tokens.sum(), 1)
        tokens = answer_tokens.sum() + len(rollouts)
        metrics = {**judgement.metrics, **self._reports(prices)}
        return Step(control * self._objective.control_weight * tokens / answers, response * tokens / alive, metrics)

    def _table(self, rollouts: Sequence[Rollout]) -> Table:
        """The table of facts, groups adjacent and rungs rising within them."""
        facts = np.array([[rollout.row, rollout.rung, *astuple(rollout.facts)] for rollout in rollouts], dtype=float)
        ratios = len(self.prompts.ladder)
        group = np.arange(len(rollouts)) // self._group_size
        cell = group * ratios + facts[:, 1].astype(np.int64)
        cells = len(rollouts) // self._group_size * ratios
        counts = np.bincount(cell, minlength=cells)
        sums = np.bincount(cell, np.array([rollout.log_prob for rollout in rollouts]), cells)
        # Where the user asked for a ratio only that one was rolled out; nobody reads the policy there.
        ladder = np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf).reshape(-1, ratios)
        return Table.of(np.hstack([facts, ladder[group]]))

    def _reports(self, used: Mapping[str, float]) -> dict[str, float]:
        reports: dict[str, float] = {}
        for group, floor in self.constraint.floors.items():
            reports[f"lambda/{group}"] = used[group]
            reports[f"violation/{group}"] = self.constraint.violation(group)
            reports[f"floor/{group}"] = floor
            reports[f"infeasible/{group}"] = float(group in self.constraint.infeasible)
        return reports

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, as plain JSON."""
        return {"format": 1, "settings": asdict(self.settings), "constraint": self.constraint.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            DataError: it belongs to a run with other prompts or settings.
        """
        if state.get("settings") != asdict(self.settings):
            raise DataError("the saved prices belong to other settings of chrpo; resume with those of the run")
        self.constraint.load_state_dict(state["constraint"])
