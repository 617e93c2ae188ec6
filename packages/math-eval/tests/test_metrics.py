import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from math_eval import metrics
from math_eval._shared.intervals import bootstrap, ratio, wilson


def test_wilson_interval_of_published_example():
    low, high = wilson(27, 40)
    assert (low, high) == (pytest.approx(0.5202, abs=5e-5), pytest.approx(0.7992, abs=5e-5))
    assert wilson(0, 10) == (0.0, pytest.approx(0.27754, abs=1e-5))
    assert wilson(10, 10) == (pytest.approx(0.72246, abs=1e-5), 1.0)


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


def test_the_interval_of_fractions_is_that_of_verdicts_with_as_much_error():
    """Twenty scores of .25 and of .75: a variance of .0625 instead of .25, so four times as many trials."""
    groups = [[0.25], [0.75]] * 20
    assert metrics.fraction_interval(groups) == pytest.approx(wilson(2 * 39, 4 * 39))
    assert metrics.fraction_interval([[1.0], [0.0]] * 20) == pytest.approx(wilson(19.5, 39))
    assert metrics.fraction_interval([[0.5]] * 10) == wilson(5, 10), "equal scores give no information"


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=3), min_size=1, max_size=9))
def test_the_interval_of_fractions_holds_the_estimate(groups):
    low, high = metrics.fraction_interval(groups)
    mean = sum(map(sum, groups)) / sum(map(len, groups))
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1


def test_bootstrap_finds_the_normal_interval_of_a_mean():
    generator = random.Random(1)
    values = [generator.gauss(10, 2) for _ in range(400)]
    low, high = bootstrap([values, [1.0] * 400], ratio)
    mean, normal_low, normal_high = metrics.mean_interval([[value] for value in values])
    assert low == pytest.approx(normal_low, abs=0.05)
    assert high == pytest.approx(normal_high, abs=0.05)
    assert low < mean < high


def test_a_bootstrap_of_one_problem_has_no_interval():
    assert all(map(math.isnan, bootstrap([[3.0], [4.0]], ratio)))


def _differences(gains, losses, same):
    return [[1.0]] * gains + [[-1.0]] * losses + [[0.0]] * same


def test_difference_interval_of_published_example():
    """Airway hyper-responsiveness, 21 children: Fagerland, Lydersen and Laake 2014, table VI, Tango's interval."""
    low, high = metrics.difference_interval(_differences(1, 7, 13))
    assert (low, high) == (pytest.approx(-0.517, abs=5e-4), pytest.approx(-0.026, abs=5e-4))


@pytest.mark.parametrize("pairs", [1, 20, 500])
def test_difference_interval_without_a_flip_is_z2_over_n_plus_z2(pairs):
    half = 1.959964**2 / (pairs + 1.959964**2)
    assert metrics.difference_interval(_differences(0, 0, pairs)) == pytest.approx((-half, half), abs=1e-6)


def test_copied_samples_do_not_narrow_a_difference_and_independent_ones_do():
    single = _differences(6, 3, 11)
    copied = [group * 8 for group in single]
    assert metrics.difference_interval(copied) == pytest.approx(metrics.difference_interval(single), abs=0.01)
    independent = [[1.0, 0.0, 0.0, 0.0]] * 20
    assert metrics.difference_interval(independent) == metrics.difference_interval(_differences(20, 0, 60))
    assert metrics.difference_interval([]) == (-1.0, 1.0)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60))
def test_difference_interval_mirrors_and_holds_the_estimate(gains, losses, same):
    if gains + losses + same:
        low, high = metrics.difference_interval(_differences(gains, losses, same))
        assert -1 <= low <= (gains - losses) / (gains + losses + same) <= high <= 1
        assert low < high
        mirrored = metrics.difference_interval(_differences(losses, gains, same))
        assert mirrored == pytest.approx((-high, -low))


def _mcnemar_power(pairs, gain, loss):
    """By summing over every outcome: flips are binomial, and gains among them."""
    power = 0.0
    for flips in range(pairs + 1):
        chance = math.comb(pairs, flips) * (gain + loss) ** flips * (1 - gain - loss) ** (pairs - flips)
        share = gain / (gain + loss)
        for gains in range(flips + 1):
            if metrics.mcnemar([(1, 0)] * gains + [(0, 1)] * (flips - gains)) < 0.05:
                power += chance * math.comb(flips, gains) * share**gains * (1 - share) ** (flips - gains)
    return power


@pytest.mark.parametrize(("pairs", "discordant"), [(40, 0.0), (60, 0.3)])
def test_the_smallest_difference_is_found_about_four_times_in_five(pairs, discordant):
    smallest = metrics.smallest_difference(discordant, pairs)
    assert smallest is not None
    share = max(discordant, smallest)
    power = _mcnemar_power(pairs, (share + smallest) / 2, (share - smallest) / 2)
    assert 0.68 < power < 0.82  # the exact test is a little conservative


def test_the_smallest_difference_by_hand():
    """Connor's formula for psi = 0.2, d = 0.1: (1.96 sqrt(.2) + .8416 sqrt(.19))^2 / .01 = 154.5 pairs."""
    assert metrics.smallest_difference(0.2, 154.5) == pytest.approx(0.1, abs=1e-4)
    assert metrics.smallest_difference(0.0, 3) is None


def test_below_six_problems_no_difference_can_be_shown():
    assert [metrics.can_differ(problems) for problems in (1, 5, 6, 100)] == [False, False, True, True]


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_intervals_hold_the_estimate(scores):
    groups = [[float(score)] for score in scores]
    low, high = metrics.accuracy_interval(groups)
    assert 0 <= low <= sum(scores) / len(scores) <= high <= 1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemar_does_not_depend_on_the_order_of_the_two(pairs):
    assert metrics.mcnemar(pairs) == metrics.mcnemar([(two, one) for one, two in pairs])
