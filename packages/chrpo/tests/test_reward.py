"""The constraint as a reward function of TRL's own GRPOTrainer, for a model without control tokens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chrpo import CHRPOController, CHRPOSettings, Rollout, RolloutReader
from chrpo.errors import ChrpoError, DataError

pytest.importorskip("trl")

SETTINGS = CHRPOSettings(accuracy_slack=0.01)
PROCESSES = Path(__file__).parent / "reward_processes.py"


def grpo_config(folder, **changes):
    from trl import GRPOConfig

    settings = {
        "max_steps": 2,
        "num_generations": 4,
        "per_device_train_batch_size": 16,
        "max_completion_length": 12,
        "learning_rate": 1e-3,
        "scale_rewards": "none",
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "logging_steps": 1,
    }
    return GRPOConfig(str(folder), **{**settings, **changes})


def build_grpo(checkpoint, args, rows, reward, kind=None, **options):
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from trl import GRPOTrainer

    trainer = (kind or GRPOTrainer)(
        AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32),
        reward,
        args,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
        callbacks=[reward],
        **options,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def test_grpo_trains_with_the_advantages_of_a_plain_loop(plain_checkpoint, plain_rows, tmp_path):
    from trl import GRPOTrainer

    from chrpo.trl import CHRPOReward

    controller = CHRPOController(plain_rows, None, group_size=4, settings=SETTINGS)
    seen = []

    class Recorder(GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            batch = super()._generate_and_score_completions(inputs)
            tokenizer = self.processing_class
            reader = RolloutReader(tokenizer, None, [tokenizer.eos_token_id])
            rollouts = []
            for ids, mask, each in zip(batch["completion_ids"], batch["completion_mask"], inputs, strict=True):
                row = next(place for place, known in enumerate(plain_rows) if known["id"] == each["id"])
                rollouts.append(Rollout(row=row, stats=reader.read(ids[mask.bool()].tolist(), each["answer"])))
            found = controller.step(rollouts, [str(place // 4) for place in range(len(rollouts))])
            assert batch["advantages"].numpy() == pytest.approx(found.response, abs=1e-6)
            assert batch["num_items_in_batch"] == found.tokens
            seen.append((found.response.any(), controller.prices()["policy"]))
            return batch

    reward = CHRPOReward(plain_rows, args := grpo_config(tmp_path, max_steps=3), SETTINGS)
    trainer = build_grpo(plain_checkpoint, args, plain_rows, reward, Recorder)
    trainer.train()
    assert len(seen) == 3
    assert all(signal for signal, _ in seen)
    assert seen[0][1] != 8, "a price that never moves would agree whatever the code"
    assert reward.controller.state_dict() == controller.state_dict()
    logged = [line.get("chrpo/lambda/policy") for line in trainer.state.log_history if "loss" in line]
    logs = hasattr(trainer, "_log_metric")  # not in TRL 0.29
    assert logged == (pytest.approx([8, *(price for _, price in seen[:-1])]) if logs else [None] * 3)


@pytest.mark.parametrize(("generation", "steps"), [(1, 4), (2, 6)], ids=["a step a generation", "two steps"])
def test_a_run_goes_on_exactly_from_every_checkpoint(plain_checkpoint, plain_rows, tmp_path, generation, steps):
    from chrpo.trl import CHRPOReward

    rows = [{**row, "id": f"{row['id']}-{copy}"} for row in plain_rows for copy in range(4)]

    def run(name, resumed=None):
        changes = {"steps_per_generation": generation, "save_strategy": "steps", "save_steps": generation}
        args = grpo_config(tmp_path / name, max_steps=steps, per_device_train_batch_size=8, **changes)
        reward = CHRPOReward(rows, args, SETTINGS)
        trainer = build_grpo(plain_checkpoint, args, rows, reward)
        trainer.train(resume_from_checkpoint=resumed and str(resumed))
        return trainer, reward

    whole, first = run("whole")
    assert first.controller.prices()["policy"] != 8, "a price that never moves would agree whatever the code"
    for step in range(generation, steps, generation):
        again, reward = run(f"from-{step}", tmp_path / "whole" / f"checkpoint-{step}")
        assert reward.controller.state_dict() == first.controller.state_dict()
        for (_, left), (_, right) in zip(again.model.named_parameters(), whole.model.named_parameters(), strict=True):
            assert left.equal(right)


def test_two_processes_give_the_rewards_and_prices_of_one(plain_checkpoint, plain_rows, tmp_path):
    """Three prompts of four rollouts; the second prompt's are divided between the processes."""
    generator = np.random.default_rng(0)
    words = [(row, int(generator.integers(0, 5)), str(generator.integers(0, 8))) for row in np.repeat([2, 5, 7], 4)]
    texts = [
        f"<think> {'so ' * count}</think> \\boxed{{ {number if place % 3 else plain_rows[row]['answer']} }} [end]"
        for place, (row, count, number) in enumerate(words)
    ]
    given = {"checkpoint": str(plain_checkpoint), "rows": plain_rows, "texts": texts}
    given["ids"] = [plain_rows[row]["id"] for row, *_ in words]
    (tmp_path / "given.json").write_text(json.dumps(given), "utf-8")

    def launch(count):
        out = tmp_path / str(count)
        out.mkdir()
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        call = [*command, str(PROCESSES), str(tmp_path / "given.json"), str(out)]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads((out / f"{rank}.json").read_text()) for rank in range(count)]

    [one], two = launch(1), launch(2)
    for generation in range(2):
        found = [each["rewards"][generation] for each in two]
        assert [len(each) for each in found] == [6, 6]
        assert [*found[0], *found[1]] == one["rewards"][generation]
    assert any(one["rewards"][0])
    assert [each["state"] for each in two] == [one["state"]] * 2


def test_a_step_without_a_well_formed_rollout_stops_the_run_and_quotes_three(plain_checkpoint, plain_rows, tmp_path):
    from chrpo.trl import CHRPOReward

    reward = CHRPOReward(plain_rows, args := grpo_config(tmp_path), answer_format="answer-tag")
    words = (
        r"none of the 16 rollouts of a step has the right form.* \(3\) another form of answer: '<think>.*give --format"
    )
    with pytest.raises(ChrpoError, match=words):
        build_grpo(plain_checkpoint, args, plain_rows, reward).train()
    assert reward.controller.prices() == {"policy": 8}


def test_an_evaluation_gives_accuracy_and_moves_no_price(plain_checkpoint, plain_rows, tmp_path):
    from datasets import Dataset

    from chrpo.trl import CHRPOReward

    prices = []

    class Recorder(CHRPOReward):
        def __call__(self, **columns):
            before = self.controller.state_dict()
            rewards = super().__call__(**columns)
            prices.append((before == self.controller.state_dict(), set(rewards) <= {0.0, 1.0}))
            return rewards

    args = grpo_config(tmp_path, eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=8, max_steps=2)
    reward = Recorder(plain_rows, args)
    trainer = build_grpo(plain_checkpoint, args, plain_rows, reward, eval_dataset=Dataset.from_list(plain_rows[:4]))
    trainer.train()
    assert prices.count((True, True)) == 4, "16 rollouts of each of two evaluations, 8 at a time"
    assert prices.count((False, False)) == 2


@pytest.mark.parametrize(
    ("changes", "settings", "words"),
    [
        ({"scale_rewards": "group"}, {}, "scale_rewards is 'group'; it must be 'none'"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, {}, "it must be 'sum_then_normalize'"),
        ({"restore_callback_states_from_checkpoint": True}, {}, "it must be False"),
        ({"top_p": 0.95}, {}, r"CHRPOReward: top_p is 0\.95; it must be 1 \(else rollouts are drawn from another"),
        ({"generation_kwargs": {"top_k": 5}}, {}, "generation_kwargs is .*; it must be None"),
        ({"steps_per_generation": 2, "save_strategy": "steps", "save_steps": 3}, {}, "needs a multiple of 2"),
        ({}, {"adding": ["clamp_correct"]}, "clamp_correct needs CHRPOTrainer"),
        ({}, {"objective": "degrpo"}, "objective degrpo: needs control tokens"),
    ],
)
def test_settings_that_would_change_the_advantages_are_refused_by_name(plain_rows, tmp_path, changes, settings, words):
    from chrpo.trl import CHRPOReward

    with pytest.raises(DataError, match=words):
        CHRPOReward(plain_rows, grpo_config(tmp_path, **changes), CHRPOSettings(**settings))


def test_what_the_trainer_lacks_is_named(plain_checkpoint, plain_rows, tmp_path):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOTrainer

    from chrpo.trl import CHRPOReward

    args = grpo_config(tmp_path, save_strategy="steps", save_steps=1)
    with pytest.raises(DataError, match="9 prompts have 8 ids"):
        CHRPOReward([*plain_rows, plain_rows[0]], args)
    reward = CHRPOReward(plain_rows, args)
    model, tokenizer = (kind.from_pretrained(plain_checkpoint) for kind in (AutoModelForCausalLM, AutoTokenizer))
    data = Dataset.from_list(plain_rows)
    without = GRPOTrainer(model, reward, args, train_dataset=data, processing_class=tokenizer)
    with pytest.raises(ChrpoError, match=r"pass callbacks=\[reward\], too"):
        without.train()
    for rows, words in (
        ([{"prompt": row["prompt"]} for row in plain_rows], "the dataset has no column id"),
        ([{**row, "id": "another"} for row in plain_rows], "id 'another' of the dataset is none of the prompts"),
    ):
        with pytest.raises(DataError, match=words):
            build_grpo(plain_checkpoint, args, rows, CHRPOReward(plain_rows, args)).train()


def test_a_checkpoint_without_prices_is_refused(plain_checkpoint, plain_rows, tmp_path):
    from transformers import TrainerCallback

    from chrpo.trl import CHRPOReward

    class NoReward(TrainerCallback):
        """Stands in the place of the reward among the callbacks."""

    def right(completion_ids, **_):
        return [float(len(ids) % 2) for ids in completion_ids]

    args = grpo_config(tmp_path, max_steps=2, save_strategy="steps", save_steps=1)
    trainer = build_grpo(plain_checkpoint, args, plain_rows, CHRPOReward(plain_rows, args))
    trainer.reward_funcs = [right]
    trainer.callback_handler.callbacks = [
        each for each in trainer.callback_handler.callbacks if not isinstance(each, CHRPOReward)
    ]
    trainer.train()
    path = tmp_path / "checkpoint-1" / "trainer_state.json"
    content = json.loads(path.read_text())
    for saved in (..., None, [], {}):
        stateful = content["stateful_callbacks"] | ({} if saved is ... else {"CHRPOReward": saved})
        path.write_text(json.dumps({**content, "stateful_callbacks": stateful}))
        with pytest.raises(DataError, match="checkpoint of step 1 has no prices"):
            build_grpo(plain_checkpoint, args, plain_rows, CHRPOReward(plain_rows, args)).train(
                resume_from_checkpoint=str(tmp_path / "checkpoint-1")
            )
