"""Seconds of a training step of CHRPOTrainer: with TRL's own decoding and passes, and with each of ours.

The model has the size of the quickstart's. It is trained here to write as many words as its ratio token asks for, so
that the lengths of rollouts differ as in a real run. Every measured step starts from the same weights, prompts and
seed. The variants take turns, in both directions; the first round is not counted. One thread; processor and wall time.

    python benchmarks/chrpo_step.py --lessons 60 --rounds 3
"""

import random
import tempfile
import time
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import click
import torch
from recording import record, spread
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen3Config, Qwen3ForCausalLM, TrainerCallback

from chrpo import ControlTokens
from chrpo.trl import CHRPOConfig, CHRPOTrainer

LADDER = ControlTokens.ladder((0.16, 0.2, 0.4, 0.6, 0.8, 1.0))
PROMPTS, GROUP, MOST_TOKENS = 16, 12, 200
FULL_WORDS = (70, 130)
"""Least and most words of thinking at ratio 1."""
CHAINS = {
    token: [f"{token[6:-1]}.{place}" for place in range(round(ratio * FULL_WORDS[1]))]
    for token, ratio in LADDER.ratios.items()
}
"""Words of thinking at each ratio, which a model learns quickly, because each word has one successor."""
WORDS = [word for chain in CHAINS.values() for word in chain]
VARIANTS = {
    "TRL's decoding and passes": (False, False, 192),
    "our decoding": (True, False, 192),
    "our passes": (False, True, 32),
    "both": (True, True, 32),
}
"""Name -> (our decoding, our passes, rows of a pass)."""
PARTS = {
    "rollouts": "_generate_single_turn",
    "probabilities of the ratios": "ladder_log_probs",
    "reading and grading": "_calculate_rewards",
}


def make_tokenizer() -> Any:
    """Whole words as tokens."""
    words = ["[pad]", "[end]", "[unk]", "<think>", "</think>", "\\boxed{", "}", *map(str, range(10)), *WORDS]
    vocabulary = {word: index for index, word in enumerate([*words, *LADDER.all_tokens])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[unk]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[unk]", pad_token="[pad]", eos_token="[end]", padding_side="left"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": LADDER.all_tokens})
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    return tokenizer


def question(rng: random.Random) -> tuple[str, str]:
    """A question of 40 to 50 words, and its answer: its first digit."""
    answer = str(rng.randrange(10))
    return " ".join([answer, *rng.choices(WORDS, k=rng.randint(39, 49))]), answer


def lesson(rng: random.Random) -> str:
    """A question, a ratio, and the answer after thinking of a length that the ratio asks for."""
    asked, answer = question(rng)
    token, ratio = rng.choice(list(LADDER.ratios.items()))
    words = " ".join(CHAINS[token][: round(ratio * rng.randint(*FULL_WORDS))])
    requested = rng.choice([token, LADDER.policy])
    return f"{asked} {requested} {token} <think> {words} </think> \\boxed{{ {answer} }} [end]"


def trained(tokenizer: Any, lessons: int) -> Any:
    """A Qwen3 of 3 layers and width 128 after batches of 32 lessons."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=512, tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = random.Random(0)
    for _ in range(lessons):
        batch = tokenizer([lesson(rng) for _ in range(32)], padding=True, padding_side="right", return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


class Clock(TrainerCallback):
    """Processor and wall seconds of a step, processor seconds of its parts, and the lengths of its rollouts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.lengths: list[int] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self._start = time.process_time(), time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self.seconds |= {
            "processor": time.process_time() - self._start[0],
            "wall": time.perf_counter() - self._start[1],
        }

    def time(self, trainer: Any, part: str, name: str) -> None:
        """Record the time of a method."""
        method = getattr(trainer, name)

        def run(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            done = method(*arguments, **options)
            self.seconds[part] = time.process_time() - start
            if part == "rollouts":
                self.lengths = [1 + len(ids) for ids in done[0]]
            return done

        setattr(trainer, name, run)


def step(model: Any, tokenizer: Any, variant: tuple[bool, bool, int]) -> Clock:
    """One step from the given weights, which are the same afterwards."""
    decoding, passes, rows_per_pass = variant
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng = random.Random(1)
    rows = [
        {
            "id": asked, "prompt": [{"role": "user", "content": f"{asked} {LADDER.policy}"}], "answer": answer,
            "teacher_ratio": None, "mode": "policy", "reference_tokens": FULL_WORDS[1], "reference_accuracy": 0.9,
        }
        for asked, answer in [question(rng) for _ in range(PROMPTS)]
    ]  # fmt: skip
    clock = Clock()
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("chrpo.trl.trainer.compact_decoding", nullcontext) if not decoding else nullcontext(),
        patch("chrpo.trl.trainer.cut_passes", lambda uncut, **_: uncut) if not passes else nullcontext(),
    ):
        args = CHRPOConfig(
            output_dir=folder, max_steps=1, num_generations=GROUP, per_device_train_batch_size=rows_per_pass,
            gradient_accumulation_steps=PROMPTS * GROUP // rows_per_pass, learning_rate=1e-4, temperature=0.5,
            top_p=1.0, top_k=0, max_completion_length=MOST_TOKENS - 1, save_strategy="no", report_to="none",
            disable_tqdm=True, use_cpu=True, activation_checkpointing=False,
        )  # fmt: skip
        trainer = CHRPOTrainer(
            model, args, prompts=rows, control_tokens=LADDER, processing_class=tokenizer, callbacks=[clock]
        )
        trainer.remove_callback(PrinterCallback)
        for part, name in PARTS.items():
            clock.time(trainer, part, name)
        trainer.train()
    model.load_state_dict(before)
    return clock


def tables(result: dict[str, Any]) -> str:
    """Whole steps, then their parts."""
    lines = [
        f"{result['rollouts']} rollouts a step, {result['tokens']:.0f} tokens on average, {result['most']} at most; "
        f"{result['rounds']} steps of each variant, median (least to most):",
        "",
        "| | processor seconds a step | wall seconds a step | processor time of TRL's / its own |",
        "|---|---:|---:|---:|",
    ]
    for name, each in result["variants"].items():
        seconds = [f"{each[kind]['median']:.2f} ({each[kind]['low']:.2f} to {each[kind]['high']:.2f})" for kind in
                   ("processor", "wall")]  # fmt: skip
        times = f"{each['times']['median']:.2f} ({each['times']['low']:.2f} to {each['times']['high']:.2f})"
        lines.append(f"| {name} | {' | '.join(seconds)} | {times} |")
    lines += ["", f"| processor seconds | {' | '.join(result['variants'])} |", "|---|" + "---:|" * len(VARIANTS)]
    for part in [*PARTS, "loss, gradient, optimiser, rest"]:
        shown = " | ".join(f"{each['parts'][part]:.2f}" for each in result["variants"].values())
        lines.append(f"| {part} | {shown} |")
    return "\n".join(lines)


def summary(clocks: list[dict[str, Clock]]) -> dict[str, Any]:
    """The record of all rounds."""
    found: dict[str, Any] = {}
    first = [each[next(iter(VARIANTS))].seconds["processor"] for each in clocks]
    for name in VARIANTS:
        seconds = [each[name].seconds for each in clocks]
        parts = {part: spread([each[part] for each in seconds])["median"] for part in PARTS}
        rest = [each["processor"] - sum(each[part] for part in PARTS) for each in seconds]
        found[name] = {
            **{kind: spread([each[kind] for each in seconds]) for kind in ("processor", "wall")},
            "times": spread([one / each["processor"] for one, each in zip(first, seconds, strict=True)]),
            "parts": {**parts, "loss, gradient, optimiser, rest": spread(rest)["median"]},
        }
    lengths = clocks[0]["both"].lengths
    tokens, most = sum(lengths) / len(lengths), max(lengths)
    return {"rollouts": PROMPTS * GROUP, "tokens": tokens, "most": most, "rounds": len(clocks), "variants": found}


@click.command()
@click.option("--lessons", default=60, show_default=True, help="Number of batches that the model is trained on.")
@click.option("--rounds", default=3, show_default=True, help="Number of measured steps of each variant.")
def main(lessons: int, rounds: int) -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    model = trained(tokenizer, lessons)
    clocks = []
    for number in range(rounds + 1):
        order = list(VARIANTS) if number % 2 else list(reversed(VARIANTS))
        clocks.append({name: step(model, tokenizer, VARIANTS[name]) for name in order})
    record(__file__, summary(clocks[1:]), tables)


if __name__ == "__main__":
    main()
