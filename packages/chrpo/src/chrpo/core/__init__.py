"""The objective in numpy: outcomes of rollouts in; rewards, prices and advantages out.

Any training loop can use it, because no trainer is imported here; `token_loss` alone needs torch. What is named in
`__all__` is for everybody to use; the submodules hold more, which may change.

>>> outcomes = Outcomes.of(
...     format_ok=[1, 1], correct=[1, 0], requested_ratio=[0.2, 0.2], realised_ratio=[0.2, 0.2], cost=[0.2, 0.2]
... )
>>> rewards = ConstrainedReward()(outcomes, price=0.6).main
>>> leave_one_out(rewards, group=[0, 0]).advantages.round(2).tolist()
[0.88, -0.88]
"""

from .advantages import control_advantages, leave_one_out, response_weights
from .constraint import AccuracyConstraint, Gains
from .loss import token_loss
from .outcome import Outcomes
from .rewards import ConstrainedReward, PaperReward, Rewards, exchange_rate_points
from .schedule import BudgetSchedule

__all__ = [
    "AccuracyConstraint",
    "BudgetSchedule",
    "ConstrainedReward",
    "Gains",
    "Outcomes",
    "PaperReward",
    "Rewards",
    "control_advantages",
    "exchange_rate_points",
    "leave_one_out",
    "response_weights",
    "token_loss",
]
