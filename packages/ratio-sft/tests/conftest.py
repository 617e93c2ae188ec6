"""Tiny real models and tokenizers, and compressed traces of word problems whose answers can be checked by hand."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")

WORDS = [*"0123456789", *"abcdefghijklmnopqrstuvwxyz", *"+-=?.,:/\\{}<>_()\n "]
WORDS += ["Tom", "has", "so", "wait", "check", "again", "boxed", "think", "user", "assistant", "system"]
WORDS += [
    "How",
    "many",
    "Please",
    "reason",
    "step",
    "by",
    "and",
    "put",
    "your",
    "final",
    "answer",
    "within",
    "apples",
    "buys",
    "more",
]
CHATML = (
    "{%- for message in messages -%}"
    "{%- set content = message.content if message.content is string else '' -%}"
    "{%- if message.role == 'assistant' and '</think>' in content -%}"
    "{%- set content = '<think>\\n' + content.split('<think>')[-1].lstrip('\\n') -%}{%- endif -%}"
    "{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def _make_tokenizer(chat_template=CHATML, extra=("<|im_start|>",), **kwargs):
    vocabulary = {word: index for index, word in enumerate(["<unk>", "<pad>", "<|im_end|>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[A-Za-z]+|[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="<|im_end|>", **kwargs
    )
    if extra:
        fast.add_special_tokens({"extra_special_tokens": list(extra)})
    fast.chat_template = chat_template
    return fast


def _make_model(architecture="qwen3", *, tied=True, rows=100, seed=0, head_dim=16):
    import torch

    torch.manual_seed(seed)
    shape = {
        "vocab_size": rows,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        "tie_word_embeddings": tied,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
    if architecture == "smollm2":  # 135M has 9 heads for 3 key-value heads, no bias, and heads of 64 numbers
        shape |= {
            "hidden_size": 48,
            "num_attention_heads": 3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
        }
        return LlamaForCausalLM(LlamaConfig(**shape, rms_norm_eps=1e-5, initializer_range=1 / 24))
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape, head_dim=head_dim))
    return Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=head_dim))


@pytest.fixture(scope="session")
def chatml():
    return CHATML


@pytest.fixture(scope="session")
def make_tokenizer():
    return _make_tokenizer


@pytest.fixture(scope="session")
def make_model():
    return _make_model


@pytest.fixture(scope="session")
def trace():
    return _trace


@pytest.fixture(scope="session")
def write_lines():
    return _write_lines


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A tied Qwen3 folder with spare embedding rows, as the real one has."""
    folder = tmp_path_factory.mktemp("models") / "base"
    _make_model().save_pretrained(folder)
    _make_tokenizer().save_pretrained(folder)
    return folder


RATIOS = (0.2, 0.6, 1.0)


def _trace(number: int, *, ratios=RATIOS, sample=0, **fields) -> dict:
    """A correct trace of ten sentences of ten tokens, and its prefixes of the asked ratio."""
    first, second = number % 7, number % 3
    sentence = f"so {first}+{second}={first + second}."
    cot = sentence * 10
    tokens = 80
    entries = []
    for ratio in ratios:
        text = sentence * round(10 * ratio)
        entries.append(
            {
                "ratio": ratio,
                "text": text,
                "spans": [[0, len(text)]],
                "tokens": round(tokens * ratio),
                "original_tokens": tokens,
                "achieved_ratio": ratio,
                "tokenizer": "tiny",
            }
        )
    return {
        "id": f"p{number}",
        "question": f"Tom has {first} apples and buys {second} more. How many? ({number})",
        "answer": str(first + second),
        "cot": cot,
        "response": f"\\boxed{{{first + second}}}",
        "model": "tiny",
        "correct": True,
        "sample": sample,
        "compressions": entries,
        **fields,
    }


def _write_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="session")
def compressed(tmp_path_factory) -> Path:
    return _write_lines(tmp_path_factory.mktemp("traces") / "compressed.jsonl", [_trace(n) for n in range(40)])


@pytest.fixture
def trace_shards(tmp_path, trace):
    """Forty traces of 30 problems in four shards of three formats, one of them empty; some are unusable."""
    from ratio_sft._shared.records import write_records

    rows = [trace(number % 30, sample=number // 30) for number in range(40)]
    for number in (3, 17, 31):
        rows[number]["correct"] = False
    for number, row in enumerate(rows):
        for entry in row["compressions"]:
            entry["original_tokens"] += number
    for name, some in {"a.parquet": rows[:15], "b.jsonl": rows[15:24], "d.jsonl.gz": rows[24:]}.items():
        write_records(tmp_path / "shards" / name, some)
    (tmp_path / "shards" / "c.jsonl").touch()
    return tmp_path / "shards"


@pytest.fixture
def mix_options(tmp_path, write_lines):
    """A teacher, and test questions of which one is that of a trace."""
    prompt = {"answer": "1", "reference_tokens": 9, "reference_accuracy": 1.0, "mode": "policy"}
    prompt["prompt"] = [{"role": "user", "content": "x <COMP_POLICY>"}]
    teacher = [{**prompt, "id": f"p{number}", "teacher_ratio": [0.2, 0.6, None][number % 3]} for number in range(30)]
    tests = [{"id": "t", "question": "Tom has 5 apples and buys 2 more. How many? (5)", "answer": "7"}]
    return {
        "teacher": write_lines(tmp_path / "teacher.jsonl", teacher),
        "exclude": [write_lines(tmp_path / "tests.jsonl", tests)],
    }


@pytest.fixture(scope="session")
def mix_dir(tmp_path_factory, compressed) -> Path:
    from ratio_sft import MixSettings, build

    out = tmp_path_factory.mktemp("mix") / "mix"
    build(compressed, out, MixSettings(heldout_share=0.1))
    return out


@pytest.fixture
def cut_before_publishing(monkeypatch):
    """Trains, and stops just before the finished checkpoint would get its name."""

    def stop(*_):
        raise KeyboardInterrupt

    def cut(*arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["ratio_sft.training.train"], "publish", stop)
            with pytest.raises(KeyboardInterrupt):
                sys.modules["ratio_sft.training.train"].train(*arguments, **options)

    return cut
