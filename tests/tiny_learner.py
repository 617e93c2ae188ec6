"""From an untrained model to one that chooses its ratio: the commands of three packages on a chat template.

The model learns four sums by heart at three ratios. What has to hold afterwards is left to `test_end_to_end`.

    learn(folder, LEARNERS["R1-Distill"])      # folder/sft, folder/chrpo, and two run folders of each
"""

import json
from dataclasses import dataclass
from pathlib import Path

from .conftest import INSTRUCTION, build_tokenizer, run_command, write_rows
from .published_templates import PUBLISHED

PROBLEMS = [
    {"id": f"sum/{first}", "question": f"{first} + {second}?", "answer": str(first + second), "sum": [first, second]}
    for first, second in zip((2, 3, 5, 9), (7, 4, 8, 6), strict=True)
]
RL_PROBLEMS = [{**each, "id": f"{each['id']}/{copy}"} for copy in range(4) for each in PROBLEMS]
"""The sums of reinforcement learning: enough that `chrpo prepare` lets a prompt request each ratio."""
SHORT_SHARE = 0.17
"""Share of the policy rows that open with the smallest ratio: one for each problem, beside two and three others."""


@dataclass(frozen=True)
class Learner:
    """What differs between the runs.

    Args:
        template: Chat template of the base model.
        end: Its end token.
        ratios: The ladder, in rising order.
        opens: Whether the template's generation prompt opens the thinking block.
        switch: The model's own switch that asks for the smallest ratio; empty for its token.
    """

    template: str
    end: str
    ratios: tuple[float, ...]
    opens: bool
    switch: str = ""

    @property
    def ladder(self) -> str:
        """The ladder as flags of a command."""
        return " ".join(f"--ratio {ratio}" for ratio in self.ratios)


LEARNERS = {
    "R1-Distill": Learner(PUBLISHED["R1-Distill"][0], "<｜end▁of▁sentence｜>", (0.3, 0.65, 1), True),
    "Qwen3-Thinking-2507": Learner(PUBLISHED["Qwen3-Thinking-2507"][0], "<|im_end|>", (0, 0.65, 1), True),
    "Qwen3": Learner(PUBLISHED["Qwen3"][0], "<|im_end|>", (0, 0.65, 1), False, switch="/no_think"),
}


def learn(folder: Path, learner: Learner) -> None:
    """Make a base model and its compressed traces, and run every stage in a folder."""
    build_model(folder / "base", learner)
    write_rows(folder / "problems.jsonl", PROBLEMS)
    write_rows(folder / "rl.jsonl", RL_PROBLEMS)
    write_rows(folder / "compressed.jsonl", [compressed(problem, folder / "base") for problem in PROBLEMS])
    low, middle, high = learner.ratios
    switch = f"--switch {low}={learner.switch}" if learner.switch else ""
    quotas = f"--policy-quota {low}={SHORT_SHARE} --policy-quota {middle}=0.33 --policy-quota {high}=0.5"
    every = f"{learner.ladder} --ratio policy --batch-size 128 --max-tokens 80"
    evaluate = f"--tasks {folder}/problems.jsonl {every}"
    sample = f"--tasks {folder}/rl.jsonl {every} --samples 4 --temperature 1"
    for stage in (
        f"ratio-sft build {folder}/compressed.jsonl {folder}/mix {learner.ladder} {switch} {quotas} --policy-share 0.67"
        " --heldout-share 0 --tolerance 0.1",
        f"ratio-sft train {folder}/mix {folder}/sft --model {folder}/base --max-steps 600 --batch-size 12"
        " --learning-rate 3e-3 --weight-decay 0 --save-steps 600",
        f"math-eval run --model {folder}/sft {evaluate} --output-dir {folder}/greedy_sft",
        f"math-eval run --model {folder}/sft {sample} --output-dir {folder}/run_sft",
        f"chrpo prepare {folder}/run_sft/samples_rl.jsonl {folder}/prompts.jsonl --checkpoint {folder}/sft",
        f"chrpo train {folder}/prompts.jsonl {folder}/chrpo --model {folder}/sft --max-steps 70 --prompts-per-step 4"
        " --rollouts 12 --learning-rate 2e-4 --save-steps 100",
        f"math-eval run --model {folder}/chrpo {evaluate} --output-dir {folder}/greedy_chrpo",
        f"math-eval run --model {folder}/chrpo {sample} --output-dir {folder}/run_chrpo",
    ):
        done = run_command(stage)
        assert done.exit_code == 0, f"{stage}\n{done.output}"


def build_model(folder: Path, learner: Learner) -> None:
    """Save an untrained Qwen3, and a tokenizer of the problems' texts with the learner's template and end token."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    texts = [f"{INSTRUCTION}\n{problem['question']}\n{''.join(sentences(problem))}" for problem in PROBLEMS]
    tokenizer = build_tokenizer([*texts, learner.template], end=learner.end, template=learner.template)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=256, tie_word_embeddings=True,
        initializer_range=0.1,  # with less, some orders of rows never part the control tokens
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def sentences(problem: dict) -> list[str]:
    """The whole thinking, the sentence that a short one keeps first."""
    (first, second), total = problem["sum"], problem["answer"]
    return [
        f"{first} + {second} = {total}.",
        f" Check: {second} + {first} = {total}.",
        f" And {total} - {first} = {second}.",
    ]


def compressed(problem: dict, base: Path) -> dict:
    """A row of the `compressed` contract, whose texts are the first one, two or three sentences."""
    from transformers import AutoTokenizer

    tokenizer, written = AutoTokenizer.from_pretrained(base), sentences(problem)
    counts = [len(tokenizer("".join(written[:kept]), add_special_tokens=False).input_ids) for kept in (1, 2, 3)]
    made = {"spans": [], "original_tokens": counts[-1], "tokenizer": "tiny"}
    return {
        **problem,
        "cot": "".join(written),
        "response": f"\\boxed{{{problem['answer']}}}",
        "model": "tiny",
        "correct": True,
        "sample": 0,
        "compressions": [
            {
                **made,
                "ratio": ratio,
                "text": "".join(written[:kept]),
                "tokens": count,
                "achieved_ratio": count / counts[-1],
            }
            for ratio, kept, count in zip((0.3, 0.65, 1), (1, 2, 3), counts, strict=True)
        ],
    }


def conditions(run: Path) -> dict[float | str, list[dict]]:
    """The samples of a run by ratio."""
    found: dict[float | str, list[dict]] = {}
    (samples,) = run.glob("samples_*.jsonl")
    with samples.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            found.setdefault(row["ratio"], []).append(row)
    return found
