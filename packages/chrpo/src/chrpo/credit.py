"""From the rewards of a step to the advantages of its rollouts and responses, for any objective.

The advantages of control tokens at every ratio, and the weights of responses, are left to `score`; the formulas to
`core`.

    compared = rollout_advantages(objective, rewards, outcomes, group=group, cell=cell, reference=accuracy)
    response_advantages(objective, compared.advantages, outcomes)
"""

import numpy as np

from .core.advantages import Response, leave_one_out
from .core.baselines import group_advantages
from .core.comparison import EPSILON, batch_deviation, group_deviation, keep_best, without_others
from .core.outcome import Bools, Floats, Ints, Outcomes
from .objective import Objective


def rollout_advantages(
    objective: Objective, rewards: Floats, outcomes: Outcomes, *, group: Ints, cell: Ints, reference: Floats
) -> Response:
    """Each reward compared with what the objective compares it with, on the objective's scale.

    Args:
        objective: Objective of the step.
        rewards: Reward of each rollout, [rollouts].
        outcomes: Outcomes of the rollouts.
        group: Prompt of each rollout, [rollouts].
        cell: Prompt and ratio of each rollout, [rollouts].
        reference: Accuracy of the frozen model on each rollout's prompt, [rollouts].
    """
    if objective.keep_share < 1:
        kept = keep_best(rewards, outcomes.known_tokens(), group, share=objective.keep_share, by=objective.keep_by)
        group, cell = without_others(group, kept), without_others(cell, kept)
    if objective.against_reference:
        found = _against(rewards - reference, group)
    elif objective.credit == "split":
        found = _within_ratio(rewards, group, cell)
    else:
        found = Response(group_advantages(rewards, group, scale=False), leave_one_out(rewards, group).no_signal)
    if objective.advantage_scale == "none":
        return found
    if objective.advantage_scale == "batch":
        deviation = batch_deviation(found.advantages, found.no_signal)
    elif objective.credit == "split":
        deviation = np.where(_alone(cell), group_deviation(rewards, group), group_deviation(rewards, cell))
    else:
        deviation = group_deviation(rewards, group)
    return Response(found.advantages / (deviation + EPSILON), found.no_signal)


def response_advantages(objective: Objective, advantages: Floats, outcomes: Outcomes) -> Floats:
    """Advantage of each response, from that of its rollout; those of correct answers are at least 0 with that part.

    Source of the part: DRPO (Li et al. 2025, arXiv 2510.04474) and SmartThinker (2026, arXiv 2603.08000), in which a
    long correct answer is not made less likely because others are shorter. Our choice: negative advantages become 0,
    and not weights among correct answers alone, so that prompts with correct answers only still teach brevity. Control
    tokens keep their advantages, because the choice of a long ratio must be able to become less likely.

    Args:
        objective: Objective of the step.
        advantages: Advantage of each rollout, [rollouts].
        outcomes: Outcomes of the rollouts.
    """
    if not objective.clamp_correct:
        return advantages
    return np.where(outcomes.format_ok & outcomes.correct, np.maximum(advantages, 0), advantages)


def _alone(cell: Ints) -> Bools:
    return (np.bincount(cell) == 1)[cell]


def _within_ratio(rewards: Floats, group: Ints, cell: Ints) -> Response:
    """Each reward minus the others at its prompt and ratio; minus the others of its prompt if it is alone there.

    Both baselines do not depend on the rollout's own answer, so both are unbiased.
    """
    within, across = leave_one_out(rewards, cell), leave_one_out(rewards, group)
    alone = _alone(cell)
    return Response(
        np.where(alone, across.advantages, within.advantages), np.where(alone, across.no_signal, within.no_signal)
    )


def _against(advantages: Floats, group: Ints) -> Response:
    """Advantages that are no differences within the group; it has no signal if all of them are 0."""
    _, index = np.unique(group, return_inverse=True)
    return Response(advantages, (np.bincount(index, np.abs(advantages)) == 0)[index])
