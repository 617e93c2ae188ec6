"""GPU memory and GPU-hours of every stage, by the formulas of `examples/qwen3_1p7b/cost.py`; nothing was measured.

The model is that of Qwen2.5-1.5B, with embedding and head apart. Completions are assumed to have 7000 tokens before
training and in the evaluations, and 4000 on average in training.

    python examples/r1_distill_1p5b/gpu_hours.py --gpus 8
"""

import sys
from pathlib import Path

import click
from scales import FULL

sys.path.append(str(Path(__file__).parents[1] / "qwen3_1p7b"))
from cost import GIB, VLLM_GIB, Gpu, Line, Model, decoding_bytes, decoding_hours, table, training_bytes, training_hours

MODEL = Model(width=1536, feed_forward=8960, heads=12, key_value_heads=2, embeddings=2)
PROMPT, BEFORE, IN_TRAINING = 100, 7000, 4000
EVALUATED_TOKENS = 32_768
EVALUATED = {"contests": (130, 16), "benchmarks": (500 + 674 + 198, 4)}
"""Number of problems and of samples of each evaluation."""


def estimate(gpus: int) -> list[Line]:
    """The stages that need GPUs, each as (stage, GiB on each GPU, GPU-hours of all GPUs)."""
    s, gpu = FULL, Gpu()

    def decode(name: str, completions: int, tokens: int, limit: int) -> Line:
        hours = decoding_hours(MODEL, gpu, completions * tokens, s.requests, PROMPT + tokens)
        return name, decoding_bytes(MODEL, s.requests, PROMPT + limit) / GIB, hours

    rollouts = s.rl_steps * s.rl_prompts * s.rollouts
    _, _, writing = decode("", rollouts, IN_TRAINING, s.max_tokens)
    learning = training_hours(MODEL, gpu, rollouts * (PROMPT + IN_TRAINING))
    memory = training_bytes(MODEL, s.rl_batch * (PROMPT + s.max_tokens), gpus) / GIB + VLLM_GIB
    evaluated = 2 * sum(problems * samples for problems, samples in EVALUATED.values())
    return [
        decode("samples", s.questions * s.samples, BEFORE, s.max_tokens),
        ("CHRPO", memory, writing + learning),
        decode("evaluation", evaluated, BEFORE, EVALUATED_TOKENS),
    ]


@click.command()
@click.option("--gpus", type=click.IntRange(min=1), default=8, show_default=True, help="Number of GPUs.")
def main(gpus: int) -> None:
    """Print memory and time of every stage."""
    click.echo(f"{MODEL}: {MODEL.parameters:,} parameters\n{Gpu()}\n")
    click.echo(table(estimate(gpus), gpus))


if __name__ == "__main__":
    main()
