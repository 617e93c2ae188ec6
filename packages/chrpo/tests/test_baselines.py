from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chrpo.core import Outcomes
from chrpo.core.baselines import (
    CorrectnessReward,
    DeGRPO,
    LengthPenalty,
    OverBudget,
    ShortestCorrect,
    ShortestRatioBonus,
    degrpo_loss,
    group_advantages,
)
from chrpo.errors import DataError

rows = st.lists(st.tuples(st.booleans(), st.floats(0, 3), st.integers(0, 2)), min_size=1, max_size=9).map(
    lambda each: Outcomes.of(
        format_ok=[True] * len(each),
        correct=[right for right, *_ in each],
        requested_ratio=[1.0] * len(each),
        realised_ratio=[1.0] * len(each),
        cost=[cost for _, cost, _ in each],
        prompt=[prompt for *_, prompt in each],
    )
)
FACTS = Outcomes.of(
    format_ok=[True, True, False, True],
    correct=[True, False, True, True],
    requested_ratio=[0.2, 0.6, 0.2, 1.0],
    realised_ratio=[0.3, 0.6, 0.2, 0.7],
    cost=[0.25, 0.5, 0.1, 0.8],
    policy=[True, True, True, False],
    tokens=[25, 50, 10, 80],
)


def test_rewards_by_hand():
    assert CorrectnessReward()(FACTS).main.tolist() == [1, 0, 0, 1]
    assert LengthPenalty(weight=0.4)(FACTS).main == pytest.approx([0.9, -0.2, -0.04, 1 - 0.4 * 0.3])
    assert LengthPenalty(weight=0.4, at_most=True)(FACTS).main == pytest.approx([0.4, 0, 0, 0.5 + 0.4 * 0.3])
    assert DeGRPO()(FACTS).main == pytest.approx([1, -1, -1, 0.5])
    assert ShortestRatioBonus(0.05, 0.2)(FACTS).main == pytest.approx([1.05, 0, 0.05, 1])
    assert OverBudget(budget=40, length_price=0.5)(FACTS).main == pytest.approx([1, -0.125, 0, 0.5])


def test_lengths_in_tokens_by_hand_and_the_requested_ratio_stays_a_share():
    per_token = LengthPenalty(weight=0.004, unit="token")(FACTS).main
    assert per_token == pytest.approx([0.9, -0.2, -0.04, 1 - 0.004 * 0.3])
    # The shortest correct answer in the right format has 25 tokens; all four are of one prompt.
    assert ShortestCorrect(weight=0.01, unit="token")(FACTS).main == pytest.approx([1, -0.25, -0.15, 1 - 0.55])


@pytest.mark.parametrize("reward", [LengthPenalty(unit="token"), ShortestCorrect(unit="token"), OverBudget()])
def test_lengths_in_tokens_need_the_numbers_of_tokens(reward):
    unknown = replace(FACTS, tokens=np.array([25, 50, np.nan, 80]))
    with pytest.raises(DataError, match="tokens, which are unknown for some rollouts; give `tokens`"):
        reward(unknown)


@given(rows, st.sampled_from([0.01, 0.3, 3.0]))
def test_the_two_units_agree_where_every_reference_has_equally_many_tokens(facts, weight):
    for kind in (LengthPenalty, ShortestCorrect):
        share = kind(weight)(facts).main
        assert kind(weight / 50, unit="token")(replace(facts, tokens=50 * facts.cost)).main == pytest.approx(share)


def test_the_exact_length_penalty_lets_a_short_wrong_answer_win_and_ours_does_not():
    rows = Outcomes.of(
        format_ok=[True, True],
        correct=[True, False],
        requested_ratio=[1, 0.2],
        realised_ratio=[1, 0.1],
        cost=[1.2, 0.1],
    )
    right, wrong = LengthPenalty(weight=1.0)(rows).main
    assert wrong > right
    right, wrong = LengthPenalty(weight=1.0, at_most=True)(rows).main
    assert wrong == right == 0, "a correct answer over its budget earns no more than an incorrect one"


def test_the_shortest_right_answer_of_a_prompt_is_the_target_or_else_the_mean():
    rows = Outcomes.of(
        format_ok=[True] * 5,
        correct=[True, True, False, False, False],
        requested_ratio=[1.0] * 5,
        realised_ratio=[1.0] * 5,
        cost=[0.5, 0.9, 0.2, 0.4, 0.8],
        prompt=[7, 7, 7, 2, 2],
    )
    assert ShortestCorrect(weight=0.5)(rows).main == pytest.approx([1, 0.8, -0.15, -0.1, -0.1])


def loop(rewards, group, scale):
    out = []
    for reward, name in zip(rewards, group, strict=True):
        members = torch.tensor([r for r, n in zip(rewards, group, strict=True) if n == name], dtype=torch.float64)
        spread = members.std().item() + 1e-4 if scale and len(members) > 1 else 1e-4 if scale else 1.0
        out.append((reward - members.mean().item()) / spread)
    return out


@pytest.mark.parametrize("scale", [True, False])
def test_group_advantages_equal_their_loop(scale):
    generator = np.random.default_rng(0)
    rewards, group = generator.random(30), generator.integers(0, 7, 30)
    got = group_advantages(rewards, group, scale=scale)
    assert got == pytest.approx(loop(rewards.tolist(), group.tolist(), scale), abs=1e-6)


def test_decoupled_loss_by_hand():
    log_probs = torch.tensor([[-1.0, -2.0, -3.0], [-0.5, -1.5, -9.0]], requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    loss = degrpo_loss(log_probs, torch.tensor([1.0, -2.0]), mask, control_weight=0.1)
    assert loss.item() == pytest.approx(0.1 * (1.0 - 1.0) / 2 + (2 + 3 - 3) / 3)
    loss.backward()
    assert log_probs.grad[1, 2] == 0


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: LengthPenalty(weight=-1), "weight >= 0"),
        (lambda: LengthPenalty(weight=float("nan")), "weight >= 0"),
        (lambda: DeGRPO(long=-1), "long in"),
        (lambda: ShortestCorrect(weight=-1), "weight >= 0"),
        (lambda: ShortestRatioBonus(bonus=-0.1), "bonus >= 0"),
        (lambda: OverBudget(budget=float("inf")), "finite token_budget above 0"),
        (lambda: replace(FACTS, tokens=-FACTS.tokens), "tokens must be finite and not negative"),
        (lambda: group_advantages([1.0], [0, 1]), "one shape"),
        (lambda: degrpo_loss(torch.zeros(2, 3), torch.zeros(3), torch.ones(2, 3)), "expected shapes"),
    ],
)
def test_nonsense_is_refused(build, words):
    with pytest.raises(DataError, match=words):
        build()
