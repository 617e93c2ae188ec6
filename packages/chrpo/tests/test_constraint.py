import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chrpo.core import AccuracyConstraint, Gains
from chrpo.core.constraint import Paired
from chrpo.errors import DataError


def past_the_first(constraint, accuracy):
    """The constraint after its first 20 updates at this accuracy, which count as a rise."""
    for _ in range(20):
        constraint.update({group: (accuracy * 1000, 1000) for group in constraint.floors})
    return constraint


def test_price_by_hand():
    gains = Gains(proportional=5, integral=1, integral_clip=0.2, ema_decay=0, minimum=0.5, cap=9, start=2)
    constraint = AccuracyConstraint({"policy": 0.9}, gains)
    assert constraint.price("policy") == 2
    past_the_first(constraint, 0.8)  # E = .1, but these updates count as a rise: B stays, and E counts as .015
    assert constraint.price("policy") == pytest.approx(2 * math.exp(5 * 0.015))
    constraint.update({"policy": (80, 100)})  # E = .1: B = 2 exp(.1)
    assert constraint.price("policy") == pytest.approx(2 * math.exp(0.1 + 5 * 0.1))
    constraint.update({"policy": (60, 100)})  # E = .3, counted as .2 by the integral: B = 2 exp(.3)
    assert constraint.price("policy") == 9
    constraint.update({"policy": (89, 100)})  # E = .01, far above the slow mean: B stays
    assert constraint.price("policy") == pytest.approx(2 * math.exp(0.3 + 5 * 0.01))
    constraint.update({"policy": (95, 100)})  # E = -.05, counted as -.2 / 5: B falls although accuracy rises
    assert constraint.price("policy") == pytest.approx(2 * math.exp(0.3 - 0.04 - 5 * 0.05))


def test_the_running_accuracy_is_an_exponential_mean():
    constraint = AccuracyConstraint({"policy": 0.9}, Gains(ema_decay=0.5))
    constraint.update({"policy": (8, 10)})
    constraint.update({"policy": (6, 10)})  # (4 + 6) / (5 + 10)
    assert constraint.accuracy("policy") == pytest.approx(10 / 15)


@pytest.mark.parametrize(("gains", "first"), [(Gains(), 8), (Gains(start=7), 7)])
def test_the_first_price_is_the_given_one(gains, first):
    """Floor and accuracy are equal, so nothing moves the price later."""
    constraint = AccuracyConstraint({"policy": 0.5}, gains)
    for _ in range(2):
        assert constraint.price("policy") == pytest.approx(first, abs=0.02)
        constraint.update({"policy": (5, 10)})


def test_a_steady_violation_multiplies_the_price_at_every_update():
    """E = .01: the first updates give 8 exp(.5), each further one exp(1.5 x .01) times as much."""
    constraint = past_the_first(AccuracyConstraint({"policy": 0.51}), 0.5)
    for update in range(6):
        assert constraint.price("policy") == pytest.approx(8 * math.exp(0.015 * update + 0.5))
        constraint.update({"policy": (50, 100)})


def test_while_the_accuracy_is_above_the_floor_the_price_rests_at_its_minimum():
    for minimum in (1.0, 2.5):
        constraint = AccuracyConstraint({"policy": 0.5}, Gains(minimum=minimum))
        for _ in range(200):
            constraint.update({"policy": (9, 10)})
        assert constraint.price("policy") == minimum
        assert constraint.violation("policy") == pytest.approx(-0.4)
        # Four updates at accuracy 0 bring the mean to .9 x .9 ^ 4 = .59, the fifth to .53, the sixth below the floor.
        prices = []
        for _ in range(6):
            constraint.update({"policy": (0, 10)})
            prices.append(constraint.price("policy"))
        assert prices[:5] == [minimum] * 5 < prices[5:]


def test_accuracies_are_corrected_for_the_problems_that_an_update_happened_to_draw():
    """By hand: references of .2, 1 and 1 at a mean of .8 over all problems, accuracies equal to them."""
    constraint = AccuracyConstraint({"policy": 0.8})
    d = np.array([-0.6, 0.2, 0.2])
    constraint.update({"policy": (2.2, 3)}, paired={"policy": Paired(d.sum(), d @ (0.8 + d), d @ d, 0.0)})
    # Slope (.44 - .16) / .44 = .6364: 2.2 + .6364 x .2 = 2.3273
    assert constraint.accuracy("policy") == pytest.approx(2.32727 / 3, abs=1e-5)


@pytest.mark.parametrize("samples", [1, 4])
def test_pairing_leaves_no_bias_and_less_noise(samples):
    generator = np.random.default_rng(0)
    solved = generator.random(4000) < 0.9
    chance = np.where(solved, 0.95, 0.05)
    references = generator.binomial(samples, chance) / samples
    deviation, rows = references - references.mean(), generator.integers(4000, size=(400, 16))
    found = {True: [], False: []}
    for paired, accuracies in found.items():
        constraint = AccuracyConstraint({"policy": 0.5}, Gains(ema_decay=0))
        for row in rows:
            right, d = generator.binomial(12, chance[row]) / 12, deviation[row]
            sums = {"policy": Paired(d.sum(), d @ right, d @ d, 0.0)} if paired else None
            constraint.update({"policy": (right.sum(), 16)}, paired=sums)
            accuracies.append(constraint.accuracy("policy"))
    assert np.mean(found[True]) == pytest.approx(chance.mean(), abs=0.006)
    assert np.std(found[True]) < {1: 0.75, 4: 0.5}[samples] * np.std(found[False])


def test_references_without_a_relation_to_the_accuracy_correct_nothing():
    constraint = AccuracyConstraint({"policy": 0.5})
    constraint.update({"policy": (1.0, 2)}, paired={"policy": Paired(0.4, -0.3, 0.5, 0.0)})
    assert constraint.accuracy("policy") == 0.5


def test_problems_rolled_out_at_every_ratio_are_corrected_too_before_a_floor_counts_as_out_of_reach():
    """The best ratios reach .5 on hard problems, whose references are .4 below the mean: nothing is out of reach."""
    for sums, out_of_reach in ((Paired(0.0, 0.4, 0.4, -0.8), []), (Paired(0.0, 0.4, 0.4, 0.0), ["policy"])):
        constraint = AccuracyConstraint({"policy": 0.9}, Gains(patience=3))
        for _ in range(4):
            constraint.update({"policy": (9, 10)}, {"policy": (1.0, 2)}, {"policy": sums})
        assert constraint.infeasible == out_of_reach


def test_a_floor_follows_the_best_accuracy_less_the_slack_and_never_falls():
    constraint = AccuracyConstraint({"policy": 0.6}, best_slack=0.05)
    floors = []
    for right in [70] * 19 + [80] * 150 + [50] * 50:
        constraint.update({"policy": (right, 100)})
        floors.append(constraint.floor("policy"))
    assert set(floors[:19]) == {0.6}
    assert floors == sorted(floors)
    assert 0.64 < floors[40] < 0.75  # a rising mean is not yet a sure one
    assert floors[168] == pytest.approx(0.75, abs=0.01)
    assert floors[-1] == floors[168]


def test_the_best_accuracy_of_a_noisy_run_is_not_above_its_true_accuracy():
    """At a true accuracy of .8 and 160 rollouts an update; the largest running mean of a run is .82 to .83."""
    generator, found = np.random.default_rng(3), []
    for _ in range(40):
        constraint = AccuracyConstraint({"policy": 0.0}, best_slack=0.0)
        for right in generator.binomial(160, 0.8, 200):
            constraint.update({"policy": (right, 160)})
        found.append(constraint.floor("policy"))
    assert np.mean(found) == pytest.approx(0.8, abs=0.005)
    assert max(found) < 0.812


def test_the_standard_error_of_the_first_updates_by_hand():
    """20 updates, alternately .9 and .7, from which the weighted mean and variance follow."""
    constraint = AccuracyConstraint({"policy": 0.0}, best_slack=0.0)
    values = [0.9, 0.7] * 10
    for value in values:
        constraint.update({"policy": (value * 10, 10)})
    weights = 0.97 ** np.arange(20)[::-1]
    mean = np.average(values, weights=weights)
    variance = np.average((values - mean) ** 2, weights=weights)
    error = math.sqrt(variance * (weights**2).sum()) / weights.sum()
    assert constraint.floor("policy") == pytest.approx(mean - 2 * error)


def test_counts_are_the_weights_of_the_running_accuracy():
    constraint = AccuracyConstraint({"policy": 0.5})
    constraint.update({"policy": (1, 1)})
    constraint.update({"policy": (0, 99)})
    assert constraint.accuracy("policy") == pytest.approx(0.9 / 99.9)


def test_a_floor_above_the_best_ratio_is_infeasible_at_any_price():
    constraint = AccuracyConstraint({"policy": 0.9}, Gains(patience=3, proportional=0))
    for step in range(5):
        assert constraint.infeasible == (["policy"] if step >= 3 else [])
        constraint.update({"policy": (6, 10)}, {"policy": (8, 10)})
    assert constraint.price("policy") == constraint.gains.cap
    for _ in range(10):
        constraint.update({"policy": (6, 10)}, {"policy": (10, 10)})
    assert constraint.infeasible == []


def test_an_update_without_prompts_at_every_ratio_does_not_end_the_evidence_of_those_before():
    constraint = AccuracyConstraint({"policy": 0.9}, Gains(patience=20, proportional=0))
    for update in range(20):
        constraint.update({"policy": (6, 10)}, {"policy": (8, 10)} if update % 4 == 0 else {})
    assert constraint.infeasible == ["policy"]


@pytest.mark.parametrize("cap", [5, 7, 10, 20, 30])
def test_a_price_at_its_cap_tells_where_the_best_of_few_samples_looks_within_reach(cap):
    constraint = past_the_first(AccuracyConstraint({"policy": 0.9}, Gains(cap=cap, start=1, patience=3)), 0.6)
    assert constraint.infeasible == []
    for _ in range(3):
        constraint.update({"policy": (6, 10)}, {"policy": (10, 10)})  # exp(50 x .3) is above the cap
    assert constraint.infeasible == ["policy"]


@pytest.mark.parametrize("accuracy", [0.1, 0.7, 0.8633333333333333])
def test_a_floor_that_the_best_ratios_just_reach_is_in_reach(accuracy):
    constraint = AccuracyConstraint({"policy": accuracy})
    for _ in range(300):
        constraint.update({"policy": (3 * accuracy, 3)}, {"policy": (3 * accuracy, 3)})
        assert constraint.infeasible == []


def test_the_integral_does_not_wind_up_while_the_policy_is_far_away():
    constraint = past_the_first(AccuracyConstraint({"policy": 0.9}, Gains(proportional=0, ema_decay=0)), 0.1)
    for _ in range(10):
        constraint.update({"policy": (1, 10)})
    assert constraint.price("policy") == pytest.approx(8 * math.exp(10 * 1.5 * 0.05))


def test_the_price_does_not_wind_up_while_the_accuracy_rises_towards_the_floor():
    constraint = AccuracyConstraint({"policy": 0.9}, Gains(proportional=0))
    prices = []
    for update in range(60):
        constraint.update({"policy": (200 + 10 * update, 1000)})
        prices.append(constraint.price("policy"))
    assert constraint.violation("policy") > 0.1
    assert set(prices) == {8}


def test_a_floor_that_the_accuracy_rises_to_is_not_infeasible_though_the_price_is_at_its_cap():
    rising, stuck = (AccuracyConstraint({"policy": 0.9}, Gains(start=30)) for _ in range(2))
    for update in range(40):
        rising.update({"policy": (200 + 10 * update, 1000)})
        stuck.update({"policy": (500, 1000)})
    assert rising.price("policy") == stuck.price("policy") == 30
    assert (rising.infeasible, stuck.infeasible) == ([], ["policy"])


def test_without_a_minimum_a_held_floor_costs_next_to_nothing():
    constraint = AccuracyConstraint({"policy": 0.5}, Gains(minimum=0))
    for _ in range(300):
        constraint.update({"policy": (9, 10)})
    assert constraint.price("policy") == pytest.approx(0.3 * math.exp(-50 * 0.4))


@pytest.mark.parametrize("gains", [{"integral": 1e9}, {"proportional": 1e9}])
@pytest.mark.parametrize(("correct", "price"), [(0, 30), (10, 1)])
def test_gains_of_any_size_end_at_a_limit(gains, correct, price):
    constraint = past_the_first(AccuracyConstraint({"policy": 0.5}, Gains(**gains)), correct / 10)
    constraint.update({"policy": (correct, 10)})
    assert constraint.price("policy") == price


def test_an_absent_or_empty_group_keeps_its_price():
    constraint = AccuracyConstraint({"policy": 0.9, "fixed@0.2": 0.4})
    constraint.update({"policy": (5, 10), "fixed@0.2": (0, 0)})
    assert constraint.price("fixed@0.2") == 8
    assert constraint.accuracy("fixed@0.2") is None
    before = constraint.price("policy")
    constraint.update({"fixed@0.2": (1, 10)})
    assert constraint.price("policy") == before > 8


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
    assert constraint.price("policy") == 1, "a wound-up base would need more updates"
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
    assert state["duals"]["policy"]["price"] == 8


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: AccuracyConstraint({}), "at least one group"),
        (lambda: AccuracyConstraint({"policy": 95}), r"in \[0, 1\]"),
        (lambda: AccuracyConstraint({"policy": 0.9}).update({"other": (1, 1)}), "unknown constraint group"),
        (lambda: AccuracyConstraint({"policy": 0.9}).update({"policy": (2, 1)}), "0 <= correct <= count"),
        (lambda: AccuracyConstraint({"policy": 0.9}).update({"policy": (np.nan, 1)}), "0 <= correct <= count"),
        (lambda: AccuracyConstraint({"policy": 0.9}).update({"policy": (1, np.inf)}), "0 <= correct <= count"),
        (lambda: Gains(start=0.5), "within the smallest and the largest, 1 to 30; got 0.5"),
        (lambda: Gains(start=31), "1 to 30; got 31"),
        (lambda: Gains(cap=0), "must be positive"),
        (lambda: Gains(minimum=-1), "must not be negative"),
        (lambda: Gains(minimum=40), "smallest price, 40, is above the largest, 30"),
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


def spoiled(**changes):
    """A saved state whose only price has other values."""
    state = AccuracyConstraint({"policy": 0.9}).state_dict()
    return {**state, "duals": {"policy": {**state["duals"]["policy"], **changes}}}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        *[(state, "is corrupted") for state in (None, [], "x", 3, {})],
        *[({**spoiled(), "duals": duals}, "is corrupted") for duals in (None, "x", {"policy": None}, {"policy": {}})],
        (spoiled(price=None), "is corrupted"),
        (spoiled(price="8"), "is corrupted"),
        (spoiled(price=float("nan")), "lacks a group or a finite number"),
        ({**spoiled(), "duals": {}}, "lacks a group or a finite number"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(state, words):
    constraint = AccuracyConstraint({"policy": 0.9})
    with pytest.raises(DataError, match=f"the saved constraint {words}.*; resume from another checkpoint"):
        constraint.load_state_dict(state)
    assert constraint.state_dict() == spoiled()


def test_sums_of_arrays_and_tensors_leave_a_state_that_is_json():
    constraint = AccuracyConstraint({"policy": 0.9})
    for right in (np.array([1, 0, 1], np.float32), torch.tensor([1.0, 0.0, 1.0])):
        constraint.update({"policy": (right.sum(), len(right))}, {"policy": (right.sum(), len(right))})
    assert json.loads(json.dumps(constraint.state_dict())) == constraint.state_dict()
