"""Every setting of the recipe, for the paper's scale and for a dry run; README.md says where each comes from.

What the stages are is said by `qwen3_1p7b`, what they cost by `cost`.

    PAPER.sft_accumulation(gpus=8)    # 4: 8 GPUs x 2 rows x 4 = the paper's 64 rows a step
"""

from dataclasses import dataclass

RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Settings:
    """One scale of the recipe; lengths are in tokens."""

    sft_questions: int
    """Questions that the base model answers."""
    metamath_questions: int
    """Questions that are only evaluated on (the paper's MetaMath-1k)."""
    sft_traces: int
    """Traces in the mix; each gives a row for every ratio."""
    rl_questions: int
    warmup_questions: int
    """Questions of the mix that are sampled at every ratio, to find what each needs."""
    samples: int
    """Of each question and ratio."""
    max_tokens: int
    """Of a completion, in sampling, rollouts and evaluation."""
    sft_rows: int
    """Rows of an SFT step, over all GPUs."""
    sft_batch: int
    """Rows of one GPU and forward pass."""
    sft_learning_rate: float
    sft_epochs: float
    warmup_epochs: float
    rl_steps: int
    rl_prompts: int
    """Prompts of a CHRPO step, over all GPUs."""
    rollouts: int
    rl_batch: int
    """Rollouts of one GPU and forward pass."""
    rl_learning_rate: float
    evaluation_seeds: int
    requests: int
    """Completions in flight on one GPU."""
    sft_length: int = 6144
    temperature: float = 0.7
    top_p: float = 0.9
    eps: float = 0.01
    save_steps: int = 25

    def sft_accumulation(self, gpus: int) -> int:
        """Batches of one SFT step.

        Raises:
            ValueError: the GPUs do not share a step evenly.
        """
        batches, left = divmod(self.sft_rows, self.sft_batch * gpus)
        if left or not batches:
            raise ValueError(
                f"{self.sft_rows} rows do not divide among {gpus} GPUs of {self.sft_batch}; take another number of GPUs"
            )
        return batches


PAPER = Settings(
    sft_questions=145_000,
    metamath_questions=1000,
    sft_traces=12_000,
    rl_questions=10_000,
    warmup_questions=10_000,
    samples=4,
    max_tokens=4096,
    sft_rows=64,
    sft_batch=2,
    sft_learning_rate=2e-5,
    sft_epochs=3,
    warmup_epochs=1,
    rl_steps=200,
    rl_prompts=128,
    rollouts=10,
    rl_batch=4,
    rl_learning_rate=1e-6,
    evaluation_seeds=4,
    requests=128,
)

DRY_RUN = Settings(
    sft_questions=16,
    metamath_questions=6,
    sft_traces=12,
    rl_questions=4,
    warmup_questions=6,
    samples=3,
    max_tokens=24,
    sft_rows=8,
    sft_batch=4,
    sft_learning_rate=2e-3,
    sft_epochs=1,
    warmup_epochs=1,
    rl_steps=2,
    rl_prompts=2,
    rollouts=10,
    rl_batch=10,
    rl_learning_rate=1e-4,
    evaluation_seeds=2,
    requests=32,
    sft_length=512,
    save_steps=1,
)
