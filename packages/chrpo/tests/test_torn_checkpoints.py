"""Training checkpoints that lost a file, or whose files changed, are refused with the remedy."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from chrpo._shared import training_checkpoints
from chrpo._shared.records import write_records
from chrpo.cli import cli
from chrpo.errors import DataError
from chrpo.settings import TrainSettings
from chrpo.train import train

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

SETTINGS = TrainSettings(max_steps=4, prompts_per_step=5, rollouts=6, learning_rate=1e-3, max_tokens=14, save_steps=2)
NAMES = ("max-steps", "prompts-per-step", "rollouts", "learning-rate", "max-tokens", "save-steps")
FLAGS = [text for name in NAMES for text in (f"--{name}", str(getattr(SETTINGS, name.replace("-", "_"))))]
FILES = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "chrpo_state.json")
REMEDY = "remove this folder, and the run continues from the checkpoint before it"


@pytest.fixture(scope="module")
def prompts(prompt_rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    write_records(path, prompt_rows)
    return path


@pytest.fixture(scope="module")
def stopped(checkpoint, prompts, tmp_path_factory):
    """The working folder of a run that ended after its last step, before its output appeared."""

    def stop(*_):
        raise KeyboardInterrupt

    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chrpo._shared.runs.publish", stop)
        with pytest.raises(KeyboardInterrupt):
            train(prompts, folder / "out", model=checkpoint, settings=SETTINGS)
    return folder / ".out.partial"


@pytest.fixture
def work(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / ".out.partial")


@pytest.fixture
def resume(prompts, checkpoint, work):
    out = work.with_name("out")
    command = ["train", str(prompts), str(out), "--model", str(checkpoint), *FLAGS]
    return lambda: CliRunner().invoke(cli, command)


def refused(done):
    assert done.exit_code == 2, done.output
    return done.stderr.strip().splitlines()[-1]


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fault", ["gone", "cut", "changed"])
def test_a_torn_checkpoint_is_refused(resume, work, name, fault):
    path = work / "checkpoint-4" / name
    content = path.read_bytes()
    path.unlink()
    if fault != "gone":
        path.write_bytes(content[: min(1000, len(content) // 2)] if fault == "cut" else content[:-1] + b"?")
    line = refused(resume())
    assert f"{path.parent}: {name} is {'missing' if fault == 'gone' else 'not as it was saved'}; {REMEDY}" in line


def test_a_run_never_goes_on_with_a_new_optimiser_in_silence(resume, work):
    for name in ("optimizer.pt", "rng_state.pth"):
        (work / "checkpoint-4" / name).unlink()
    assert "optimizer.pt is missing" in refused(resume())


def test_a_link_in_place_of_a_file_is_refused(resume, work, tmp_path):
    path = work / "checkpoint-4/optimizer.pt"
    path.rename(tmp_path / "elsewhere.pt")
    path.symlink_to(tmp_path / "elsewhere.pt")
    assert f"{path}: is a symbolic link" in refused(resume())


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"files": 3}', '{"files": {}}'])
def test_a_checkpoint_without_a_record_of_its_files_is_refused(resume, work, record):
    (work / "checkpoint-4" / training_checkpoints.COMPLETE).write_text(record)
    assert f"{work / 'checkpoint-4'}" in refused(resume())


def test_without_the_torn_checkpoint_the_one_before_it_gives_the_same_end(resume, work, stopped):
    shutil.rmtree(work / "checkpoint-4")
    done = resume()
    assert done.exit_code == 0, done.output
    assert weights(work.with_name("out")) == weights(stopped / "final")


@pytest.mark.parametrize(
    "state",
    [{"generations": "4"}, {"generations": None}, {"constraint": 3}, {"constraint": None}, {"settings": {}}],
)
def test_prices_of_another_shape_are_one_line(resume, work, state):
    path = work / "checkpoint-4/chrpo_state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **state}))
    training_checkpoints.mark_complete(path.parent)
    line = refused(resume())
    assert "resume " in line


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth"])
def test_a_pickle_in_a_checkpoint_is_never_opened(resume, work, tmp_path, name):
    class MakesFolder:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = work / "checkpoint-2" / name
    path.write_bytes(pickle.dumps(MakesFolder()))
    training_checkpoints.mark_complete(path.parent)
    shutil.rmtree(work / "checkpoint-4")
    assert f"{path.parent}: contains pickled objects" in refused(resume())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("line", ["5", '{"loss": 1}', '{"step": "1"}', "{", "\x80"])
def test_metrics_that_were_damaged_are_refused(resume, work, line):
    path = work / "metrics.jsonl"
    before = path.read_text()
    path.write_text(f"{line}\n{before}", "latin-1")
    assert f"{path}:1: not the metrics of a step" in refused(resume())


def test_a_checkpoint_that_was_removed_only_in_part_is_never_continued_from(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    for step in (2, 4, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "optimizer.pt").touch()
        training_checkpoints.mark_complete(folder)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            training_checkpoints.remove_older(tmp_path, keep=1)
    shutil.rmtree(tmp_path / "checkpoint-10")
    (tmp_path / "checkpoint-9").touch()
    assert training_checkpoints.newest_complete(tmp_path) == tmp_path / "checkpoint-2"
    training_checkpoints.remove_incomplete(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


@pytest.mark.parametrize("function", ["write_json", "mark_complete"])
def test_a_run_that_is_killed_between_the_files_of_a_checkpoint_ends_alike(
    checkpoint, prompts, stopped, tmp_path, function
):
    out, work = tmp_path / "out", tmp_path / ".out.partial"
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), "train", str(prompts), str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "KILLED_BEFORE": function}
    done = subprocess.run([*command, "--model", str(checkpoint), *FLAGS], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert (work / "checkpoint-4/model.safetensors").exists()
    assert training_checkpoints.newest_complete(work) == work / "checkpoint-2"
    train(prompts, out, model=checkpoint, settings=SETTINGS)
    assert weights(out) == weights(stopped / "final")


def test_a_trainer_of_ones_own_finds_and_checks_the_newest_checkpoint(checkpoint, prompt_rows, tmp_path, config, build):
    def trainer(steps, folder=tmp_path / "run"):
        return build(checkpoint, config(folder, max_steps=steps, save_strategy="steps", save_steps=1), prompt_rows)

    with pytest.raises(DataError, match="run: no complete checkpoint; train without resume_from_checkpoint"):
        trainer(1).train(resume_from_checkpoint=True)
    trainer(1).train()
    trainer(2).train()  # anew, so that its steps take the place of those before
    again = trainer(3)
    again.train(resume_from_checkpoint=True)
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    torn = tmp_path / "run/checkpoint-2"
    (torn / "optimizer.pt").write_bytes((torn / "optimizer.pt").read_bytes()[:1000])
    with pytest.raises(DataError, match=r"checkpoint-2: optimizer\.pt is not as it was saved"):
        trainer(3).train(resume_from_checkpoint=torn)
    (torn / training_checkpoints.COMPLETE).unlink()
    with pytest.raises(DataError, match="checkpoint-2: complete is missing, so the checkpoint is not whole"):
        trainer(3).train(resume_from_checkpoint=str(torn))
