"""A tiny model with a byte-pair tokenizer that knows a few sums by heart, and the whole pipeline run on it."""

import importlib
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PACKAGES = {"cot-compressor": "cot_compressor", "ratio-sft": "ratio_sft", "chrpo": "chrpo", "math-eval": "math_eval"}
INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."
RATIOS = (0.2, 0.6, 1.0)
LADDER = " ".join(f"--ratio {ratio}" for ratio in RATIOS)
# Like Qwen3's, it drops what an assistant message has before <think>, so the ratio token too.
TEMPLATE = (
    "{% for message in messages %}{% set content = message.content %}"
    "{% if message.role == 'assistant' and '</think>' in content %}"
    "{% set content = '<think>' + content.split('<think>')[-1] %}{% endif %}"
    "{{ '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PROBLEMS, MEMORISING_STEPS = 6, 200


def problem(number: int) -> dict:
    first, second = 3 + number, 12 + 5 * number
    return {
        "id": f"sum/{number}",
        "question": f"Ana has {first} apples and buys {second} more. How many has she?",
        "answer": str(first + second),
        "level": number % 2,
        "numbers": [first, second],
    }


def thinking(problem: dict) -> str:
    first, second = problem["numbers"]
    equation = f"{first} + {second} = {first + second}"
    return (
        f"Okay, let me see. Ana has {first} apples at first. Then she buys {second} more, so I add them. {equation}. "
        f"So now Ana has {first + second} apples. Wait, let me check that again. {equation}, yes. That is all."
    )


def rendered(question: str, token: str | None) -> str:
    """The prompt that every package must make for a question, spelled out."""
    asked = f" {token}" if token else ""
    return f"<|im_start|>user\n{INSTRUCTION}\n{question}{asked}<|im_end|>\n<|im_start|>assistant\n"


def run_command(line: str, *more: object):
    """Run a command of the four packages in this process, and catch its output and exit code."""
    dist, *words = line.split()
    cli = importlib.import_module(f"{PACKAGES[dist]}.cli").cli
    return CliRunner().invoke(cli, [*words, *map(str, more)], prog_name=dist)


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def build_tokenizer(texts: list[str], template: str = TEMPLATE, end: str = "<|im_end|>"):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=["<pad>", "<|im_start|>", end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token=end,
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )
    fast.add_tokens(["<think>", "</think>"])
    fast.chat_template = template
    return fast


def build_base(folder: Path, problems: list[dict]) -> None:
    """Save a Qwen3 that was trained until it knows the problems by heart, and beside it an untrained encoder."""
    import torch
    from transformers import BertConfig, Qwen3Config, Qwen3ForCausalLM

    pairs = [
        (
            rendered(row["question"], None),
            f"<think>\n{thinking(row)}\n</think>\n\nThe answer is \\boxed{{{row['answer']}}}.<|im_end|>",
        )
        for row in problems
    ]
    tokenizer = build_tokenizer([text for pair in pairs for text in pair])
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=12,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    encoded = [(tokenizer(prompt).input_ids, tokenizer(answer).input_ids) for prompt, answer in pairs]
    width = max(len(prompt) + len(answer) for prompt, answer in encoded)
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[*p, *a, *[pad] * (width - len(p) - len(a))] for p, a in encoded])
    labels = torch.tensor([[*[-100] * len(p), *a, *[-100] * (width - len(p) - len(a))] for p, a in encoded])
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    for step in range(MEMORISING_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1.0, (step + 1) / 10, 2 * (1 - step / MEMORISING_STEPS))
        loss = model(input_ids=ids, attention_mask=(ids != pad).long(), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    encoder = folder.with_name("encoder")
    BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=256,
        pad_token_id=pad,
    ).save_pretrained(encoder)
    tokenizer.save_pretrained(encoder)


def edit_json(path: Path, **values: object) -> None:
    """Set fields of a JSON file, which need not exist."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**content, **values}), encoding="utf-8")


@pytest.fixture(scope="session")
def sound_checkpoint(tmp_path_factory):
    """A tiny checkpoint folder; copy it before a change."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("checkpoints") / "sound"
    tokenizer = build_tokenizer(["one two three"])
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Pipeline:
    """What the commands wrote, each from what the one before it wrote."""

    folder: Path
    rollout_prompts: list[list[int]]
    """Token ids of every prompt that `chrpo train` generated from, the forced control token last."""
    hosts: list[str]
    """What the commands tried to reach."""

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def rows(self, name: str) -> list[dict]:
        return [json.loads(line) for line in (self.folder / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def command():
    """`command("math-eval compare", a, b)` runs it and returns its exit code, stdout and stderr."""
    return run_command


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory) -> Pipeline:
    folder = tmp_path_factory.mktemp("pipeline")
    problems = [problem(number) for number in range(PROBLEMS)]
    write_rows(folder / "problems.jsonl", problems)
    build_base(folder / "base", problems)
    stages = [
        "math-eval run --model base --tasks problems.jsonl --max-tokens 160 --output-dir run_base",
        "math-eval export traces run_base traces.jsonl",
        "cot-compressor annotate traces.jsonl annotated.jsonl --annotator rules",
        "cot-compressor train annotated.jsonl compressor --encoder encoder --epochs 1",
        f"cot-compressor compress traces.jsonl learned.jsonl {LADDER} --scorer compressor --tokenizer base",
        f"cot-compressor compress traces.jsonl compressed.jsonl {LADDER} --scorer rules --tokenizer base",
        "ratio-sft build compressed.jsonl mix --tolerance 0.1",
        "ratio-sft train mix sft --model base --max-steps 100 --batch-size 6 --learning-rate 3e-3",
        f"math-eval run --model sft --tasks problems.jsonl {LADDER} --samples 3 --temperature 1 --max-tokens 130"
        " --output-dir run_sft",
        "chrpo prepare run_sft/samples_problems.jsonl prompts.jsonl --checkpoint sft",
        "chrpo train prompts.jsonl chrpo --model sft --max-steps 2 --prompts-per-step 2 --rollouts 6"
        " --learning-rate 1e-5",
        "math-eval run --model chrpo --tasks problems.jsonl --ratio 0.2 --ratio policy --max-tokens 130"
        " --output-dir run_chrpo",
        "math-eval compare run_base run_chrpo:policy --output comparison.json",
        "math-eval report base=run_base sft=run_sft chrpo=run_chrpo --baseline base --by level --output report.html",
    ]
    prompts: list[list[int]] = []
    hosts: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        spy_on_rollouts(patch, prompts)
        spy_on_the_network(patch, hosts)
        for stage in stages:
            done = run_command(stage)
            assert done.exit_code == 0, f"{stage}\n{done.output}"
    return Pipeline(folder, prompts, hosts)


def spy_on_rollouts(patch: pytest.MonkeyPatch, seen: list[list[int]]) -> None:
    from chrpo.trl import CHRPOTrainer

    tokenize = CHRPOTrainer._tokenize_prompts

    def watched(self, prompts):
        result = tokenize(self, prompts)
        seen.extend(map(list, result[0]))
        return result

    patch.setattr(CHRPOTrainer, "_tokenize_prompts", watched)


def spy_on_the_network(patch: pytest.MonkeyPatch, hosts: list[str]) -> None:
    from huggingface_hub import constants

    def refuse(host, *_args, **_options):
        hosts.append(host)
        raise OSError(f"no network in tests; asked for {host}")

    patch.setattr(socket, "getaddrinfo", refuse)
    for switch in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        patch.setattr(constants, switch, False)
