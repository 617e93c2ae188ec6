import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chrpo.core import (
    ConstrainedReward,
    Outcomes,
    PaperReward,
    control_advantages,
    leave_one_out,
    response_weights,
    token_loss,
)
from chrpo.core.advantages import logit_advantages
from chrpo.core.baselines import LengthPenalty
from chrpo.errors import DataError


def loop_leave_one_out(rewards, group):
    out = []
    for i, reward in enumerate(rewards):
        others = [r for j, r in enumerate(rewards) if j != i and group[j] == group[i]]
        out.append(reward - sum(others) / len(others) if others else 0.0)
    return out


def test_leave_one_out_by_hand():
    got = leave_one_out([1.0, 0.0, 0.0, 0.5, 0.7, 0.7], [3, 3, 3, 9, 8, 8])
    assert got.advantages == pytest.approx([1.0, -0.5, -0.5, 0, 0, 0])
    assert got.no_signal.tolist() == [False, False, False, True, True, True]


@given(st.lists(st.tuples(st.floats(-2, 2), st.integers(0, 4)), min_size=1, max_size=40))
def test_leave_one_out_equals_its_loop(rows):
    rewards, group = map(list, zip(*rows, strict=True))
    assert leave_one_out(rewards, group).advantages == pytest.approx(loop_leave_one_out(rewards, group), abs=1e-6)


@given(st.floats(-2, 2), st.integers(1, 12))
def test_equal_rewards_give_exactly_zero(reward, size):
    got = leave_one_out([reward] * size, [0] * size)
    assert not got.advantages.any()
    assert got.no_signal.all()


def test_no_standard_deviation_blows_up_a_small_bonus():
    rewards = 1 + np.random.default_rng(0).uniform(0, 0.04, 8)
    assert np.abs(leave_one_out(rewards, [0] * 8).advantages).max() <= 0.04 * 8 / 7


@given(st.integers(0, 10**6))
def test_order_of_rollouts_does_not_matter(seed):
    generator = np.random.default_rng(seed)
    rewards, group = generator.normal(size=12), generator.integers(0, 3, 12)
    order = generator.permutation(12)
    straight = leave_one_out(rewards, group).advantages
    assert leave_one_out(rewards[order], group[order]).advantages == pytest.approx(straight[order], abs=1e-12)


def test_control_advantages_by_hand():
    # Ratio means .5, .8, .2; their plain mean .5.
    got = control_advantages(
        [1.0, 0.0, 0.8, 0.8, 0.0, 0.4],
        prompt=[0] * 6,
        ratio=[0, 0, 1, 1, 2, 2],
        policy=[[0.9, 0.05, 0.05]],
    )
    assert got.q.tolist() == [[0.5, 0.8, pytest.approx(0.2)]]
    assert got.advantages == pytest.approx([0, 0, 0.3, 0.3, -0.3, -0.3])


def test_a_lost_ratio_is_not_pushed_further_down():
    policy = [[0.9995, 0.0004, 0.0001]]
    got = control_advantages([1.0, 0.9, 0.0], prompt=[0] * 3, ratio=[0, 1, 2], policy=policy, min_ratio_prob=1e-3)
    # The last ratio is left out; then the second is worse than the mean of the first two, and is left out, too.
    assert not got.advantages.any()
    rising = control_advantages([0.9, 1.0, 0.0], prompt=[0] * 3, ratio=[0, 1, 2], policy=policy, min_ratio_prob=1e-3)
    assert rising.advantages == pytest.approx([-0.05, 0.05, 0.0])


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.lists(st.floats(1e-6, 1), min_size=5, max_size=5))
def test_advantages_sum_to_zero_and_push_no_lost_ratio_down(q, policy):
    probabilities = np.array([policy]) / sum(policy)
    got = logit_advantages(np.array([q]), probabilities, 1e-2)
    assert got.sum() == pytest.approx(0, abs=1e-12)
    assert not ((got < 0) & (probabilities < 1e-2)).any()


def test_equal_control_rewards_give_exactly_zero():
    got = control_advantages([0.1 + 0.2] * 3, prompt=[0] * 3, ratio=[0, 1, 2], policy=[[0.2, 0.3, 0.5]])
    assert not got.advantages.any()


def test_control_gradient_on_the_logits_is_the_advantage_without_the_factor_pi():
    logits = torch.tensor([3.0, 0.0, -4.0, 1.0, 2.0], requires_grad=True)  # 3 ratios and 2 other tokens
    log_probs = logits.log_softmax(0)
    policy = log_probs[:3].exp() / log_probs[:3].exp().sum()
    ratio = [0, 0, 1, 1, 2, 2]
    got = control_advantages(
        [0.1, 0.3, 0.9, 0.5, 0.0, 0.0], prompt=[0] * 6, ratio=ratio, policy=policy.detach()[None], min_ratio_prob=0.0
    )
    token_loss(log_probs[ratio], torch.tensor(got.advantages), tokens=2).backward()
    means = np.array([0.2, 0.7, 0.0])
    assert -logits.grad.numpy() == pytest.approx([*(means - means.mean()), 0, 0], abs=1e-6)


def test_a_prompt_that_every_ratio_fails_pushes_no_ratio_down():
    """An ungated price on length would, because the rollouts differ in nothing else."""
    ratios = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    lost = Outcomes.of(
        format_ok=[True] * 5, correct=[False] * 5, requested_ratio=ratios, realised_ratio=ratios, cost=ratios
    )

    def growth(reward):
        """How the expected ratio of an even policy starts to move."""
        rewards = reward(lost)
        got = control_advantages(
            rewards.main + rewards.control, prompt=[0] * 5, ratio=range(5), policy=np.full((1, 5), 0.2)
        )
        return float((ratios - ratios.mean()) @ got.advantages) / 5

    assert growth(ConstrainedReward()) == 0
    assert growth(PaperReward()) > 0, "no ratio passes, so the way is up"
    assert growth(LengthPenalty()) < 0


def test_a_ratio_counts_alike_however_often_it_was_rolled_out():
    got = control_advantages([1.0, 0.5, 0.0, 0.0], prompt=[0] * 4, ratio=[0, 1, 1, 1], policy=[[0.2, 0.8]])
    assert got.q == pytest.approx(np.array([[1, 1 / 6]]))
    assert got.advantages == pytest.approx([2 * 5 / 12, *[-2 / 3 * 5 / 12] * 3])


def test_a_ratio_without_rollouts_is_refused():
    with pytest.raises(DataError, match="at least one"):
        control_advantages([1.0, 0.0], prompt=[0, 0], ratio=[0, 1], policy=[[0.3, 0.3, 0.4]])


@pytest.mark.parametrize(
    ("prompt", "ratio", "floor", "words"),
    [
        ([0, 0, 0, 1], [0, 1, 2, 1], 1e-3, "ratio in 0 … 1; got 0 … 1 and 0 … 2"),
        ([0, 0, 1, 2], [0, 1, 0, 1], 1e-3, "prompt must be in 0 … 1 .*; got 0 … 2 and"),
        ([0, 0, 1, -1], [0, 1, 0, 1], 1e-3, "prompt must be in 0 … 1 .*; got -1 … 1 and"),
        ([0, 0, 1], [0, 1, 0, 1], 1e-3, "need one shape"),
        ([0, 0, 1, 1], [0.2, 1, 0.2, 1], 1e-3, "ratio must be whole numbers"),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0.5, "min_ratio_prob must be in"),
    ],
)
def test_numbers_out_of_range_are_refused(prompt, ratio, floor, words):
    with pytest.raises(DataError, match=words):
        control_advantages([1.0, 0, 0, 1], prompt=prompt, ratio=ratio, policy=[[0.5, 0.5]] * 2, min_ratio_prob=floor)
    with pytest.raises(DataError, match="group must be whole numbers"):
        leave_one_out([1.0, 0.0], [0.2, 0.4])


def test_response_weights_run_from_uniform_to_the_policy():
    policy = np.array([[0.7, 0.2, 0.1]])
    assert response_weights(policy, 0).tolist() == [[1, 1, 1]]
    assert response_weights(policy, 1)[0] == pytest.approx([2.1, 0.6, 0.3])
    assert response_weights(policy, 0.5).mean() == pytest.approx(1)
    # Drawn as often as the policy chooses, each response counts once; at weight 0 the rarer ones count for more.
    counts = np.array([[7, 2, 1]])
    assert response_weights(policy, 1, counts)[0] == pytest.approx([1, 1, 1])
    assert response_weights(policy, 0, counts)[0] == pytest.approx([10 / 21, 10 / 6, 10 / 3])
    with pytest.raises(DataError, match=r"in \[0, 1\]"):
        response_weights(policy, 2)


@given(st.integers(2, 6), st.integers(1, 5))
def test_micro_batches_and_padding_do_not_change_the_loss(rows, width):
    torch.manual_seed(rows * 10 + width)
    log_probs, advantages = -torch.rand(rows, width), torch.randn(rows, width)
    whole = token_loss(log_probs, advantages, tokens=100)
    parts = sum(token_loss(log_probs[i : i + 1], advantages[i : i + 1], tokens=100) for i in range(rows))
    padded = token_loss(*(torch.nn.functional.pad(x, (0, 3)) for x in (log_probs, advantages)), tokens=100)
    assert whole.item() == pytest.approx(float(parts), abs=1e-6) == pytest.approx(padded.item(), abs=1e-6)


def test_every_token_weighs_the_same_whatever_its_sequence():
    log_probs = torch.zeros(2, 500, requires_grad=True)
    advantages = torch.zeros(2, 500)
    advantages[0, :50] = 1.0
    advantages[1, :500] = 1.0
    token_loss(log_probs, advantages, tokens=550).backward()
    assert log_probs.grad[0, 0] == log_probs.grad[1, 0]


def test_shapes_that_would_broadcast_in_silence_are_refused():
    with pytest.raises(DataError, match="one shape"):
        token_loss(torch.zeros(4, 5), torch.zeros(4), tokens=1)
    with pytest.raises(DataError, match="one shape"):
        leave_one_out([1.0, 2.0], [0])


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_is_refused_and_not_spread(reward):
    with pytest.raises(DataError, match="rewards must be finite; got"):
        leave_one_out([reward, 1.0, 0.0, 1.0], [0, 0, 0, 1])
    with pytest.raises(DataError, match="rewards must be finite; got"):
        control_advantages([reward, 1, 0, 1], prompt=[0] * 4, ratio=[0, 0, 1, 1], policy=[[0.5, 0.5]])


@pytest.mark.parametrize("policy", [np.log([[0.5, 0.5]]), [[50, 50]], [[float("nan"), 0.5]]])
def test_a_policy_of_other_numbers_than_probabilities_is_refused(policy):
    with pytest.raises(DataError, match="policy must be probabilities"):
        control_advantages([0, 0, 1, 1], prompt=[0] * 4, ratio=[0, 0, 1, 1], policy=policy)


def test_a_loss_over_no_token_is_refused():
    with pytest.raises(DataError, match="tokens must be above 0; got 0"):
        token_loss(torch.zeros(3), torch.zeros(3), 0)
