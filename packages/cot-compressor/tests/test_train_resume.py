"""A training that was killed, finished before, or would replace something else."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cot_compressor.errors import DataError
from cot_compressor.training.settings import TrainSettings
from cot_compressor.training.train import train_file


def _train_command(annotated: Path, out: Path, encoder: Path) -> list[str]:
    program = "from cot_compressor.cli import cli; cli()"
    options = ["--encoder", str(encoder), "--epochs", "6", "--batch-size", "8", "--seed", "3"]
    return [sys.executable, "-c", program, "train", str(annotated), str(out), *options]


def test_a_killed_run_ends_with_the_same_weights(annotated: Path, encoder_folder: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    train_file(annotated, whole, TrainSettings(encoder=encoder_folder, epochs=6, batch_size=8, seed=3))
    killed = tmp_path / "killed"
    progress = tmp_path / ".killed.partial" / "progress.json"
    process = subprocess.Popen(
        _train_command(annotated, killed, encoder_folder), stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not progress.is_file() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    done = len(json.loads(progress.read_text("utf-8"))["macro_f1"])
    assert 1 <= done < 6
    train_file(annotated, killed, TrainSettings(encoder=encoder_folder, epochs=6, batch_size=8, seed=3))
    first, second = load_file(whole / "model.safetensors"), load_file(killed / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (whole / "compressor.json").read_bytes() == (killed / "compressor.json").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.fixture(scope="module")
def stopped(annotated: Path, encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of a training that ended after its last epoch, before its scorer appeared."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path_factory.mktemp("stopped") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cot_compressor._shared.runs.publish", stop)
        with pytest.raises(KeyboardInterrupt):
            train_file(annotated, out, TrainSettings(encoder=encoder_folder, epochs=2, batch_size=8))
    return out.with_name(".out.partial")


@pytest.mark.parametrize("kind", ["epoch", "best"])
@pytest.mark.parametrize("fault", ["gone", "cut"])
def test_a_training_whose_state_lost_a_file_is_refused(
    kind: str, fault: str, stopped: Path, annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    work = shutil.copytree(stopped, tmp_path / ".out.partial")
    [path] = work.glob(f"{kind}_*.safetensors")
    content = path.read_bytes()
    path.unlink()
    if fault == "cut":
        path.write_bytes(content[:1000])
    expected = f"{work}: {path.name} is {'missing' if fault == 'gone' else 'not as it was saved'}; remove {work}, and"
    settings = TrainSettings(encoder=encoder_folder, epochs=2, batch_size=8)
    with pytest.raises(DataError, match=re.escape(expected)):
        train_file(annotated, tmp_path / "out", settings)
    path.write_bytes(content)
    assert train_file(annotated, tmp_path / "out", settings) is not None


@pytest.mark.parametrize(
    "content", ["[]", "{", "{}", '{"macro_f1": []}', '{"macro_f1": ["a"]}', '{"macro_f1": [0.5]}', "[" * 200_000]
)
def test_a_training_whose_progress_is_damaged_is_refused(
    content: str, stopped: Path, annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(stopped, tmp_path / ".out.partial") / "progress.json"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=re.escape(str(path))):
        train_file(annotated, tmp_path / "out", TrainSettings(encoder=encoder_folder, epochs=2, batch_size=8))


def test_a_finished_run_is_not_repeated_and_other_settings_are_refused(
    trained: Path, annotated: Path, encoder_folder: Path
) -> None:
    same = TrainSettings(encoder=encoder_folder, epochs=12, batch_size=8, learning_rate=5e-3)
    assert train_file(annotated, trained, same) is None
    other = TrainSettings(encoder=encoder_folder, epochs=2, batch_size=8, learning_rate=5e-3, seed=1)
    with pytest.raises(DataError, match=r"other settings \(epochs was 12, is 2; seed was 0, is 1\); .*--overwrite"):
        train_file(annotated, trained, other)


def test_an_unfinished_training_with_other_settings_is_refused(
    trained: Path, annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    partial = tmp_path / ".model.partial"
    partial.mkdir()
    shutil.copy(trained / "manifest.json", partial)
    settings = TrainSettings(encoder=encoder_folder, epochs=1, batch_size=8, learning_rate=5e-3)
    with pytest.raises(DataError, match=r"an unfinished run with other settings \(epochs was 12, is 1\)"):
        train_file(annotated, tmp_path / "model", settings)
    assert train_file(annotated, tmp_path / "model", settings, overwrite=True) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_only_what_train_wrote_is_replaced(
    overwrite: bool, trained: Path, annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    foreign, untrained = tmp_path / "thesis", shutil.copytree(trained, tmp_path / "untrained")
    foreign.mkdir()
    (foreign / "chapter.tex").write_text("precious", "utf-8")
    (untrained / "compressor.json").unlink()
    settings = TrainSettings(encoder=encoder_folder, epochs=1)
    for out in (foreign, untrained, foreign / "chapter.tex"):
        with pytest.raises(DataError, match=r"not written by cot-compressor train .*; name another output"):
            train_file(annotated, out, settings, overwrite=overwrite)
    with pytest.raises(DataError, match=r"would replace .*, which is read"):
        train_file(annotated, trained, TrainSettings(encoder=trained, epochs=1), overwrite=overwrite)
    inside = shutil.copytree(trained, tmp_path / "inside")
    source = shutil.copy(annotated, inside)
    with pytest.raises(DataError, match=r"would replace .*annotated\.jsonl, which is read"):
        train_file(source, inside, settings, overwrite=overwrite)
    assert (foreign / "chapter.tex").read_text("utf-8") == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"thesis", "untrained", "inside"}


def test_an_empty_folder_and_a_model_trained_before_are_replaced(
    annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    out.mkdir()
    for epochs in (1, 2):
        settings = TrainSettings(encoder=encoder_folder, epochs=epochs)
        report = train_file(annotated, out, settings, overwrite=True)
        assert report is not None
        assert report.epochs == epochs
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
