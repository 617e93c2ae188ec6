import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrpo.core.ratios import samples_needed, teacher_ratio, wilson_lower
from chrpo.errors import DataError

LADDER = (0.2, 0.4, 0.6, 0.8, 1.0)


def test_wilson_bound_has_the_values_worked_out_by_hand():
    # p = 1: n / (n + z^2) with z = 1.6449, z^2 = 2.7055.
    assert wilson_lower(4, 4) == pytest.approx(4 / 6.7055, abs=1e-4)
    # p = .75, n = 4: (.75 + .33819 - sqrt(2.7055 (.046875 + .042274))) / 1.67638
    assert wilson_lower(3, 4) == pytest.approx((1.08819 - 0.49112) / 1.67638, abs=1e-3)
    assert wilson_lower(0, 4) == 0


def test_four_of_four_pass_three_of_four_do_not():
    assert wilson_lower(4, 4) >= 0.5 > wilson_lower(3, 4)
    assert samples_needed() == 3


@pytest.mark.parametrize(
    ("right", "expected", "monotone", "all_fail"),
    [
        ((0, 4, 4, 4, 4), 0.4, True, False),
        ((4, 4, 4, 4, 4), 0.2, True, False),
        ((0, 0, 0, 0, 4), 1.0, True, False),
        ((3, 3, 3, 3, 3), None, True, True),
        ((4, 3, 4, 4, 4), 0.6, False, False),
        ((4, 4, 4, 4, 3), None, False, False),
    ],
)
def test_teacher_ratio_is_the_smallest_from_which_all_pass(right, expected, monotone, all_fail):
    found = teacher_ratio({ratio: (count, 4) for ratio, count in zip(LADDER, right, strict=True)})
    assert (found.ratio, found.monotone, found.all_fail) == (expected, monotone, all_fail)


@given(st.lists(st.integers(0, 8), min_size=5, max_size=5))
def test_everything_at_and_above_the_teacher_ratio_passes(right):
    counts = {ratio: (count, 8) for ratio, count in zip(LADDER, right, strict=True)}
    found = teacher_ratio(counts)
    passes = {ratio: wilson_lower(*counts[ratio]) >= 0.5 for ratio in LADDER}
    at_or_above = [ratio for ratio in LADDER if found.ratio is not None and ratio >= found.ratio]
    assert all(passes[ratio] for ratio in at_or_above)
    below = [ratio for ratio in LADDER if ratio not in at_or_above]
    assert not below or not passes[below[-1]]
    assert found.all_fail == (not any(passes.values()))


def test_lucky_samples_do_not_make_a_small_ratio_the_teacher():
    """Four samples each of 2000 problems whose smaller ratios are correct less than half of the time."""
    drawn = np.random.default_rng(0).binomial(4, [0.2, 0.4, 0.99, 1.0, 1.0], (2000, 5))
    found = [teacher_ratio(dict(zip(LADDER, ((int(n), 4) for n in row), strict=True))).ratio for row in drawn]
    too_small = sum(ratio in (0.2, 0.4) for ratio in found) / 2000
    by_the_best_sample = (drawn[:, 1] > 0).mean()
    assert too_small < 0.05 < 0.8 < by_the_best_sample
    assert found.count(0.6) > 1800


@pytest.mark.parametrize(("right", "total"), [(5, 4), (-1, 4), (0, 0)])
def test_impossible_counts_are_refused(right, total):
    with pytest.raises(DataError, match="0 <= correct <= total"):
        wilson_lower(right, total)


def test_an_empty_ladder_is_refused():
    with pytest.raises(DataError, match="no ratio was sampled"):
        teacher_ratio({})
