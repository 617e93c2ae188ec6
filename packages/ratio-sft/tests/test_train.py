import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from ratio_sft import ControlTokens, MixSettings, TrainSettings, build, train
from ratio_sft._shared.lock import locked
from ratio_sft._shared.records import Tally, read_records
from ratio_sft._shared.thinking import THINK
from ratio_sft._shared.training_checkpoints import COMPLETE, newest_complete
from ratio_sft.cli import cli
from ratio_sft.errors import DataError, RatioSftError
from ratio_sft.training.encoding import encode
from ratio_sft.training.sampler import LengthGroupedSampler
from ratio_sft.training.trainer import save_interval, total_steps

QUICK = {"max_steps": 6, "learning_rate": 3e-3, "save_steps": 3}


def folder_of(tmp_path, model, tokenizer):
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize(
    ("architecture", "tied"), [("qwen3", True), ("qwen3", False), ("llama", False), ("smollm2", True)]
)
def test_training_ends_in_a_checkpoint_that_follows_ratios(
    tmp_path, mix_dir, make_model, make_tokenizer, architecture, tied
):
    base = folder_of(tmp_path, make_model(architecture, tied=tied, rows=90), make_tokenizer())
    report = train(mix_dir, tmp_path / "sft", TrainSettings(model=str(base), **QUICK))
    assert report["last_loss"] < report["first_loss"]
    assert set(report["heldout_loss"]) == {"all", "fixed 0.2", "fixed 0.6", "fixed 1", "policy"}
    assert not (tmp_path / ".sft.partial").exists()
    tokens = ControlTokens.load(tmp_path / "sft")
    assert tokens == ControlTokens.ladder((0.2, 0.6, 1.0))
    before = AutoModelForCausalLM.from_pretrained(base)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "sft", use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "sft")
    assert after.config.tie_word_embeddings is tied
    changed = {
        name
        for name, weight in before.state_dict().items()
        if not torch.equal(weight, after.state_dict()[name][: len(weight)])
    }
    assert changed == set(before.state_dict())
    row = next(iter(read_records(mix_dir / "train.jsonl", "sft")))
    served = [{"role": "user", "content": row["prompt"][0]["content"].removesuffix(" <COMP_20>")}]
    asked = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    ids = tokenizer.apply_chat_template(served, add_generation_prompt=True, return_dict=True, ratio=0.2)["input_ids"]
    assert ids == asked
    assert after.generate(torch.tensor([ids]), max_new_tokens=2).shape[1] > len(ids)


def test_the_loss_is_the_mean_over_all_completion_tokens(tmp_path, base, mix_dir):
    """One step with a learning rate near 0 over one batch: the logged loss is the plain model's mean over tokens."""
    settings = TrainSettings(model=str(base), max_steps=1, batch_size=4, gradient_accumulation=2, learning_rate=1e-12)
    report = train(mix_dir, tmp_path / "sft", settings)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "sft")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "sft")
    rows = list(read_records(mix_dir / "train.jsonl", "sft"))
    tokens = ControlTokens.load(tmp_path / "sft")
    encoded = list(encode(tokenizer, rows, tokens, THINK, max_length=6144, tally=Tally()))
    order = list(LengthGroupedSampler([len(row.input_ids) for row in encoded], group=8, seed=0))[:8]
    total = count = 0.0
    for index in order:
        row = encoded[index]
        with torch.no_grad():
            logits = model(torch.tensor([row.input_ids])).logits[0, row.prompt_tokens - 1 : -1]
        targets = torch.tensor(row.input_ids[row.prompt_tokens :])
        total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        count += len(targets)
    assert report["first_loss"] == pytest.approx(total / count, rel=1e-5)


COMMAND = [sys.executable, "-m", "ratio_sft", "train"]


def arguments(settings):
    named = {"model": settings.model, "max-steps": settings.max_steps, "save-steps": settings.save_steps}
    named |= {"learning-rate": settings.learning_rate, "batch-size": settings.batch_size}
    return [text for name, value in named.items() for text in (f"--{name}", str(value))]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def test_a_killed_run_ends_with_the_weights_and_the_log_of_an_uninterrupted_one(tmp_path, base, mix_dir):
    """Killed in the second epoch, in the middle of a checkpoint interval, below an incomplete checkpoint."""
    settings = TrainSettings(model=str(base), max_steps=96, save_steps=4, learning_rate=3e-3, batch_size=4)
    whole = train(mix_dir, tmp_path / "whole", settings)
    process = subprocess.Popen(
        [*COMMAND, str(mix_dir), str(tmp_path / "killed"), *arguments(settings)], env=environment()
    )
    work = tmp_path / ".killed.partial" / "checkpoints"
    while process.poll() is None and not list(work.glob(f"checkpoint-[34][0468]/{COMPLETE}")):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    newest = newest_complete(work)
    incomplete = work / "checkpoint-95"
    shutil.copytree(newest, incomplete)
    (incomplete / COMPLETE).unlink()
    (incomplete / "model.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match=r"unfinished run with other settings \(learning_rate was 0\.003, is 0\.001\)"):
        train(mix_dir, tmp_path / "killed", replace(settings, learning_rate=1e-3))
    with (
        locked(tmp_path / "killed"),
        pytest.raises(DataError, match="killed: another process is writ"),
    ):
        train(mix_dir, tmp_path / "killed", settings)
    report = train(mix_dir, tmp_path / "killed", settings)
    assert report == whole
    for name in ("train_log.jsonl", "train_report.json", "model.safetensors", "manifest.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert len((tmp_path / "whole" / "train_log.jsonl").read_text().splitlines()) == 24


def test_a_run_killed_after_its_last_step_is_only_finished(tmp_path, base, mix_dir, cut_before_publishing):
    settings = TrainSettings(model=str(base), **QUICK)
    whole = train(mix_dir, tmp_path / "whole", settings)

    cut_before_publishing(mix_dir, tmp_path / "cut", settings)
    assert not (tmp_path / "cut").exists()
    assert train(mix_dir, tmp_path / "cut", settings) == whole
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut")]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


def test_an_unfinished_run_is_continued_and_overwrite_drops_one_of_other_settings(
    tmp_path, base, mix_dir, cut_before_publishing
):
    settings = TrainSettings(model=str(base), max_steps=2, save_steps=2)
    cut_before_publishing(mix_dir, tmp_path / "cut", settings)
    marker = tmp_path / ".cut.partial" / "marker"
    marker.touch()
    for overwrite in (False, True):
        cut_before_publishing(mix_dir, tmp_path / "cut", settings, overwrite=overwrite)
        assert marker.exists()
    other = replace(settings, learning_rate=1e-5)
    cut_before_publishing(mix_dir, tmp_path / "cut", other, overwrite=True)
    assert not marker.exists()


def test_a_checkpoint_is_continued_on_its_own_ladder_only(tmp_path, base, mix_dir, compressed):
    settings = TrainSettings(model=str(base), max_steps=1)
    train(mix_dir, tmp_path / "first", settings)
    again = replace(settings, model=str(tmp_path / "first"))
    train(mix_dir, tmp_path / "second", again)
    first, second = (tmp_path / name for name in ("first", "second"))
    for name in ("control_tokens.json", "thinking_format.json", "chat_template.jinja", "tokenizer.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    build(compressed, tmp_path / "mix", MixSettings(ratios=(0.2, 0.6)))
    train(tmp_path / "mix", tmp_path / "narrow", settings)
    with pytest.raises(DataError, match=r"train.jsonl:3: completion: opens with '<COMP_100>.*<COMP_20>, <COMP_60>"):
        train(mix_dir, tmp_path / "third", replace(settings, model=str(tmp_path / "narrow")))
    assert not (tmp_path / "third").exists()


def test_finished_runs_are_left_alone(tmp_path, base, mix_dir):
    out = tmp_path / "sft"
    command = ["train", str(mix_dir), str(out), "--model", str(base), "--max-steps", "1"]
    assert CliRunner().invoke(cli, command).exit_code == 0
    (tmp_path / ".sft.partial").mkdir()
    shutil.copy(out / "manifest.json", tmp_path / ".sft.partial")
    again = CliRunner().invoke(cli, command)
    assert "already finished" in again.stdout
    assert not (tmp_path / ".sft.partial").exists(), "what a run left that was killed after its checkpoint appeared"
    other = CliRunner().invoke(cli, [*command, "--epochs", "2"])
    assert (other.exit_code, "made with other settings (epochs was 3.0, is 2.0)" in other.stderr) == (2, True)


def test_rows_too_long_are_counted_and_kept_aside(tmp_path, base, mix_dir):
    report = train(mix_dir, tmp_path / "sft", TrainSettings(model=str(base), max_steps=1, max_length=150))
    assert report["rejected_by_reason"]["too_long"] > 0
    rejected = (tmp_path / "sft" / "train.rejected.jsonl").read_text().splitlines()
    assert len(rejected) == report["rejected_by_reason"]["too_long"]
    with pytest.raises(DataError, match=r"no row is usable: .*too_long"):
        train(mix_dir, tmp_path / "none", TrainSettings(model=str(base), max_length=5))


def test_a_diverged_run_ends_with_a_clear_error(tmp_path, base, mix_dir):
    with pytest.raises(RatioSftError, match=r"the loss is nan at step .*; lower --learning-rate"):
        train(mix_dir, tmp_path / "sft", TrainSettings(model=str(base), max_steps=4, learning_rate=1e30))
    assert not (tmp_path / "sft").exists()


def test_unusable_models_are_one_clear_line(tmp_path, base, mix_dir):
    pickled = tmp_path / "pickled"
    shutil.copytree(base, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, message in [
        (pickled, "only pickle weights (pytorch_model.bin)"),
        (empty, "no config.json"),
        (tmp_path / "absent", "no such folder"),
    ]:
        result = CliRunner().invoke(cli, ["train", str(mix_dir), str(tmp_path / "sft"), "--model", str(folder)])
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
        assert not list(tmp_path.glob("sft*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be above 0; got 0"),
        ({"batch_size": 0}, "batch_size must be above 0; got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0; got nan"),
        ({"max_steps": 0}, "max_steps must be at least 1; got 0"),
        ({"save_steps": -1}, "save_steps must be at least 1; got -1"),
        ({"follow": -1}, "follow must be at least 0; got -1"),
        ({"ratio_weights": ((0.2, -1.0),)}, r"the weight of ratio 0\.2 must be at least 0; got -1"),
        ({"report_to": ("paper",)}, "report_to must be one of tensorboard, trackio, wandb; got 'paper'"),
        ({"warmup_share": 1.0}, r"warmup_share must be in \[0, 1\); got 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(DataError, match=message):
        TrainSettings(model="m", **settings)


def test_checkpoints_fall_on_log_entries():
    settings = TrainSettings(model="m", epochs=2, batch_size=4, gradient_accumulation=2)
    assert total_steps(81, settings, processes=2) == 12
    assert save_interval(12, settings) == (2, 2)
    assert save_interval(3401, settings) == (350, 10)
    assert save_interval(99, replace(settings, save_steps=13)) == (13, 1)
    assert save_interval(99, replace(settings, save_steps=14)) == (14, 7)
