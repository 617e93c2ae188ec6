"""The driver of a trainer with one controller, on rollouts that TRL drew and judged by itself."""

from itertools import permutations

import numpy as np
import pytest

from chrpo._shared.control_tokens import ControlTokens
from chrpo.driver import Driver, Rollout, Settings
from chrpo.errors import ChrpoError, DataError
from chrpo.rollout import Facts, RolloutReader

RATIOS = (0.2, 0.6, 1.0)


def rollout(row, rung, *, correct=True, tokens=8):
    return Rollout(row, rung, Facts(True, correct, False, tokens - 6, tokens, 0.0), float(np.log(1 / 3)))


@pytest.fixture
def driver(prompt_rows):
    return Driver(prompt_rows, ControlTokens.ladder(RATIOS), group_size=6)


def step(correct=(1, 0, 1, 1, 1, 1)):
    return [rollout(0, place // 2, correct=bool(right), tokens=8 + place) for place, right in enumerate(correct)]


def test_hand_worked_step(driver):
    """Costs 8/12 … 13/12; R = a (.01 + s) / 1.01, s = 1 - min(cost, 1); two rollouts at each of three ratios."""
    earned = np.array(
        [(0.01 + 4 / 12) / 1.01, 0, (0.01 + 2 / 12) / 1.01, (0.01 + 1 / 12) / 1.01, 0.01 / 1.01, 0.01 / 1.01]
    )
    found = driver.judge(step(), ["a"] * 6)
    means = earned.reshape(3, 2).mean(axis=1)
    tokens, answers = 8 + 9 + 10 + 11 + 12 + 13, 7 + 8 + 9 + 10 + 11 + 12
    assert found.control == pytest.approx(np.repeat(5 * (means - means.mean()) * tokens / answers, 2))
    alone = [earned[0] - earned[1], earned[1] - earned[0], earned[2] - earned[3], earned[3] - earned[2], 0, 0]
    assert found.response == pytest.approx(np.array(alone) * tokens / (7 + 8 + 9 + 10)), "the last ratio has no signal"
    assert found.metrics["policy/accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)


def test_the_order_in_which_workers_answer_does_not_matter(prompt_rows):
    first, second = (Driver(prompt_rows, ControlTokens.ladder(RATIOS), 6) for _ in range(2))
    rollouts = [*step(), *step((0, 0, 1, 0, 1, 1))]
    labels = ["a"] * 6 + ["b"] * 6
    order = np.random.default_rng(0).permutation(12)
    straight = first.judge(rollouts, labels)
    mixed = second.judge([rollouts[place] for place in order], [labels[place] for place in order])
    assert mixed.control == pytest.approx(straight.control[order])
    assert mixed.response == pytest.approx(straight.response[order])
    assert second.state_dict() == first.state_dict()


def test_a_rollout_at_the_mean_of_its_group_counts_among_those_with_signal(prompt_rows):
    """Its advantage is 0 or a rounding error of it, by the order of the sum; the others' must not depend on that."""
    driver = Driver(prompt_rows, ControlTokens.ladder(RATIOS), group_size=9)
    lengths = {rung: (8, 9, 10) for rung in range(3)}
    tokens, answers = 3 * (8 + 9 + 10), 3 * (7 + 8 + 9)
    for order in permutations(range(3)):
        rollouts = [rollout(0, rung, tokens=lengths[rung][place]) for rung in range(3) for place in order]
        found = driver.judge(rollouts, ["a"] * 9).response.reshape(3, 3)[:, np.argsort(order)]
        # (1 / 12) / 1.01 between neighbours; against the mean of the two others that is 1.5 times as far.
        assert found == pytest.approx(np.array([[1.0, 0, -1]] * 3) * 1.5 / 12 / 1.01 * tokens / answers, abs=1e-12)


def test_advantages_and_prices_are_those_of_the_trl_adapter(checkpoint, prompt_rows, tmp_path):
    pytest.importorskip("trl")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

    from chrpo.trl import CHRPOConfig, CHRPOTrainer

    tokens = ControlTokens.load(checkpoint)
    driver = Driver(prompt_rows, tokens, 6)
    prices, dead = [], []

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
                facts = reader.read(ids[1:], prompt_rows[row]["answer"])
                log_prob = float(batch["old_per_token_logps"][place, 0])
                rollouts.append(Rollout(row, self._ladder_ids.index(ids[0]), facts, log_prob))
            found = driver.judge(rollouts, [str(place // 6) for place in range(len(lengths))])
            # Each loss is the sum of advantage x log-probability over its own count of tokens.
            ours = torch.tensor(np.stack([found.control, found.response], axis=1)) / sum(lengths)
            assert ours.numpy() == pytest.approx(
                (batch["advantages"][:, :2] / batch["num_items_in_batch"]).numpy(), abs=1e-7
            )
            prices.append(driver.constraint.price("policy"))
            # verl's log-probabilities are float32, the trainer's own float64.
            assert prices[-1] == pytest.approx(self.constraint.price("policy"), rel=1e-6)
            dead.append(found.metrics["dead_groups"])
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
    assert 0 < dead[0] < 1


def test_a_prompt_that_lost_rollouts_is_named(driver):
    with pytest.raises(ChrpoError, match="prompt b came back with 5 of 6 rollouts"):
        driver.judge([*step(), *step()[:5]], ["a"] * 6 + ["b"] * 5)


def test_prices_continue_bit_for_bit_and_only_with_their_settings(driver, prompt_rows):
    driver.judge(step(), ["a"] * 6)
    twin = Driver(prompt_rows, ControlTokens.ladder(RATIOS), 6)
    twin.load_state_dict(driver.state_dict())
    assert twin.judge(step(), ["a"] * 6).metrics == driver.judge(step(), ["a"] * 6).metrics
    assert twin.state_dict() == driver.state_dict()
    other = Driver(prompt_rows, ControlTokens.ladder(RATIOS), 6, Settings(eps=0.01))
    with pytest.raises(DataError, match="other settings"):
        other.load_state_dict(driver.state_dict())


def test_settings_come_from_a_section_of_a_file():
    settings = Settings.of({"eps": 0.01, "gains": {"cap": 10}})
    assert (settings.eps, settings.gains.cap, settings.gains.proportional) == (0.01, 10, 50)
    for section in ({"epsilon": 0.01}, {"gains": {"kp": 3}}):
        with pytest.raises(DataError, match=r"known are eps, .*gains\.proportional"):
            Settings.of(section)


def test_a_group_that_does_not_fit_the_ladder_is_refused(prompt_rows):
    with pytest.raises(DataError, match="take 6 or another multiple of 3"):
        Driver(prompt_rows, ControlTokens.ladder(RATIOS), 4)
