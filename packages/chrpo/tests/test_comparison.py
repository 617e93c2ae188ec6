"""Which rollouts are compared, and on which scale: by hand, and against their loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrpo.core import leave_one_out
from chrpo.core.comparison import batch_deviation, group_deviation, keep_best, without_others
from chrpo.errors import DataError

GROUP = np.array([4, 4, 4, 4, 1, 1])
TOKENS = np.array([9.0, 5.0, 7.0, 5.0, 3.0, 2.0])
REWARDS = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
table = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.sampled_from([0.0, 0.5, 1.0])), min_size=1)


def test_the_shortest_are_kept_in_each_group():
    kept = keep_best(REWARDS, TOKENS, GROUP, share=0.5)
    assert kept.tolist() == [False, True, False, True, False, True]
    # A third of four is two, as ceil says; of two it is one.
    assert keep_best(REWARDS, TOKENS, GROUP, share=1 / 3).tolist() == kept.tolist()
    assert keep_best(REWARDS, TOKENS, GROUP, share=1.0).all()


def test_the_most_efficient_are_kept_then_the_shorter_and_equal_ones_together():
    """Rewards per token 1/9, 0, 1/7, 0 and 0, 0; the two in the first group that earn nothing are equally long."""
    assert keep_best(REWARDS, TOKENS, GROUP, share=0.5, by="efficiency").tolist() == [
        True, False, True, False, False, True,
    ]  # fmt: skip
    assert keep_best(REWARDS, TOKENS, GROUP, share=0.75, by="efficiency").all()


@given(table, st.floats(0.01, 1), st.sampled_from(["length", "efficiency"]), st.randoms())
def test_the_best_are_kept_whatever_their_order(rows, share, by, random):
    group, tokens, rewards = (np.array(column, float) for column in zip(*rows, strict=True))
    kept = keep_best(rewards, tokens, group.astype(int), share=share, by=by)
    value = np.array([(-token, 0) if by == "length" else (reward / token, -token) for _, token, reward in rows])
    for name in set(group.tolist()):
        members = np.flatnonzero(group == name)
        ranked = sorted(map(tuple, value[members].tolist()), reverse=True)
        limit = ranked[math.ceil(round(share * len(members), 9)) - 1]
        assert kept[members].tolist() == [tuple(each) >= limit for each in value[members].tolist()]
    order = random.sample(range(len(rows)), len(rows))
    mixed = keep_best(rewards[order], tokens[order], group[order].astype(int), share=share, by=by)
    assert mixed.tolist() == kept[order].tolist()


@given(table, st.floats(0.01, 1))
def test_those_left_out_have_no_signal_and_change_no_other(rows, share):
    group, tokens, rewards = (np.array(column, float) for column in zip(*rows, strict=True))
    group = group.astype(int)
    kept = keep_best(rewards, tokens, group, share=share)
    found = leave_one_out(rewards, without_others(group, kept))
    assert not found.advantages[~kept].any()
    assert found.no_signal[~kept].all()
    assert found.advantages[kept] == pytest.approx(leave_one_out(rewards[kept], group[kept]).advantages)


def test_deviations_by_hand():
    assert group_deviation(REWARDS, GROUP) == pytest.approx([math.sqrt(1 / 3)] * 4 + [0, 0])
    assert group_deviation(np.array([0.1, 0.1, 0.1, 7.0]), np.array([0, 0, 0, 1])).tolist() == [0, 0, 0, 0]
    advantages, silent = np.array([3.0, -4.0, 0.0, 9.0]), np.array([False, False, True, True])
    assert batch_deviation(advantages, silent) == pytest.approx(math.sqrt(12.5))
    assert batch_deviation(advantages, np.ones(4, bool)) == 0


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan")])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(DataError, match=r"keep_share must be in \(0, 1\]"):
        keep_best(REWARDS, TOKENS, GROUP, share=share)
