"""Every setting of the recipe, for GPUs and for a dry run; README.md says why each was chosen.

The stages are in `r1_distill_1p5b`, their cost in `gpu_hours`.

    FULL.rl_steps * FULL.rl_prompts * FULL.rollouts    # 204 800 rollouts
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Settings for one scale of the recipe; lengths are in tokens."""

    questions: int
    """Number of questions that the model is measured and trained on."""
    samples: int
    """Number of samples of each question before training."""
    max_tokens: int
    """Largest number of tokens of a completion, in samples and rollouts."""
    rl_steps: int
    rl_prompts: int
    """Number of prompts in a step, over all GPUs."""
    rollouts: int
    rl_batch: int
    """Number of rollouts in a forward pass of one GPU."""
    learning_rate: float
    requests: int
    """Number of completions that one GPU generates at the same time."""
    tests: dict[str, str]
    """Tasks of each evaluation run, by its name."""
    sampler: str
    """Flags of the evaluations."""
    save_steps: int = 25


FULL = Settings(
    questions=8000,
    samples=4,
    max_tokens=8192,
    rl_steps=200,
    rl_prompts=128,
    rollouts=8,
    rl_batch=2,
    learning_rate=1e-6,
    requests=64,
    tests={"contests": "aime24,aime25,aime26,amc23", "benchmarks": "math500,olympiadbench,gpqa_diamond"},
    sampler="--preset reasoning",
)

DRY_RUN = Settings(
    questions=4,
    samples=2,
    max_tokens=64,
    rl_steps=2,
    rl_prompts=2,
    rollouts=4,
    rl_batch=4,
    learning_rate=1e-4,
    requests=32,
    tests={"contests": "amc23.jsonl", "benchmarks": "math500.jsonl"},
    sampler="--temperature 0.6 --top-p 0.95 --max-tokens 64 --samples 2",
    save_steps=1,
)
