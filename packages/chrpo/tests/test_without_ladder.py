"""Training of a checkpoint without control tokens: answers get shorter at a floor that holds, whoever runs the loop."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from chrpo import CHRPOController, CHRPOSettings, Rollout, RolloutReader
from chrpo._shared.records import write_records
from chrpo.cli import cli
from chrpo.metrics import read_metrics

pytest.importorskip("trl")

KILLED = Path(__file__).with_name("killed.py")
STEPS, EACH = 50, 8


def loaded(checkpoint):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32), tokenizer


def generate(model, tokenizer, row, count):
    """Token ids of the prompt, and of sampled completions without padding."""
    import torch

    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    ids = torch.tensor([prompt] * count)
    sampling = {"do_sample": True, "max_new_tokens": 12, "pad_token_id": tokenizer.pad_token_id}
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), **sampling)[:, len(prompt) :]
    return prompt, [[one for one in each if one != tokenizer.pad_token_id] for each in out.tolist()]


def measured(model, tokenizer, rows, samples=500):
    """Accuracy and mean number of tokens of each prompt."""
    import torch

    torch.manual_seed(0)
    reader = RolloutReader(tokenizer, None, [tokenizer.eos_token_id])
    found = [reader.read_all(generate(model, tokenizer, row, samples)[1], [row["answer"]] * samples) for row in rows]
    accuracy = [sum(each.correct for each in stats) / samples for stats in found]
    return accuracy, [sum(each.completion_tokens for each in stats) / samples for stats in found]


@pytest.fixture(scope="module")
def frozen(plain_checkpoint, plain_rows):
    """The prompts, with lengths and accuracies of the frozen model."""
    accuracy, tokens = measured(*loaded(plain_checkpoint), plain_rows)
    assert max(accuracy[4:]) < min(accuracy[:4]), "the frozen model copies hard numbers wrongly where it does not think"
    return [
        {**row, "reference_accuracy": own, "reference_completion_tokens": round(length)}
        for row, own, length in zip(plain_rows, accuracy, tokens, strict=True)
    ]


def trained_by_trainer(checkpoint, rows, folder, config, build):
    from chrpo.trl import CHRPOTrainer

    model, tokenizer = loaded(checkpoint)
    changes = {"num_generations": EACH, "per_device_train_batch_size": 64, "max_completion_length": 12}
    args = config(folder, max_steps=STEPS, **changes)
    CHRPOTrainer(model, args, prompts=rows, processing_class=tokenizer).train()
    return model


def trained_by_reward(checkpoint, rows, folder, config, build):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from chrpo.trl import CHRPOReward

    model, tokenizer = loaded(checkpoint)
    args = GRPOConfig(
        str(folder), max_steps=STEPS, num_generations=EACH, per_device_train_batch_size=64, max_completion_length=12,
        learning_rate=1e-3, lr_scheduler_type="constant", scale_rewards="none", top_k=0, save_strategy="no",
        report_to="none", use_cpu=True, bf16=False, disable_tqdm=True,
    )  # fmt: skip
    reward = CHRPOReward(rows, args)
    data = Dataset.from_list(rows)
    GRPOTrainer(model, reward, args, train_dataset=data, processing_class=tokenizer, callbacks=[reward]).train()
    return model


def trained_by_loop(checkpoint, rows, folder, config, build):
    import torch

    from chrpo.core import token_loss

    model, tokenizer = loaded(checkpoint)
    controller = CHRPOController(rows, None, group_size=EACH)
    reader = RolloutReader(tokenizer, None, [tokenizer.eos_token_id])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    torch.manual_seed(0)
    for _ in range(STEPS):
        rollouts, answers = [], []
        for place, row in enumerate(rows):
            prompt, completions = generate(model, tokenizer, row, EACH)
            stats = reader.read_all(completions, [row["answer"]] * EACH)
            rollouts += [Rollout(row=place, stats=each) for each in stats]
            answers += [(prompt, ids) for ids in completions]
        step = controller.step(rollouts, [str(rollout.row) for rollout in rollouts])
        width = max(len(prompt) + len(ids) for prompt, ids in answers)
        ids, advantages = torch.zeros(len(answers), width, dtype=torch.long), torch.zeros(len(answers), width)
        for place, (prompt, completion) in enumerate(answers):
            ids[place, : len(prompt) + len(completion)] = torch.tensor([*prompt, *completion])
            advantages[place, len(prompt) : len(prompt) + len(completion)] = float(step.response[place])
        log_probs = model(ids).logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        token_loss(log_probs, advantages[:, 1:], tokens=step.tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model


@pytest.mark.parametrize("train", [trained_by_trainer, trained_by_reward, trained_by_loop])
def test_answers_get_shorter_at_a_floor_that_holds(plain_checkpoint, frozen, tmp_path, config, build, train):
    import torch

    torch.manual_seed(0)
    model = train(plain_checkpoint, frozen, tmp_path, config, build).eval()
    accuracy, tokens = measured(model, loaded(plain_checkpoint)[1], frozen)
    floor = sum(row["reference_accuracy"] for row in frozen) / len(frozen)
    assert sum(accuracy) / len(accuracy) >= floor - 0.01
    reference = sum(row["reference_completion_tokens"] for row in frozen)
    assert sum(tokens) < 0.9 * reference


def test_the_command_trains_and_a_killed_run_ends_like_an_undisturbed_one(plain_checkpoint, plain_rows, tmp_path):
    write_records(tmp_path / "prompts.jsonl", plain_rows)
    flags = "--model {} --steps 4 --prompts-per-step 4 --learning-rate 1e-3 --max-tokens 12 --save-steps 2 --seed 7"

    def call(out, *more):
        return ["train", *map(str, (tmp_path / "prompts.jsonl", tmp_path / out)), *flags.split(" "), *more]

    flags = flags.format(plain_checkpoint)
    whole = CliRunner().invoke(cli, call("whole"))
    assert whole.exit_code == 0, whole.output
    assert "no control tokens: the whole response is shortened\n" in whole.stderr
    assert "8 prompts, 4 in a step: 2 steps take each once, and the run's 4 steps 2 times\n" in whole.stderr
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    killed = subprocess.run(
        [sys.executable, str(KILLED), *call("killed")], env=environment, capture_output=True, text=True, timeout=600
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert CliRunner().invoke(cli, call("killed")).exit_code == 0
    for name in ("metrics.jsonl", "model.safetensors", "thinking_format.json", "chrpo_state.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    last = read_metrics(tmp_path / "whole")[-1]
    assert last["step"] == 4
    assert last["lambda/policy"] != 8, "a price that never moves would agree whatever the code"
    assert {"policy/cost", "policy/accuracy"} <= last.keys()
    assert not (tmp_path / "whole" / "control_tokens.json").exists()
    assert "Probability of each ratio" not in (tmp_path / "whole" / "training.html").read_text("utf-8")


def test_what_needs_a_ladder_ends_the_command_in_one_line(plain_checkpoint, plain_rows, make_prompt, tmp_path):
    write_records(tmp_path / "prompts.jsonl", plain_rows)
    write_records(tmp_path / "laddered.jsonl", [make_prompt("3")])
    for prompts, flags, words in (
        ("prompts.jsonl", ["--ladder-share", ".5"], "ladder_share: needs control tokens, and the model has none"),
        ("prompts.jsonl", ["--objective", "adaptthink"], "objective adaptthink: needs control tokens"),
        ("laddered.jsonl", [], "is for a model with control tokens, and this one has none"),
    ):
        call = ["train", tmp_path / prompts, tmp_path / "out", "--model", plain_checkpoint, *flags]
        result = CliRunner().invoke(cli, list(map(str, call)))
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert words in result.stderr
        assert not (tmp_path / ".out.partial").exists()


@pytest.mark.parametrize("beta", [0.0, 0.1], ids=["no KL", "KL"])
def test_every_token_has_the_advantage_of_a_plain_loop(plain_checkpoint, plain_rows, tmp_path, config, beta):
    from transformers import PrinterCallback

    from chrpo.trl import CHRPOTrainer

    controller = CHRPOController(plain_rows, None, group_size=6, settings=CHRPOSettings())
    seen = []

    class Both(CHRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            batch = super()._generate_and_score_completions(inputs)
            mask, places = batch["completion_mask"], [row["row"] for row in inputs]
            completions = [ids[one.bool()].tolist() for ids, one in zip(batch["completion_ids"], mask, strict=True)]
            stats = self.reader.read_all(completions, [plain_rows[place]["answer"] for place in places])
            rollouts = [Rollout(row=place, stats=each) for place, each in zip(places, stats, strict=True)]
            found = controller.step(rollouts, [str(place // 6) for place in range(len(rollouts))])
            expected = found.response[:, None] / found.tokens * mask.numpy()
            assert (batch["advantages"] / batch["num_items_in_batch"]).numpy() == pytest.approx(expected, abs=1e-7)
            prompts = {
                tuple(ids[one.bool()].tolist())
                for ids, one in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
            }
            assert prompts <= {tuple(ids) for ids in self._prompt_ids}, "no token is forced"
            seen.append(controller.prices() == self.controller.prices())
            return batch

    model, tokenizer = loaded(plain_checkpoint)
    args = config(tmp_path, beta=beta)
    trainer = Both(model, args, prompts=plain_rows, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    assert seen == [True, True]
    assert controller.prices()["policy"] != 8
