"""One RL step of CHRPO: rollouts in; advantages of their tokens, metrics and new prices out.

`CHRPOController` is used by TRL's trainer, by verl's and by a loop of one's own. It has the objective with its
ablations, the prices of accuracy (Lagrange multipliers) and the budget schedule, and it is the only place in which they
change. Generating rollouts, log-probabilities, the loss and the optimiser are left to the trainer.

    controller = CHRPOController(rows, control_tokens("checkpoints/sft"), group_size=10)
    step = controller.step(rollouts, prompts=[str(rollout.row) for rollout in rollouts])
    step.control, step.response, step.tokens, step.metrics
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ._shared.control_tokens import ControlTokens
from ._shared.records import Row
from .batch import Rollout, RolloutBatch
from .core.baselines import OverBudget
from .core.constraint import AccuracyConstraint
from .core.length_price import LengthPrice
from .core.outcome import Floats, Ints
from .core.rewards import ConstrainedReward, Reward
from .core.schedule import BudgetSchedule
from .errors import ChrpoError, DataError
from .objective import Objective
from .prompts import PromptTable
from .score import StepResult, score_step
from .settings import CHRPOSettings

HOLD_WEIGHT = 0.25
"""Weight of `StepResult.hold`, as a share of a response. Our choice: that of a control token with `chrpo`."""


@dataclass(frozen=True)
class TokenAdvantages:
    """Advantages of a step's tokens, for the loss -(sum of advantage x log-probability) / tokens.

    Args:
        control: Advantage of each rollout's first token, [rollouts]: its control token, or, without control tokens, one
            more token of the response.
        response: Advantage of each of its other tokens, [rollouts].
        tokens: Normaliser of the loss.
        metrics: Metrics of the step, by name.
    """

    control: Floats
    response: Floats
    tokens: float
    metrics: dict[str, float]


class CHRPOController:
    """Objective, prices and budget of one run.

    Prices move once per step, after their use: the rewards of a step depend on the prices that the steps before it set.
    In a run of several processes, every process has a controller and updates it with the same rollouts of all
    processes; or one process has the only controller.

    Args:
        rows: Rows of an RL prompts file.
        tokens: Control tokens of the checkpoint; None if it has none: each rollout is then compared with the others of
            its prompt, and the model learns to shorten the whole response.
        group_size: Number of rollouts per prompt.
        settings: Settings of the objective.
        reward: Reward in place of the objective's own.

    Attributes:
        prompts: Facts about each prompt, such as the index of its requested ratio.
        objective: Objective of the settings.
        constraint: Prices of accuracy.
        schedule: Budget schedule; None without `budget_step`.
        length_price: Price of tokens beyond a budget; None for objectives without a token budget.

    Raises:
        DataError: prompts, ladder, group size and settings do not fit each other, or a setting needs control tokens.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        tokens: ControlTokens | None,
        *,
        group_size: int,
        settings: CHRPOSettings | None = None,
        reward: Reward | None = None,
    ) -> None:
        self.settings = settings or CHRPOSettings()
        self.group_size = group_size
        self.prompts = PromptTable.of(rows, tokens, self.settings.constraint_by_difficulty)
        if tokens is None:
            self.objective = self.settings.chosen_without_ladder()
        else:
            self.objective = self.settings.chosen(shortest=min(tokens.ratios.values()))
        if reward is not None:
            self.objective = replace(self.objective, reward=reward)
        ratios = len(self.prompts.ladder)
        if self.objective.ladder_share and group_size < ratios:
            raise DataError(
                f"{group_size} rollouts per prompt (--rollouts, num_generations); the ladder has {ratios} ratios, and "
                f"a prompt needs one rollout at each: take {ratios} or more, or --ladder-share 0"
            )
        floors = self.prompts.floors(self.settings.accuracy_slack, self.settings.accuracy_floor)
        best_slack = self.settings.accuracy_slack if self.settings.floor == "best" else None
        self.constraint = AccuracyConstraint(floors, self.settings.gains, best_slack)
        self._policy_groups = sorted(
            {group for group, chooses in zip(self.prompts.group, self.prompts.policy, strict=True) if chooses}
        )
        self.schedule = self._new_schedule()
        own = self.objective.reward
        self.length_price = LengthPrice(own.budget) if isinstance(own, OverBudget) else None

    def _new_schedule(self) -> BudgetSchedule | None:
        if self.settings.budget_step is None:
            return None
        if not (self.objective.constrained and isinstance(self.objective.reward, ConstrainedReward)):
            raise DataError(
                f"budget_step needs the constrained reward and its prices, which {self.settings.objective} with "
                "these settings does not have"
            )
        if not self.objective.reward.mode:
            raise DataError(
                "budget_step lowers the cost that a chosen ratio may have, and without mode none is rewarded"
            )
        if not self._policy_groups:
            raise DataError("budget_step needs prompts in which the model chooses; every prompt requests a ratio")
        return BudgetSchedule(step=self.settings.budget_step, hold=self.settings.budget_hold)

    # --- before a step -----------------------------------------------------------------------------------------------

    def choose_ratios(self, rows: Sequence[int], places: Ints, policy: Floats, uniform: Floats) -> Ints:
        """Index of the ratio token to force on each rollout.

        The requested ratio where there is one. Elsewhere a ratio drawn from the policy; but for prompts that are rolled
        out at every ratio, the first rollouts have every ratio once.

        Args:
            rows: Index of each rollout's prompt in the prompts file, [rollouts].
            places: Number of each rollout among those of its prompt, 0 … group size - 1, [rollouts].
            policy: Probability of each ratio, normalised over the ladder, [rollouts, ratios].
            uniform: Random numbers in [0, 1), [rollouts, 1].
        """
        index = np.asarray(rows, dtype=np.int64)
        requested = self.prompts.requested[index]
        own = (uniform >= policy.cumsum(axis=1)[:, :-1]).sum(axis=1)
        whole = self.prompts.at_every_ratio(index, self.objective.ladder_share)
        own = np.where(whole & (places < policy.shape[1]), places, own)
        return np.where(requested >= 0, requested, own)

    # --- a step ------------------------------------------------------------------------------------------------------

    def step(self, rollouts: Sequence[Rollout], prompts: Sequence[str]) -> TokenAdvantages:
        """Advantages of a step for a loss over all its tokens; prices and budget move for the next one.

        Args:
            rollouts: Rollouts of all workers, in any order.
            prompts: Label of each rollout's prompt in this step; a prompt that occurs twice has two labels.

        Raises:
            ChrpoError: a prompt does not have all its rollouts, or no rollout at some ratio that it needs, or a rollout
                has no control token.
        """
        if not self.prompts.control:
            rollouts = [replace(rollout, ratio_index=0, log_prob=0.0) for rollout in rollouts]
        elif any(rollout.ratio_index is None or rollout.log_prob is None for rollout in rollouts):
            raise ChrpoError("a rollout has no ratio_index or log_prob; give those of its control token")
        labels, group, sizes = np.unique(np.asarray(prompts), return_inverse=True, return_counts=True)
        if np.any(sizes != self.group_size):
            short = labels[sizes != self.group_size][0]
            raise ChrpoError(
                f"prompt {short} has {sizes[labels == short][0]} of {self.group_size} rollouts; "
                "see the rollout workers' log for the error that lost the others"
            )
        order = np.lexsort((np.array([rollout.ratio_index for rollout in rollouts]), group))
        ordered = [rollouts[index] for index in order]
        requested = self.prompts.requested[[rollout.row for rollout in ordered]]
        batch = RolloutBatch.of_rollouts(
            ordered, group_size=self.group_size, requested=requested, ratios=len(self.prompts.ladder)
        )
        whole = self.prompts.at_every_ratio(batch.row, self.objective.ladder_share)
        if np.any(missing := whole & np.isnan(batch.policy).any(axis=1)):
            incomplete = labels[group[order][missing]][0]
            raise ChrpoError(f"prompt {incomplete} has no rollout at some ratio; this objective needs one at each")
        found = self.token_advantages(self.update(batch), batch, over="all")
        back = np.argsort(order)
        return replace(found, control=found.control[back], response=found.response[back])

    def update(self, batch: RolloutBatch) -> StepResult:
        """Score a step at the present prices and budget; then move prices and budget for the next one.

        Args:
            batch: Rollouts of all processes; those of a prompt are adjacent.
        """
        prices = self.prices()
        result = score_step(
            batch,
            self.prompts,
            self._present_objective(),
            group_size=self.group_size,
            prices=prices,
            on_policy_weight=self.settings.on_policy_weight,
            min_ratio_prob=self.settings.min_ratio_prob,
        )
        self.constraint.update(result.measured, result.attainable, result.paired)
        metrics = {**result.metrics, **self._price_metrics(prices)}
        if self.schedule is not None:
            metrics["budget"] = self.schedule.budget
            self.schedule.update(max(map(self._shortfall, self._policy_groups)))
        if self.length_price is not None:
            metrics["length_price"] = self.length_price.price
            self.length_price.update(float(batch.completion_tokens.mean()))
        return replace(result, metrics=metrics)

    def token_advantages(
        self,
        result: StepResult,
        batch: RolloutBatch,
        *,
        over: Literal["all", "responses", "signal"],
        dtype: npt.DTypeLike = np.float64,
    ) -> TokenAdvantages:
        """Advantages of control tokens C and of response tokens R, for a loss that is divided by N tokens.

            control = w C N / D + v H N / rollouts        response = R N / N_signal

        N_signal is the number of response tokens in groups with signal, so that groups without signal do not dilute the
        others. H is the result's `hold`, and v is `HOLD_WEIGHT`. w is the objective's `control_weight`, and D depends
        on its credit:

        - "split": the number of response tokens, so that a control token weighs as much as w response tokens of a step
          in which every group has signal;
        - "whole": N_signal; the control token is one more token of its rollout;
        - "decoupled": the number of rollouts with signal, so that a control token weighs as much as a share w of the
          mean response (Thinkless).

        Without control tokens, C = R and every token is one of the response.

        Args:
            result: Result of the step, [rollouts].
            batch: Rollouts of the step, [rollouts].
            over: Tokens N that the trainer's loss is divided by: "all" for every token, control tokens included (verl's
                "token-mean"); "signal" for N = N_signal, so that response = R; "responses" for every response token,
                because a KL term in the same loss counts in groups without signal, too.
            dtype: Number format in which the advantages are multiplied, that of the trainer.
        """
        answers = batch.completion_tokens - self.prompts.control
        has_signal = ~result.no_signal
        signal = max(float(answers[has_signal].sum()), 1.0)
        responses = max(float(answers.sum()), 1.0)
        divisors = {"split": responses, "whole": signal, "decoupled": max(float(has_signal.sum()), 1.0)}
        tokens = {"all": float(batch.completion_tokens.sum()), "responses": responses, "signal": signal}[over]
        control, response = result.control.astype(dtype), result.response.astype(dtype)
        if over == "all":
            control = control * self.objective.control_weight * tokens / divisors[self.objective.credit]
            response = response * tokens / signal
        else:  # scaled for N_signal first, so that the factor of a response is exactly 1 where N = N_signal
            control = control * self.objective.control_weight * signal / divisors[self.objective.credit]
            control, response = control * (tokens / signal), response * (tokens / signal)
        control = control + result.hold.astype(dtype) * (HOLD_WEIGHT * tokens / len(answers))
        if not self.prompts.control:
            control = response
        return TokenAdvantages(control, response, tokens, result.metrics)

    def _present_objective(self) -> Objective:
        """The objective with its present budget or price of tokens."""
        reward = self.objective.reward
        if self.length_price is not None and isinstance(reward, OverBudget):
            return replace(self.objective, reward=replace(reward, length_price=self.length_price.price))
        if self.schedule is None or not isinstance(reward, ConstrainedReward):
            return self.objective
        return replace(self.objective, reward=replace(reward, budget=self.schedule.budget))

    def _shortfall(self, group: str) -> float:
        """Violation of a group; infinite before its first measurement."""
        return math.inf if self.constraint.accuracy(group) is None else self.constraint.violation(group)

    # --- prices ------------------------------------------------------------------------------------------------------

    def prices(self) -> dict[str, float]:
        """Lambda of each group; 0 if the objective has no constraint."""
        constrained = self.objective.constrained
        return {group: self.constraint.price(group) if constrained else 0.0 for group in self.constraint.floors}

    @property
    def infeasible(self) -> list[str]:
        """Groups whose floor cannot be reached; none if the objective has no constraint."""
        return self.constraint.infeasible if self.objective.constrained else []

    def _price_metrics(self, used: Mapping[str, float]) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for group, price in used.items():
            metrics[f"lambda/{group}"] = price
            metrics[f"violation/{group}"] = self.constraint.violation(group)
            metrics[f"floor/{group}"] = self.constraint.floor(group)
            metrics[f"infeasible/{group}"] = float(group in self.infeasible)
        return metrics

    # --- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state that changes, and the settings it belongs to, as JSON values."""
        return {
            "settings": self._settings(),
            "constraint": self.constraint.state_dict(),
            "schedule": self.schedule and self.schedule.state_dict(),
            "length_price": self.length_price and self.length_price.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state, bit for bit.

        Args:
            state: State that `state_dict` returned.

        Raises:
            DataError: the state belongs to other prompts or settings, or is corrupted.
        """
        try:
            if state["settings"] != self._settings():
                raise DataError("the saved prices belong to other settings of chrpo; resume with those of the run")
            self.constraint.load_state_dict(state["constraint"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            if self.length_price is not None:
                self.length_price.load_state_dict(state["length_price"])
        except (KeyError, TypeError) as error:
            raise DataError(f"the saved prices are corrupted ({error!r}); resume from another checkpoint") from error

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self.settings, name) for name in CHRPOSettings.__dataclass_fields__}
