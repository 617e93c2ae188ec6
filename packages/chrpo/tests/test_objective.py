from dataclasses import replace

import numpy as np
import pytest

from chrpo._shared.control_tokens import ControlTokens
from chrpo.batch import RolloutBatch
from chrpo.core import ConstrainedReward, Rewards
from chrpo.core.baselines import DeGRPO, LengthPenalty, ShortestCorrect
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


def scored(prompts, objective):
    """One prompt whose ratios .2 .2 .2 .6 were drawn, one that requests .6; each is correct as often as it earns."""
    batch = RolloutBatch(
        row=np.array([0] * 4 + [1] * 4),
        ratio_index=np.array([0, 0, 0, 1, 1, 1, 1, 1]),
        format_ok=np.ones(8, bool),
        correct=EARNED > 0,
        truncated=np.zeros(8, bool),
        thinking_tokens=np.full(8, 3.0),
        completion_tokens=np.full(8, 10.0),
        integrity=np.zeros(8),
        policy=np.tile([0.7, 0.2, 0.1], (8, 1)),
        ladder_mass=np.ones(8),
    )
    prices = {"policy": 0.0, "fixed@0.6": 0.0}
    return score_step(batch, prompts, replace(objective, reward=Fixed()), group_size=4, prices=prices)


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
    got = scored(prompts, choose("chrpo", without=["stratified"]))
    # Control: R + .5 for the first, minus the mean of the other three of the prompt. Response: against its own ratio;
    # the only rollout at .6 earns .5 and the others of the prompt 1, 0 and 1.
    assert got.control[:4] == pytest.approx([1.5 - 0.5, 0 - 1, 1 - 2 / 3, 0.5 - 2.5 / 3])
    assert got.response[:4] == pytest.approx([0.5, -1, 0.5, 0.5 - 2 / 3])
    assert not got.no_signal.any()
    assert got.measured == {"policy": (0.75, 1), "fixed@0.6": (0.5, 1)}
    assert got.attainable == {}


def test_without_control_every_token_earns_what_its_rollout_earns(prompts):
    got = scored(prompts, choose("paper", without=["control", "stratified"]))
    assert got.control[:4].tolist() == got.response[:4].tolist() == [0.375, -0.625, 0.375, -0.125]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_equal_rewards_teach_nothing(prompts, name, monkeypatch):
    monkeypatch.setattr(f"{__name__}.EARNED", np.full(8, 0.1))
    monkeypatch.setattr(Fixed, "__call__", lambda *_, **__: Rewards(EARNED, np.zeros(8)))
    objective = choose(name, without=["stratified"] if OBJECTIVES[name].ladder_share else [])
    got = scored(prompts, objective)
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


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("ppo", {}, "choose one of chrpo, paper, grpo"),
        ("grpo", {"without": ["constraint"]}, "its parts are: none"),
        ("paper", {"without": ["constraint"]}, "its parts are: control, mode, stratified"),
        ("chrpo", {"without": ["kl"]}, "no part 'kl'"),
        ("chrpo", {"length_weight": 0.5}, "has no length_weight"),
        ("l1", {"control_weight": -1}, "0 or more"),
        ("chrpo", {"ladder_share": 1.5}, r"ladder_share must be in \[0, 1\].*got 1.5 for chrpo"),
        ("l1", {"ladder_share": 0.5}, "chrpo and paper alone have one"),
        ("chrpo", {"ladder_share": 0.5, "without": ["stratified"]}, "without stratified it is 0"),
    ],
)
def test_what_an_objective_does_not_have_is_refused(name, options, words):
    with pytest.raises(DataError, match=words):
        choose(name, **options)
