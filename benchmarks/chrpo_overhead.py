"""What the objective costs: microseconds of the core, and its share of a training step against plain GRPOTrainer.

Both trainers train the same random Qwen3 on the same recorded completions, graded by the same function, so that a step
is the same work. Processor time of one thread, both trainers in turn (A B B A), the first step of every run left out.
As two steps differ by more than the objective costs, its own part is also timed directly: what the trainer does and
plain GRPOTrainer does not, and judging in place of calling a reward function.

    python benchmarks/chrpo_overhead.py --layers 4 --hidden 256 --steps 4
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from recording import record, spread
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen3Config, Qwen3ForCausalLM, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from chrpo.control import ControlTokens
from chrpo.core import ConstrainedReward, Outcomes, control_advantages, leave_one_out
from chrpo.grader import grade
from chrpo.trl import CHRPOConfig, CHRPOTrainer

LADDER = ControlTokens.ladder((0.2, 0.4, 0.6, 0.8, 1.0))
PROMPTS, GROUP, PROMPT_WORDS = 4, 10, 40
LENGTHS = (128, 512)


def core_microseconds(rollouts: int) -> list[float]:
    """Facts to advantages for one step: reward, leave-one-out, control advantages."""
    generator = np.random.default_rng(0)
    prompts = rollouts // 32
    prompt, rung = np.repeat(np.arange(prompts), 32), np.tile(np.repeat(np.arange(4), 8), prompts)
    right, cost = generator.random(rollouts) < 0.7, generator.random(rollouts)
    facts = Outcomes.of(format_ok=cost > 0.01, correct=right, asked_ratio=cost, realised_ratio=cost, cost=cost)
    policy, reward = generator.dirichlet(np.ones(4), prompts), ConstrainedReward()
    taken = []
    for _ in range(500):
        start = time.process_time()
        earned = reward(facts, 0.6).main
        leave_one_out(earned, prompt * 4 + rung)
        control_advantages(earned, prompt=prompt, ratio=rung, policy=policy)
        taken.append(1e6 * (time.process_time() - start))
    return taken


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
    """Completions of `length` tokens, half of them right."""
    generator = np.random.default_rng(0)
    texts = []
    for number in range(PROMPTS * GROUP):
        words = " ".join(f"w{generator.integers(900)}" for _ in range(length - 6))
        texts.append(f"<think> {words} </think> \\boxed{{ {number % 2} }} [end]")
    return [tokenizer.encode(text, add_special_tokens=False) for text in texts]


class Clock(TrainerCallback):
    """Processor seconds of every optimiser step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self._start = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self.seconds.append(time.process_time() - self._start)


def replaying(kind: type[GRPOTrainer], completions: list[list[int]]) -> type[Any]:
    """The trainer, generating what was recorded."""

    class Replay(kind):
        def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
            return [list(ids) for ids in completions[: len(prompt_ids)]], None

    return Replay


def timed(trainer: Any, names: list[str], seconds: list[float]) -> None:
    """Note the processor time of some methods."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            done = method(*arguments, **options)
            seconds.append(time.process_time() - start)
            return done

        return run

    for name in names:
        setattr(trainer, name, wrap(getattr(trainer, name)))


def step_seconds(plain: bool, length: int, options: argparse.Namespace) -> tuple[list[float], float]:
    """One run of either trainer: seconds of each step, and seconds a step of what only one of them does."""
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
    clock = Clock()
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

            def right(completion_ids: list[list[int]], **_: Any) -> list[float]:
                return [float(grade(tokenizer.decode(ids), "1")) for ids in completion_ids]

            rows = Dataset.from_list([{"prompt": prompt} for prompt in prompts])
            trainer = make(
                model, reward_funcs=[right], args=args, train_dataset=rows, processing_class=tokenizer,
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
        trainer.remove_callback(PrinterCallback)
        own: list[float] = []
        timed(trainer, ["_calculate_rewards"] + ([] if plain else ["_ladder_log_probs", "_with_control_token"]), own)
        trainer.train()
    return clock.seconds[1:], sum(own[len(own) // options.steps :]) / (options.steps - 1)


def tables(result: dict[str, Any]) -> str:
    """The core, then steps with short and with long rollouts."""
    lines = ["| facts to advantages | median | least | most |", "|---|---:|---:|---:|"]
    lines += [
        f"| {rollouts} rollouts | {taken['median']:.0f} us | {taken['low']:.0f} us | {taken['high']:.0f} us |"
        for rollouts, taken in result["core"].items()
    ]
    lines += [
        "",
        f"{result['size']}, processor seconds a step:",
        "",
        "| rollouts of | GRPOTrainer | CHRPOTrainer | difference, pair by pair | judging | share of a plain step |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for length, found in result["steps"].items():
        plain, ours = (
            f"{taken['median']:.2f} ({taken['low']:.2f} to {taken['high']:.2f})" for taken in found["seconds"].values()
        )
        ratio = found["ratio"]
        lines.append(
            f"| {length} tokens | {plain} | {ours} | {100 * ratio['median']:+.1f} % ({100 * ratio['low']:+.1f} to "
            f"{100 * ratio['high']:+.1f}) | {found['own']:.4f} | {100 * found['share']:.2f} % |"
        )
    return "\n".join(lines)


def steps_of(length: int, options: argparse.Namespace) -> dict[str, Any]:
    """Both trainers in turn on rollouts of one length."""
    runs: dict[bool, list[list[float]]] = {True: [], False: []}
    own: dict[bool, list[float]] = {True: [], False: []}
    for pair in range(options.pairs):
        for plain in (True, False) if pair % 2 == 0 else (False, True):
            taken, part = step_seconds(plain, length, options)
            runs[plain].append(taken)
            own[plain].append(part)
    medians = {plain: [statistics.median(run) for run in each] for plain, each in runs.items()}
    more = statistics.median(own[False]) - statistics.median(own[True])
    return {
        "seconds": {
            name: spread([second for run in runs[plain] for second in run])
            for name, plain in (("GRPOTrainer", True), ("CHRPOTrainer", False))
        },
        "own": more,
        "share": more / statistics.median(medians[True]),
        "ratio": spread([ours / theirs - 1 for ours, theirs in zip(medians[False], medians[True], strict=True)]),
    }


def main() -> None:
    """Measure and record both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=4, help="runs of each trainer")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "size": f"{PROMPTS} prompts of {PROMPT_WORDS} tokens x {GROUP} rollouts, "
        f"{options.layers} layers of {options.hidden}",
        "core": {str(rollouts): spread(core_microseconds(rollouts)) for rollouts in (128, 1024)},
        "steps": {str(length): steps_of(length, options) for length in LENGTHS},
    }
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
