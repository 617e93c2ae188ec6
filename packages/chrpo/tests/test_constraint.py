import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chrpo.core import AccuracyConstraint, Gains
from chrpo.errors import DataError


def test_price_by_hand():
    gains = Gains(proportional=10, integral=1, integral_clip=1, derivative=2, ema_decay=0.5, cap=4)
    constraint = AccuracyConstraint({"policy": 0.9}, gains)
    constraint.update({"policy": (8, 10)})  # E = .1, I = .1, nothing before to grow from
    assert constraint.price("policy") == pytest.approx(0.1 + 1.0)
    constraint.update({"policy": (6, 10)})  # (4 + 6) / (5 + 10) = .6667; E = .2333, I = .3333, growth .1333
    assert constraint.accuracy("policy") == pytest.approx(10 / 15)
    assert constraint.price("policy") == pytest.approx(0.33333 + 2.33333 + 2 * 0.13333, abs=1e-4)
    constraint.update({"policy": (10, 10)})  # (5 + 10) / (7.5 + 10) = .8571; E = .0429, I = .3762
    assert constraint.price("policy") == pytest.approx(0.37619 + 0.42857, abs=1e-4)


def test_counts_are_the_weights_of_the_running_accuracy():
    constraint = AccuracyConstraint({"policy": 0.5})
    constraint.update({"policy": (1, 1)})
    constraint.update({"policy": (0, 99)})
    assert constraint.accuracy("policy") == pytest.approx(0.9 / 99.9)


def test_a_floor_above_the_best_ratio_is_infeasible_at_any_price():
    constraint = AccuracyConstraint({"policy": 0.9}, Gains(patience=3))
    for step in range(5):
        assert constraint.infeasible == (["policy"] if step >= 3 else [])
        constraint.update({"policy": (6, 10)}, {"policy": (8, 10)})
    assert constraint.price("policy") == constraint.gains.cap
    for _ in range(30):
        constraint.update({"policy": (6, 10)}, {"policy": (10, 10)})
    assert constraint.infeasible == []


def test_a_price_at_its_cap_tells_where_the_best_of_few_samples_looks_within_reach():
    constraint = AccuracyConstraint({"policy": 0.9}, Gains(cap=10, patience=3))
    for _ in range(3):
        constraint.update({"policy": (6, 10)}, {"policy": (10, 10)})  # 200 x .3 is above the cap
    assert constraint.infeasible == ["policy"]


@pytest.mark.parametrize("accuracy", [0.1, 0.7, 0.8633333333333333])
def test_a_floor_that_the_best_ratios_just_reach_is_in_reach(accuracy):
    constraint = AccuracyConstraint({"policy": accuracy})
    for _ in range(300):
        constraint.update({"policy": (3 * accuracy, 3)}, {"policy": (3 * accuracy, 3)})
        assert constraint.infeasible == []


def test_the_integral_does_not_wind_up_while_the_policy_is_far_away():
    constraint = AccuracyConstraint({"policy": 0.9}, Gains(proportional=0, ema_decay=0))
    for _ in range(100):
        constraint.update({"policy": (1, 10)})
    assert constraint.price("policy") == pytest.approx(100 * 0.5 * 0.02)


def test_a_held_floor_costs_nothing():
    constraint = AccuracyConstraint({"policy": 0.5})
    for _ in range(50):
        constraint.update({"policy": (9, 10)})
    assert constraint.price("policy") == 0
    assert constraint.violation("policy") == pytest.approx(-0.4)


def test_an_absent_or_empty_group_keeps_its_price():
    constraint = AccuracyConstraint({"policy": 0.9, "fixed@0.2": 0.4})
    constraint.update({"policy": (5, 10), "fixed@0.2": (0, 0)})
    assert constraint.price("fixed@0.2") == 0
    assert constraint.accuracy("fixed@0.2") is None
    before = constraint.price("policy")
    constraint.update({"fixed@0.2": (1, 10)})
    assert constraint.price("policy") == before > 0


def test_an_unreachable_floor_stops_at_the_cap_is_flagged_and_comes_back():
    constraint = AccuracyConstraint(
        {"policy": 0.99}, Gains(integral=5, integral_clip=1, cap=10, patience=5, ema_decay=0)
    )
    for _ in range(1000):
        constraint.update({"policy": (5, 10)})
    assert constraint.price("policy") == 10
    assert constraint.infeasible == ["policy"]
    for _ in range(200):
        constraint.update({"policy": (10, 10)})
    assert constraint.price("policy") == 0, "a wound-up integral would need 1000 updates"
    assert constraint.infeasible == []


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=30), st.integers(0, 29))
def test_state_survives_json_bit_for_bit(measured, cut):
    rows = [(min(right, count), count) for right, count in measured]
    whole = AccuracyConstraint({"policy": 0.83})
    for row in rows:
        whole.update({"policy": row})
    first, second = AccuracyConstraint({"policy": 0.83}), AccuracyConstraint({"policy": 0.83})
    for row in rows[:cut]:
        first.update({"policy": row})
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for row in rows[cut:]:
        second.update({"policy": row})
    assert second.state_dict() == whole.state_dict()
    assert second.price("policy") == whole.price("policy")


def test_a_saved_state_is_a_copy():
    constraint = AccuracyConstraint({"policy": 0.9})
    state = constraint.state_dict()
    constraint.update({"policy": (1, 10)})
    assert state["duals"]["policy"]["price"] == 0


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: AccuracyConstraint({}), "at least one group"),
        (lambda: AccuracyConstraint({"policy": 95}), r"in \[0, 1\]"),
        (lambda: AccuracyConstraint({"policy": 0.9}).update({"other": (1, 1)}), "unknown constraint group"),
        (lambda: AccuracyConstraint({"policy": 0.9}).update({"policy": (2, 1)}), "0 <= correct <= count"),
        (lambda: AccuracyConstraint({"policy": 0.9}).update({"policy": (np.nan, 1)}), "0 <= correct <= count"),
        (lambda: AccuracyConstraint({"policy": 0.9}).update({"policy": (1, np.inf)}), "0 <= correct <= count"),
        (lambda: Gains(cap=0), "must be positive"),
        (lambda: Gains(integral=float("nan")), "must be finite"),
        (lambda: Gains(ema_decay=1), "ema_decay"),
        (
            lambda: AccuracyConstraint({"policy": 0.9}).load_state_dict(
                AccuracyConstraint({"policy": 0.8}).state_dict()
            ),
            "other floors or gains",
        ),
    ],
)
def test_nonsense_is_refused(action, words):
    with pytest.raises(DataError, match=words):
        action()


def test_sums_of_arrays_and_tensors_leave_a_state_that_is_json():
    constraint = AccuracyConstraint({"policy": 0.9})
    for right in (np.array([1, 0, 1], np.float32), torch.tensor([1.0, 0.0, 1.0])):
        constraint.update({"policy": (right.sum(), len(right))}, {"policy": (right.sum(), len(right))})
    assert json.loads(json.dumps(constraint.state_dict())) == constraint.state_dict()
