"""Commands under `torchrun` with two processes on the CPU (gloo), against one process."""

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
from safetensors.torch import load_file

from cot_compressor import Compressor
from cot_compressor.compress import compress_file
from cot_compressor.distributed import only_writer
from cot_compressor.evaluation.evaluate import evaluate_file
from cot_compressor.training.annotate import RulesAnnotator, annotate_file
from cot_compressor.training.settings import TrainSettings
from cot_compressor.training.train import train_file

# Each process says which one it is, so that a launcher that starts only one is found out.
PROGRAM = """
import os, runpy, sys
sys.stderr.write(f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']}: {os.getpid()}\\n")
runpy.run_module("cot_compressor", run_name="__main__")
"""
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
LAUNCH += ["--no-python", sys.executable, "-c", PROGRAM]


def start(*arguments: object) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*LAUNCH, *map(str, arguments)], env=environment, stderr=subprocess.PIPE, text=True)


def launch(*arguments: object) -> str:
    process = start(*arguments)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert sorted(re.findall(r"process \d of \d", errors)) == ["process 0 of 2", "process 1 of 2"], errors
    return errors


def kill(process: subprocess.Popen) -> None:
    """Kill the launcher and the two processes, which are in sessions of their own."""
    assert process.stderr is not None
    pids: list[int] = []
    for line in process.stderr:
        pids += map(int, re.findall(r"process \d of 2: (\d+)", line))
        if len(pids) == 2:
            break
    for pid in (process.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory, toy_traces: list[dict]) -> Path:
    source = tmp_path_factory.mktemp("two") / "traces.jsonl"
    # An odd number of rows, so that a batch is shared unevenly.
    source.write_text("".join(json.dumps(row) + "\n" for row in toy_traces[:41]), "utf-8")
    annotate_file(source, source.with_name("annotated.jsonl"), RulesAnnotator(0.25))
    return source.with_name("annotated.jsonl")


SETTINGS = {"epochs": 3, "batch_size": 5, "learning_rate": 5e-3, "seed": 1}


@pytest.fixture(scope="module")
def alone(annotated: Path, encoder_folder: Path) -> Path:
    out = annotated.with_name("alone")
    train_file(annotated, out, TrainSettings(encoder=encoder_folder, **SETTINGS))  # type: ignore[arg-type]
    return out


@pytest.fixture(scope="module")
def together(annotated: Path, encoder_folder: Path) -> Path:
    """Trained by two processes that were killed once, after the first epoch."""
    out = annotated.with_name("together")
    options = ["--epochs", 3, "--batch-size", 5, "--learning-rate", 5e-3, "--seed", 1]
    arguments = ["train", annotated, out, "--encoder", encoder_folder, *options]
    process = start(*arguments)
    while not out.with_name(".together.partial").joinpath("progress.json").is_file() and process.poll() is None:
        time.sleep(0.01)
    kill(process)
    assert not out.exists()
    assert launch(*arguments).count("rows trained on") == 1
    return out


def test_two_processes_end_with_the_weights_of_one(alone: Path, together: Path) -> None:
    first, second = load_file(alone / "model.safetensors"), load_file(together / "model.safetensors")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.numpy() == pytest.approx(second[name].numpy(), abs=2e-4), name
    reports = [json.loads((folder / "compressor.json").read_text("utf-8"))["training"] for folder in (alone, together)]
    assert _rounded(reports[0]) == _rounded(reports[1])


def _rounded(report: dict) -> str:
    return re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.3f}", json.dumps(report))


def test_two_processes_select_what_one_selects(
    alone: Path, together: Path, tokenizer_folder: Path, toy_traces: list[dict]
) -> None:
    compressors = [Compressor.from_pretrained(folder, tokenizer=tokenizer_folder) for folder in (alone, together)]
    for row in toy_traces[41:]:
        texts = [
            [one.text for one in compressor.compress(row["cot"], question=row["question"], ratios=[0.2, 0.4, 0.8])]
            for compressor in compressors
        ]
        assert texts[0] == texts[1]


def test_two_processes_write_the_file_of_one(
    alone: Path, tokenizer_folder: Path, toy_traces: list[dict], tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    rows = [{**row, "id": f"{row['id']}-{copy}"} for copy in range(3) for row in toy_traces]
    rows[70]["cot"] = " "
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    compress_file(source, tmp_path / "one.jsonl", ratios=[0.2, 0.5], scorer=alone, tokenizer=tokenizer_folder)
    options = ["--ratio", 0.2, "--ratio", 0.5, "--scorer", alone, "--tokenizer", tokenizer_folder]
    # As a run alone and a run of three processes leave them when they are killed.
    partial = tmp_path / ".two.jsonl.partial"
    partial.mkdir()
    shutil.copy(tmp_path / "one.jsonl.manifest.json", partial / "manifest.json")
    for name in ("rows-0of1.jsonl", "rows-2of3.jsonl"):
        (partial / name).write_text('{"row": {}}\n', "utf-8")
    errors = launch("compress", source, tmp_path / "two.jsonl", *options)
    assert errors.count("180 read, 179 written, 1 rejected (empty_cot 1)") == 1
    for name in ("{}.jsonl", "{}.rejected.jsonl", "{}.jsonl.manifest.json"):
        assert (tmp_path / name.format("one")).read_bytes() == (tmp_path / name.format("two")).read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_two_processes_report_what_one_reports(traces_file: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    evaluate_file(traces_file, tmp_path / "one", ratios=[0.4], scorer="rules", tokenizer=tokenizer_folder)
    arguments = ("evaluate", traces_file, tmp_path / "two", "--ratio", 0.4, "--tokenizer", tokenizer_folder)
    launch(*arguments)
    for name in ("metrics.jsonl", "report.json", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_process_ends_with_one_line_when_the_one_beside_it_was_killed(
    annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    process = start("train", annotated, tmp_path / "out", "--encoder", encoder_folder, "--epochs", 1000)
    assert process.stderr is not None
    pids = {}
    while len(pids) < 2:
        pids.update(re.findall(r"process (\d) of 2: (\d+)", process.stderr.readline()))
    while not (tmp_path / ".out.partial" / "progress.json").is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # so that the launcher does not end the other one
    os.kill(int(pids["1"]), signal.SIGKILL)
    while not (line := process.stderr.readline()).startswith("error: "):
        assert "Traceback" not in line
    process.send_signal(signal.SIGCONT)
    _, rest = process.communicate()
    assert line.startswith("error: another process of this run has ended, and its own message says why; repeat")
    assert (process.returncode, "error: " in rest) == (1, False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["compress", "train"])
def test_two_processes_and_one_do_not_write_the_same_output(
    command: str, annotated: Path, encoder_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    options = {"compress": ["--ratio", 0.5, "--tokenizer", tokenizer_folder], "train": ["--encoder", encoder_folder]}
    with only_writer(tmp_path / "out"):
        process = start(command, annotated, tmp_path / "out", *options[command])
        _, errors = process.communicate()
    assert process.returncode != 0
    assert "out: another process is writing it" in errors
    assert {path.name for path in tmp_path.iterdir()} <= {".out.1.lock"}


def test_a_process_whose_partner_never_comes_ends_with_a_clear_error() -> None:
    code = """
from datetime import timedelta
from cot_compressor import distributed
distributed._LONGEST_JOINING = timedelta(seconds=2)
try:
    distributed.wait()
except distributed.CompressorError as error:
    print(error)
"""
    place = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **place}, capture_output=True, text=True)
    assert done.stdout.startswith("process 0 of 2: the others did not join ("), done.stderr
    assert "start all with torchrun" in done.stdout
