"""One RL step: by hand, in every order, with every objective, and on rollouts that TRL drew and scored."""

import json
from dataclasses import replace
from itertools import chain, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chrpo import CHRPOController, CHRPOSettings, ControlTokens, Rollout, RolloutReader, RolloutStats
from chrpo.batch import RolloutBatch, stat_columns
from chrpo.core import ConstrainedReward
from chrpo.errors import ChrpoError, DataError
from chrpo.objective import OBJECTIVES

LADDER = ControlTokens.ladder((0.2, 0.6, 1.0))
AT_PRICE_3 = CHRPOSettings(price_start=3)


@pytest.fixture
def controller(prompt_rows):
    return CHRPOController(prompt_rows, LADDER, group_size=6, settings=AT_PRICE_3)


@pytest.fixture
def split(prompt_rows):
    """Split credit with the reward of `chrpo`, at price 0."""
    settings = CHRPOSettings(objective="paper", ladder_share=0.125)
    return CHRPOController(prompt_rows, LADDER, group_size=6, settings=settings, reward=ConstrainedReward())


def rollout(row, ratio_index, *, correct=True, tokens=8):
    stats = RolloutStats(
        format_ok=True,
        correct=correct,
        truncated=False,
        thinking_tokens=tokens - 6,
        completion_tokens=tokens,
        integrity=0.0,
    )
    return Rollout(row=row, ratio_index=ratio_index, stats=stats, log_prob=float(np.log(1 / 3)))


def step(correct=(1, 0, 1, 1, 1, 1)):
    return [rollout(0, place // 2, correct=bool(right), tokens=8 + place) for place, right in enumerate(correct)]


def test_hand_worked_step(controller):
    """Two rollouts at each ratio of a prompt. Costs 8/12 … 13/12; R = a (3.01 + s) / 4.01, s = 1 - min(cost, 1)."""
    earned = np.array([3.01 + 4 / 12, 0, 3.01 + 2 / 12, 3.01 + 1 / 12, 3.01, 3.01]) / 4.01
    found = controller.step(step(), ["a"] * 6)
    tokens, answers = 8 + 9 + 10 + 11 + 12 + 13, 7 + 8 + 9 + 10 + 11 + 12
    # The policy is even, so each of two rollouts at a ratio has 6 x (1 / 3) / 2 = 1 of what holds the ladder.
    assert found.control == pytest.approx((earned - earned.mean() + 1) / 4 * tokens / 6)
    assert found.response == pytest.approx((earned - earned.mean()) * tokens / answers)
    assert found.metrics["policy/accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found.metrics["lambda/policy"] == 3
    assert found.metrics["generated_tokens"] == tokens


def test_hand_worked_step_with_split_credit(split):
    """The same rollouts: R = a (.01 + s) / 1.01."""
    earned = np.array([0.01 + 4 / 12, 0, 0.01 + 2 / 12, 0.01 + 1 / 12, 0.01, 0.01]) / 1.01
    found = split.step(step(), ["a"] * 6)
    means = earned.reshape(3, 2).mean(axis=1)
    tokens, answers = 8 + 9 + 10 + 11 + 12 + 13, 7 + 8 + 9 + 10 + 11 + 12
    expected = (5 * (means - means.mean()) / answers + 1 / 4 / 6) * tokens
    assert found.control == pytest.approx(np.repeat(expected, 2))
    alone = [earned[0] - earned[1], earned[1] - earned[0], earned[2] - earned[3], earned[3] - earned[2], 0, 0]
    assert found.response == pytest.approx(np.array(alone) * tokens / (7 + 8 + 9 + 10)), "the last ratio has no signal"


def test_hand_worked_step_where_the_model_drew_every_ratio(split):
    """The second prompt was drawn at .2 four times, at .6 and at 1 once: the last two are compared with its others."""
    drawn = [
        rollout(1, index, correct=bool(right), tokens=tokens)
        for index, right, tokens in ((0, 1, 8), (0, 0, 8), (0, 1, 9), (0, 1, 10), (1, 1, 11), (2, 0, 12))
    ]
    found = split.step(drawn, ["a"] * 6)
    earned = np.array([0.01 + 4 / 12, 0, 0.01 + 3 / 12, 0.01 + 2 / 12, 0.01 + 1 / 12, 0]) / 1.01
    others = (earned.sum() - earned) / 5
    tokens, answers = 8 + 8 + 9 + 10 + 11 + 12, 7 + 7 + 8 + 9 + 10 + 11
    assert found.control == pytest.approx(5 * (earned - others) * tokens / answers)
    within = (earned[:4].sum() - earned[:4]) / 3
    assert found.response[:4] == pytest.approx((earned[:4] - within) * tokens / answers)
    assert found.response[4:] == pytest.approx((earned - others)[4:] * tokens / answers)
    assert found.metrics["policy/accuracy"] == pytest.approx(4 / 6)
    assert found.metrics["dead_groups"] == 0


def test_the_order_in_which_workers_answer_does_not_matter(prompt_rows):
    first, second = (CHRPOController(prompt_rows, LADDER, group_size=6) for _ in range(2))
    rollouts = [*step(), *step((0, 0, 1, 0, 1, 1))]
    labels = ["a"] * 6 + ["b"] * 6
    order = np.random.default_rng(0).permutation(12)
    straight = first.step(rollouts, labels)
    mixed = second.step([rollouts[place] for place in order], [labels[place] for place in order])
    assert mixed.control == pytest.approx(straight.control[order])
    assert mixed.response == pytest.approx(straight.response[order])
    assert second.state_dict() == first.state_dict()


def test_a_rollout_at_the_mean_of_its_ratio_counts_among_those_with_signal(prompt_rows):
    """Its advantage is 0 or a rounding error of it, by the order of the sum; the others' must not depend on that."""
    settings = CHRPOSettings(objective="paper")
    controller = CHRPOController(prompt_rows, LADDER, group_size=9, settings=settings, reward=ConstrainedReward())
    lengths = (8, 9, 10)
    tokens, answers = 3 * (8 + 9 + 10), 3 * (7 + 8 + 9)
    for order in permutations(range(3)):
        rollouts = [rollout(0, index, tokens=lengths[place]) for index in range(3) for place in order]
        found = controller.step(rollouts, ["a"] * 9).response.reshape(3, 3)[:, np.argsort(order)]
        # (1 / 12) / 1.01 between neighbours; against the mean of the two others that is 1.5 times as far.
        assert found == pytest.approx(np.array([[1.0, 0, -1]] * 3) * 1.5 / 12 / 1.01 * tokens / answers, abs=1e-12)


def group(controller, label, seed):
    """Random rollouts of the first prompt at the ratios that the controller forces."""
    generator = np.random.default_rng(seed)
    size = controller.group_size
    policy = np.tile([0.7, 0.2, 0.1], (size, 1))
    drawn = controller.choose_ratios([0] * size, np.arange(size), policy, generator.random((size, 1)))
    correct, tokens = generator.random(size) < 0.5, generator.integers(8, 14, size)
    rollouts = [
        rollout(0, int(index), correct=bool(right), tokens=int(length))
        for index, right, length in zip(drawn, correct, tokens, strict=True)
    ]
    return rollouts, [label] * size


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_works_in_a_loop_of_ones_own(prompt_rows, name):
    controller = CHRPOController(prompt_rows, LADDER, group_size=6, settings=CHRPOSettings(objective=name))
    rollouts, labels = zip(*(group(controller, label, seed) for seed, label in enumerate("abcdef")), strict=True)
    found = controller.step([*chain(*rollouts)], [*chain(*labels)])
    assert found.control.any()
    assert found.response.any()
    assert np.isfinite(found.control).all()
    assert all(np.isfinite(value) for value in found.metrics.values())
    # Only rollouts at every ratio show the whole policy; where it is unknown, no metric claims it.
    assert ("policy/entropy" in found.metrics) == (OBJECTIVES[name].ladder_share > 0)
    if not OBJECTIVES[name].constrained:
        assert found.metrics["lambda/policy"] == 0
        assert controller.infeasible == []


@pytest.mark.parametrize(
    ("settings", "weight", "divisor", "signal"),
    [({"objective": "paper"}, 5, 54, 36), ({"without": ["control"]}, 1, 54, 54), ({}, 0.25, 6, 54)],
    ids=["split", "whole", "decoupled"],
)
def test_token_advantages_by_hand(prompt_rows, settings, weight, divisor, signal):
    """60 tokens, 54 of them in responses; with split credit, the last ratio (18 response tokens) has no signal."""
    controller = CHRPOController(prompt_rows, LADDER, group_size=6, settings=CHRPOSettings(**settings))
    correct = (1, 0, 1, 0, 1, 1)
    rollouts = [rollout(0, place // 2, correct=bool(right), tokens=10) for place, right in enumerate(correct)]
    batch = RolloutBatch.of_rollouts(rollouts, group_size=6, requested=np.full(6, -1), ratios=3)
    result = controller.update(batch)
    for over, tokens in {"all": 60, "responses": 54, "signal": signal}.items():
        found = controller.token_advantages(result, batch, over=over)
        assert found.tokens == tokens
        assert found.control == pytest.approx((weight * result.control / divisor + 0.25 * result.hold / 6) * tokens)
        assert found.response == pytest.approx(result.response * tokens / signal)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_requested_ratio_is_trained_as_the_first_token(prompt_rows, name):
    """Whatever the objective, and although all rollouts open with it, so that it is compared with no other."""
    controller = CHRPOController(prompt_rows, LADDER, group_size=6, settings=CHRPOSettings(objective=name))
    requests = next(row for row, index in enumerate(controller.prompts.requested) if index == 1)
    found = controller.step([rollout(requests, 1, tokens=10) for _ in range(6)], ["a"] * 6)
    assert found.control == pytest.approx([0.25 * 60 / 6] * 6)
    assert not found.response.any() or name == "adaptthink"


@given(logits=hnp.arrays(float, 6, elements=st.floats(-4, 4)), counts=st.tuples(*[st.integers(1, 4)] * 3))
def test_equal_rewards_move_probability_to_the_ladder_and_none_within_it(prompt_rows, logits, counts):
    """Six first tokens, three of them ratios: the gradient on the logits is that of the log of the ladder's mass."""
    torch = pytest.importorskip("torch")
    controller = CHRPOController(prompt_rows, LADDER, group_size=sum(counts), settings=CHRPOSettings())
    free = torch.tensor(logits, requires_grad=True)
    log_probs = free.log_softmax(0)
    chosen = np.repeat(range(3), counts)
    shown = log_probs.detach().numpy()
    rollouts = [replace(rollout(0, int(index)), log_prob=float(shown[index])) for index in chosen]
    found = controller.step(rollouts, ["a"] * len(chosen))
    (torch.tensor(found.control) * log_probs[torch.tensor(chosen)]).sum().backward()
    mass = torch.tensor(logits, requires_grad=True)
    (0.25 * 8 * len(chosen) * (mass[:3].logsumexp(0) - mass.logsumexp(0))).backward()
    assert free.grad.numpy() == pytest.approx(mass.grad.numpy(), abs=1e-9)


def test_the_budget_falls_in_a_loop_of_ones_own(prompt_rows):
    rows = [{**row, "reference_accuracy": 0.0} for row in prompt_rows]
    settings = CHRPOSettings(budget_step=0.25, budget_hold=1)
    controller = CHRPOController(rows, LADDER, group_size=6, settings=settings)
    budgets = [controller.step(step(), ["a"] * 6).metrics["budget"] for _ in range(3)]
    assert budgets == [1, 0.75, 0.5]
    twin = CHRPOController(rows, LADDER, group_size=6, settings=settings)
    twin.load_state_dict(controller.state_dict())
    assert twin.step(step(), ["a"] * 6).metrics["budget"] == 0.25


def test_the_price_of_tokens_rises_in_a_loop_of_ones_own_and_comes_back(prompt_rows):
    """LACONIC: rollouts of 8 … 13 tokens, 10.5 in the mean, and a budget of 7; the price rises by .05 x .5 a step."""
    settings = CHRPOSettings(objective="laconic", token_budget=7)
    controller = CHRPOController(prompt_rows, LADDER, group_size=6, settings=settings)
    prices = [controller.step(step(), ["a"] * 6).metrics["length_price"] for _ in range(3)]
    assert prices == pytest.approx([0, 0.025, 0.05])
    twin = CHRPOController(prompt_rows, LADDER, group_size=6, settings=settings)
    twin.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    found = twin.step(step(), ["a"] * 6)
    # Rewards of the first two at a price of .075: 1 - .075 / 7, and -.075 x 2 / 7.
    assert found.metrics["reward"] == pytest.approx((5 - 0.075 * (1 + 2 + 3 + 4 + 5 + 6) / 7) / 6)
    good = controller.state_dict()
    for state in ({**good, "length_price": None}, {**good, "length_price": {}}, None, [], {}):
        with pytest.raises(DataError, match="saved price"):
            twin.load_state_dict(state)


def test_advantages_and_prices_are_those_of_the_trl_adapter(checkpoint, prompt_rows, tmp_path):
    pytest.importorskip("trl")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

    from chrpo.trl import CHRPOConfig, CHRPOTrainer
    from chrpo.trl.compat import step_share

    tokens = ControlTokens.load(checkpoint)
    controller = CHRPOController(prompt_rows, tokens, group_size=6)
    prices, without_signal = [], []

    class Both(CHRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            batch = super()._generate_and_score_completions(inputs)
            reader = RolloutReader(
                self.processing_class, tokens, self.eos_token_ids, lambda text, answer: answer in text
            )
            lengths = batch["completion_mask"].sum(dim=1).tolist()
            rollouts = []
            for place, length in enumerate(lengths):
                ids, row = batch["completion_ids"][place, :length].tolist(), inputs[place]["row"]
                stats = reader.read(ids[1:], prompt_rows[row]["answer"])
                log_prob = float(batch["old_per_token_logps"][place, 0])
                index = self.ladder_ids.index(ids[0])
                rollouts.append(Rollout(row=row, ratio_index=index, stats=stats, log_prob=log_prob))
            found = controller.step(rollouts, [str(place // 6) for place in range(len(lengths))])
            # Each loss is the sum of advantage x log-probability, divided by its own number of tokens.
            divisor = found.tokens * step_share(self.args)
            ours = torch.tensor(np.stack([found.control, found.response], axis=1)) / divisor
            assert ours.numpy() == pytest.approx(
                (batch["advantages"][:, :2] / batch["num_items_in_batch"]).numpy(), abs=1e-7
            )
            prices.append(controller.constraint.price("policy"))
            without_signal.append(found.metrics["dead_groups"])
            return batch

    args = CHRPOConfig(
        str(tmp_path), max_steps=4, num_generations=6, per_device_train_batch_size=12, steps_per_generation=2,
        max_completion_length=16, learning_rate=1e-3, save_strategy="no", report_to="none", use_cpu=True,
        disable_tqdm=True, activation_checkpointing=False,
    )  # fmt: skip
    trainer = Both(
        AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32),
        args,
        prompts=prompt_rows,
        control_tokens=tokens,
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
        grader=lambda text, answer: answer in text,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    assert len(prices) == 2
    assert prices[0] > 0, "a price that never moves would agree whatever the code"
    assert 0 < without_signal[0] < 1


def test_a_prompt_that_lost_rollouts_is_named(controller):
    with pytest.raises(ChrpoError, match="prompt b has 5 of 6 rollouts"):
        controller.step([*step(), *step()[:5]], ["a"] * 6 + ["b"] * 5)


def test_a_prompt_that_needs_a_rollout_at_every_ratio_and_has_none_at_some_is_named(controller):
    rollouts = [rollout(0, place // 3) for place in range(6)]
    with pytest.raises(ChrpoError, match="prompt b has no rollout at some ratio"):
        controller.step([*step(), *rollouts], ["a"] * 6 + ["b"] * 6)


def test_prices_continue_bit_for_bit_and_only_with_their_settings(controller, prompt_rows):
    controller.step(step(), ["a"] * 6)
    twin = CHRPOController(prompt_rows, LADDER, group_size=6, settings=AT_PRICE_3)
    twin.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    assert controller.prices()["policy"] != 3, "a price that never moves would agree whatever the code"
    assert twin.step(step(), ["a"] * 6).metrics == controller.step(step(), ["a"] * 6).metrics
    assert twin.state_dict() == controller.state_dict()
    for change in ({"accuracy_slack": 0.01}, {"price_minimum": 0.5}, {"price_start": 4.0}, {"ladder_share": 0.5}):
        other = CHRPOController(prompt_rows, LADDER, group_size=6, settings=replace(AT_PRICE_3, **change))
        with pytest.raises(DataError, match="other settings"):
            other.load_state_dict(controller.state_dict())


def test_too_few_rollouts_for_the_ladder_are_refused_where_it_is_rolled_out(prompt_rows):
    with pytest.raises(DataError, match="take 3 or more, or --ladder-share 0"):
        CHRPOController(prompt_rows, LADDER, group_size=2)
    CHRPOController(prompt_rows, LADDER, group_size=3)
    CHRPOController(prompt_rows, LADDER, group_size=2, settings=CHRPOSettings(ladder_share=0))


def test_a_loop_of_ones_own_and_trls_path_give_one_batch_the_same_advantages(prompt_rows, each_objective):
    """One prompt at every ratio, two that were drawn, one that requests a ratio; TRL knows every log-probability."""
    settings = CHRPOSettings(**each_objective)
    own, trl = (CHRPOController(prompt_rows, LADDER, group_size=6, settings=settings) for _ in range(2))
    generator = np.random.default_rng(3)
    policy = np.array([0.7, 0.2, 0.1])
    third = [0, 1, 2, 2, 2, 2] if own.objective.ladder_share == 1 else [0, 0, 0, 1, 1, 1]
    drawn = [0, 0, 1, 1, 2, 2, *[0, 0, 0, 0, 1, 2], *third, *[0] * 6]
    rows = np.repeat([0, 1, 2, 5], 6).tolist()
    correct = [*[1, 0, 1, 1, 0, 1], *[0, 0, 1, 0, 0, 0], *[1, 1, 0, 1, 0, 1], *[1, 0, 0, 1, 1, 0]]
    rollouts = [
        replace(
            rollout(row, index, correct=bool(right), tokens=int(generator.integers(8, 14))),
            log_prob=float(np.log(policy[index])),
        )
        for row, index, right in zip(rows, drawn, correct, strict=True)
    ]
    columns = {"row": rows, "ratio_index": drawn, **stat_columns([each.stats for each in rollouts])}
    batch = RolloutBatch.of(columns, np.tile(np.log(policy), (24, 1)))
    for _ in range(2):
        loop = own.step(rollouts, np.repeat(["a", "b", "c", "d"], 6).tolist())
        result = trl.update(batch)
        assert loop.control[:18].any()
        assert loop.response.any()
        for over in ("all", "responses", "signal"):
            found = trl.token_advantages(result, batch, over=over)
            assert found.control / found.tokens == pytest.approx(loop.control / loop.tokens, abs=1e-15)
            assert found.response / found.tokens == pytest.approx(loop.response / loop.tokens, abs=1e-15)
    assert own.state_dict() == trl.state_dict()


def steps_back(prompt_rows, settings, most=400):
    """Steps until a policy that all prompts share gives 20 % to the one accurate ratio, from .0009.

    A step has 16 prompts of 6 rollouts, so about one rollout in twelve steps is drawn at that ratio.
    """
    rows = [{**prompt_rows[0], "id": str(number)} for number in range(16)]
    controller = CHRPOController(rows, LADDER, group_size=6, settings=settings)
    generator, indices = np.random.default_rng(0), np.repeat(np.arange(16), 6)
    logits = np.log(np.array([0.9891, 0.01, 0.0009]))
    for count in range(most):
        policy = np.exp(logits) / np.exp(logits).sum()
        if policy[2] > 0.2:
            return count
        shown = np.tile(policy, (96, 1))
        drawn = controller.choose_ratios(indices, np.tile(np.arange(6), 16), shown, generator.random((96, 1)))
        correct = generator.random(96) < np.array([0.1, 0.15, 0.9])[drawn]
        rollouts = [
            replace(rollout(row, index, correct=right, tokens=8 + 2 * index), log_prob=float(np.log(policy[index])))
            for row, index, right in zip(indices.tolist(), drawn.tolist(), correct.tolist(), strict=True)
        ]
        found = controller.step(rollouts, [str(row) for row in indices])
        chosen = np.eye(3)[drawn] - policy
        logits = logits + 5 * (found.control / found.tokens) @ chosen
    return most


def test_a_ratio_that_the_policy_has_nearly_given_up_comes_back(prompt_rows):
    assert steps_back(prompt_rows, CHRPOSettings()) <= 60
    assert steps_back(prompt_rows, CHRPOSettings(ladder_share=0)) > 120
