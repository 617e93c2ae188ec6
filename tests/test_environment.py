"""Places that cannot be written, and files for other users: each command works without them, or says what to do."""

import json
import os
import re
import stat
import subprocess
import sys

import pytest
import torch

from math_eval._shared.system_errors import explained

WRITERS = {
    "export": "math-eval export traces run_base {out}/traces.jsonl",
    "grade": "math-eval grade run_base {out}/graded",
    "compare": "math-eval compare run_base run_chrpo:policy --output {out}/comparison.json",
    "report": "math-eval report run_base --output {out}/report.html",
    "annotate": "cot-compressor annotate traces.jsonl {out}/annotated.jsonl",
    "train-compressor": "cot-compressor train annotated.jsonl {out}/compressor --encoder encoder --epochs 1",
    "build": "ratio-sft build compressed.jsonl {out}/mix --tolerance 0.1",
    "train-sft": "ratio-sft train mix {out}/sft --model base --max-steps 1",
    "prepare": "chrpo prepare run_sft/samples_problems.jsonl {out}/prompts.jsonl --checkpoint sft",
    "train-rl": "chrpo train prompts.jsonl {out}/chrpo --model sft --max-steps 1 --prompts-per-step 1 --rollouts 6",
    "merge": "chrpo merge sft chrpo {out}/merged",
    "plot": "chrpo plot chrpo --output {out}/training.html",
}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_must_not_be_written_is_one_line(name, pipeline, tmp_path, monkeypatch, command):
    monkeypatch.chdir(pipeline.folder)
    tmp_path.chmod(0o555)
    try:
        done = command(WRITERS[name].format(out=tmp_path))
    finally:
        tmp_path.chmod(0o755)
    assert done.exit_code == 1, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert re.match(rf"error: {re.escape(str(tmp_path))}/\S+: Permission denied; change who may use it", line), line


@pytest.mark.parametrize("name", ["compressor", "sft", "chrpo"])
def test_weights_are_for_whoever_may_read_the_folder(name, pipeline):
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (pipeline / name).iterdir()}
    assert files["model.safetensors"] == files["manifest.json"]


def test_a_refused_move_is_told_with_the_name_that_stays():
    for names in ((".out.1f.tmp", "out"), ("out", ".out.old")):
        error = PermissionError(1, "Operation not permitted", names[0], None, names[1])
        assert str(explained(error)).startswith("out: Operation not permitted; change who may use it")


def test_a_lack_of_memory_is_told_with_the_remedy():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**56, dtype=torch.uint8)
    for each in (error.value, MemoryError()):
        assert explained(each) == "not enough memory; free some, or use a smaller batch, and repeat the command"


def test_the_end_of_another_process_is_told_as_such():
    error = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:9")
    assert str(explained(error)).startswith("another process of this run has ended")
    assert explained(RuntimeError("Connection closed by peer")) is None


def test_no_folder_for_temporary_files_is_told_with_the_remedy():
    error = FileNotFoundError(2, "No usable temporary directory found in ['/nowhere']")
    assert explained(error) == (
        "No usable temporary directory found in ['/nowhere']; set TMPDIR to a folder that can be written, and repeat "
        "the command"
    )


def test_a_current_folder_that_is_gone_is_told(tmp_path):
    code = (
        "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); from math_eval_program import main\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}sys.argv[1:] = ['grade', 'in.jsonl', 'out.jsonl']; main()"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the current folder does not exist any more; change to another one")


def test_no_home_and_no_cache_is_no_matter(pipeline, tmp_path):
    nowhere = {name: "/nonexistent/x" for name in ("HOME", "HF_HOME", "XDG_CACHE_HOME", "TMPDIR")}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ratio_sft",
            "train",
            "mix",
            str(tmp_path / "sft"),
            "--model",
            "base",
            "--max-steps",
            "1",
        ],
        cwd=pipeline.folder,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "sft" / "manifest.json").read_text("utf-8"))["command"] == "ratio-sft train"
