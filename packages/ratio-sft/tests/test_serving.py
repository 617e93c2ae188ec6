"""Serving without changes: a real vLLM server and transformers' `pipeline` take `ratio`, and think to that length."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from transformers import AutoTokenizer, pipeline

from ratio_sft import MixSettings, TrainSettings, build, train
from ratio_sft._shared.control_tokens import user_turn

_PYTHON = os.environ.get("RATIO_SFT_VLLM", "")
SHORT, LONG = "1+1", "so 1+1=2,check 1+1=2"
# The ratio that a client sends, the control token at the end of its prompt, and the thinking of the answer.
ASKED = [
    ({}, "<COMP_POLICY>", SHORT),
    ({"ratio": "policy"}, "<COMP_POLICY>", SHORT),
    ({"ratio": 0.2}, "<COMP_20>", SHORT),
    ({"ratio": 1.0}, "<COMP_100>", LONG),
    ({"ratio": "none"}, "", LONG),
]


@pytest.fixture(scope="module")
def question(trace):
    return trace(1)["question"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, trace, write_lines, make_model, make_tokenizer):
    """A checkpoint that memorised one problem, short and long; its policy is short. vLLM needs heads of 32 numbers."""
    folder = tmp_path_factory.mktemp("deployed")
    made = {"spans": [], "original_tokens": 15, "tokenizer": "tiny"}
    compressions = [
        {**made, "ratio": ratio, "text": text, "tokens": tokens, "achieved_ratio": ratio}
        for ratio, text, tokens in ((0.2, SHORT, 3), (1.0, LONG, 15))
    ]
    traces = [trace(1, sample=sample, compressions=compressions) for sample in range(2)]
    teacher = {
        "id": "p1", "answer": "2", "teacher_ratio": 0.2, "reference_tokens": 15, "reference_accuracy": 1.0,
        "mode": "policy", "prompt": [{"role": "user", "content": "x <COMP_POLICY>"}],
    }  # fmt: skip
    build(
        write_lines(folder / "compressed.jsonl", traces),
        folder / "mix",
        MixSettings(plain_share=0.5, heldout_share=0, policy_share=0.2),
        teacher=write_lines(folder / "teacher.jsonl", [teacher]),
    )
    make_model(tied=False, head_dim=32).save_pretrained(folder / "base")
    make_tokenizer().save_pretrained(folder / "base")
    settings = TrainSettings(
        model=str(folder / "base"), max_steps=150, batch_size=5, learning_rate=1e-2, weight_decay=0, save_steps=150
    )
    train(folder / "mix", folder / "sft", settings)
    return folder / "sft"


def thinking(answer):
    return answer.partition("<think>\n")[2].partition("\n</think>")[0]


def test_a_pipeline_takes_the_ratio(checkpoint, question):
    generate = pipeline("text-generation", model=str(checkpoint))
    for asked, _, expected in ASKED:
        messages = [{"role": "user", "content": user_turn(question)}]
        done = generate(messages, tokenizer_encode_kwargs=asked, do_sample=False, max_new_tokens=150)
        assert thinking(done[0]["generated_text"][-1]["content"]) == expected, asked


@pytest.fixture
def client(checkpoint, tmp_path):
    """A stock OpenAI client at what `vllm serve` runs (that command is broken in some wheels)."""
    openai = pytest.importorskip("openai")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        _PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", checkpoint, "--served-model-name", "sft",
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "256", "--enforce-eager",
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
        while not answers(f"http://127.0.0.1:{port}/v1/models"):
            assert server.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
        yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.vllm
@pytest.mark.enable_socket
@pytest.mark.skipif(not _PYTHON, reason="RATIO_SFT_VLLM names no interpreter with vLLM; `make test-vllm` does")
def test_a_stock_client_of_a_vllm_server_takes_the_ratio(checkpoint, question, client):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    messages = [{"role": "user", "content": user_turn(question)}]

    def ask(**body):
        return client.chat.completions.create(model="sft", messages=messages, temperature=0, extra_body=body)

    for asked, token, expected in ASKED:
        done = ask(chat_template_kwargs=asked, return_token_ids=True)
        prompt = tokenizer.decode(done.prompt_token_ids)
        assert prompt.endswith(f"(1){token and f' {token}'}<|im_end|>\n<|im_start|>assistant\n"), asked
        assert thinking(done.choices[0].message.content) == expected, asked
    with pytest.raises(Exception, match=r"ratio must be one of 0\.2, 1, .*got 0\.3"):
        ask(chat_template_kwargs={"ratio": 0.3})
