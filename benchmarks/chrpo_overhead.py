"""The cost of the objective: microseconds of the core, and share of a training step compared with plain GRPOTrainer.

Both trainers train the same random Qwen3 on the same recorded completions, graded by the same function, so that a
step is the same work. Times are processor time of one thread, with both trainers in turn (A B B A) and without the
first step of every run. Two steps differ by more than the objective costs, so its share is measured within each step,
where both parts of the fraction have the same load: (time of what only CHRPOTrainer does - time of a plain reward
function on the same completions) / time of the rest of that step.

    python benchmarks/chrpo_overhead.py --layers 4 --hidden 256 --steps 6
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from datasets import Dataset
from recording import record, spread
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen3Config, Qwen3ForCausalLM, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from chrpo import ControlTokens, grade
from chrpo.core import ConstrainedReward, Outcomes, control_advantages, leave_one_out
from chrpo.trl import CHRPOConfig, CHRPOTrainer

LADDER = ControlTokens.ladder((0.2, 0.4, 0.6, 0.8, 1.0))
PROMPTS, GROUP, PROMPT_WORDS = 4, 10, 40
LENGTHS = (128, 512)
ROUNDS = 100
OWN = ("ladder_log_probs", "_calculate_rewards", "with_control_token")
"""Methods of CHRPOTrainer that GRPOTrainer does not have, or that replace its reward function."""


def core_microseconds(rollouts: int) -> float:
    """Time from outcomes to advantages of one step (reward, leave-one-out, control advantages): median of 500 calls."""
    generator = np.random.default_rng(0)
    prompts = rollouts // 32
    prompt, ratio = np.repeat(np.arange(prompts), 32), np.tile(np.repeat(np.arange(4), 8), prompts)
    correct, cost = generator.random(rollouts) < 0.7, generator.random(rollouts)
    outcomes = Outcomes.of(format_ok=cost > 0.01, correct=correct, requested_ratio=cost, realised_ratio=cost, cost=cost)
    policy, reward = generator.dirichlet(np.ones(4), prompts), ConstrainedReward()
    taken = []
    for _ in range(500):
        start = time.process_time()
        earned = reward(outcomes, 0.6).main
        leave_one_out(earned, prompt * 4 + ratio)
        control_advantages(earned, prompt=prompt, ratio=ratio, policy=policy)
        taken.append(1e6 * (time.process_time() - start))
    return statistics.median(taken)


def make_tokenizer() -> Any:
    """Whole words as tokens."""
    words = [
        "[pad]",
        "[end]",
        "[unk]",
        "\\boxed{",
        "}",
        "<think>",
        "</think>",
        "0",
        "1",
        *(f"w{n}" for n in range(900)),
    ]
    vocabulary = {word: index for index, word in enumerate([*words, *LADDER.all_tokens])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[unk]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[unk]", pad_token="[pad]", eos_token="[end]", padding_side="left"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": LADDER.all_tokens})
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    return tokenizer


def recorded(tokenizer: Any, length: int) -> list[list[int]]:
    """Completions of `length` tokens, half of them correct."""
    generator = np.random.default_rng(0)
    texts = []
    for number in range(PROMPTS * GROUP):
        words = " ".join(f"w{generator.integers(900)}" for _ in range(length - 6))
        texts.append(f"<think> {words} </think> \\boxed{{ {number % 2} }} [end]")
    return [tokenizer.encode(text, add_special_tokens=False) for text in texts]


class Clock(TrainerCallback):
    """Processor seconds of every optimiser step, and of the methods timed within it."""

    def __init__(self, after_step: Callable[[], object]) -> None:
        self._after_step = after_step
        self.steps: list[dict[str, float]] = []
        self._parts: dict[str, float] = {}

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self._parts = {}
        self._start = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop; then time the reward function that a plain trainer has in place of the timed methods."""
        whole = time.process_time() - self._start
        start = time.process_time()
        self._after_step()
        self.steps.append({"step": whole, "reward function": time.process_time() - start, **self._parts})

    def time(self, trainer: Any, name: str) -> None:
        """Record the time of a method in every step."""
        method = getattr(trainer, name)

        def run(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            done = method(*arguments, **options)
            self._parts[name] = self._parts.get(name, 0.0) + time.process_time() - start
            return done

        setattr(trainer, name, run)


def replaying(kind: type[GRPOTrainer], completions: list[list[int]]) -> type[Any]:
    """The trainer, with recorded completions in place of generated ones."""

    class Replay(kind):
        def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
            return [list(ids) for ids in completions[: len(prompt_ids)]], None

    return Replay


def run(plain: bool, length: int, options: argparse.Namespace) -> list[dict[str, float]]:
    """One run of either trainer: the seconds of each step but the first, and of its parts."""
    tokenizer = make_tokenizer()
    completions = recorded(tokenizer, length)
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer), hidden_size=options.hidden, intermediate_size=3 * options.hidden,
            num_hidden_layers=options.layers, num_attention_heads=4, num_key_value_heads=4,
            head_dim=options.hidden // 4, pad_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip
    question = " ".join(f"w{number}" for number in range(PROMPT_WORDS))
    prompts = [[{"role": "user", "content": f"w{number} {question} {LADDER.policy}"}] for number in range(PROMPTS)]

    def correctness(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [float(grade(tokenizer.decode(ids), "1")) for ids in completion_ids]

    clock = Clock(lambda: correctness(completions))
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {
            "output_dir": folder, "max_steps": options.steps, "num_generations": GROUP, "logging_steps": 1,
            "per_device_train_batch_size": PROMPTS * GROUP, "gradient_accumulation_steps": 1, "use_cpu": True,
            "max_completion_length": length, "save_strategy": "no", "report_to": "none", "disable_tqdm": True,
            "bf16": False, "beta": 0.0,
        }  # fmt: skip
        if plain:
            make = replaying(GRPOTrainer, completions)
            args = GRPOConfig(**settings, scale_rewards="none", gradient_checkpointing=False)
            rows = Dataset.from_list([{"prompt": prompt} for prompt in prompts])
            trainer = make(
                model, reward_funcs=[correctness], args=args, train_dataset=rows, processing_class=tokenizer,
                callbacks=[clock],
            )  # fmt: skip
        else:
            make = replaying(CHRPOTrainer, completions)
            rows = [
                {
                    "id": str(number), "prompt": prompt, "answer": "1", "teacher_ratio": None, "mode": "policy",
                    "reference_tokens": length, "reference_accuracy": 0.5,
                }
                for number, prompt in enumerate(prompts)
            ]  # fmt: skip
            trainer = make(
                model, CHRPOConfig(**settings, activation_checkpointing=False), prompts=rows, control_tokens=LADDER,
                processing_class=tokenizer, callbacks=[clock],
            )  # fmt: skip
            for name in OWN:
                clock.time(trainer, name)
        trainer.remove_callback(PrinterCallback)
        # Shorter passes would make CHRPOTrainer's steps cheaper than the plain ones; `chrpo_step` measures that.
        with patch("chrpo.trl.trainer.cut_passes", lambda passes, **_: passes):
            trainer.train()
    return clock.steps[1:]


def tables(result: dict[str, Any]) -> str:
    """The core, then steps with short and with long rollouts."""
    lines = ["| facts to advantages, rounds of 500 calls | median | least | most |", "|---|---:|---:|---:|"]
    lines += [
        f"| {rollouts} rollouts | {taken['median']:.0f} us | {taken['low']:.0f} us | {taken['high']:.0f} us |"
        for rollouts, taken in result["core"].items()
    ]
    lines += [
        "",
        f"{result['size']}, processor seconds a step:",
        "",
        "| rollouts of | GRPOTrainer | CHRPOTrainer | difference, pair by pair | pass over the prompts | "
        "scoring the step | share of a plain step |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for length, found in result["steps"].items():
        plain, ours = (
            f"{taken['median']:.2f} ({taken['low']:.2f} to {taken['high']:.2f})"
            for taken in (found["seconds"]["GRPOTrainer"], found["seconds"]["CHRPOTrainer"])
        )
        ratio, share = ({name: 100 * value for name, value in found[key].items()} for key in ("ratio", "share"))
        lines.append(
            f"| {length} tokens | {plain} | {ours} | {ratio['median']:+.1f} % ({ratio['low']:+.1f} to "
            f"{ratio['high']:+.1f}) | {found['pass']:.4f} | {found['judging']:.4f} | {share['median']:.2f} % "
            f"({share['low']:.2f} to {share['high']:.2f}) |"
        )
    return "\n".join(lines)


def steps_of(length: int, options: argparse.Namespace) -> dict[str, Any]:
    """Both trainers in turn on rollouts of one length."""
    runs: dict[bool, list[list[dict[str, float]]]] = {True: [], False: []}
    for pair in range(options.pairs):
        for plain in (True, False) if pair % 2 == 0 else (False, True):
            runs[plain].append(run(plain, length, options))
    medians = {plain: [statistics.median(step["step"] for step in each) for each in runs[plain]] for plain in runs}
    ours = [step for each in runs[False] for step in each]
    more = [sum(step[name] for name in OWN) - step["reward function"] for step in ours]
    passes = [step[OWN[0]] for step in ours]
    return {
        "seconds": {
            name: spread([step["step"] for each in runs[plain] for step in each])
            for name, plain in (("GRPOTrainer", True), ("CHRPOTrainer", False))
        },
        "pass": statistics.median(passes),
        "judging": statistics.median(own - one for own, one in zip(more, passes, strict=True)),
        "share": spread([own / (step["step"] - own) for own, step in zip(more, ours, strict=True)]),
        "ratio": spread([ours / theirs - 1 for ours, theirs in zip(medians[False], medians[True], strict=True)]),
    }


def main() -> None:
    """Measure and record the core and the trainers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4, help="Number of layers of the model.")
    parser.add_argument("--hidden", type=int, default=256, help="Hidden size of the model.")
    parser.add_argument("--steps", type=int, default=6, help="Number of optimiser steps of a run.")
    parser.add_argument("--pairs", type=int, default=4, help="Number of runs of each trainer.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = [{rollouts: core_microseconds(rollouts) for rollouts in (128, 1024)} for _ in range(ROUNDS)]
    result = {
        "size": f"{PROMPTS} prompts of {PROMPT_WORDS} tokens x {GROUP} rollouts, "
        f"{options.layers} layers of {options.hidden}",
        "core": {str(rollouts): spread([each[rollouts] for each in rounds]) for rollouts in rounds[0]},
        "steps": {str(length): steps_of(length, options) for length in LENGTHS},
    }
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
