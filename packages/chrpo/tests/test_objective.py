from dataclasses import replace

import numpy as np
import pytest

from chrpo._shared.control_tokens import ControlTokens
from chrpo.batch import RolloutBatch
from chrpo.core import ConstrainedReward, Rewards
from chrpo.core.baselines import DeGRPO, LengthPenalty, OverBudget, ShortestCorrect, ShortestRatioBonus
from chrpo.errors import DataError
from chrpo.objective import OBJECTIVES, choose
from chrpo.prompts import PromptTable
from chrpo.score import score_step

TOKENS = ControlTokens.ladder((0.2, 0.6, 1.0))
EARNED = np.array([1.0, 0.0, 1.0, 0.5, 0.0, 0.5, 2.0, 0.0])


class Fixed:
    """The rewards of eight rollouts, whatever they did."""

    def __call__(self, outcomes, price=0.0):
        return Rewards(EARNED, np.array([0.5, 0, 0, 0, 0, 0, 0, 0]))


@pytest.fixture(scope="module")
def prompts(make_prompt):
    return PromptTable.of([make_prompt("3"), make_prompt("4", "<COMP_60>")], TOKENS)


def scored(prompts, objective, tokens=(10,) * 8):
    """The same, whatever the rollouts did."""
    return measured(prompts, replace(objective, reward=Fixed()), tokens)


def measured(prompts, objective, tokens):
    """One prompt whose ratios .2 .2 .2 .6 were drawn, one that requests .6; correct are those that earn something."""
    batch = RolloutBatch(
        row=np.array([0] * 4 + [1] * 4),
        ratio_index=np.array([0, 0, 0, 1, 1, 1, 1, 1]),
        format_ok=np.ones(8, bool),
        correct=EARNED > 0,
        truncated=np.zeros(8, bool),
        thinking_tokens=np.full(8, 3.0),
        completion_tokens=np.array(tokens, float),
        integrity=np.zeros(8),
        policy=np.tile([0.7, 0.2, 0.1], (8, 1)),
        ladder_mass=np.ones(8),
    )
    prices = {"policy": 0.0, "fixed@0.6": 0.0}
    return score_step(batch, prompts, objective, group_size=4, prices=prices)


UNSCALED = {"advantage_scale": "none"}
BY_HAND = {
    # Rewards .925, -.075, .895, .955: the solve rate is .75, and the lengths cost .075, .075, .105, .045.
    "alp": ({"length_weight": 0.01, **UNSCALED}, [0.25, -0.75, 0.22, 0.28]),
    # Of the two shortest, 6 and 10 tokens, the second is as long as another one: three are kept, of which two earn 1.
    "gfpo": ({"keep_share": 0.5, **UNSCALED}, [1 / 3, -2 / 3, 0, 1 / 3]),
    # Per token .1, 0, 1/14, 1/6; the best two are correct.
    "gfpo_efficiency": (UNSCALED, [0, 0, 0, 0]),
    # Advantages .25, -.75, .25, .25, and in the other prompt -.5, .5, .5, -.5; the mean of their squares is 1.75 / 8.
    "dler": ({}, np.array([0.25, -0.75, 0.25, 0.25]) / (np.sqrt(1.75 / 8) + 1e-4)),
    # The reference accuracy is .9, and .05 more is earned at the first three, which have the smallest ratio.
    "adaptthink": ({}, [0.15, -0.85, 0.15, 0.1]),
    # Lengths in tokens cost .1, .1, .14, .06; the mean is .65.
    "l1": ({"length_unit": "token", "length_weight": 0.01, **UNSCALED}, [0.25, -0.75, 0.21, 0.29]),
    # The target is 6 tokens, so the distances 4, 4, 8, 0 cost .04, .04, .08, 0; the mean is .71.
    "shortest_correct": ({"length_unit": "token", "length_weight": 0.01, **UNSCALED}, [0.25, -0.75, 0.21, 0.29]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_step_of_other_authors_by_hand(prompts, name):
    """The first prompt has answers of 10, 10, 14 and 6 tokens, of which the second is incorrect."""
    changes, expected = BY_HAND[name]
    got = measured(prompts, choose(name, **changes), [10, 10, 14, 6, 10, 10, 10, 10])
    assert got.response[:4] == pytest.approx(expected)
    assert got.control[:4] == pytest.approx(expected)


def test_a_step_of_laconic_by_hand(prompts):
    """A budget of 8 tokens and a price of .5: the excess costs .125, .125, .375 and 0; the mean is .59375."""
    objective = replace(choose("laconic", advantage_scale="none"), reward=OverBudget(8, length_price=0.5))
    got = measured(prompts, objective, [10, 10, 14, 6, 10, 10, 10, 10])
    assert got.response[:4] == pytest.approx([0.28125, -0.71875, 0.03125, 0.40625])


def test_plain_grpo_gives_a_rollout_one_scaled_advantage_and_a_requested_control_token_none(prompts):
    got = scored(prompts, choose("grpo"))
    first = np.array([1, 0, 1, 0.5]) - 0.625
    scaled = first / (np.sqrt((first**2).sum() / 3) + 1e-4)
    assert got.response[:4] == pytest.approx(scaled)
    assert got.control[:4] == pytest.approx(scaled)
    assert not got.control[4:].any()


def test_degrpo_does_not_scale(prompts):
    got = scored(prompts, choose("degrpo"))
    assert got.response.tolist() == [0.375, -0.625, 0.375, -0.125, -0.625, -0.125, 1.375, -0.625]
    assert got.control.tolist() == [0.375, -0.625, 0.375, -0.125, 0, 0, 0, 0]


def test_drawn_ratios_keep_the_split_and_count_as_the_policys_own(prompts):
    got = scored(prompts, choose("paper", without=["stratified"]))
    # Control: R + .5 for the first, minus the mean of the other three of the prompt. Response: against its own ratio;
    # the only rollout at .6 earns .5 and the others of the prompt 1, 0 and 1.
    assert got.control[:4] == pytest.approx([1.5 - 0.5, 0 - 1, 1 - 2 / 3, 0.5 - 2.5 / 3])
    assert got.response[:4] == pytest.approx([0.5, -1, 0.5, 0.5 - 2 / 3])
    assert not got.no_signal.any()
    assert got.measured == {"policy": (0.75, 1), "fixed@0.6": (0.5, 1)}
    assert got.attainable == {}


def test_without_control_every_token_earns_what_its_rollout_earns(prompts):
    got = scored(prompts, choose("chrpo", without=["control", "stratified"]))
    assert got.control[:4].tolist() == got.response[:4].tolist() == [0.375, -0.625, 0.375, -0.125]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_equal_rewards_teach_nothing(prompts, name, monkeypatch):
    monkeypatch.setattr(f"{__name__}.EARNED", np.full(8, 0.1))
    monkeypatch.setattr(Fixed, "__call__", lambda *_, **__: Rewards(EARNED, np.zeros(8)))
    objective = choose(name, without=["stratified"] if OBJECTIVES[name].ladder_share else [])
    got = scored(prompts, replace(objective, against_reference=False))
    assert got.no_signal.all()
    assert not got.control.any()
    assert not got.response.any()


def test_parts_can_be_left_out():
    whole = choose("chrpo")
    assert choose("chrpo", without=["constraint"]) == replace(whole, constrained=False)
    assert choose("chrpo", without=["stratified"]) == replace(whole, ladder_share=0.0)
    assert choose("chrpo", ladder_share=0.5) == replace(whole, ladder_share=0.5)
    assert choose("chrpo", without=["control"]) == replace(whole, credit="whole", control_weight=1.0)
    assert choose("chrpo", without=["mode"]) == replace(whole, reward=ConstrainedReward(mode=False))
    assert choose("l1", length_weight=0.7).reward == LengthPenalty(weight=0.7)
    assert choose("degrpo", shortest=0.4, control_weight=0.1) == replace(
        OBJECTIVES["degrpo"], reward=DeGRPO(shortest=0.4), control_weight=0.1
    )
    assert choose("shortest_correct").reward == ShortestCorrect()


def test_a_weight_goes_with_the_unit_of_the_length():
    """The weights agree for a reference of 1000 tokens; a weight that is given is in the unit that is given."""
    for name, unit, weight in (("l1", "token", 3e-4), ("shortest_correct", "token", 5e-4), ("alp", "reference", 1e-4)):
        reward = choose(name, length_unit=unit).reward
        assert (reward.unit, reward.weight) == (unit, pytest.approx(weight))
    assert choose("l1", length_unit="reference") == OBJECTIVES["l1"]
    assert choose("alp", length_unit="reference", length_weight=0.2).reward == LengthPenalty(0.2)


def test_parts_and_values_of_other_authors_are_switched_one_by_one():
    assert choose("chrpo", adding=["solve_rate"]) == replace(OBJECTIVES["chrpo"], solve_rate=True)
    assert choose("grpo", adding=["clamp_correct"]) == replace(OBJECTIVES["grpo"], clamp_correct=True)
    per_token = choose("l1", length_unit="token", length_weight=3e-4)
    assert choose("alp", without=["solve_rate"], length_weight=3e-4) == per_token
    assert choose("adaptthink", length_weight=0.1, shortest=0.4).reward == ShortestRatioBonus(0.1, 0.4)
    assert choose("laconic", token_budget=30).reward == OverBudget(30)
    assert choose("gfpo", keep_share=1) == OBJECTIVES["grpo"]
    assert choose("dler", advantage_scale="none") == choose("grpo", advantage_scale="none")


def test_the_batch_is_the_scale_of_all_rollouts_with_signal(prompts):
    """Advantages 3/8, -5/8, 3/8, -1/8 and -5/8, -1/8, 11/8, -5/8: the sum of their squares is 3.375."""
    got = scored(prompts, choose("dler"))
    expected = np.array([3, -5, 3, -1, -5, -1, 11, -5]) / 8 / (np.sqrt(3.375 / 8) + 1e-4)
    assert got.response == pytest.approx(expected)
    assert got.control == pytest.approx(np.where(np.arange(8) < 4, expected, 0))


def test_split_credit_scales_responses_by_what_they_are_compared_with(prompts):
    """1, 0, 1 at the first ratio deviate by .577; the one at the second is compared with its prompt, .479."""
    plain = scored(prompts, choose("paper", without=["stratified"]))
    got = scored(prompts, choose("paper", without=["stratified"], advantage_scale="group"))
    assert got.control.tolist() == plain.control.tolist()
    deviation = np.array([np.sqrt(1 / 3)] * 3 + [np.sqrt(0.6875 / 3)])
    assert got.response[:4] == pytest.approx(plain.response[:4] / (deviation + 1e-4))


def test_rollouts_that_are_not_kept_teach_nothing_and_are_compared_with_nothing(prompts):
    """The two shortest of four are kept: they earn 1 and 0, then .5 and 2."""
    got = scored(prompts, choose("gfpo", keep_share=0.5, advantage_scale="none"), tokens=[5, 6, 7, 8, 9, 6, 5, 8])
    assert got.response.tolist() == [0.5, -0.5, 0, 0, 0, -0.75, 0.75, 0]
    assert got.control.tolist() == [0.5, -0.5, 0, 0, 0, 0, 0, 0]
    assert got.no_signal.tolist() == [False, False, True, True, True, False, False, True]


def test_the_most_efficient_are_correct_and_alike_where_enough_are_correct(prompts):
    """Per token, the first prompt earns 1/5, 0, 1/9 and .5/8; the second 0, .5/6, 2/20 and 0."""
    got = scored(prompts, choose("gfpo_efficiency", advantage_scale="none"), tokens=[5, 6, 9, 8, 9, 6, 20, 8])
    assert got.response.tolist() == [0, 0, 0, 0, 0, -0.75, 0.75, 0]


def test_rewards_are_compared_with_the_accuracy_of_the_frozen_model(prompts):
    """It is .9 on both prompts; the second is answered as the user requested."""
    got = scored(prompts, choose("adaptthink"))
    assert got.response == pytest.approx(EARNED - 0.9)
    assert got.control == pytest.approx(np.where(np.arange(8) < 4, EARNED - 0.9, 0))
    assert not got.no_signal.any()


def test_a_correct_response_has_no_negative_advantage_with_that_part_and_the_choice_of_a_ratio_may(prompts):
    plain = scored(prompts, choose("chrpo", without=["stratified"]))
    got = scored(prompts, choose("chrpo", without=["stratified"], adding=["clamp_correct"]))
    # Correct are those that earn something; the fourth earns .5, and the mean of its prompt is .625.
    assert plain.response[3] == pytest.approx(0.5 - 0.625)
    assert got.response[3] == 0
    assert got.response[1] == plain.response[1] == -0.625
    assert got.control.tolist() == plain.control.tolist()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("ppo", {}, "choose one of chrpo, paper, grpo"),
        ("grpo", {"without": ["constraint"]}, "its parts are: none"),
        ("degrpo", {"without": ["mode"]}, "its parts are: control"),
        ("paper", {"without": ["constraint"]}, "its parts are: control, mode, stratified"),
        ("chrpo", {"without": ["kl"]}, "no part 'kl'"),
        ("chrpo", {"length_weight": 0.5}, "has no length_weight"),
        ("l1", {"control_weight": -1}, "0 or more"),
        ("chrpo", {"control_weight": 5, "without": ["control"]}, "without control it is 1 token"),
        ("chrpo", {"ladder_share": 1.5}, r"ladder_share must be in \[0, 1\].*got 1.5 for chrpo"),
        ("l1", {"ladder_share": 0.5}, "chrpo and paper alone have one"),
        ("chrpo", {"ladder_share": 0.5, "without": ["stratified"]}, "without stratified it is 0"),
        ("gfpo", {"keep_share": 0}, r"keep_share must be in \(0, 1\].*got 0 for gfpo"),
        ("grpo", {"keep_share": 0.5}, "gfpo and gfpo_efficiency alone have one"),
        ("grpo", {"length_unit": "token"}, "has no length_unit"),
        ("l1", {"length_unit": "word"}, "must be reference or token; got 'word'"),
        ("l1", {"token_budget": 20}, "has no token_budget"),
        ("laconic", {"token_budget": 0}, "token_budget above 0"),
        ("grpo", {"advantage_scale": "prompt"}, "must be none, group or batch; got 'prompt'"),
        ("alp", {"adding": ["solve_rate"]}, "has the part 'solve_rate'; leave it out of --with"),
        ("grpo", {"adding": ["solve_rate"]}, "no reward that falls with length"),
        ("laconic", {"adding": ["solve_rate"]}, "no reward that falls with length"),
        ("chrpo", {"adding": ["mode"]}, "no part 'mode' can be added"),
        ("chrpo", {"adding": ["clamp_correct"], "without": ["clamp_correct"]}, "no part 'clamp_correct' to omit"),
    ],
)
def test_what_an_objective_does_not_have_is_refused(name, options, words):
    with pytest.raises(DataError, match=words):
        choose(name, **options)
