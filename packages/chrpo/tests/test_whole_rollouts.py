"""A model without control tokens: each rollout is compared with the others of its prompt, under the same constraint."""

import json
from dataclasses import replace

import numpy as np
import pytest

from chrpo import CHRPOController, CHRPOSettings, ControlTokens, Rollout, RolloutReader, RolloutStats
from chrpo.errors import ChrpoError, DataError
from chrpo.objective import OBJECTIVES, OF_THE_LADDER
from chrpo.prompts import PromptTable, control_tokens


def plain_row(number="3", **more):
    row = {
        "id": f"copy-{number}",
        "prompt": [{"role": "user", "content": f"copy {number}"}],
        "answer": number,
        "teacher_ratio": None,
        "reference_tokens": 6,
        "reference_completion_tokens": 12,
        "reference_accuracy": 0.9,
        "mode": "policy",
    }
    return {**row, **more}


ROWS = [plain_row(str(number), reference_accuracy=number / 4) for number in range(1, 5)]


def rollout(row, correct, tokens):
    stats = RolloutStats(
        format_ok=True,
        correct=bool(correct),
        truncated=False,
        thinking_tokens=tokens - 6,
        completion_tokens=tokens,
        integrity=0.0,
    )
    return Rollout(row=row, stats=stats)


def step(row=0, correct=(1, 0, 1, 1), tokens=(6, 8, 9, 15)):
    return [rollout(row, *each) for each in zip(correct, tokens, strict=True)]


def test_a_step_by_hand():
    """R = a (3.01 + s) / 4.01 at price 3, s = 1 - min(tokens / 12, 1); a reward minus the mean of all four."""
    controller = CHRPOController(ROWS, None, group_size=4, settings=CHRPOSettings(price_start=3))
    found = controller.step([*step(), *step(2, (1, 1, 1, 1), (13, 14, 15, 16))], ["a"] * 4 + ["b"] * 4)
    earned = np.array([3.01 + 0.5, 0, 3.01 + 0.25, 3.01]) / 4.01
    signal, tokens = 6 + 8 + 9 + 15, 6 + 8 + 9 + 15 + 13 + 14 + 15 + 16
    assert found.response[:4] == pytest.approx((earned - earned.mean()) * tokens / signal)
    assert found.response[4:].tolist() == [0, 0, 0, 0], "longer than the reference: all of them earn the same"
    assert found.control.tolist() == found.response.tolist(), "the first token is one more token of the response"
    assert found.tokens == tokens
    assert found.metrics["policy/accuracy"] == pytest.approx((0.75 + 1) / 2)
    assert found.metrics["policy/cost"] == pytest.approx((38 / 48 + 58 / 48) / 2)
    assert found.metrics["lambda/policy"] == 3
    assert found.metrics["floor/policy"] == pytest.approx(0.625)
    about_ratios = ("ratio/", "policy/share", "policy/ratio", "policy/entropy", "policy/ladder", "calibration")
    assert not [name for name in found.metrics if name.startswith(about_ratios)]


def test_a_violated_floor_raises_the_price_and_the_price_comes_back_bit_for_bit():
    settings = CHRPOSettings(accuracy_floor=0.95)
    controller = CHRPOController(ROWS, None, group_size=4, settings=settings)
    assert controller.step(step(), ["a"] * 4).metrics["lambda/policy"] == 8
    assert controller.prices()["policy"] > 8
    twin = CHRPOController(ROWS, None, group_size=4, settings=settings)
    twin.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    assert twin.step(step(), ["a"] * 4).metrics == controller.step(step(), ["a"] * 4).metrics
    assert twin.state_dict() == controller.state_dict()
    with pytest.raises(DataError, match="other settings"):
        CHRPOController(ROWS, None, group_size=4).load_state_dict(controller.state_dict())


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name not in OF_THE_LADDER])
def test_responses_are_those_of_a_ladder_of_one_ratio(objective):
    """A control token adds a token to each rollout and to its reference, and nothing else to what is compared."""
    tokens = ControlTokens.ladder([1.0])
    settings = CHRPOSettings(objective=objective, length_unit="reference" if objective == "alp" else None)
    asked = [{**row, "prompt": [{"role": "user", "content": "copy <COMP_POLICY>"}]} for row in ROWS]
    whole = CHRPOController(ROWS, None, group_size=4, settings=settings)
    laddered = CHRPOController(asked, tokens, group_size=4, settings=settings)
    rollouts = [*step(0), *step(1, (0, 1, 0, 0), (7, 7, 11, 10))]
    opened = [replace(each, ratio_index=0, log_prob=0.0) for each in rollouts]
    for _ in range(3):
        labels = ["a"] * 4 + ["b"] * 4
        found, expected = whole.step(rollouts, labels), laddered.step(opened, labels)
        assert found.response.any()
        # With control tokens, a response has a token less, so both of its normalisers differ.
        assert found.response / found.response.max() == pytest.approx(expected.response / expected.response.max())
        assert found.metrics["policy/accuracy"] == expected.metrics["policy/accuracy"]
    assert whole.prices() == laddered.prices()


def test_floors_by_difficulty_are_those_of_samples_that_difficulty_was_not_measured_with():
    rows = [
        plain_row(name, difficulty=difficulty, reference_accuracy=0.5, held_out_accuracy=accuracy)
        for name, difficulty, accuracy in (("1", "easy", 1.0), ("2", "easy", 0.8), ("3", "hard", 0.25))
    ]
    assert PromptTable.of(rows, None).floors(0.1) == {"policy": 0.4}
    table = PromptTable.of(rows, None, by_difficulty=True)
    assert table.floors(0) == {"policy/easy": 0.9, "policy/hard": 0.25}
    assert table.floors(0.1, accuracy=0.7) == pytest.approx({"policy/easy": 0.6, "policy/hard": 0.6})
    controller = CHRPOController(rows, None, group_size=4, settings=CHRPOSettings(constraint_by_difficulty=True))
    controller.step([*step(0), *step(2, (0, 0, 1, 1))], ["a"] * 4 + ["b"] * 4)
    assert controller.prices()["policy/easy"] > 8 > controller.prices()["policy/hard"]
    own = plain_row(difficulty="of my own", reference_accuracy=0.5)
    assert PromptTable.of([own], None, by_difficulty=True).floors(0) == {"policy/of my own": 0.5}
    with pytest.raises(DataError, match=r"difficulty: field is missing.* two samples or more"):
        PromptTable.of([plain_row()], None, by_difficulty=True)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"objective": "paper"}, "objective paper"),
        ({"objective": "degrpo"}, "objective degrpo"),
        ({"objective": "adaptthink"}, "objective adaptthink"),
        ({"ladder_share": 0.5}, "ladder_share"),
        ({"control_weight": 2.0}, "control_weight"),
        ({"min_ratio_prob": 0.01}, "min_ratio_prob"),
        ({"on_policy_weight": 1.0}, "on_policy_weight"),
        ({"without": ["mode"]}, "without mode"),
        ({"without": ["control", "stratified"]}, "without control, without stratified"),
    ],
)
def test_what_needs_a_ladder_is_refused_by_name(settings, named):
    with pytest.raises(DataError, match=f"^{named}: needs control tokens, and the model has none"):
        CHRPOController(ROWS, None, group_size=4, settings=CHRPOSettings(**settings))


def test_prompts_of_a_ladder_are_refused_for_a_model_without_one_and_the_reverse(make_prompt):
    for asked in ("<COMP_POLICY>", "<COMP_60>"):
        with pytest.raises(DataError, match="is for a model with control tokens, and this one has none"):
            PromptTable.of([make_prompt("3", asked)], None)
    with pytest.raises(DataError, match="a policy prompt must end in <COMP_POLICY>"):
        PromptTable.of(ROWS, ControlTokens.ladder([0.2, 1.0]))
    controller = CHRPOController([make_prompt("3")], ControlTokens.ladder((0.2, 0.6, 1.0)), group_size=4)
    with pytest.raises(ChrpoError, match="a rollout has no ratio_index or log_prob"):
        controller.step(step(), ["a"] * 4)


@pytest.mark.parametrize("accuracy", [0.0, 80.0, float("nan")])
def test_a_floor_out_of_range_is_named(accuracy):
    with pytest.raises(DataError, match="accuracy_floor must be"):
        CHRPOSettings(accuracy_floor=accuracy)


def test_a_floor_without_a_price_is_refused():
    with pytest.raises(DataError, match="accuracy_floor: this objective has no price of accuracy"):
        CHRPOSettings(objective="grpo", accuracy_floor=0.8)


def test_every_token_of_a_rollout_counts_and_a_control_token_of_another_checkpoint_is_no_answer(checkpoint):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    reader = RolloutReader(tokenizer, None, [tokenizer.eos_token_id])
    ids = tokenizer.encode("<think> so so </think> \\boxed{ 3 } [end]", add_special_tokens=False)
    assert reader.read(ids, "3") == RolloutStats(
        format_ok=True, correct=True, truncated=False, thinking_tokens=2, completion_tokens=8, integrity=0.0
    )
    opened = tokenizer.encode("<COMP_20>", add_special_tokens=False)
    assert not reader.read([*opened, *ids], "3").format_ok


def test_the_control_tokens_of_a_folder_may_be_missing_but_not_the_folder(checkpoint, tmp_path):
    assert control_tokens(checkpoint) == ControlTokens.load(checkpoint)
    assert control_tokens(tmp_path) is None
    with pytest.raises(DataError, match="no such folder"):
        control_tokens(tmp_path / "nothing")


LENGTHS = np.array([10, 20, 30, 40, 50, 60, 80, 100])
SKILL = 1 - 0.6 * np.exp(-LENGTHS / np.array([[8.0], [20.0], [35.0]]))
"""Accuracy of three kinds of problem at each length."""


def lengths_learned(settings, seed, steps=300):
    """Floor, and accuracy and cost over the last 100 steps, of a policy over lengths that plain REINFORCE trains."""
    generator = np.random.default_rng(seed)
    logits = np.tile([-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5], (3, 1))
    policy = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    accuracy, reference = (policy * SKILL).sum(axis=1), (policy * LENGTHS).sum(axis=1)
    kinds = np.arange(30) % 3
    rows = [
        plain_row(str(n), reference_accuracy=accuracy[kind], reference_completion_tokens=round(reference[kind]))
        for n, kind in enumerate(kinds)
    ]
    controller = CHRPOController(rows, None, group_size=8, settings=settings)
    history = []
    for _ in range(steps):
        row = np.repeat(generator.permutation(30)[:16], 8)
        kind = kinds[row]
        length = (generator.random((128, 1)) >= policy[kind].cumsum(axis=1)[:, :-1]).sum(axis=1)
        correct = generator.random(128) < SKILL[kind, length]
        drawn = zip(row.tolist(), correct, LENGTHS[length].tolist(), strict=True)
        advantages = controller.step([rollout(*each) for each in drawn], [str(n) for n in row]).response
        np.add.at(logits, kind, -0.025 * advantages[:, None] * policy[kind])
        np.add.at(logits, (kind, length), 0.025 * advantages)
        policy = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        history.append([(policy * SKILL).sum(axis=1).mean(), ((policy * LENGTHS).sum(axis=1) / reference).mean()])
    return accuracy.mean(), *np.mean(history[-100:], axis=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_every_token_less_costs_accuracy_the_floor_holds_within_a_point(seed):
    floor, accuracy, cost = lengths_learned(CHRPOSettings(), seed)
    assert accuracy == pytest.approx(floor, abs=0.01)
    assert cost < 0.9


def test_without_the_constraint_the_same_policy_loses_accuracy():
    floor, accuracy, cost = lengths_learned(CHRPOSettings(without=["constraint"]), 0)
    assert accuracy < floor - 0.05
    assert cost < 0.6
