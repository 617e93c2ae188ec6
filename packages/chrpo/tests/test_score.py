from dataclasses import replace

import numpy as np
import pytest

from chrpo._shared.control_tokens import ControlTokens
from chrpo.batch import RolloutBatch
from chrpo.core import ConstrainedReward
from chrpo.errors import DataError
from chrpo.objective import choose
from chrpo.prompts import PromptTable, spread
from chrpo.score import score_step

TOKENS = ControlTokens.ladder((0.2, 0.6, 1.0))


def batch(row, ratio_index, correct, completion, policy, format_ok=None, thinking=None):
    count = len(row)
    return RolloutBatch(
        row=np.array(row),
        ratio_index=np.array(ratio_index),
        format_ok=np.ones(count, bool) if format_ok is None else np.array(format_ok, bool),
        correct=np.array(correct, bool),
        truncated=np.zeros(count, bool),
        thinking_tokens=np.array(completion, float) - 7 if thinking is None else np.array(thinking, float),
        completion_tokens=np.array(completion, float),
        integrity=np.zeros(count),
        policy=np.array(policy, float),
        ladder_mass=np.full(count, 0.99),
    )


@pytest.fixture(scope="module")
def rows(make_prompt):
    return [make_prompt("3"), make_prompt("4", "<COMP_60>"), make_prompt("5")]


@pytest.fixture(scope="module")
def step(rows):
    """Two prompts of six rollouts: one in which the model chooses, one that requests .6."""
    facts = batch(
        row=[0] * 6 + [1] * 6,
        ratio_index=[0, 0, 1, 1, 2, 2] + [1] * 6,
        correct=[1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
        completion=[8, 8, 10, 10, 12, 12, 10, 10, 10, 10, 12, 10],
        policy=[[0.5, 0.3, 0.2]] * 6 + [[0.0, 1.0, 0.0]] * 6,
    )
    prompts = PromptTable.of(rows, TOKENS)
    prices = {"policy": 0.5, "fixed@0.6": 1.0}
    objective = replace(choose("chrpo"), credit="split", reward=ConstrainedReward(margin=0.5))
    return score_step(facts, prompts, objective, group_size=6, prices=prices)


def test_rewards_use_the_price_of_their_own_group(step):
    # Policy: (1 + savings) / 2, savings 1 - completion/12. Fixed: (1.5 + 1 - excess) / 2.5, excess (12 - 7)/5 - .6.
    assert step.reward[:6] == pytest.approx([(1 + 4 / 12) / 2, 0, (1 + 2 / 12) / 2, (1 + 2 / 12) / 2, 0.5, 0.5])
    assert step.reward[6:] == pytest.approx([1, 1, 1, 1, (1.5 + 0.6) / 2.5, 0])


def test_control_advantage_is_the_ratios_mean_minus_the_unweighted_mean_and_zero_where_requested(step):
    q = np.array([(1 + 4 / 12) / 4, (1 + 2 / 12) / 2, 0.5])
    assert step.control[:6] == pytest.approx(np.repeat(q - q.mean(), 2))
    assert not step.control[6:].any()


def test_response_advantage_is_left_one_out_inside_prompt_and_ratio(step):
    first = (1 + 4 / 12) / 2
    weight = 0.5 + 0.5 * 0.5 * 3
    assert step.response[:2] == pytest.approx([weight * first, -weight * first])
    assert not step.response[2:6].any()
    assert step.response[11] == pytest.approx(0 - (4 + 0.84) / 5)
    assert step.no_signal.tolist() == [False, False, True, True, True, True] + [False] * 6


def test_measured_accuracy_is_what_the_policy_itself_would_get(step):
    assert step.measured["policy"] == pytest.approx((0.5 * 0.5 + 0.3 + 0.2, 1))
    assert step.measured["fixed@0.6"] == pytest.approx((5 / 6, 1))
    assert step.metrics["policy/accuracy"] == pytest.approx(0.75)
    assert step.metrics["policy/ratio"] == pytest.approx(0.5 * 0.2 + 0.3 * 0.6 + 0.2)


def test_a_prompt_drawn_twice_in_one_step_makes_two_groups(rows):
    facts = batch([0] * 12, [0, 0, 1, 1, 2, 2] * 2, [1] * 6 + [0] * 6, [12] * 12, [[1 / 3] * 3] * 12)
    prompts = PromptTable.of(rows, TOKENS)
    got = score_step(facts, prompts, choose("chrpo"), group_size=6, prices={"policy": 0.0})
    assert not got.control.any()
    assert not got.response.any()
    assert got.measured["policy"] == pytest.approx((1.0, 2))


def test_accuracies_are_paired_with_the_references_of_their_own_prompts(make_prompt):
    """The mean reference is .6 for prompts 3 and 5, the only ones of their group, so d is .3 and -.3."""
    references = {"3": 0.9, "4": 0.2, "5": 0.3}
    rows = [
        {**make_prompt(answer, *(["<COMP_60>"] * (answer == "4"))), "reference_accuracy": reference}
        for answer, reference in references.items()
    ]
    facts = batch([0] * 6 + [2] * 6, [0, 0, 1, 1, 2, 2] * 2, [1] * 6 + [0] * 5 + [1], [12] * 12, [[1 / 3] * 3] * 12)
    prompts = PromptTable.of(rows, TOKENS)
    got = score_step(facts, prompts, choose("chrpo", ladder_share=0.3), group_size=6, prices={"policy": 0.0})
    assert prompts.at_every_ratio(np.array([0, 2]), 0.3).tolist() == [True, True]
    sums = 0.0, 0.3 * 1 - 0.3 * (1 / 6), 0.3**2 + 0.3**2, 0.0
    assert got.paired["policy"] == pytest.approx(sums)


def test_floors_are_the_frozen_accuracy_of_each_group_minus_the_slack(rows):
    prompts = PromptTable.of(rows, TOKENS)
    assert prompts.floors(0.05) == pytest.approx({"fixed@0.6": 0.85, "policy": 0.85})
    harder = [{**row, "difficulty": "2", "reference_accuracy": 0.4} for row in rows]
    assert set(PromptTable.of(harder, TOKENS, by_difficulty=True).floors(0.5)) == {"policy/2", "fixed@0.6/2"}
    assert PromptTable.of(harder, TOKENS).floors(0.5)["policy"] == 0.0


@pytest.mark.parametrize("share", [0.0, 0.125, 0.3, 1.0])
@pytest.mark.parametrize("turn", [1, 2, 5, 8, 16])
def test_the_share_of_prompts_is_met_in_every_part_of_a_file(share, turn):
    """`turn` kinds of problem that take turns; a kind's share is right to one prompt in twenty."""
    chosen = spread(np.arange(200 * turn), share).reshape(200, turn)
    assert chosen.mean(axis=0) == pytest.approx(share, abs=0.05)


def test_a_ladder_with_next_to_no_probability_still_has_a_policy():
    columns = {
        "row": [0, 0], "ratio_index": [0, 0], "format_ok": [1, 1], "correct": [1, 1], "truncated": [0, 0],
        "thinking_tokens": [5, 5], "completion_tokens": [8, 8], "integrity": [0, 0],
    }  # fmt: skip
    log_probs = [[-800 + np.log(0.75), -800 + np.log(0.25)], [np.log(0.3), np.log(0.1)]]
    table = RolloutBatch.of(columns, np.array(log_probs))
    assert table.policy == pytest.approx(np.array([[0.75, 0.25]] * 2))
    assert table.ladder_mass == pytest.approx([0, 0.4])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": [{"role": "user", "content": "copy 3"}]}, "must end in <COMP_POLICY>"),
        ({"mode": "fixed"}, "must end in a ratio token"),
        ({"prompt": [{"role": "user", "content": "copy 3 <COMP_30>"}], "mode": "fixed"}, "must end in a ratio token"),
        (
            {"prompt": [{"role": "user", "content": "3 <COMP_60>"}], "mode": "fixed", "reference_accuracies": {"1": 1}},
            "no accuracy at 0.6",
        ),
    ],
)
def test_prompts_that_do_not_fit_the_ladder_are_refused(rows, change, words):
    with pytest.raises(DataError, match=words):
        PromptTable.of([{**rows[0], **change}], TOKENS)


def test_an_empty_block_is_a_failed_check_everywhere_but_at_ratio_0(make_prompt):
    prompts = PromptTable.of([make_prompt("3")], ControlTokens.ladder((0, 0.6, 1.0)))
    facts = batch(
        row=[0] * 3,
        ratio_index=[0, 0, 1],
        correct=[1, 1, 1],
        completion=[4, 4, 4],
        thinking=[0, 0, 0],
        policy=[[0.4, 0.3, 0.3]] * 3,
    )
    facts = replace(facts, integrity=np.array([0.5, 1.0, 0.5]))  # empty; empty and repeated; empty
    paper = choose("paper", ladder_share=0)
    free = replace(paper, reward=replace(paper.reward, integrity=0.0))
    costly, plain = (
        score_step(facts, prompts, objective, group_size=3, prices={"policy": 0.0}).reward
        for objective in (paper, free)
    )
    assert plain - costly == pytest.approx([0, 0.05, 0.05])
