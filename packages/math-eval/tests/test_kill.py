"""A run that is killed again and again, at any moment, ends like one that nobody touched."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from math_eval import RunSettings, run

_KILLS = 10
_OPTIONS = {
    "ratios": (None, 0.2, "policy"),
    "samples": 2,
    "seeds": (7, 8),
    "temperature": 1.5,
    "batch_size": 4,
    "max_tokens": 30,
    "instruction": "",
}

# Loads the libraries once, those of the model with it, then forks a process for each kill. In the process a thread
# waits until so many samples more are on disk, and so many milliseconds on top, and kills it without a chance to clean
# up.
_CHILD = """
import json, os, signal, sys, threading, time
from pathlib import Path
from math_eval import RunSettings, run
from math_eval.backends.hf import HFModel

options, folder, kills = json.loads(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
settings = RunSettings(**{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()})
HFModel(settings.model)
partial = folder / "samples_sums.partial.jsonl"

def stored():
    return partial.read_bytes().count(b"\\n") if partial.exists() else 0

def kill(rows, pause_ms):
    while stored() < rows:
        time.sleep(0.001)
    time.sleep(pause_ms / 1e3)
    os.kill(os.getpid(), signal.SIGKILL)

for more, pause_ms in kills:
    child = os.fork()
    if not child:
        threading.Thread(target=kill, args=(stored() + more, pause_ms), daemon=True).start()
        run(settings, folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.WTERMSIG(status) if os.WIFSIGNALED(status) else -1, stored()]))
"""


def _rows(folder: Path) -> list[dict]:
    lines = (folder / "samples_sums.jsonl").read_text("utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "latency_s"} for line in lines]


@pytest.mark.parametrize("thinking", [None, "budget=3", "exit=0.9:3"])
def test_ten_kills_at_random_moments_change_no_sample(thinking, tiny_model, problems, tmp_path):
    """With `thinking`, a batch is made in several steps, and may be killed between them."""
    options = {"model": str(tiny_model), "tasks": (str(problems),), "thinking": thinking, **_OPTIONS}
    draw = random.Random(0)
    kills = [(draw.randint(0, 10), draw.uniform(0, 30)) for _ in range(_KILLS)]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, json.dumps(options), str(killed), json.dumps(kills)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert [end for end, _ in ends] == [signal.SIGKILL] * _KILLS
    stored = [rows for _, rows in ends]
    assert stored == sorted(stored)
    assert 0 < stored[-1] < 192
    assert not (killed / "results.json").exists()
    run(RunSettings(**options), killed)
    run(RunSettings(**options), whole)
    assert _rows(killed) == _rows(whole)
    keys = [row["key"] for row in _rows(killed)]
    assert len(keys) == len(set(keys)) == 192
    assert sorted(path.name for path in killed.iterdir()) == ["manifest.json", "results.json", "samples_sums.jsonl"]
