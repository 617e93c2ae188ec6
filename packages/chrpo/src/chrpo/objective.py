"""Training objectives: the reward, the draw of ratios, and the way from rewards to advantages.

All objectives are in one table, so that a comparison differs in the objective alone: prompts, rollouts per step,
generation, clipping and optimiser are the same, and prompts without signal never dilute the others. Formulas are left
to `core`, applying them to a step to `credit` and `score`.

>>> choose("chrpo", without=["constraint"]).constrained
False
>>> choose("l1", length_weight=0.5).reward
LengthPenalty(weight=0.5, at_most=False, offset=0.5, unit='reference')
>>> sorted(choose("grpo", adding=["clamp_correct"]).parts)
['clamp_correct']
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from .core.baselines import (
    CorrectnessReward,
    DeGRPO,
    LengthPenalty,
    LengthUnit,
    OverBudget,
    ShortestCorrect,
    ShortestRatioBonus,
)
from .core.comparison import KeepBy, Scale
from .core.length_price import weighted_by_solve_rate
from .core.outcome import Floats, Outcomes
from .core.rewards import ConstrainedReward, PaperReward, Reward, Rewards
from .errors import DataError

TOKENS_OF_A_REFERENCE = 1000
"""Number of tokens of a reference for which a weight per token and a weight per reference agree."""


@dataclass(frozen=True)
class Objective:
    """One way to learn from rollouts.

    Args:
        reward: Function from outcomes to rewards.
        credit: Credit of control token and response. "split": the control token gets the mean reward of its ratio
            compared with the other ratios, the response its reward compared with other responses at its ratio. "whole":
            both get the rollout's reward compared with all rollouts of the prompt. "decoupled": the same, but control
            tokens are averaged separately from response tokens (Thinkless).
        control_weight: Weight of the control token, as a number of response tokens; with decoupled credit, weight of
            the mean over control tokens, so that a control token weighs as much as this share of a response.
        advantage_scale: Divisor of the advantages: the standard deviation of the rewards that are compared ("group"),
            that of all advantages of the step ("batch"), or none. With split credit, control tokens are not scaled.
        ladder_share: Share of the prompts that are rolled out once at every ratio before further ratios are drawn from
            the policy; for all other prompts, every ratio is drawn.
        constrained: True if the reward depends on the price of accuracy.
        keep_share: Share of the rollouts of each prompt that is compared; the others teach nothing.
        keep_by: Which rollouts are kept, see `core.comparison.keep_best`.
        against_reference: True if rewards are compared with the accuracy of the frozen model on the same prompt, and
            not with other rollouts.
        solve_rate: True if length counts in proportion to the share of correct rollouts of its prompt.
        clamp_correct: True if no response of a correct answer has a negative advantage.
    """

    reward: Reward
    credit: Literal["split", "whole", "decoupled"] = "whole"
    control_weight: float = 1.0
    advantage_scale: Scale = "none"
    ladder_share: float = 0.0
    constrained: bool = False
    keep_share: float = 1.0
    keep_by: KeepBy = "length"
    against_reference: bool = False
    solve_rate: bool = False
    clamp_correct: bool = False

    def rewards(self, outcomes: Outcomes, price: float | Floats) -> Rewards:
        """Rewards of a batch.

        Args:
            outcomes: Outcomes of the rollouts.
            price: Price of accuracy of each rollout's constraint group, a number or [rollouts].
        """
        return self.reward(weighted_by_solve_rate(outcomes) if self.solve_rate else outcomes, price)

    @property
    def parts(self) -> set[str]:
        """The parts, of `PARTS`, that it has."""
        has = {
            "constraint": self.constrained,
            "control": self.credit != "whole",
            "mode": isinstance(self.reward, ConstrainedReward | PaperReward) and self.reward.mode,
            "stratified": self.ladder_share > 0,
            "solve_rate": self.solve_rate,
            "clamp_correct": self.clamp_correct,
        }
        return {part for part, there in has.items() if there}


OBJECTIVES = {
    "chrpo": Objective(ConstrainedReward(), "decoupled", 0.25, ladder_share=0.125, constrained=True),
    "paper": Objective(PaperReward(), "split", 5.0, ladder_share=1.0),
    "grpo": Objective(CorrectnessReward(), advantage_scale="group"),
    "l1": Objective(LengthPenalty(), advantage_scale="group"),
    "degrpo": Objective(DeGRPO(), "decoupled", 1e-3),
    "shortest_correct": Objective(ShortestCorrect(), advantage_scale="group"),
    "alp": Objective(LengthPenalty(1e-7, unit="token"), advantage_scale="group", solve_rate=True),
    "gfpo": Objective(CorrectnessReward(), advantage_scale="group", keep_share=8 / 24),
    "gfpo_efficiency": Objective(CorrectnessReward(), advantage_scale="group", keep_share=8 / 16, keep_by="efficiency"),
    "dler": Objective(CorrectnessReward(), advantage_scale="batch"),
    "laconic": Objective(OverBudget(), advantage_scale="group"),
    "adaptthink": Objective(ShortestRatioBonus(), against_reference=True),
}
"""The paper describes neither rollouts nor credit; our choice: `paper` rolls out every ratio for every prompt and
splits the credit, because its rewards compare ratios. `chrpo` rolls out every ratio for an eighth of the prompts:
rollouts at ratios that the model does not choose cost tokens, but a ratio whose probability has become tiny is found
again by them alone. Its control token weighs a quarter of a response: as one token of a long response it would learn
too slowly (docs/results/examples.md).

The others have their authors' numbers where these exist on our outcomes. `dler` is completed by a short token limit of
the rollouts (`max_tokens`, 4000 there): a truncated answer earns 0. Two of its parts are not there. No probability
ratio is clipped, because every step has rollouts of the present model; and prompts without signal do not count in the
loss, but are not replaced by new ones."""

PARTS = ("constraint", "control", "mode", "stratified", "solve_rate", "clamp_correct")
"""Parts that `without` omits: the price of accuracy (it is then 0); the weight or credit of the control token (it is
then one more token of its rollout); the reward for choosing a small ratio; the rollouts at every ratio; the solve rate
of the prompt as weight of the length; the bound 0 below the advantages of correct responses. The last two can be
added."""
ADDABLE = ("solve_rate", "clamp_correct")
OF_THE_LADDER = ("paper", "degrpo", "adaptthink")
"""Objectives whose rewards compare ratios, or that treat control tokens separately."""
PARTS_OF_THE_LADDER = ("control", "mode", "stratified")
WEIGHTED = ("l1", "shortest_correct", "alp", "adaptthink")
"""Objectives that have a weight of the length."""


def choose(
    name: str,
    *,
    without: Sequence[str] = (),
    adding: Sequence[str] = (),
    advantage_scale: str | None = None,
    control_weight: float | None = None,
    ladder_share: float | None = None,
    keep_share: float | None = None,
    length_weight: float | None = None,
    length_unit: str | None = None,
    token_budget: float | None = None,
    shortest: float = 0.2,
) -> Objective:
    """An objective of the table, with changes; None leaves what the objective has.

    Args:
        name: Key of `OBJECTIVES`.
        without: Parts to omit, of `PARTS`.
        adding: Parts to add, of `ADDABLE`.
        advantage_scale: Divisor of the advantages.
        control_weight: Weight of the control token.
        ladder_share: Share of the prompts that are rolled out at every ratio.
        keep_share: Share of a prompt's rollouts that are compared, for objectives that keep a share.
        length_weight: Weight of the length, for objectives that have one.
        length_unit: Unit of the length, for objectives that have a length penalty.
        token_budget: Mean number of tokens to reach, for `laconic`.
        shortest: Smallest ratio of the ladder.

    Raises:
        DataError: the name is unknown, or the objective does not have the part, the weight or the value.
    """
    if name not in OBJECTIVES:
        raise DataError(f"unknown objective {name!r}; choose one of {', '.join(OBJECTIVES)}")
    found = OBJECTIVES[name]
    reward = _with_length(name, found.reward, length_weight, length_unit)
    if isinstance(reward, DeGRPO | ShortestRatioBonus):
        reward = replace(reward, shortest=shortest)
    if token_budget is not None:
        if not isinstance(reward, OverBudget):
            raise DataError(f"objective {name} has no token_budget; laconic has one")
        reward = replace(reward, budget=token_budget)
    changes = {
        "advantage_scale": advantage_scale,
        "control_weight": control_weight,
        "ladder_share": ladder_share,
        "keep_share": keep_share,
    }
    given = {field: value for field, value in changes.items() if value is not None}
    _check_changes(name, given, without)
    return _with_parts(name, replace(found, reward=reward, **given), without, adding)


def _with_length(name: str, reward: Reward, weight: float | None, unit: str | None) -> Reward:
    """The reward with another weight and unit of the length; the weight that it has is converted to the unit."""
    if unit is not None:
        if not isinstance(reward, LengthPenalty | ShortestCorrect):
            raise DataError(f"objective {name} has no length_unit; l1, shortest_correct and alp have one")
        if unit not in get_args(LengthUnit):
            raise DataError(f"length_unit must be reference or token; got {unit!r}")
        if unit != reward.unit:
            factor = 1 / TOKENS_OF_A_REFERENCE if unit == "token" else TOKENS_OF_A_REFERENCE
            reward = replace(reward, unit=unit, weight=reward.weight * factor)
    if weight is None:
        return reward
    if isinstance(reward, ShortestRatioBonus):
        return replace(reward, bonus=weight)
    if not isinstance(reward, LengthPenalty | ShortestCorrect):
        raise DataError(f"objective {name} has no length_weight; {', '.join(WEIGHTED)} have one")
    return replace(reward, weight=weight)


def _check_changes(name: str, given: dict[str, Any], without: Sequence[str]) -> None:
    found = OBJECTIVES[name]
    if given.get("control_weight", 0) < 0:
        raise DataError(f"control_weight must be 0 or more; got {given['control_weight']:g}")
    if "control_weight" in given and "control" in without:
        raise DataError(
            f"control_weight is {given['control_weight']:g}, and without control it is 1 token; give one of them"
        )
    if given.get("advantage_scale", "none") not in get_args(Scale):
        raise DataError(f"advantage_scale must be none, group or batch; got {given['advantage_scale']!r}")
    if (keep_share := given.get("keep_share")) is not None and not (0 < keep_share <= 1 and found.keep_share < 1):
        raise DataError(
            f"keep_share must be in (0, 1], and gfpo and gfpo_efficiency alone have one; got {keep_share:g} for {name}"
        )
    if (ladder_share := given.get("ladder_share")) is not None:
        if not (0 <= ladder_share <= 1 and found.ladder_share):
            raise DataError(
                f"ladder_share must be in [0, 1], and chrpo and paper alone have one; got {ladder_share:g} for {name}"
            )
        if ladder_share and "stratified" in without:
            raise DataError(f"ladder_share is {ladder_share:g}, and without stratified it is 0; give one of them")


def _with_parts(name: str, found: Objective, without: Sequence[str], adding: Sequence[str]) -> Objective:
    for part in adding:
        _check_addable(name, found, part)
    own = OBJECTIVES[name].parts
    for part in without:
        if part not in own:
            known = ", ".join(part for part in PARTS if part in own) or "none"
            raise DataError(f"objective {name} has no part {part!r} to omit; its parts are: {known}")
    reward = found.reward
    if isinstance(reward, ConstrainedReward | PaperReward) and "mode" in without:
        found = replace(found, reward=replace(reward, mode=False))
    if "control" in without:
        found = replace(found, credit="whole", control_weight=1.0)
    return replace(
        found,
        constrained=found.constrained and "constraint" not in without,
        ladder_share=0.0 if "stratified" in without else found.ladder_share,
        solve_rate=(found.solve_rate or "solve_rate" in adding) and "solve_rate" not in without,
        clamp_correct="clamp_correct" in adding,
    )


def _check_addable(name: str, found: Objective, part: str) -> None:
    if part not in ADDABLE:
        raise DataError(f"no part {part!r} can be added; choose one of {', '.join(ADDABLE)}")
    if part in found.parts:
        raise DataError(f"objective {name} has the part {part!r}; leave it out of --with")
    if part == "solve_rate" and not isinstance(found.reward, ConstrainedReward | LengthPenalty | ShortestCorrect):
        raise DataError(f"objective {name} has no reward that falls with length, so solve_rate would change nothing")
