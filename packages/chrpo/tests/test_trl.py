import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chrpo._shared.records import write_records
from chrpo.core import leave_one_out
from chrpo.errors import ChrpoError, DataError

pytest.importorskip("trl")


@pytest.fixture(scope="module")
def recorded(checkpoint, prompt_rows, tmp_path_factory, config, build):
    """One real run of two optimiser steps per generation, with everything that passed through it."""
    from chrpo.trl import CHRPOTrainer

    class Recorder(CHRPOTrainer):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.batches, self.ratios, self.losses = [], [], []

        def _generate_and_score_completions(self, inputs):
            batch = super()._generate_and_score_completions(inputs)
            self.batches.append({"rows": [row["row"] for row in inputs], "scored": self.result, **batch})
            return batch

        def _compute_loss(self, model, inputs):
            import torch

            ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
            mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
            with torch.no_grad():
                logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1] / self.temperature
            width = inputs["completion_ids"].shape[1]
            logps = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[:, -width:, 0]
            ratio = (logps - inputs["old_per_token_logps"]).exp()
            self.ratios.append((ratio[inputs["completion_mask"].bool()], ratio[:, 0]))
            loss = super()._compute_loss(model, inputs)
            advantages = (inputs["advantages"] * inputs["completion_mask"] * ratio).sum()
            self.losses.append((loss.item(), advantages.item()))
            return loss

    folder = tmp_path_factory.mktemp("recorded")
    args = config(folder, max_steps=4, per_device_train_batch_size=12, steps_per_generation=2, temperature=0.9)
    trainer = build(checkpoint, args, prompt_rows, Recorder)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    changed = [name for name, value in trainer.model.named_parameters() if not value.equal(before[name])]
    return trainer, changed, set(before)


def test_training_changes_every_weight_and_logs_what_happened(recorded):
    trainer, changed, names = recorded
    assert set(changed) == names
    lines = [json.loads(line) for line in (Path(trainer.args.output_dir) / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 3], "one line for each generation"
    wanted = {"loss", "policy/accuracy", "policy/cost", "policy/entropy", "policy/share/0.2", "ratio/1/thinking_tokens"}
    assert wanted | {"lambda/policy", "violation/policy", "dead_groups", "format_failures"} <= lines[0].keys()
    assert lines[0]["lambda/policy"] == 8
    assert lines[1]["lambda/policy"] > 8  # most answers are incorrect
    assert 0.9 < lines[0]["policy/ladder_mass"] <= 1


def test_the_control_token_is_the_first_completion_token(recorded):
    trainer, *_ = recorded
    tokenizer, ladder = trainer.processing_class, ["<COMP_20>", "<COMP_60>", "<COMP_100>"]
    for batch in trainer.batches:
        first = tokenizer.convert_ids_to_tokens(batch["completion_ids"][:, 0].tolist())
        for start in range(0, len(first), 6):
            row = trainer.rows[batch["rows"][start]]
            asked = row["prompt"][-1]["content"].split()[-1]
            if row["mode"] == "fixed":
                assert first[start : start + 6] == [asked] * 6
            else:
                whole = trainer.controller.prompts.at_every_ratio(np.array(batch["rows"][start]), 0.125)
                assert (first[start : start + 3] == ladder) >= whole
                assert set(first[start : start + 6]) <= set(ladder)
        assert bool(batch["prompt_mask"][:, -1].all())
        last = tokenizer.decode(batch["prompt_ids"][0][batch["prompt_mask"][0].bool()])
        assert last.endswith("[assistant]")
        assert set(batch["completion_mask"][:, 0].tolist()) == {1}


def test_importance_ratios_are_one_before_the_first_update(recorded):
    trainer, *_ = recorded
    tokens, control = trainer.ratios[0]
    assert tokens.numpy() == pytest.approx(1.0, abs=1e-4)
    assert control.numpy() == pytest.approx(1.0, abs=1e-4)
    later, _ = trainer.ratios[1]
    assert not np.allclose(later.numpy(), 1.0, atol=1e-4), "the second half of a generation is off-policy"


def test_token_advantages_are_control_then_response_and_zero_on_padding(recorded):
    trainer, *_ = recorded
    for batch in trainer.batches:
        scored, mask = batch["scored"], batch["completion_mask"].numpy()
        advantages = batch["advantages"].numpy()
        assert advantages.shape == mask.shape
        live = mask[scored.response != 0, 1:].sum()
        answered = max((scored.response != 0).sum(), 1)
        control = 0.25 * max(live, 1) * (scored.control / answered + scored.hold / len(mask))
        assert advantages[:, 0] == pytest.approx(control, abs=1e-5)
        assert advantages[:, 1:] == pytest.approx(scored.response[:, None] * mask[:, 1:], abs=1e-6)


def test_the_loss_of_a_step_is_divided_by_its_share_of_the_tokens(recorded):
    trainer, *_ = recorded
    scored, mask = trainer.batches[0]["scored"], trainer.batches[0]["completion_mask"].numpy()
    live = mask[scored.response != 0, 1:].sum()
    loss, advantages = trainer.losses[0]
    assert abs(advantages) > 0.1
    assert loss == pytest.approx(-advantages / (live / 2), rel=1e-4), "two steps have the tokens of one generation"


def test_rewards_follow_the_completions(recorded):
    trainer, *_ = recorded
    batch = trainer.batches[0]
    scored = batch["scored"]
    for index, row in enumerate(batch["rows"]):
        ids = batch["completion_ids"][index][batch["completion_mask"][index].bool()].tolist()
        stats = trainer.reader.read(ids[1:], trainer.rows[row]["answer"])
        if not stats.format_ok:
            assert scored.reward[index] == -0.5
        elif not stats.correct:
            assert scored.reward[index] == 0
        elif trainer.rows[row]["mode"] == "policy":
            savings = 1 - min(len(ids) / 12, 1)
            assert scored.reward[index] == pytest.approx((8.01 + savings) / 9.01, abs=1e-6)
    compared = leave_one_out(scored.reward, np.arange(24) // 6).advantages
    assert np.array_equal(np.sign(scored.response), np.sign(compared))


def test_evaluation_is_refused_so_it_cannot_move_a_price(recorded):
    trainer, *_ = recorded
    state = trainer.controller.constraint.state_dict()
    trainer.model.eval()
    with pytest.raises(ChrpoError, match="math-eval"):
        trainer._generate_and_score_completions([{"prompt": trainer.rows[0]["prompt"], "row": 0}])
    assert trainer.controller.constraint.state_dict() == state


OBJECTIVES = ("chrpo", "degrpo", "dler", "gfpo")


@pytest.fixture(scope="module")
def straddled(checkpoint, prompt_rows, plain_checkpoint, plain_rows, tmp_path_factory):
    """Folder with what recorded rollouts earned: for each objective and without ladder, with one process and two."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("straddled")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    generator = np.random.default_rng(0)

    def rollout():
        number, words = generator.integers(3, 6), generator.integers(1, 5)
        text = f"<think> {'so ' * words} </think> \\boxed{{ {number} }} [end]"
        return tokenizer.encode(text, add_special_tokens=False)

    rows = [row for row in prompt_rows if row["answer"] in "345" or row["mode"] == "fixed"]
    write_records(folder / "prompts.jsonl", rows)
    (folder / "recorded.json").write_text(json.dumps([[rollout() for _ in range(18)] for _ in range(2)]))
    write_records(folder / "plain.jsonl", [row for row in plain_rows if row["answer"] in "345"])
    runs = {name: [str(checkpoint), str(folder / "prompts.jsonl"), name] for name in OBJECTIVES}
    runs["without ladder"] = [str(plain_checkpoint), str(folder / "plain.jsonl"), "chrpo"]
    inputs = [folder / "recorded.json", folder, json.dumps(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, Path(__file__).with_name("straddle.py"), *inputs]
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("objective", [*OBJECTIVES, "without ladder"])
def test_two_processes_agree_with_one_when_groups_straddle_them(straddled, objective):
    one, two = (json.loads((straddled / f"{objective}-{processes}.json").read_text()) for processes in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert any(any(map(any, step["token_advantages"])) for step in one["steps"])
    for single, double in zip(one["steps"], two["steps"], strict=True):
        assert double["reward"] == single["reward"]
        assert double["response"] == pytest.approx(single["response"], abs=1e-6)
        assert double["control"] == pytest.approx(single["control"], abs=1e-6)
        assert double["tokens"] == single["tokens"]
        for left, right in zip(double["token_advantages"], single["token_advantages"], strict=True):
            assert left == pytest.approx(right, abs=1e-5)
        for group, dual in single["constraint"]["duals"].items():
            assert double["constraint"]["duals"][group] == pytest.approx(dual, abs=1e-5)
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss_type": "grpo"}, "must be 'dapo'"),
        ({"scale_rewards": "group"}, "scale_rewards"),
        ({"mask_truncated_completions": True}, "format failures"),
        ({"max_steps": -1, "num_train_epochs": 1}, "steps, not epochs"),
        ({"steps_per_generation": 2, "save_strategy": "steps", "save_steps": 3}, "a multiple of 2"),
        ({"save_strategy": "steps", "save_steps": 0.5}, "a multiple of 1"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(tmp_path, changes, words, config):
    with pytest.raises(DataError, match=words):
        config(tmp_path, **changes)


def test_rollouts_that_do_not_fit_the_ladder_are_refused(checkpoint, prompt_rows, tmp_path, config, build):
    with pytest.raises(DataError, match="take 3 or more"):
        build(checkpoint, config(tmp_path, num_generations=2), prompt_rows)


def test_too_few_prompts_are_refused(checkpoint, prompt_rows, tmp_path, config, build):
    with pytest.raises(DataError, match="2 prompts are too few for 4 per step"):
        build(checkpoint, config(tmp_path), prompt_rows[:2])


def test_a_changed_trl_is_named_at_import(monkeypatch):
    from trl.trainer.grpo_trainer import GRPOTrainer

    def changed(self, inputs, prompts): ...

    monkeypatch.setattr(GRPOTrainer, "_calculate_rewards", changed)
    for name in [name for name in sys.modules if f"{name}.".startswith("chrpo.trl.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ChrpoError, match=r"_calculate_rewards.*install trl>=0\.29"):
        importlib.import_module("chrpo.trl")
