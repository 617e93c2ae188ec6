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

from math_eval.cli import cli

_PYTHON = os.environ.get("MATH_EVAL_VLLM", "")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.enable_socket,
    pytest.mark.skipif(not _PYTHON, reason="MATH_EVAL_VLLM names no interpreter with vLLM; `make test-vllm` does"),
]
_MADE = ("id", "ratio", "completion", "completion_tokens", "thinking_tokens", "finish_reason", "verdict")
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


@pytest.fixture
def arguments(model, problems):
    return [
        "--tasks", str(problems), "--ratio", "none", "--ratio", "policy", "--max-tokens", "40", "--instruction", "",
    ]  # fmt: skip


@pytest.fixture
def at_server(server, model, arguments):
    return ["run", "--model", "openai:tiny", "--base-url", server.url, "--tokenizer", str(model), *arguments]


@pytest.fixture
def expected(model, arguments, tmp_path):
    done = CliRunner().invoke(cli, ["run", "--model", str(model), *arguments, "--output-dir", str(tmp_path / "hf")])
    assert done.exit_code == 0, done.output
    return _made(tmp_path / "hf")


def _made(folder: Path) -> list[dict]:
    lines = (folder / "samples_sums.jsonl").read_text("utf-8").splitlines()
    rows = [{name: row[name] for name in _MADE} for row in map(json.loads, lines)]
    # The server decodes token by token, so that this word-level tokenizer begins with a space.
    return [{**row, "completion": row["completion"].lstrip()} for row in rows]


def _engine(model: Path, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from math_eval.cli import cli; cli()"
    command = [_PYTHON, "-c", code, "run", "--model", model, "--backend", "vllm", *arguments, "--output-dir", folder]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=_ENVIRONMENT)


def test_the_engine_gives_the_greedy_answers_of_transformers(model, arguments, expected, tmp_path):
    done = _engine(model, arguments, tmp_path / "vllm")
    assert done.returncode == 0, done.stderr[-3000:]
    assert _made(tmp_path / "vllm") == expected


def test_the_engine_samples_the_same_whatever_is_in_flight(model, arguments, tmp_path):
    hot = [*arguments, "--temperature", "1.5", "--samples", "2", "--seed", "3", "--seed", "4"]
    for size in ("1", "8"):
        done = _engine(model, [*hot, "--batch-size", size], tmp_path / size)
        assert done.returncode == 0, done.stderr[-3000:]
    assert _made(tmp_path / "1") == _made(tmp_path / "8")
    assert len({row["completion"] for row in _made(tmp_path / "1")}) > 32


def test_the_server_gives_the_greedy_answers_of_transformers(at_server, expected, tmp_path):
    done = CliRunner().invoke(cli, [*at_server, "--output-dir", str(tmp_path / "r")])
    assert done.exit_code == 0, done.output
    assert _made(tmp_path / "r") == expected


@pytest.mark.parametrize("mode", ["none", "budget=3", "exit=0.5:3"])
def test_thinking_less_gives_the_greedy_answers_of_transformers(model, server, at_server, arguments, mode, tmp_path):
    """Engine and server; `exit` is refused for a server."""
    flags = ["--thinking", mode, "--output-dir"]
    done = CliRunner().invoke(cli, ["run", "--model", str(model), *arguments, *flags, str(tmp_path / "hf")])
    assert done.exit_code == 0, done.output
    engine = _engine(model, [*arguments, *flags[:2]], tmp_path / "vllm")
    assert engine.returncode == 0, engine.stderr[-3000:]
    assert _made(tmp_path / "vllm") == _made(tmp_path / "hf")
    if not mode.startswith("exit"):
        done = CliRunner().invoke(cli, [*at_server, *flags, str(tmp_path / "server")])
        assert done.exit_code == 0, done.output
        assert _made(tmp_path / "server") == _made(tmp_path / "hf")


def test_a_run_outlives_the_kill_of_its_server(server, at_server, expected, tmp_path):
    command = [*at_server, "--batch-size", "2", "--output-dir", str(tmp_path / "r")]
    results = []
    run = threading.Thread(target=lambda: results.append(CliRunner().invoke(cli, command)))
    run.start()
    partial = tmp_path / "r" / "samples_sums.partial.jsonl"
    while run.is_alive() and (not partial.exists() or partial.read_bytes().count(b"\n") < 3):
        time.sleep(0.001)
    server.kill()
    assert 3 <= partial.read_bytes().count(b"\n") < len(expected)
    server.start()
    run.join()
    assert results[0].exit_code == 0, results[0].output
    assert _made(tmp_path / "r") == expected
