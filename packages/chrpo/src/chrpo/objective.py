"""Training objectives: the reward, the draw of ratios, and the way from rewards to advantages.

All objectives are in one table, so that a comparison differs in the objective alone: prompts, rollouts per step,
generation, clipping and optimiser are the same, and prompts without signal never dilute the others. Formulas are left
to `core`, applying them to a step to `score`.

>>> choose("chrpo", without=["constraint"]).constrained
False
>>> choose("l1", length_weight=0.5).reward
LengthPenalty(weight=0.5, at_most=False, offset=0.5)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .core.baselines import CorrectnessReward, DeGRPO, LengthPenalty, ShortestCorrect
from .core.rewards import ConstrainedReward, PaperReward, Reward
from .errors import DataError


@dataclass(frozen=True)
class Objective:
    """One way to learn from rollouts.

    Args:
        reward: Function from outcomes to rewards.
        credit: Credit of control token and response. "split": the control token gets the mean reward of its ratio
            compared with the other ratios, the response its reward compared with other responses at its ratio. "whole":
            both get the rollout's reward compared with all other rollouts of the prompt. "decoupled": the same, but
            control tokens are averaged separately from response tokens (Thinkless).
        control_weight: Weight of the control token, as a number of response tokens; with decoupled credit, weight of
            the mean over control tokens.
        scaled: True if advantages are divided by the standard deviation of their prompt.
        ladder_share: Share of the prompts that are rolled out once at every ratio before further ratios are drawn from
            the policy; for all other prompts, every ratio is drawn.
        constrained: True if the reward depends on the price of accuracy.
    """

    reward: Reward
    credit: Literal["split", "whole", "decoupled"] = "whole"
    control_weight: float = 1.0
    scaled: bool = False
    ladder_share: float = 0.0
    constrained: bool = False


OBJECTIVES = {
    "chrpo": Objective(ConstrainedReward(), "split", 5.0, ladder_share=0.125, constrained=True),
    "paper": Objective(PaperReward(), "split", 5.0, ladder_share=1.0),
    "grpo": Objective(CorrectnessReward(), scaled=True),
    "l1": Objective(LengthPenalty(), scaled=True),
    "degrpo": Objective(DeGRPO(), "decoupled", 1e-3),
    "shortest_correct": Objective(ShortestCorrect(), scaled=True),
}
"""The paper describes neither rollouts nor credit; our choice: `paper` has the credit of `chrpo`, and rolls out every
ratio for every prompt, because its rewards compare ratios. `chrpo` does so for an eighth of the prompts: rollouts at
ratios that the model does not choose cost tokens and are compared with little, but a ratio whose probability has
become tiny is found again by them alone."""

PARTS = ("constraint", "control", "mode", "stratified")
"""Parts that an ablation can omit: the price of accuracy (it is then 0); the credit of the control token (it is then
one more token of its rollout); the reward for choosing a small ratio; the rollouts at every ratio."""


def choose(
    name: str,
    *,
    without: Sequence[str] = (),
    length_weight: float | None = None,
    control_weight: float | None = None,
    ladder_share: float | None = None,
    shortest: float = 0.2,
) -> Objective:
    """An objective of the table, with changes.

    Args:
        name: Key of `OBJECTIVES`.
        without: Parts to omit, of `PARTS`.
        length_weight: Weight of the length penalty, for objectives that have one; None for their authors' weight.
        control_weight: Weight of the control token; None for the objective's own.
        ladder_share: Share of the prompts that are rolled out at every ratio; None for the objective's own.
        shortest: Smallest ratio of the ladder.

    Raises:
        DataError: the name is unknown, or the objective does not have the part or the weight.
    """
    if name not in OBJECTIVES:
        raise DataError(f"unknown objective {name!r}; choose one of {', '.join(OBJECTIVES)}")
    found = OBJECTIVES[name]
    reward = found.reward
    if isinstance(reward, DeGRPO):
        reward = replace(reward, shortest=shortest)
    if length_weight is not None:
        if not isinstance(reward, LengthPenalty | ShortestCorrect):
            raise DataError(f"objective {name} has no length_weight; l1 and shortest_correct have one")
        reward = replace(reward, weight=length_weight)
    if control_weight is not None:
        if control_weight < 0:
            raise DataError(f"control_weight must be 0 or more; got {control_weight:g}")
        found = replace(found, control_weight=control_weight)
    if ladder_share is not None:
        _check_share(ladder_share, name, without)
        found = replace(found, ladder_share=ladder_share)
    has = {
        "constraint": found.constrained,
        "control": found.credit == "split",
        "mode": isinstance(reward, ConstrainedReward | PaperReward),
        "stratified": found.ladder_share > 0,
    }
    for part in without:
        if not has.get(part):
            known = ", ".join(part for part in PARTS if has[part]) or "none"
            raise DataError(f"objective {name} has no part {part!r} to omit; its parts are: {known}")
    if isinstance(reward, ConstrainedReward | PaperReward) and "mode" in without:
        reward = replace(reward, mode=False)
    if "control" in without:
        found = replace(found, credit="whole", control_weight=1.0)
    return replace(
        found,
        reward=reward,
        constrained=found.constrained and "constraint" not in without,
        ladder_share=0.0 if "stratified" in without else found.ladder_share,
    )


def _check_share(ladder_share: float, name: str, without: Sequence[str]) -> None:
    if not (0 <= ladder_share <= 1 and OBJECTIVES[name].ladder_share):
        raise DataError(
            f"ladder_share must be in [0, 1], and chrpo and paper alone have one; got {ladder_share:g} for {name}"
        )
    if ladder_share and "stratified" in without:
        raise DataError(f"ladder_share is {ladder_share:g}, and without stratified it is 0; give one of them")
