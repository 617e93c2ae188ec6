"""One RL step: by hand, in every order, with every objective, and on rollouts that TRL drew and scored."""

from itertools import permutations

import numpy as np
import pytest

from chrpo import CHRPOController, CHRPOSettings, ControlTokens, Rollout, RolloutReader, RolloutStats
from chrpo.batch import RolloutBatch
from chrpo.errors import ChrpoError, DataError
from chrpo.objective import OBJECTIVES

LADDER = ControlTokens.ladder((0.2, 0.6, 1.0))


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


@pytest.fixture
def controller(prompt_rows):
    return CHRPOController(prompt_rows, LADDER, group_size=6)


def step(correct=(1, 0, 1, 1, 1, 1)):
    return [rollout(0, place // 2, correct=bool(right), tokens=8 + place) for place, right in enumerate(correct)]


def test_hand_worked_step(controller):
    """Costs 8/12 … 13/12; R = a (.01 + s) / 1.01, s = 1 - min(cost, 1); two rollouts at each of three ratios."""
    earned = np.array(
        [(0.01 + 4 / 12) / 1.01, 0, (0.01 + 2 / 12) / 1.01, (0.01 + 1 / 12) / 1.01, 0.01 / 1.01, 0.01 / 1.01]
    )
    found = controller.step(step(), ["a"] * 6)
    means = earned.reshape(3, 2).mean(axis=1)
    tokens, answers = 8 + 9 + 10 + 11 + 12 + 13, 7 + 8 + 9 + 10 + 11 + 12
    assert found.control == pytest.approx(np.repeat(5 * (means - means.mean()) * tokens / answers, 2))
    alone = [earned[0] - earned[1], earned[1] - earned[0], earned[2] - earned[3], earned[3] - earned[2], 0, 0]
    assert found.response == pytest.approx(np.array(alone) * tokens / (7 + 8 + 9 + 10)), "the last ratio has no signal"
    assert found.metrics["policy/accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found.metrics["generated_tokens"] == tokens


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


def test_a_rollout_at_the_mean_of_its_group_counts_among_those_with_signal(prompt_rows):
    """Its advantage is 0 or a rounding error of it, by the order of the sum; the others' must not depend on that."""
    controller = CHRPOController(prompt_rows, LADDER, group_size=9)
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
    correct, tokens = generator.random(size) < 0.7, generator.integers(8, 14, size)
    rollouts = [
        rollout(0, int(index), correct=bool(right), tokens=int(length))
        for index, right, length in zip(drawn, correct, tokens, strict=True)
    ]
    return rollouts, [label] * size


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_works_in_a_loop_of_ones_own(prompt_rows, name):
    controller = CHRPOController(prompt_rows, LADDER, group_size=6, settings=CHRPOSettings(objective=name))
    first, second = group(controller, "a", 1), group(controller, "b", 2)
    found = controller.step(first[0] + second[0], first[1] + second[1])
    assert found.control.any()
    assert found.response.any()
    assert np.isfinite(found.control).all()
    assert all(np.isfinite(value) for value in found.metrics.values())
    # Only stratified rollouts show the whole policy; where it is unknown, no metric claims it.
    assert ("policy/entropy" in found.metrics) == OBJECTIVES[name].stratified
    if not OBJECTIVES[name].constrained:
        assert found.metrics["lambda/policy"] == 0
        assert controller.infeasible == []


@pytest.mark.parametrize(
    ("settings", "weight", "divisor", "signal"),
    [({}, 5, 54, 36), ({"without": ["control"]}, 1, 54, 54), ({"objective": "degrpo"}, 1e-3, 6, 54)],
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
        assert found.control == pytest.approx(weight * result.control * tokens / divisor)
        assert found.response == pytest.approx(result.response * tokens / signal)


def test_the_budget_falls_in_a_loop_of_ones_own(prompt_rows):
    rows = [{**row, "reference_accuracy": 0.0} for row in prompt_rows]
    settings = CHRPOSettings(budget_step=0.25, budget_hold=1)
    controller = CHRPOController(rows, LADDER, group_size=6, settings=settings)
    budgets = [controller.step(step(), ["a"] * 6).metrics["budget"] for _ in range(3)]
    assert budgets == [1, 0.75, 0.5]
    twin = CHRPOController(rows, LADDER, group_size=6, settings=settings)
    twin.load_state_dict(controller.state_dict())
    assert twin.step(step(), ["a"] * 6).metrics["budget"] == 0.25


def test_advantages_and_prices_are_those_of_the_trl_adapter(checkpoint, prompt_rows, tmp_path):
    pytest.importorskip("trl")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

    from chrpo.trl import CHRPOConfig, CHRPOTrainer

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
            ours = torch.tensor(np.stack([found.control, found.response], axis=1)) / found.tokens
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


def test_a_prompt_without_a_rollout_at_some_ratio_is_named(controller):
    rollouts = [rollout(0, place // 3) for place in range(6)]
    with pytest.raises(ChrpoError, match="prompt b has no rollout at some ratio"):
        controller.step([*step(), *rollouts], ["a"] * 6 + ["b"] * 6)


def test_prices_continue_bit_for_bit_and_only_with_their_settings(controller, prompt_rows):
    controller.step(step(), ["a"] * 6)
    twin = CHRPOController(prompt_rows, LADDER, group_size=6)
    twin.load_state_dict(controller.state_dict())
    assert twin.step(step(), ["a"] * 6).metrics == controller.step(step(), ["a"] * 6).metrics
    assert twin.state_dict() == controller.state_dict()
    other = CHRPOController(prompt_rows, LADDER, group_size=6, settings=CHRPOSettings(accuracy_slack=0.01))
    with pytest.raises(DataError, match="other settings"):
        other.load_state_dict(controller.state_dict())


def test_too_few_rollouts_for_the_ladder_are_refused(prompt_rows):
    with pytest.raises(DataError, match="take 6 or more"):
        CHRPOController(prompt_rows, LADDER, group_size=4)
