"""Three chat templates, two that open the thinking block and one that does not: SFT, RL, evaluation and serving.

The commands are those of `tiny_learner`. A server takes its checkpoint without any change (`make test-vllm`).
"""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter

import pytest

from .conftest import INSTRUCTION
from .tiny_learner import LEARNERS, PROBLEMS, conditions, learn

_PYTHON = os.environ.get("RATIO_SFT_VLLM", "")


@pytest.fixture(scope="session", params=LEARNERS)
def learned(request, tmp_path_factory):
    """The folder of a template's run, and what is special about the template."""
    folder = tmp_path_factory.mktemp("learned")
    learn(folder, LEARNERS[request.param])
    return folder, LEARNERS[request.param]


def share(rows: list[dict], ratio: float) -> float:
    return Counter(row["chosen_ratio"] for row in rows)[ratio] / len(rows)


def accuracy(rows: list[dict]) -> float:
    return sum(row["verdict"] == "correct" for row in rows) / len(rows)


def thinking_tokens(rows: list[dict]) -> float:
    return sum(row["thinking_tokens"] for row in rows) / len(rows)


def test_a_model_learns_to_think_at_the_asked_length_and_then_to_choose_the_short_one(learned):
    folder, learner = learned
    short = learner.ratios[0]
    greedy = {name: conditions(folder / f"greedy_{name}") for name in ("sft", "chrpo")}
    sampled = {name: conditions(folder / f"run_{name}") for name in ("sft", "chrpo")}
    for ratio in learner.ratios:
        for row in greedy["sft"][ratio]:
            asked = learner.switch if learner.switch and ratio == short else f"<COMP_{round(100 * ratio)}>"
            assert f"{row['question']} {asked}<" in row["prompt"]
            assert row["prompt"].endswith("<think>\n") == learner.opens
    for name in ("sft", "chrpo"):
        for ratio in learner.ratios:
            assert {row["chosen_ratio"] for row in greedy[name][ratio]} == {ratio}, "it repeats the request"
        assert {row["chosen_ratio"] for row in greedy[name]["policy"]} <= {*learner.ratios}
        drawn = [row["chosen_ratio"] for rows in sampled[name].values() for row in rows]
        assert drawn.count(None) < 0.05 * len(drawn), "nothing forces the first token here, and it is a ratio"
    lengths = [thinking_tokens(sampled["sft"][ratio]) for ratio in learner.ratios]
    assert lengths == sorted(lengths)
    assert min(share(sampled["sft"][ratio], ratio) for ratio in learner.ratios) > 0.5

    shares = [share(sampled[name]["policy"], short) for name in ("sft", "chrpo")]
    assert shares[1] >= 2 * shares[0] > 0, shares
    for ratio in (*learner.ratios, "policy"):
        before, after = (accuracy(greedy[name][ratio]) for name in ("sft", "chrpo"))
        assert after >= before > 0.8, ratio


@pytest.fixture
def client(learned, tmp_path):
    """A stock OpenAI client at what `vllm serve` runs (that command is broken in some wheels)."""
    openai = pytest.importorskip("openai")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        _PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", learned[0] / "chrpo",
        "--served-model-name", "chrpo", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32",
        "--max-model-len", "256", "--enforce-eager",
    ]  # fmt: skip
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        while not answers(f"http://127.0.0.1:{port}/v1/models"):
            assert server.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
        yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.vllm
@pytest.mark.enable_socket
@pytest.mark.skipif(not _PYTHON, reason="RATIO_SFT_VLLM names no interpreter with vLLM; `make test-vllm` does")
def test_a_stock_client_of_a_vllm_server_gets_what_evaluation_measured_at_two_ratios(learned, client):
    folder, learner = learned
    evaluated = conditions(folder / "greedy_chrpo")

    def ask(question: str, **body) -> str:
        messages = [{"role": "user", "content": f"{INSTRUCTION}\n{question}"}]
        done = client.chat.completions.create(
            model="chrpo", messages=messages, temperature=0, max_tokens=80, extra_body=body
        )
        return done.choices[0].message.content

    spent = {}
    for ratio in (learner.ratios[0], learner.ratios[-1]):
        served = [ask(problem["question"], chat_template_kwargs={"ratio": ratio}) for problem in PROBLEMS]
        written = {row["id"]: row["completion"].partition(">")[2] for row in evaluated[ratio]}
        assert [text.strip() for text in served] == [written[problem["id"]].strip() for problem in PROBLEMS]
        spent[ratio] = sum(map(len, served))
    assert spent[learner.ratios[0]] < spent[learner.ratios[-1]]
    if learner.switch:
        question = PROBLEMS[0]["question"]
        assert ask(f"{question} {learner.switch}") == ask(question, chat_template_kwargs={"ratio": learner.ratios[0]})
