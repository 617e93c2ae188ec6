import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrpo.core import BudgetSchedule, ConstrainedReward, Outcomes
from chrpo.errors import DataError


def test_the_budget_falls_only_after_the_floor_held_long_enough():
    schedule = BudgetSchedule(step=0.25, hold=3, last=0.5)
    seen = [schedule.update(violation) for violation in (0, -0.1, 0.01, 0, 0, 0, 0, 0, 0, 0, 0, 0)]
    assert seen == [1, 1, 1, 1, 1, 0.75, 0.75, 0.75, 0.5, 0.5, 0.5, 0.5]


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=200))
def test_no_clock_lowers_it_while_accuracy_is_under_the_floor(violations):
    schedule = BudgetSchedule(hold=1)
    assert {schedule.update(violation) for violation in violations} == {1.0}


@given(st.lists(st.floats(-0.1, 0.1), max_size=60), st.integers(0, 60))
def test_it_never_rises_and_its_state_survives_json(violations, cut):
    whole, resumed = BudgetSchedule(hold=2, step=0.3), BudgetSchedule(hold=2, step=0.3)
    before = [whole.update(violation) for violation in violations]
    assert before == sorted(before, reverse=True)
    first = BudgetSchedule(hold=2, step=0.3)
    for violation in violations[:cut]:
        first.update(violation)
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for violation in violations[cut:]:
        resumed.update(violation)
    assert resumed.state_dict() == whole.state_dict()


def test_savings_below_the_budget_earn_nothing():
    facts = Outcomes.of(
        format_ok=[True] * 3,
        correct=[True] * 3,
        requested_ratio=[0.2] * 3,
        realised_ratio=[0.2] * 3,
        cost=[0.2, 0.6, 0.9],
    )
    low, middle, high = replace(ConstrainedReward(), budget=0.6)(facts).main
    assert low == middle > high
    assert np.all(np.diff(ConstrainedReward()(facts).main) < 0)


@pytest.mark.parametrize("wrong", [{"start": 0}, {"last": 0.5, "start": 0.4}, {"step": 0}, {"hold": 0}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(DataError, match="a budget needs"):
        BudgetSchedule(**wrong)
    with pytest.raises(DataError, match="other settings"):
        BudgetSchedule().load_state_dict(BudgetSchedule(step=0.2).state_dict())
    with pytest.raises(DataError, match="budget must be in"):
        ConstrainedReward(budget=1.5)


SAVED = BudgetSchedule().state_dict()


@pytest.mark.parametrize("state", [None, {}, {**SAVED, "lowered": None}, {**SAVED, "held": "2"}, {**SAVED, "held": -1}])
def test_a_damaged_budget_is_refused(state):
    with pytest.raises(DataError, match=r"the saved budget schedule .*; resume from another checkpoint"):
        BudgetSchedule().load_state_dict(state)
