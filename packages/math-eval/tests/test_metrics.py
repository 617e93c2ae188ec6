import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from math_eval import metrics


def test_wilson_interval_of_published_example():
    low, high = metrics.wilson(27, 40)
    assert (low, high) == (pytest.approx(0.5202, abs=5e-5), pytest.approx(0.7992, abs=5e-5))
    assert metrics.wilson(0, 10) == (0.0, pytest.approx(0.27754, abs=1e-5))
    assert metrics.wilson(10, 10) == (pytest.approx(0.72246, abs=1e-5), 1.0)


def test_pass_at_k_by_hand():
    assert metrics.pass_at_k(4, 1, 1) == pytest.approx(0.25)
    assert metrics.pass_at_k(4, 2, 2) == pytest.approx(1 - 1 / 6)
    assert metrics.pass_at_k(4, 0, 4) == 0
    with pytest.raises(ValueError, match="between 1 and the 4"):
        metrics.pass_at_k(4, 2, 5)


def test_majority_vote():
    assert metrics.majority(["3", "4", "4"], [0, 1, 1]) == 1
    assert metrics.majority(["3", "4"], [0, 1]) == 0
    assert metrics.majority([None, None, "4"], [0, 0, 1]) == 1
    assert metrics.majority([None], [0]) == 0


def test_mcnemar_by_hand():
    pairs = [(True, False)] * 8 + [(False, True)] * 2 + [(True, True)] * 5
    assert metrics.mcnemar(pairs) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert metrics.mcnemar([(True, True)]) == 1.0


def test_clustered_error_equals_the_textbook_formula_for_single_samples():
    values = [1.0, 0.0, 1.0, 1.0, 0.0]
    mean = sum(values) / 5
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / 4)
    assert metrics.clustered_error([[value] for value in values]) == pytest.approx(deviation / math.sqrt(5))


def test_copied_samples_add_no_certainty():
    single = [[1.0]] * 30 + [[0.0]] * 10
    copied = [group * 8 for group in single]
    assert metrics.accuracy_interval(copied) == pytest.approx(metrics.accuracy_interval(single), abs=0.005)
    independent = [[1.0, 0.0] * 4] * 40
    assert metrics.effective_trials(independent) == 320


def test_bootstrap_finds_the_normal_interval_of_a_mean():
    generator = random.Random(1)
    values = [generator.gauss(10, 2) for _ in range(400)]
    low, high = metrics.bootstrap([values, [1.0] * 400], metrics.ratio)
    mean, normal_low, normal_high = metrics.mean_interval([[value] for value in values])
    assert low == pytest.approx(normal_low, abs=0.05)
    assert high == pytest.approx(normal_high, abs=0.05)
    assert low < mean < high


def test_mean_of_ratios_leaves_out_what_has_no_ratio():
    assert metrics.mean_of_ratios([(10, 5), (20, 20), (0, 7)]) == 0.75
    assert math.isnan(metrics.mean_of_ratios([(0, 1)]))


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_intervals_hold_the_estimate(scores):
    groups = [[float(score)] for score in scores]
    low, high = metrics.accuracy_interval(groups)
    assert 0 <= low <= sum(scores) / len(scores) <= high <= 1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemar_does_not_depend_on_the_order_of_the_two(pairs):
    assert metrics.mcnemar(pairs) == metrics.mcnemar([(two, one) for one, two in pairs])
