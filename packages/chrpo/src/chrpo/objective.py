"""What is optimised: the reward, who chooses the ratio of a rollout, and how rewards become advantages.

One table for all methods, so that a comparison differs in the objective alone: prompts, rollouts per step, generation,
clipping and optimiser are shared, and prompts without signal never dilute the others. Ratios are drawn as each method
draws its own. Formulas are left to `core`, applying them to a step to `judge`.

    choose("chrpo", without=["constraint"])
    choose("l1", length_weight=0.5)
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
        reward: turns facts into rewards.
        credit: of control token and response. "split": the mean of a ratio against the others for the one, the rollout
            against others of its ratio for the other. "whole": the rollout against all others of its prompt for both.
            "decoupled": the same, but control tokens are averaged apart from response tokens (Thinkless).
        control_weight: of the control token: in response tokens; where decoupled, of the mean over control tokens.
        scaled: True if advantages are divided by the standard deviation of their prompt.
        stratified: True if a prompt is rolled out once at every ratio, and only further ratios are drawn from the
            policy; else all are.
        constrained: True if the reward follows the price of accuracy.
    """

    reward: Reward
    credit: Literal["split", "whole", "decoupled"] = "whole"
    control_weight: float = 1.0
    scaled: bool = False
    stratified: bool = False
    constrained: bool = False


OBJECTIVES = {
    "chrpo": Objective(ConstrainedReward(), "split", 5.0, stratified=True, constrained=True),
    "paper": Objective(PaperReward(), "split", 5.0, stratified=True),
    "grpo": Objective(CorrectnessReward(), scaled=True),
    "l1": Objective(LengthPenalty(), scaled=True),
    "degrpo": Objective(DeGRPO(), "decoupled", 1e-3),
    "shortest_correct": Objective(ShortestCorrect(), scaled=True),
}
"""`paper` has the rollouts and the credit of `chrpo`, as the paper says nothing of either."""

PARTS = ("constraint", "control", "mode", "stratified")
"""What an ablation leaves out: the price of accuracy (0); the control token's own credit (it is then one more token of
its rollout); the pay for a small ratio; the rollouts at every ratio."""


def choose(
    name: str,
    *,
    without: Sequence[str] = (),
    length_weight: float | None = None,
    control_weight: float | None = None,
    shortest: float = 0.2,
) -> Objective:
    """An objective of the table.

    Args:
        name: key of `OBJECTIVES`.
        without: parts to leave out, of `PARTS`.
        length_weight: of the length penalty, for objectives that have one; by default their authors'.
        control_weight: see `Objective`; by default the objective's own.
        shortest: smallest ratio of the ladder.

    Raises:
        DataError: an unknown name, or a part or weight that the objective does not have.
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
    has = {
        "constraint": found.constrained,
        "control": found.credit == "split",
        "mode": isinstance(reward, ConstrainedReward | PaperReward),
        "stratified": found.stratified,
    }
    for part in without:
        if not has.get(part):
            known = ", ".join(part for part in PARTS if has[part]) or "nothing"
            raise DataError(f"objective {name} has no part {part!r} to leave out; it has {known}")
    if isinstance(reward, ConstrainedReward | PaperReward) and "mode" in without:
        reward = replace(reward, mode=False)
    if "control" in without:
        found = replace(found, credit="whole", control_weight=1.0)
    return replace(
        found,
        reward=reward,
        constrained=found.constrained and "constraint" not in without,
        stratified=found.stratified and "stratified" not in without,
    )
