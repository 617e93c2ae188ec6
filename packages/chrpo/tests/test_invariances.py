"""What must not change a result: scale, order, the split over processes; and what no normalisation may turn round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrpo.core import (
    AccuracyConstraint,
    ConstrainedReward,
    Outcomes,
    PaperReward,
    control_advantages,
    group_advantages,
    leave_one_out,
)

REWARDS = [ConstrainedReward(), ConstrainedReward(budget=0.5), PaperReward()]
NORMALISATIONS = {
    "leave one out": lambda rewards, group: leave_one_out(rewards, group).advantages,
    "group": lambda rewards, group: group_advantages(rewards, group, scale=False),
    "group, scaled": group_advantages,
}
fact = st.tuples(st.integers(0, 2), st.floats(0, 3), st.floats(0, 3), st.sampled_from([None, 0.2, 0.6, 1.0]))


@pytest.mark.parametrize("normalise", NORMALISATIONS.values(), ids=NORMALISATIONS)
@pytest.mark.parametrize("reward", REWARDS)
@given(rows=st.lists(fact, min_size=2, max_size=8), price=st.floats(0, 100))
def test_no_normalisation_turns_the_tiers_round(normalise, reward, rows, price):
    tier = np.array([row[0] for row in rows])
    count = len(rows)
    outcomes = Outcomes.of(
        format_ok=tier > 0,
        correct=tier == 2,
        asked_ratio=[0.6] * count,
        realised_ratio=[row[1] for row in rows],
        cost=[row[2] for row in rows],
        teacher_ratio=[row[3] for row in rows],
    )
    advantages = normalise(reward(outcomes, price).main, [0] * count)
    for low, high in ((0, 1), (0, 2), (1, 2)):
        if (tier == low).any() and (tier == high).any():
            assert advantages[tier == low].max() < advantages[tier == high].min()


def batch(seed):
    generator = np.random.default_rng(seed)
    prompt, ratio = np.repeat(np.arange(3), 10), np.tile(np.repeat(np.arange(5), 2), 3)
    return generator.random(30), prompt, ratio, generator.dirichlet(np.ones(5), 3)


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-5, 5))
def test_scaled_and_shifted_rewards_scale_the_advantages(seed, factor, shift):
    rewards, prompt, ratio, policy = batch(seed)
    plain = control_advantages(rewards, prompt=prompt, ratio=ratio, policy=policy).advantages
    moved = control_advantages(factor * rewards + shift, prompt=prompt, ratio=ratio, policy=policy).advantages
    assert moved == pytest.approx(factor * plain, abs=1e-9 * max(1, factor))
    cell = prompt * 5 + ratio
    assert leave_one_out(factor * rewards + shift, cell).advantages == pytest.approx(
        factor * leave_one_out(rewards, cell).advantages, abs=1e-9 * max(1, factor)
    )


@given(st.integers(0, 10**6))
def test_control_advantages_do_not_depend_on_order_and_equal_their_loop(seed):
    rewards, prompt, ratio, policy = batch(seed)
    got = control_advantages(rewards, prompt=prompt, ratio=ratio, policy=policy, floor=0).advantages
    order = np.random.default_rng(seed).permutation(30)
    shuffled = control_advantages(rewards[order], prompt=prompt[order], ratio=ratio[order], policy=policy, floor=0)
    assert shuffled.advantages == pytest.approx(got[order], abs=1e-12)
    for index in range(30):
        means = [np.mean(rewards[(prompt == prompt[index]) & (ratio == rung)]) for rung in range(5)]
        assert got[index] == pytest.approx(means[ratio[index]] - np.mean(means), abs=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 29))
def test_prices_do_not_depend_on_how_rollouts_are_split_over_processes(seed, cut):
    right = np.random.default_rng(seed).integers(0, 2, 30)
    one, two = AccuracyConstraint({"policy": 0.7}), AccuracyConstraint({"policy": 0.7})
    for _ in range(3):
        one.update({"policy": (float(right.sum()), 30)})
        two.update({"policy": (float(right[:cut].sum() + right[cut:].sum()), cut + 30 - cut)})
    assert one.state_dict() == two.state_dict()
