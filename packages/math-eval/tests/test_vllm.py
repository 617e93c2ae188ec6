"""vLLM for real: engine and server give the greedy answers of transformers, and a killed server is outlived."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from math_eval.backends import openai
from math_eval.cli import cli

_PYTHON = os.environ.get("MATH_EVAL_VLLM", "")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.enable_socket,
    pytest.mark.skipif(not _PYTHON, reason="MATH_EVAL_VLLM names no interpreter with vLLM; `make test-vllm` does"),
]
_TIMEOUT_S = 5
_MADE = (
    "id", "ratio", "completion", "completion_tokens", "thinking_tokens", "finish_reason", "verdict", "closing_text",
    "trial_tokens", "over_budget",
)  # fmt: skip
_MODES = ("none", None, "budget=3", "exit=0.9:3")
"""Ways to think less, the one with the longest prompts first; `exit` is refused for a server."""
_RUNS = """
import json, sys
from math_eval import RunSettings, run
from math_eval.backends.vllm import VLLMModel
from math_eval.cli import cli
if __name__ == "__main__":
    folder, settings, runs, command = json.loads(sys.argv[1])
    model = VLLMModel(settings["model"], concurrency=8)
    for name, more in runs.items():
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in {**settings, **more}.items()}
        run(RunSettings(**given), f"{folder}/{name}", backend=model)
    model.close()
    cli(command)
"""
_ENVIRONMENT = {
    **os.environ,
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


class _Serve:
    """What `vllm serve` runs (that command is broken in some wheels), in a process group that is killed as a whole."""

    def __init__(self, model: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self._command = [
            _PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", "tiny",
            "--host", "127.0.0.1", "--port", str(self._port), "--dtype", "float32", "--max-model-len", "96",
            "--enforce-eager",
        ]  # fmt: skip
        self._log = log

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=_ENVIRONMENT, start_new_session=True
            )
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/models", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def model(tmp_path_factory, build_tiny):
    """vLLM's attention on a CPU needs heads of 32 numbers or more."""
    folder = tmp_path_factory.mktemp("vllm") / "tiny"
    build_tiny(folder, head_dim=32)
    return folder


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    server = _Serve(model, tmp_path_factory.mktemp("server") / "log.txt")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def arguments(model, problems):
    return [
        "--tasks", str(problems), "--ratio", "none", "--ratio", "policy", "--max-tokens", "40", "--instruction", "",
    ]  # fmt: skip


@pytest.fixture
def at_server(server, model, arguments):
    return ["run", "--model", "openai:tiny", "--base-url", server.url, "--tokenizer", str(model), *arguments]


def _thinking(mode: str | None) -> list[str]:
    return [] if mode is None else ["--thinking", mode]


@pytest.fixture(scope="module")
def expected(model, arguments, tmp_path_factory):
    """Way to think less -> the samples of transformers."""
    found = {}
    for mode in _MODES:
        folder = tmp_path_factory.mktemp("hf")
        command = ["run", "--model", str(model), *arguments, *_thinking(mode), "--output-dir", str(folder)]
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
        found[mode] = _made(folder)
    return found


@pytest.fixture(scope="module")
def of_engine(model, problems, arguments, tmp_path_factory):
    """Way to think less, or number of requests in flight of a sampled run -> the samples of the engine.

    All but the last run share an engine, since its processes take half a minute to start.
    """
    folder = tmp_path_factory.mktemp("engine")
    settings = {
        "model": str(model), "tasks": [str(problems)], "ratios": [None, "policy"], "max_tokens": 40, "instruction": "",
        "backend": "vllm", "batch_size": 8,
    }  # fmt: skip
    hot = {"temperature": 1.5, "samples": 2, "seeds": [3, 4]}
    runs = {str(mode): {"thinking": mode} for mode in _MODES} | {"8": hot}
    command = ["run", "--model", str(model), "--backend", "vllm", *arguments, "--output-dir", str(folder / "1")]
    command += ["--temperature", "1.5", "--samples", "2", "--seed", "3", "--seed", "4", "--batch-size", "1"]
    done = subprocess.run(
        [_PYTHON, "-c", _RUNS, json.dumps([str(folder), settings, runs, command])],
        capture_output=True, text=True, check=False, env=_ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: _made(folder / name) for name in (*runs, "1")}


def _made(folder: Path) -> list[dict]:
    lines = (folder / "samples_sums.jsonl").read_text("utf-8").splitlines()
    rows = [{name: row.get(name) for name in _MADE} for row in map(json.loads, lines)]
    # The server decodes token by token, so that this word-level tokenizer begins with a space.
    return [{**row, "completion": row["completion"].lstrip()} for row in rows]


@pytest.mark.parametrize("mode", _MODES)
def test_the_engine_gives_the_greedy_answers_of_transformers(of_engine, expected, mode):
    assert of_engine[str(mode)] == expected[mode]


def test_the_engine_samples_the_same_whatever_is_in_flight(of_engine):
    assert of_engine["1"] == of_engine["8"]
    assert len({row["completion"] for row in of_engine["1"]}) > 32


@pytest.mark.parametrize("mode", [mode for mode in _MODES if mode is None or not mode.startswith("exit")])
def test_the_server_gives_the_greedy_answers_of_transformers(at_server, expected, mode, tmp_path):
    done = CliRunner().invoke(cli, [*at_server, *_thinking(mode), "--output-dir", str(tmp_path / "r")])
    assert done.exit_code == 0, done.output
    assert _made(tmp_path / "r") == expected[mode]


class _Misbehaves:
    """Passes requests on to the real server, each after what the schedule says."""

    def __init__(self, serve, url: str, schedule: list[str]) -> None:
        self._real, self.schedule, self._lock = url.removesuffix("/v1"), schedule, threading.Lock()
        self._http = serve(self._answer)
        self.url = f"{self._http.url}/v1"

    def _answer(self, request):
        with self._lock:
            step = self.schedule.pop(0) if self.schedule else "ok"
        if step == "die":
            self._http.stop()
            self._http.start()
            raise ConnectionAbortedError
        if step == "stall":
            time.sleep(2 * _TIMEOUT_S)
        if step == "500":
            return 500, {"Content-Type": "application/json"}, b'{"error": {"message": "out of memory"}}'
        passed = urllib.request.Request(
            self._real + request.path, request.body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(passed, timeout=60) as found:
            body = found.read()
        return 200, {"Content-Type": "application/json"}, body[: len(body) // 2] if step == "cut" else body


def test_three_servers_two_of_which_misbehave_give_the_samples_of_one(
    serve, server, at_server, expected, monkeypatch, tmp_path
):
    for name in ("_FIRST_PAUSE_S", "_LONGEST_PAUSE_S"):
        monkeypatch.setattr(openai, name, 0.02)
    schedules = (["ok", "die", "stall", "500"], ["cut", "ok", "die"])
    others = [_Misbehaves(serve, server.url, list(schedule)) for schedule in schedules]
    addresses = [part for each in others for part in ("--base-url", each.url)]
    command = [*at_server, *addresses, "--timeout", str(_TIMEOUT_S), "--batch-size", "6"]
    done = CliRunner().invoke(cli, [*command, "--output-dir", str(tmp_path / "r")])
    assert done.exit_code == 0, done.output
    assert _made(tmp_path / "r") == expected[None]
    assert [each.schedule for each in others] == [[], []]
    lines = (tmp_path / "r" / "samples_sums.jsonl").read_text("utf-8").splitlines()
    assert {json.loads(line)["server"] for line in lines} <= {server.url, *(each.url for each in others)}
    assert all(f"{each.url}: " in done.stderr for each in others), done.stderr


def test_the_ways_to_think_less_change_something(expected):
    none, free, budget, early = (expected[mode] for mode in _MODES)
    assert max(row["thinking_tokens"] for row in free) > 3
    assert {row["closing_text"] for row in free + none} == {None}
    assert any(row["thinking_tokens"] == 3 and row["closing_text"] for row in budget)
    assert any(row["closing_text"] for row in early)
    assert any(row["trial_tokens"] and not row["closing_text"] for row in early)


def test_a_run_outlives_the_kill_of_its_server(server, at_server, expected, tmp_path):
    command = [*at_server, "--batch-size", "2", "--output-dir", str(tmp_path / "r")]
    results = []
    run = threading.Thread(target=lambda: results.append(CliRunner().invoke(cli, command)))
    run.start()
    partial = tmp_path / "r" / "samples_sums.partial.jsonl"
    while run.is_alive() and (not partial.exists() or partial.read_bytes().count(b"\n") < 3):
        time.sleep(0.001)
    server.kill()
    assert 3 <= partial.read_bytes().count(b"\n") < len(expected[None])
    server.start()
    run.join()
    assert results[0].exit_code == 0, results[0].output
    assert _made(tmp_path / "r") == expected[None]
