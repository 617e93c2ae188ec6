"""Scale, order and the split over processes must not change a result; no normalisation may reverse the tiers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrpo import CHRPOController, CHRPOSettings, ControlTokens, RolloutStats
from chrpo.batch import RolloutBatch, stat_columns
from chrpo.core import (
    ConstrainedReward,
    Outcomes,
    PaperReward,
    control_advantages,
    leave_one_out,
)
from chrpo.core.baselines import group_advantages

LADDER = ControlTokens.ladder((0.2, 0.6, 1.0))
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
def test_no_normalisation_reverses_the_tiers(normalise, reward, rows, price):
    tier = np.array([row[0] for row in rows])
    count = len(rows)
    outcomes = Outcomes.of(
        format_ok=tier > 0,
        correct=tier == 2,
        requested_ratio=[0.6] * count,
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
    got = control_advantages(rewards, prompt=prompt, ratio=ratio, policy=policy, min_ratio_prob=0).advantages
    order = np.random.default_rng(seed).permutation(30)
    shuffled = control_advantages(
        rewards[order], prompt=prompt[order], ratio=ratio[order], policy=policy, min_ratio_prob=0
    )
    assert shuffled.advantages == pytest.approx(got[order], abs=1e-12)
    for index in range(30):
        means = [np.mean(rewards[(prompt == prompt[index]) & (ratio == each)]) for each in range(5)]
        assert got[index] == pytest.approx(means[ratio[index]] - np.mean(means), abs=1e-6)


def random_stats(generator):
    thinking = int(generator.integers(1, 6))
    return RolloutStats(
        format_ok=bool(generator.random() < 0.9),
        correct=bool(generator.random() < 0.6),
        truncated=bool(generator.random() < 0.1),
        thinking_tokens=thinking,
        completion_tokens=thinking + int(generator.integers(4, 9)),
        integrity=0.0,
    )


def local_columns(rollouts):
    """What one process sends: its own rollouts as columns, by name."""
    columns = {"row": [row for row, *_ in rollouts], "ratio_index": [index for _, index, _ in rollouts]}
    return {**columns, **stat_columns([stats for *_, stats in rollouts])}


@given(seed=st.integers(0, 10**6), cut=st.integers(1, 23))
def test_prices_and_advantages_do_not_depend_on_how_rollouts_are_split_over_processes(prompt_rows, seed, cut):
    """Groups of six are cut anywhere, every process has its own controller, and columns are matched by their names."""
    generator = np.random.default_rng(seed)
    settings = CHRPOSettings(price_proportional=1.0)
    whole, *processes = (CHRPOController(prompt_rows, LADDER, group_size=6, settings=settings) for _ in range(3))
    moved = [whole.prices()]
    for _ in range(3):
        rows = np.repeat(generator.integers(0, len(prompt_rows), 4), 6).tolist()
        rollouts = [(row, place % 3, random_stats(generator)) for place, row in enumerate(rows)]
        log_probs = np.log(generator.dirichlet(np.ones(3), 4)).repeat(6, axis=0)
        expected = whole.update(RolloutBatch.of(local_columns(rollouts), log_probs))
        first, second = local_columns(rollouts[:cut]), local_columns(rollouts[cut:])
        names = generator.permutation(list(first)).tolist()
        gathered = {name: [*first[name], *second[name]] for name in names}
        for process in processes:
            found = process.update(RolloutBatch.of(gathered, log_probs))
            assert found.control.tolist() == expected.control.tolist()
            assert found.response.tolist() == expected.response.tolist()
        moved.append(whole.prices())
    assert [process.state_dict() for process in processes] == [whole.state_dict()] * 2
    assert moved[0] != moved[-1], "prices that never move would agree whatever the code"
