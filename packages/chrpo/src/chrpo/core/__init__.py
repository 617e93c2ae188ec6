"""The objective itself, on numpy and torch alone: facts in, rewards, prices and advantages out.

No trainer is imported here, so any training loop can use it.

    from chrpo.core import AccuracyConstraint, ConstrainedReward, Outcomes, control_advantages, leave_one_out
"""

from .advantages import Control, Response, control_advantages, leave_one_out, logit_advantages, response_weights
from .bandit import GOLDEN, NEARLY_FREE, NEARLY_TIED, Bandit, Simulation, simulate, simulate_all
from .baselines import CorrectnessReward, DeGRPO, LengthPenalty, ShortestCorrect, degrpo_loss, group_advantages
from .constraint import AccuracyConstraint, Gains
from .loss import token_loss
from .outcome import Outcomes
from .ratios import TeacherRatio, samples_needed, teacher_ratio, wilson_lower
from .rewards import ConstrainedReward, PaperReward, Reward, Rewards, exchange_rate_points
from .schedule import BudgetSchedule

__all__ = [
    "GOLDEN",
    "NEARLY_FREE",
    "NEARLY_TIED",
    "AccuracyConstraint",
    "Bandit",
    "BudgetSchedule",
    "ConstrainedReward",
    "Control",
    "CorrectnessReward",
    "DeGRPO",
    "Gains",
    "LengthPenalty",
    "Outcomes",
    "PaperReward",
    "Response",
    "Reward",
    "Rewards",
    "ShortestCorrect",
    "Simulation",
    "TeacherRatio",
    "control_advantages",
    "degrpo_loss",
    "exchange_rate_points",
    "group_advantages",
    "leave_one_out",
    "logit_advantages",
    "response_weights",
    "samples_needed",
    "simulate",
    "simulate_all",
    "teacher_ratio",
    "token_loss",
    "wilson_lower",
]
