import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from chrpo._shared.control_tokens import ControlTokens
from chrpo._shared.lock import locked
from chrpo._shared.records import write_records
from chrpo._shared.thinking_formats import FORMATS, load_format
from chrpo._shared.training_checkpoints import COMPLETE
from chrpo.cli import cli
from chrpo.errors import DataError
from chrpo.settings import TrainSettings
from chrpo.train import train

pytest.importorskip("trl")

KILLED = Path(__file__).with_name("killed.py")
SETTINGS = TrainSettings(
    max_steps=6, prompts_per_step=5, rollouts=6, learning_rate=1e-3, max_tokens=14, save_steps=2, seed=7
)
FLAGS = [
    "--max-steps",
    "6",
    "--prompts-per-step",
    "5",
    "--rollouts",
    "6",
    "--learning-rate",
    "1e-3",
    "--max-tokens",
    "14",
    "--save-steps",
    "2",
    "--seed",
    "7",
]


@pytest.fixture(scope="module")
def prompts(prompt_rows, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    write_records(path, prompt_rows)
    return path


@pytest.fixture(scope="module")
def undisturbed(checkpoint, prompts, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert train(prompts, out, model=checkpoint, settings=SETTINGS)
    return out


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_output_is_a_complete_checkpoint(undisturbed, checkpoint):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(undisturbed, use_safetensors=True)
    before = AutoModelForCausalLM.from_pretrained(checkpoint)
    assert not model.get_input_embeddings().weight.equal(before.get_input_embeddings().weight)
    assert AutoTokenizer.from_pretrained(undisturbed).chat_template
    assert ControlTokens.load(undisturbed) == ControlTokens.load(checkpoint)
    assert load_format(undisturbed) == FORMATS["think"]
    manifest = json.loads((undisturbed / "manifest.json").read_text())
    assert manifest["settings"]["seed"] == 7
    assert {"chrpo", "torch", "trl"} <= manifest["versions"].keys()
    assert [line["step"] for line in metrics(undisturbed)] == [1, 2, 3, 4, 5, 6]
    page = (undisturbed / "training.html").read_text()
    assert page.count("<svg") == 10
    assert "http" not in page
    assert not list(undisturbed.glob("*.bin"))
    assert not list(undisturbed.parent.glob(".*")), "nothing is left beside the output"


def train_until_killed(checkpoint, prompts, out, flags):
    command = [sys.executable, str(KILLED), "train", str(prompts), str(out), "--model", str(checkpoint), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


def test_a_killed_run_ends_like_an_undisturbed_one(undisturbed, checkpoint, prompts, tmp_path):
    """The eight prompts last 1.6 steps, so the kill falls into a later epoch than the first."""
    out, work = tmp_path / "out", tmp_path / ".out.partial"
    done = train_until_killed(checkpoint, prompts, out, FLAGS)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    # A step more than the checkpoint has been logged: the resumed run has to forget it.
    assert len(metrics(work)) == 3
    assert not out.exists()
    assert (work / "checkpoint-2" / COMPLETE).exists()
    incomplete = work / "checkpoint-9"
    shutil.copytree(work / "checkpoint-2", incomplete)
    (incomplete / COMPLETE).unlink()

    with locked(out):
        refused = run("train", prompts, out, "--model", checkpoint, *FLAGS)
    assert (refused.exit_code, "out: another process is writing it" in refused.stderr) == (2, True)
    result = run("train", prompts, out, "--model", checkpoint, *FLAGS)
    assert result.exit_code == 0, result.output
    assert metrics(out) == metrics(undisturbed)
    assert (out / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()
    assert not work.exists()


def test_a_run_that_stopped_before_its_first_checkpoint_ends_like_an_undisturbed_one(
    undisturbed, checkpoint, prompts, tmp_path, monkeypatch
):
    from chrpo.trl import CHRPOTrainer

    def log(self, *arguments, _log=CHRPOTrainer.log):
        _log(self, *arguments)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(CHRPOTrainer, "log", log)
        with pytest.raises(KeyboardInterrupt):
            train(prompts, out, model=checkpoint, settings=SETTINGS)
    assert [line["step"] for line in metrics(tmp_path / ".out.partial")] == [1]
    assert train(prompts, out, model=checkpoint, settings=SETTINGS)
    assert metrics(out) == metrics(undisturbed)
    assert (out / "training.html").read_bytes() == (undisturbed / "training.html").read_bytes()


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"objective": "l1"}, ["--objective", "l1"]),
        (
            {"budget_step": 0.25, "budget_hold": 2, "accuracy_slack": 0.9, "lora_rank": 2},
            ["--budget-step", ".25", "--budget-hold", "2", "--accuracy-slack", ".9", "--lora-rank", "2"],
        ),
    ],
    ids=["ratios drawn", "falling budget and adapters"],
)
def test_other_runs_end_alike_after_a_kill_too(checkpoint, prompts, tmp_path, options, flags):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(prompts, whole, model=checkpoint, settings=replace(SETTINGS, max_steps=4, **options))
    flags = [*FLAGS, "--steps", "4", *flags]
    assert train_until_killed(checkpoint, prompts, killed, flags).returncode == -signal.SIGKILL
    assert run("train", prompts, killed, "--model", checkpoint, *flags).exit_code == 0
    assert metrics(killed) == metrics(whole)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    if "budget_step" in options:
        assert [line["budget"] for line in metrics(whole)] == [1, 1, 0.75, 0.75]


def test_a_finished_run_is_left_alone_and_a_changed_one_refused(undisturbed, checkpoint, prompts):
    before = (undisturbed / "manifest.json").read_bytes()
    again = run("train", prompts, undisturbed, "--model", checkpoint, *FLAGS)
    assert (again.exit_code, "nothing to do" in again.stderr) == (0, True)
    changed = run("train", prompts, undisturbed, "--model", checkpoint, *FLAGS, "--eps", "0.01")
    assert changed.exit_code == 2
    assert "accuracy_slack was 0.0, is 0.01" in changed.stderr
    assert "--overwrite" in changed.stderr
    assert (undisturbed / "manifest.json").read_bytes() == before


def test_settings_come_from_toml_and_flags_win(undisturbed, checkpoint, prompts, tmp_path):
    lines = [f"{FLAGS[i][2:]} = {FLAGS[i + 1]}" for i in range(0, len(FLAGS), 2)]
    lines[0] = lines[0].replace("max-steps", "steps")  # another spelling that flags and files accept
    (tmp_path / "run.toml").write_text("\n".join(lines))
    arguments = ["train", prompts, undisturbed, "--model", checkpoint, "--config", tmp_path / "run.toml"]
    assert "nothing to do" in run(*arguments).stderr
    assert "max_steps was 6, is 7" in run(*arguments, "--steps", "7").stderr
    (tmp_path / "run.toml").write_text("stepz = 3")
    wrong = run(*arguments)
    assert (wrong.exit_code, "unknown settings: stepz" in wrong.stderr) == (2, True)
    for value in ("10.9", "true", '"6"'):
        (tmp_path / "run.toml").write_text(f"steps = {value}")
        wrong = run(*arguments)
        assert (wrong.exit_code, "steps must be a whole number" in wrong.stderr) == (2, True)


def test_another_grader_is_another_run(undisturbed, checkpoint, prompts):
    def lenient(_completion, _answer):
        return True

    with pytest.raises(DataError, match=r"grader was 'chrpo.grader.grade', is"):
        train(prompts, undisturbed, model=checkpoint, settings=SETTINGS, grader=lenient)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reference_completion_tokens": None}, "p.jsonl:1: reference_completion_tokens"),
        ({"reference_completion_tokens": 0}, "p.jsonl:1: reference_completion_tokens"),
        ({"reference_accuracies": {"0.2": "high"}}, "p.jsonl:1: reference_accuracies"),
    ],
)
def test_fields_that_only_some_runs_need_are_checked_too(checkpoint, prompt_rows, tmp_path, change, words):
    write_records(tmp_path / "p.jsonl", [{**prompt_rows[0], **change}])
    result = run("train", tmp_path / "p.jsonl", tmp_path / "out", "--model", checkpoint)
    assert (result.exit_code, words in result.stderr) == (2, True)


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_ladder(folder):
    (folder / "control_tokens.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "words"), [(pickled, "only pickle weights"), (without_ladder, "is for a model with control tokens")]
)
def test_unusable_checkpoints_end_in_one_line_and_exit_2(checkpoint, prompts, tmp_path, spoil, words):
    folder = tmp_path / "model"
    shutil.copytree(checkpoint, folder)
    spoil(folder)
    result = run("train", prompts, tmp_path / "out", "--model", folder)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rollouts", "2"], "take 3 or more"),
        (["--price-start", "40"], "first price must be within the smallest and the largest, 1 to 30; got 40"),
        (["--price-min", "40"], "smallest price, 40, is above the largest, 30"),
        (["--ladder-share", "2"], "ladder_share must be in [0, 1]"),
        (["--steps", "0"], "max_steps must be positive"),
        (["--max-tokens", "1"], "max_tokens must be at least 2"),
        (["--rows-per-pass", "7"], "rows_per_pass is 7"),
        (["--prompts-per-step", "500"], "too few"),
        (["--objective", "l1", "--without", "constraint"], "no part 'constraint'"),
        (["--beta", "-1"], "beta must be 0 or more"),
        (["--accuracy-slack", "nan"], "accuracy_slack must be a finite number"),
        (["--eps", "2"], "such as 0.02 for 2 points"),
        (["--rows-per-pass", "-4"], "rows_per_pass must be positive"),
        (["--without", "mode", "--budget-step", "0.1"], "without mode none is rewarded"),
        (["--seed", "-1"], "seed must be 0 or more"),
        (["--proportional", "-1"], "gains must not be negative"),
        (["--objective", "l1", "--integral", "2"], "integral: this objective has no price"),
        (["--vllm", "server"], "vllm is not installed"),
    ],
)
def test_settings_out_of_range_are_named(checkpoint, prompts, tmp_path, flags, words):
    result = run("train", prompts, tmp_path / "out", "--model", checkpoint, *FLAGS[2:6], *flags)
    assert result.exit_code == 2, result.output
    assert words in result.stderr


def test_gains_reach_the_price(undisturbed, checkpoint, prompts, tmp_path):
    """The first step is the same, so its violation is; a price without gains stays where it starts."""
    flags = [*FLAGS, "--steps", "2", "--proportional", "0", "--integral", "0"]
    assert run("train", prompts, tmp_path / "out", "--model", checkpoint, *flags).exit_code == 0
    free, priced = metrics(tmp_path / "out"), metrics(undisturbed)
    assert free[0]["violation/policy"] == priced[0]["violation/policy"] > 0
    assert free[1]["lambda/policy"] == 8 == priced[0]["lambda/policy"] < priced[1]["lambda/policy"]


@pytest.mark.parametrize("manifest", [None, {"command": "math-eval run", "settings": {}}])
def test_a_folder_of_something_else_is_not_touched(checkpoint, prompts, tmp_path, manifest):
    (tmp_path / "notes.txt").write_text("mine")
    if manifest:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    result = run("train", prompts, tmp_path, "--model", checkpoint, "--overwrite")
    assert result.exit_code == 2
    assert "not written by chrpo train" in result.stderr or "not by chrpo train" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "notes.txt"][not manifest :]


def test_prompts_for_another_ladder_are_named(checkpoint, make_prompt, tmp_path):
    write_records(tmp_path / "p.jsonl", [make_prompt("3", "<COMP_40>")])
    result = run("train", tmp_path / "p.jsonl", tmp_path / "out", "--model", checkpoint)
    assert result.exit_code == 2
    assert "must end in a ratio token" in result.stderr


def test_two_processes_resume_like_an_undisturbed_run(checkpoint, prompt_rows, tmp_path):
    """The main process of the second run kills itself after step 3; the run goes on from the checkpoint of step 2.

    Floors hold where the model chooses, so that the budget falls, and fail elsewhere, so that prices rise.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    flags = ["--steps", "4", *FLAGS[2:], "--budget-step", ".25", "--budget-hold", "2"]
    hard = dict.fromkeys(("0.2", "0.6", "1"), 1.0)
    prompts = tmp_path / "prompts.jsonl"
    write_records(prompts, [{**row, "reference_accuracy": 0.0, "reference_accuracies": hard} for row in prompt_rows])

    def launch(out, *program):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *program]
        command += ["train", str(prompts), str(tmp_path / out), "--model", str(checkpoint), *flags]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)

    for out in ("whole", "killed"):
        if out == "killed":
            assert launch(out, str(KILLED)).returncode != 0
            assert len(metrics(tmp_path / ".killed.partial")) == 3
            lost = tmp_path / ".killed.partial/checkpoint-2/rng_state_1.pth"
            lost.rename(tmp_path / lost.name)
            refused = launch(out, "-m", "chrpo")
            assert refused.returncode != 0
            assert f"error: {lost.parent}: {lost.name} is missing; remove this folder" in refused.stderr
            (tmp_path / lost.name).rename(lost)
        done = launch(out, "-m", "chrpo")
        assert done.returncode == 0, done.stderr[-3000:]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert metrics(killed) == metrics(whole)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert [line["budget"] for line in metrics(whole)] == [1, 1, 0.75, 0.75]
    assert any(value > 4 for name, value in metrics(whole)[-1].items() if name.startswith("lambda/fixed"))


def test_plot_draws_a_finished_run_and_names_a_folder_that_is_none(undisturbed, tmp_path):
    assert run("plot", undisturbed, "--out", tmp_path / "page.html").exit_code == 0
    assert (tmp_path / "page.html").read_text() == (undisturbed / "training.html").read_text()
    result = run("plot", tmp_path)
    assert result.exit_code == 2
    assert "metrics.jsonl: no such file" in result.stderr
