"""A disk that is full while a command writes: one line that names the place, nothing partial, and later the same end.

The limit of a file's size stands for the full disk, because it can be lowered and raised in this process.
"""

import contextlib
import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir

import pytest

from math_eval._shared.records import Tally

COMMANDS = {
    "run": "math-eval run --model base --tasks problems.jsonl --max-tokens 20 --output-dir {out}/run",
    "grade": "math-eval grade run_base {out}/graded",
    "grade-file": "math-eval grade {work}/completions.jsonl {out}/graded.jsonl",
    "export": "math-eval export traces run_base {out}/traces.jsonl",
    "compare": "math-eval compare run_base run_chrpo:policy --output {out}/comparison.json",
    "report": "math-eval report base=run_base sft=run_sft --output {out}/report.html",
    "annotate": "cot-compressor annotate traces.jsonl {out}/annotated.jsonl",
    "train-compressor": "cot-compressor train annotated.jsonl {out}/compressor --encoder encoder --epochs 1",
    "compress": "cot-compressor compress traces.jsonl {out}/small.jsonl.gz --ratio 0.5 --tokenizer base",
    "evaluate": "cot-compressor evaluate traces.jsonl {out}/fidelity --ratio 0.5 --tokenizer base",
    "build": "ratio-sft build compressed.jsonl {out}/mix --tolerance 0.1",
    "train-sft": "ratio-sft train mix {out}/sft --model base --max-steps 2 --save-steps 1 --batch-size 6",
    "following": "ratio-sft evaluate run_sft/samples_problems.jsonl --output {out}/following.html",
    "prepare": "chrpo prepare run_sft/samples_problems.jsonl {out}/prompts.jsonl --checkpoint sft",
    "train-rl": "chrpo train prompts.jsonl {out}/chrpo --model sft --max-steps 2 --save-steps 1 --prompts-per-step 2"
    " --rollouts 6",
    "merge": "chrpo merge sft chrpo {out}/merged",
    "plot": "chrpo plot chrpo --output {out}/training.html",
    "simulate": "chrpo simulate {work}/bandit.json --max-steps 50 --plot {out}/bandit.html",
}
GRADED = [{"id": str(number), "gold": "5", "completion": rf"\boxed{{{number}}}"} for number in range(9)]
BANDIT = {"weights": [1], "ratios": [0.2, 1], "accuracy": [[0.5, 0.9]], "floor": 0.8}
REMEDY = r"error: (?P<place>.+?): (File too large; raise the limit of a file's size|Input/output error; check the disk)"
TIMES = {"latency_s", "wall_s", "grade_ms", "samples_per_s"}


@contextlib.contextmanager
def file_size_limit(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def timeless(value):
    if isinstance(value, dict):
        return {name: timeless(inner) for name, inner in value.items() if name not in TIMES and "time" not in name}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def visible(out):
    """The content of every file under a final name, without times."""
    found = {}
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        # training.html draws the times of metrics.jsonl.
        if path.is_dir() or re.search(r"(^|/)\.|\.partial\b|training.html", name):
            continue
        content = path.read_bytes()
        lines = {".json": [content], ".jsonl": content.split(b"\n")[:-1]}.get(path.suffix)
        found[name] = [timeless(json.loads(line)) for line in lines] if lines is not None else content
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_in_one_line_and_goes_on_when_there_is_room(name, pipeline, tmp_path, monkeypatch, command):
    monkeypatch.chdir(pipeline.folder)
    (tmp_path / "completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GRADED), "utf-8")
    (tmp_path / "bandit.json").write_text(json.dumps(BANDIT), "utf-8")
    whole, out = tmp_path / "whole", tmp_path / "out"
    done = command(COMMANDS[name].format(work=tmp_path, out=whole))
    assert done.exit_code == 0, done.output
    expected = visible(whole)
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    for size in (0, largest // 2):
        with file_size_limit(size):
            failed = command(COMMANDS[name].format(work=tmp_path, out=out))
        assert failed.exit_code == 1, failed.output
        seen = [line for text in failed.stderr.split("\n") if "Warning" not in (line := text.split("\r")[-1].strip())]
        (line,) = [line for line in seen if line.startswith("error: ")]
        assert (found := re.match(REMEDY, line)), line
        assert str(out) in found["place"]
        partial = {path: content for path, content in visible(out).items() if content != expected.get(path)}
        assert not partial
        left = [path for path in out.rglob("*") if path.name.endswith((".lock", ".tmp"))]
        assert not left
    done = command(COMMANDS[name].format(work=tmp_path, out=out))
    assert done.exit_code == 0, done.output
    assert visible(out) == expected


def test_a_full_folder_of_temporary_files_is_named():
    tally = Tally()
    with file_size_limit(1000), pytest.raises(OSError, match="File too large") as error:
        tally.reject({"id": "x" * 2**21}, "long")
    assert error.value.filename == gettempdir()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["accelerate-config", "ddp"]])
def test_an_output_without_room_is_one_line(arguments):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ratio_sft", *arguments], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device; make room there, and repeat the command\n"
