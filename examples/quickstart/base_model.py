r"""Make the base model of the quickstart: a Qwen3 with 0.6 M parameters, trained from scratch, and the problem files.

The model takes the place of a pretrained reasoning model. It learns to think at length and to answer in `\boxed{}` on
the generated problems, or on those of another generator. The commands of the packages do everything else: sampling,
compression, SFT, RL, evaluation.

    python examples/quickstart/base_model.py runs/quickstart --seed 0
"""

import importlib
import json
import random
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

import click
import torch
from muon import Muon
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEV_PROBLEMS, DEV_STEPS = 250, 20
STEPS = 900
BATCH = 32
# Number of batches whose rows are sorted by length together, so that little is padded.
POOL = 32
MATRIX_LR, OTHER_LR, WARMUP_STEPS, FLAT_STEPS = 0.02, 3e-3, 50, 400
SAVE_STEPS = 120
# Number of problems in each file. The split "base" is the stream that the model is trained on.
COUNTS = {"dev": DEV_PROBLEMS, "sft": 1500, "rl": 600, "test": 1000}


class Generator(Protocol):
    """Where problems come from: a file such as `problems.py`, loaded as a module."""

    LARGEST: int
    """Largest number of a trace."""
    ENOUGH: float
    """Accuracy on development problems at which training stops."""

    def problems(self, split: str, seed: int, count: int | None = None) -> Iterator[dict[str, Any]]:
        """Distinct problems of a split, or an endless stream."""
        ...

    def write_trace(self, problem: dict[str, Any], rng: random.Random) -> tuple[str, str]:
        """Thinking and response of one problem."""
        ...


def load_generator(path: Path) -> Generator:
    """The generator in this file; its folder becomes importable, as if the file were run."""
    sys.path.insert(0, str(path.parent.resolve()))
    return cast(Generator, importlib.import_module(path.stem))


FIELDS = ("id", "question", "answer", "level", "equations", "solution")
PROBLEMS = Path(__file__).parent / "problems.py"


def build_tokenizer(generator: Generator | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word, sign or whole number; decoding restores white space by rule.

    Args:
        generator: Generator whose words it knows; the quickstart's by default.
    """
    generator = generator or load_generator(PROBLEMS)
    pattern = r"\\boxed\{|\w+|\n|[^\w\s]"
    words = {INSTRUCTION, "user assistant system"}
    rng = random.Random(0)
    for problem in generator.problems("base", 0, 3000):
        words |= {problem["question"], *generator.write_trace(problem, rng)}
    splitter = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    pieces = {piece for text in words for piece, _ in splitter.pre_tokenize_str(text)}
    pieces |= {"\n", *map(str, range(generator.LARGEST + 1))}
    vocabulary = ["<unk>", "<pad>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", *sorted(pieces)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=True),
            decoders.Fuse(),
            *(decoders.Replace(a, b) for a, b in (("{ ", "{"), (" }", "}"), (" :", ":"), ("\n ", "\n"), (" \n", "\n"))),
        ]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    fast.add_tokens(["<think>", "</think>"])
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A Qwen3 of 3 layers and width 128 (the paper's Qwen3-1.7B has 28 and 2048)."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=512,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


Row = tuple[list[int], list[int]]


def lessons(generator: Generator, tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[Row]:
    """Endless worked problems as token ids and labels; only thinking and response count in the loss."""
    rng = random.Random(seed)
    for problem in generator.problems("base", seed):
        thinking, response = generator.write_trace(problem, rng)
        start = tokenizer(render(tokenizer, problem["question"])).input_ids
        rest = tokenizer(f"<think>\n{thinking}\n</think>\n\n{response}<|im_end|>").input_ids
        yield start + rest, [-100] * len(start) + rest


def batches(rows: Iterator[Row], pad: int, seed: int) -> Iterator[dict[str, torch.Tensor]]:
    """Endless padded batches of rows of similar length, in random order."""
    rng = random.Random(seed)
    while True:
        pool = sorted(islice(rows, BATCH * POOL), key=lambda row: len(row[0]))
        groups = [pool[i : i + BATCH] for i in range(0, len(pool), BATCH)]
        rng.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            yield {
                "input_ids": torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in group]),
                "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in group]),
                "labels": torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in group]),
            }


@torch.no_grad()
def accuracy(generator: Generator, model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> float:
    """Share of development problems that the model answers correctly with greedy decoding."""
    rows = list(generator.problems("dev", seed, DEV_PROBLEMS))
    prompts = tokenizer([render(tokenizer, row["question"]) for row in rows], padding=True, padding_side="left")
    ids = torch.tensor(prompts.input_ids)
    model.eval()
    out = model.generate(
        input_ids=ids, attention_mask=torch.tensor(prompts.attention_mask), max_new_tokens=240, do_sample=False
    )
    model.train()
    texts = tokenizer.batch_decode(out[:, ids.shape[1] :])
    return sum(rf"\boxed{{{row['answer']}}}" in text for row, text in zip(rows, texts, strict=True)) / len(rows)


def render(tokenizer: PreTrainedTokenizerFast, question: str) -> str:
    """The prompt, as the packages render it without a control token."""
    message = {"role": "user", "content": f"{INSTRUCTION}\n{question}"}
    return tokenizer.apply_chat_template([message], add_generation_prompt=True, tokenize=False)


def learning_rate_share(step: int) -> float:
    """Factor of the step sizes: linear warm-up, constant, then linear decay."""
    rise = (step + 1) / WARMUP_STEPS
    fall = (STEPS - step) / (STEPS - FLAT_STEPS)
    return min(1.0, rise, max(0.02, fall))


def train(generator: Generator, folder: Path, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    """Train a model into `folder`/base; continue from the last saved step after an interruption."""
    torch.manual_seed(seed)
    model = build_model(tokenizer)
    optimizer = Muon(model, matrix_lr=MATRIX_LR, other_lr=OTHER_LR)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_share)
    saved, step = folder / "base_training.pt", 0
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        step = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
    stream = batches(lessons(generator, tokenizer, seed), tokenizer.pad_token_id, seed)
    seconds = 0.1 if sys.stderr.isatty() else 10.0
    rows = islice(stream, step, STEPS)
    bar = tqdm(rows, desc="train the base model", initial=step, total=STEPS, mininterval=seconds)
    for batch in bar:
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        step += 1
        if step % 10 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        measure = step > FLAT_STEPS and step % DEV_STEPS == 0
        if measure and accuracy(generator, model, tokenizer, seed) >= generator.ENOUGH:
            break
        if step % SAVE_STEPS == 0:
            partial = saved.with_suffix(".tmp")
            torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, partial)
            partial.replace(saved)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    saved.unlink(missing_ok=True)


def write_problems(generator: Generator, folder: Path, seed: int) -> None:
    """Write the problem files. No problem is in two files, or in a file and the training stream."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    for split, count in COUNTS.items():
        rows = list(generator.problems(split, seed, count))
        ids = {row["id"] for row in rows}
        if ids & seen or len(ids) < count:
            raise RuntimeError(f"split {split} repeats a problem")
        seen |= ids
        lines = [json.dumps({key: row[key] for key in FIELDS if key in row}) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of problems, weights and batches.")
@click.option(
    "--problems",
    "source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=PROBLEMS,
    help="Python file that makes the problems and their traces.  [default: the quickstart's]",
)
def main(folder: Path, seed: int, source: Path) -> None:
    """Write FOLDER/base and FOLDER/problems/*.jsonl."""
    generator = load_generator(source)
    tokenizer = build_tokenizer(generator)
    write_problems(generator, folder / "problems", seed)
    train(generator, folder, tokenizer, seed)


if __name__ == "__main__":
    main()
