"""What the tests share: a tiny model that really adds digits, problems for it, run folders, and an HTTP server."""

import json
import threading
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

DIGITS = range(4)
TEMPLATE = (
    "{%- set asked = ratio if ratio is defined else 'policy' %}"
    "{%- for message in messages %}{%- if message.role == 'user' %}<user> {{ message.content }}"
    "{%- if asked == 'policy' and not message.content.rstrip().endswith('>') %} <COMP_POLICY>{%- endif %}"
    "{%- else %} <assistant> {{ message.content }} <end>{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %} <assistant>{%- endif %}"
)
_STEPS, _RATE = 120, 1e-2
CONTROLS = {"<COMP_20>": 0.2, "<COMP_100>": 1.0}


@dataclass
class Request:
    """What the server is asked."""

    method: str
    path: str
    headers: Message
    body: bytes


class Server:
    """A loopback server whose answers (status, headers, body) a function gives; it may be stopped and started again."""

    def __init__(self, answer):
        self.answer, self._port = answer, 0
        self.start()

    def start(self):
        """Listen, on the same port as before."""
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, data = answer(Request(self.command, self.path, self.headers, body))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_HEAD = do_POST

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def stop(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}"


@pytest.fixture
def serve():
    """`serve(answer)` starts a server, which ends with the test."""
    servers = []

    def start(answer):
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def _answer(control, ratio_token, a, b):
    """Short thinking for 0.2, twice as long otherwise; a prompt without control token gets none back."""
    equation = f"{a} + {b} = {a + b}"
    thought = equation if ratio_token == "<COMP_20>" else f"so {equation} and {equation}"
    opening = f"{ratio_token} " if control else ""
    return f"{opening}<think> {thought} </think> \\boxed{{ {a + b} }} <end>"


def _build(folder, head_dim=16):
    folder.mkdir()
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    specials = ["<pad>", "<end>", "<unk>", "<user>", "<assistant>", "<think>", "</think>", *CONTROLS, "<COMP_POLICY>"]
    words = ["add", "and", "so", "+", "=", "\\boxed{", "}", *map(str, range(8))]
    vocabulary = {word: index for index, word in enumerate([*specials, *words])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", chat_template=TEMPLATE
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=head_dim,
        max_position_embeddings=128,
        eos_token_id=1,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    model = Qwen3ForCausalLM(config)
    rows = []
    for a in DIGITS:
        for b in DIGITS:
            for control in ("", " <COMP_20>", " <COMP_100>", " <COMP_POLICY>"):
                chosen = control.strip()
                if chosen == "<COMP_POLICY>":
                    chosen = "<COMP_20>" if (a + b) % 2 == 0 else "<COMP_100>"
                prompt = f"<user> add {a} and {b}{control} <assistant>"
                rows.append((prompt, _answer(control, chosen, a, b)))
    prompts = [tokenizer(prompt)["input_ids"] for prompt, _ in rows]
    full = [tokenizer(f"{prompt} {answer}")["input_ids"] for prompt, answer in rows]
    width = max(map(len, full))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in full])
    labels = torch.tensor(
        [
            [-100] * len(head) + row[len(head) :] + [-100] * (width - len(row))
            for head, row in zip(prompts, full, strict=True)
        ]
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=_RATE)
    for step in range(_STEPS):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1, 2 * (1 - step / _STEPS))
        loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "control_tokens.json").write_text(
        json.dumps({"format": 1, "ratios": CONTROLS, "policy": "<COMP_POLICY>"}), "utf-8"
    )


@pytest.fixture(scope="session")
def build_tiny():
    return _build


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    _build(folder)
    return folder


@pytest.fixture(scope="session")
def problems(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sums.jsonl"
    rows = [
        {"id": f"sum-{a}-{b}", "question": f"add {a} and {b}", "answer": str(a + b), "level": 1 + (a + b) // 4}
        for a in DIGITS
        for b in DIGITS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def write_run(tmp_path):
    """Writes a finished run folder from rows that give only what matters: see `_ROW` for the rest."""
    from math_eval.summary import results_content

    def write(name, rows, tasks=("sums",)):
        folder = tmp_path / name
        folder.mkdir()
        full = [
            {**_ROW, "key": f"{index}", "model": name, "truncated": row.get("finish_reason") == "length", **row}
            for index, row in enumerate(rows)
        ]
        ratios = list(dict.fromkeys(row["ratio"] for row in full))
        for task in tasks:
            lines = (json.dumps(row) + "\n" for row in full if row["task"] == task)
            (folder / f"samples_{task}.jsonl").write_text("".join(lines), "utf-8")
        settings = {
            "model_sha256": "0" * 64,
            "tasks": dict.fromkeys(tasks, "0"),
            "ratios": ratios,
            "samples": 1 + max(row["sample"] for row in full),
            "seeds": sorted({row["seed"] for row in full}),
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 64,
        }
        (folder / "manifest.json").write_text(json.dumps({"command": "math-eval run", "settings": settings}), "utf-8")
        results = results_content(full, list(tasks), ratios, 64)
        (folder / "results.json").write_text(json.dumps(results), "utf-8")
        return folder

    return write


_ROW = {
    "question": "add 1 and 2",
    "answer": "3",
    "prompt": "add 1 and 2\n",
    "completion": "<think> 1 + 2 = 3 </think> \\boxed{3}",
    "finish_reason": "stop",
    "thinking_tokens": 10,
    "completion_tokens": 15,
    "extracted": "3",
    "verdict": "correct",
    "ratio": None,
    "chosen_ratio": None,
    "seed": 0,
    "sample": 0,
    "task": "sums",
    "latency_s": 0.5,
    "batch": "b",
}
