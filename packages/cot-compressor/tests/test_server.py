"""The annotator against a real server: what a model that knows no JSON says ends as counted rejects, never as labels.

The model has random weights, unless COT_COMPRESSOR_CHAT_MODEL names the folder of another one.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from transformers import LlamaConfig, LlamaForCausalLM

from cot_compressor.cli import cli

_PYTHON = os.environ.get("COT_COMPRESSOR_VLLM", "")
_MODEL = os.environ.get("COT_COMPRESSOR_CHAT_MODEL", "")
_TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.enable_socket,
    pytest.mark.skipif(not _PYTHON, reason="COT_COMPRESSOR_VLLM names no interpreter with vLLM"),
]


@pytest.fixture
def model(byte_tokenizer, tmp_path: Path) -> Path:
    """A chat model; vLLM's attention on a CPU needs heads of 32 numbers or more."""
    if _MODEL:
        return Path(_MODEL)
    folder = tmp_path / "tiny"
    byte_tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(_TEMPLATE, "utf-8")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(byte_tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=4096,
    )
    made = LlamaForCausalLM(config)
    made.generation_config.max_new_tokens = 48
    made.save_pretrained(folder)
    return folder


@pytest.fixture
def url(model: Path, tmp_path: Path) -> Iterator[str]:
    """What `vllm serve` runs (that command is broken in some wheels), in a process group that is killed as a whole."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        _PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", "chat",
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "4096", "--enforce-eager",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        while not _answers(f"http://127.0.0.1:{port}/v1/models"):
            assert server.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def test_bad_json_of_a_real_model_ends_as_counted_rejects(url: str, toy_traces: list[dict], tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [*toy_traces[:4], {**toy_traces[4], "cot": "word " * 390 + "12 + 15 = 27. " + "unknown " * 900}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    options = ["--annotator", "openai", "--model", "chat", "--base-url", url, "--concurrency", "3"]
    done = CliRunner().invoke(cli, ["annotate", str(source), str(out), *options])
    assert done.exit_code == 0, done.output
    counts = json.loads((tmp_path / "out.jsonl.manifest.json").read_text("utf-8"))["rows"]
    assert counts["read"] == 5 == counts["written"] + sum(counts["rejected"].values())
    assert counts["rejected"].keys() <= {"bad_annotation", "refused_by_server"}
    said = [json.loads(line)["text"] for line in (tmp_path / "out.jsonl.answers.jsonl").read_text("utf-8").splitlines()]
    assert f"{len(said)} requests" in done.stderr
    assert len(said) >= 4
    assert counts["written"] <= sum(map(_is_json, said))
    if not _MODEL:
        assert (counts["written"], any(map(_is_json, said))) == (0, False)
        assert counts["rejected"]["bad_annotation"] >= 4
        assert not out.read_text("utf-8")
