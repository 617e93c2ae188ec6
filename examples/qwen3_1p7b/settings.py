"""Every setting of the recipe, for the paper's scale and for a dry run; README.md names the source of each.

The stages are in `qwen3_1p7b`, their cost in `cost`.

    PAPER.sft_accumulation(gpus=8)    # 4: 8 GPUs x 2 rows x 4 batches = the paper's 64 rows in a step
"""

from dataclasses import dataclass

RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Settings:
    """Settings for one scale of the recipe; lengths are in tokens."""

    sft_questions: int
    """Number of questions that the base model answers."""
    metamath_questions: int
    """Number of questions for evaluation only (the paper's MetaMath-1k)."""
    sft_traces: int
    """Number of traces in the mixture; each gives a row for every ratio."""
    rl_questions: int
    """Number of questions of CHRPO."""
    warmup_questions: int
    """Number of the mixture's questions whose smallest sufficient ratio is measured."""
    samples: int
    """Number of samples of each question and ratio."""
    max_tokens: int
    """Largest number of tokens of a completion, in sampling, rollouts and evaluation."""
    sft_rows: int
    """Number of rows in an SFT step, over all GPUs."""
    sft_batch: int
    """Number of rows in a forward pass of one GPU."""
    sft_learning_rate: float
    sft_epochs: float
    warmup_epochs: float
    rl_steps: int
    rl_prompts: int
    """Number of prompts in a CHRPO step, over all GPUs."""
    rollouts: int
    rl_batch: int
    """Number of rollouts in a forward pass of one GPU."""
    rl_learning_rate: float
    evaluation_seeds: int
    requests: int
    """Number of completions that one GPU generates at the same time."""
    sft_length: int = 6144
    temperature: float = 0.7
    top_p: float = 0.9
    accuracy_slack: float = 0.01
    """Accuracy below the reference that CHRPO may give up."""
    save_steps: int = 25

    def sft_accumulation(self, gpus: int) -> int:
        """Number of batches in an SFT step.

        Raises:
            ValueError: the rows of a step cannot be divided evenly among the GPUs.
        """
        batches, left = divmod(self.sft_rows, self.sft_batch * gpus)
        if left or not batches:
            raise ValueError(
                f"{self.sft_rows} rows do not divide among {gpus} GPUs of {self.sft_batch}; use another number of GPUs"
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
    max_tokens=96,
    sft_rows=8,
    sft_batch=4,
    sft_learning_rate=2e-3,
    sft_epochs=10,
    warmup_epochs=5,
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
