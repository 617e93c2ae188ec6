"""A tiny model with a byte-pair tokenizer that knows eight sums by heart, and the whole pipeline run on it."""

import importlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PACKAGES = {"cot-compressor": "cot_compressor", "ratio-sft": "ratio_sft", "chrpo": "chrpo", "math-eval": "math_eval"}
INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."
RATIOS = (0.2, 0.6, 1.0)
LADDER = [word for ratio in RATIOS for word in ("--ratio", ratio)]
# Like Qwen3's, it drops what an assistant message has before <think>, so the ratio token too.
TEMPLATE = (
    "{% for message in messages %}{% set content = message.content %}"
    "{% if message.role == 'assistant' and '</think>' in content %}"
    "{% set content = '<think>' + content.split('<think>')[-1] %}{% endif %}"
    "{{ '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MEMORISING_STEPS = 220


def problem(number: int) -> dict:
    first, second = 3 + number, 12 + 5 * number
    return {
        "id": f"sum/{number}",
        "question": f"Ana has {first} apples and buys {second} more. How many apples does she have?",
        "answer": str(first + second),
        "level": number % 2,
        "numbers": [first, second],
    }


def thinking(problem: dict) -> str:
    first, second = problem["numbers"]
    equation = f"{first} + {second} = {first + second}"
    return (
        f"Okay, let me see what is going on here. Ana has {first} apples at the start. Then she buys {second} more, so I "
        f"should add them. {equation}. So now Ana has {first + second} apples. Wait, let me check that again. {equation}, "
        "yes, that is right. There is nothing more to do."
    )


def rendered(question: str, token: str | None) -> str:
    """The prompt that every package must make for a question, spelled out."""
    asked = f" {token}" if token else ""
    return f"<|im_start|>user\n{INSTRUCTION}\n{question}{asked}<|im_end|>\n<|im_start|>assistant\n"


def command(line: str, *more: object):
    """Run a command of the four packages in this process; `command("math-eval compare", a, b)`."""
    dist, *words = line.split()
    cli = importlib.import_module(f"{PACKAGES[dist]}.cli").cli
    return CliRunner().invoke(cli, [*words, *map(str, more)], prog_name=dist)


def succeed(line: str, *more: object):
    done = command(line, *more)
    assert done.exit_code == 0, f"{line} {' '.join(map(str, more))}\n{done.output}"
    return done


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def build_tokenizer(texts: list[str]):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<pad>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )
    fast.add_tokens(["<think>", "</think>"])
    fast.chat_template = TEMPLATE
    return fast


def build_base(folder: Path, problems: list[dict]) -> None:
    """Save a Qwen3 that was trained on the given problems until it knows them by heart."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

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
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
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


@dataclass(frozen=True)
class Pipeline:
    """What the commands wrote, each from what the one before it wrote."""

    folder: Path
    prompts_in_training: list[list[int]]

    def __getattr__(self, name: str) -> Path:
        """`pipeline.sft` is the path of the stage's output."""
        path = self.folder / STAGE_OUTPUTS[name]
        assert path.exists(), path
        return path


STAGE_OUTPUTS = {
    "base": "base",
    "problems": "problems.jsonl",
    "run_base": "run_base",
    "traces": "traces.jsonl",
    "annotated": "annotated.jsonl",
    "compressed": "compressed.jsonl",
    "mix": "mix",
    "sft": "sft",
    "run_sft": "run_sft",
    "prompts": "prompts.jsonl",
    "chrpo": "chrpo",
    "run_chrpo": "run_chrpo",
    "report": "report.html",
}
