import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrpo.core import ConstrainedReward, Outcomes, PaperReward, exchange_rate_points
from chrpo.errors import DataError

REWARDS = [ConstrainedReward(), ConstrainedReward(format_failure=-0.01, margin=1e-3), PaperReward()]


def outcomes(rows):
    """Rows of (format_ok, correct, asked, realised, cost, teacher or None, policy)."""
    columns = list(zip(*rows, strict=True))
    return Outcomes.of(
        format_ok=columns[0],
        correct=columns[1],
        requested_ratio=columns[2],
        realised_ratio=columns[3],
        cost=columns[4],
        teacher_ratio=columns[5],
        policy=columns[6],
    )


def test_constrained_reward_by_hand():
    rows = [
        (True, True, 0.2, 0.2, 0.25, None, True),
        (True, False, 0.2, 0.2, 0.25, None, True),
        (False, True, 0.2, 0.2, 0.25, None, True),
        (True, True, 1.0, 1.4, 1.3, None, True),
        (True, True, 0.4, 0.3, 0.3, None, False),
        (True, True, 0.4, 0.6, 0.6, None, False),
    ]
    got = ConstrainedReward(margin=0.1)(outcomes(rows), price=0.5).main
    weight = 0.6
    expected = [(weight + 0.75) / 1.6, 0, -0.5, weight / 1.6, 1.0, (weight + 0.8) / 1.6]
    assert got == pytest.approx(expected)


def test_paper_reward_by_hand():
    rows = [
        (True, True, 0.4, 0.4, 0.4, 0.6, True),  # 1 + .1 (exact) + .2 (below the teacher)
        (True, True, 0.8, 0.9, 0.9, 0.6, True),  # 1 + 0 (at the tolerance) - .3 x .2
        (True, False, 0.4, 0.4, 0.4, 0.6, True),  # -1 - .3 x .2
        (True, False, 0.8, 0.8, 0.8, 0.6, True),  # -1 - .1 x .2
        (True, False, 0.4, 0.4, 0.4, None, True),  # -1 - .3 x .6: nothing passes, so go up
        (False, True, 0.4, 0.4, 0.4, 0.6, True),
    ]
    got = PaperReward()(outcomes(rows))
    assert got.main == pytest.approx([1.3, 0.94, -1.06, -1.02, -1.18, -1.5])
    assert got.control == pytest.approx([0.2, -0.06, -0.06, -0.02, -0.18, 0])


@pytest.mark.parametrize("error", [0.0, 0.03, 0.0999, 0.1, 0.1001, 0.2, 0.7])
def test_calibration_pays_if_and_only_if_within_the_tolerance(error):
    base = PaperReward(progress=0, over_correct=0)
    value = base(outcomes([(True, True, 0.4, 0.4 + error, 0.4, 0.4, True)])).main[0] - 1
    assert (value > -1e-12) == (error <= 0.1)


@pytest.mark.parametrize("reward", REWARDS)
def test_tiers_hold_on_a_whole_grid(reward):
    ratios = (0.2, 0.6, 1.0)
    grid = itertools.product(
        (True, False),
        (True, False),
        ratios,
        (0.0, 0.2, 0.65, 1.0, 3.0),
        (0.0, 0.3, 1.0, 9.0),
        (None, *ratios),
        (True, False),
    )
    rows = list(grid)
    batch = outcomes(rows)
    for price in (0.0, 0.6, 100.0):
        values = reward(batch, price).main
        failed, right = ~batch.format_ok, batch.format_ok & batch.correct
        wrong = batch.format_ok & ~batch.correct
        assert values[failed].max() < values[wrong].min()
        assert values[wrong].max() < values[right].min()


fact = st.tuples(
    st.booleans(),
    st.booleans(),
    st.floats(0.01, 1),
    st.floats(0, 20),
    st.floats(0, 20),
    st.one_of(st.none(), st.floats(0.01, 1)),
    st.booleans(),
)


@pytest.mark.parametrize("reward", REWARDS)
@given(first=fact, second=fact, price=st.floats(0, 1000))
def test_a_higher_tier_always_earns_more(reward, first, second, price):
    def tier(row):
        return 0 if not row[0] else 1 if not row[1] else 2

    low, high = reward(outcomes([first, second]), price).main
    if tier(first) < tier(second):
        assert low < high
    elif tier(first) > tier(second):
        assert low > high


@given(cost=st.floats(0, 5), less=st.floats(0, 5), price=st.floats(0, 100), policy=st.booleans())
def test_fewer_tokens_are_never_worse_when_right(cost, less, price, policy):
    long, short = max(cost, less), min(cost, less)
    rows = [(True, True, 0.4, long, long, None, policy), (True, True, 0.4, short, short, None, policy)]
    values = ConstrainedReward()(outcomes(rows), price).main
    assert values[1] >= values[0]


@given(first=fact, second=fact, price=st.floats(0, 100))
def test_brevity_never_pays_for_a_wrong_answer(first, second, price):
    wrong = [(row[0], False, *row[2:]) for row in (first, second)]
    values = ConstrainedReward()(outcomes(wrong), price).main
    assert set(values.tolist()) <= {0.0, -0.5}


def test_exchange_rate_is_where_a_worse_ratio_starts_to_win():
    for eps in (0.005, 0.02, 0.1):
        spread = 2 * eps / (1 - eps)
        assert exchange_rate_points(spread) == pytest.approx(100 * eps)

        def margin(bonus, eps=eps):
            safe, cheap = 1.0, (1 - eps) * (1 + bonus) - eps
            return cheap - safe

        assert margin(0.999 * spread) < 0 < margin(1.001 * spread)


def test_paper_reward_tells_its_own_price_of_accuracy():
    # 2 x .1 + .5 + .3 + .1 = 1.1 of bonus; the worst correct answer earns .5, 1.5 more than an incorrect one.
    assert PaperReward().spread == pytest.approx(1.1)
    assert exchange_rate_points(PaperReward().spread, gap=1.5) == pytest.approx(100 * 1.1 / 2.6)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ConstrainedReward(format_failure=0.0), "below 0"),
        (lambda: ConstrainedReward(margin=0.0), "above 0"),
        (lambda: ConstrainedReward(margin=np.nan), "above 0"),
        (lambda: PaperReward(progress=np.nan), "progress must be positive"),
        (lambda: PaperReward(under_incorrect=0.1, over_incorrect=0.2), "must exceed over_incorrect"),
        (lambda: PaperReward(format_failure=-1.2), "below the worst error"),
        (lambda: PaperReward(over_correct=2.0), "no more than an incorrect one"),
        (lambda: PaperReward(calibration=-0.1), "must be positive"),
        (lambda: exchange_rate_points(-1), "spread >= 0"),
    ],
)
def test_rewards_that_would_break_a_rule_are_refused(build, words):
    with pytest.raises(DataError, match=words):
        build()


@pytest.mark.parametrize(("price", "named"), [(-1.0, "-1"), ([1.0, float("inf")], "inf"), ([float("nan"), 1.0], "nan")])
def test_an_impossible_price_is_refused_by_value(price, named):
    facts = outcomes([(True, True, 0.2, 0.2, 0.2, None, True)] * 2)
    with pytest.raises(DataError, match=f"not negative; got {named}$"):
        ConstrainedReward()(facts, price)


def test_facts_of_unequal_length_or_sign_are_refused():
    good = {"format_ok": [True], "correct": [True], "requested_ratio": [0.2], "realised_ratio": [0.2]}
    with pytest.raises(DataError, match=r"shape \[rollouts\]"):
        Outcomes.of(**good, cost=[0.1, 0.2])
    with pytest.raises(DataError, match="cost must be finite"):
        Outcomes.of(**good, cost=[np.nan])
    for wrong in ({"teacher_ratio": [20.0]}, {"integrity": [np.nan]}, {"requested_ratio": [20.0]}):
        with pytest.raises(DataError, match=f"{next(iter(wrong))} must be in"):
            Outcomes.of(**{**good, "cost": [0.1], **wrong})


def test_without_the_mode_term_nothing_pays_for_a_small_ratio():
    facts = Outcomes.of(
        format_ok=[True] * 2,
        correct=[True] * 2,
        requested_ratio=[0.2, 1.0],
        realised_ratio=[0.2, 1.0],
        cost=[0.2, 1.0],
        teacher_ratio=[1.0, 1.0],
    )
    for reward in (ConstrainedReward(), PaperReward()):
        small, large = reward(facts).main
        assert small > large
        ablated = replace(reward, mode=False)(facts)
        assert ablated.main[0] == ablated.main[1]
        assert not ablated.control.any()
    assert replace(PaperReward(), mode=False).spread < PaperReward().spread


@pytest.mark.parametrize("values", [[1.0, -1.0], [float("nan"), 1.0], [0.3, 1.0], ["False", "True"], [None, True]])
def test_an_answer_that_is_neither_right_nor_wrong_is_refused(values):
    facts = {"format_ok": [True] * 2, "requested_ratio": [0.2] * 2, "realised_ratio": [0.2] * 2, "cost": [0.2] * 2}
    with pytest.raises(DataError, match="correct must be True or False"):
        Outcomes.of(correct=values, **facts)
    assert Outcomes.of(correct=np.array([1, 0]), **facts).correct.tolist() == [True, False]


def test_a_price_of_another_shape_is_refused():
    facts = Outcomes.of(
        format_ok=[True] * 2, correct=[True] * 2, requested_ratio=[0.2] * 2, realised_ratio=[0.2] * 2, cost=[0.2] * 2
    )
    with pytest.raises(DataError, match=r"price needs shape \[\] or \[2\]"):
        ConstrainedReward()(facts, np.ones((2, 1)))
