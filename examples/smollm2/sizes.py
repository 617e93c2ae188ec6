"""How large the run is on CPU cores and on a GPU, and what the latter takes by the formulas of `qwen3_1p7b/cost.py`.

The stages are in `smollm2`. Nothing was measured on a GPU.

    python examples/smollm2/sizes.py
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import click

sys.path.append(str(Path(__file__).parents[1] / "qwen3_1p7b"))
from cost import GIB, Gpu, Line, Model, decoding_bytes, decoding_hours, training_bytes, training_hours

RATIOS = (0.2, 0.3, 0.5, 1.0)
WAYS = ("none", "budget=32", "budget=64", "budget=96", "concise")
"""Ways to think less without training: values of `math-eval run --thinking`."""
L1_WEIGHTS = (0.3, 1)


@dataclass(frozen=True)
class Size:
    """Numbers of one scale of the run; problems are counted over both tasks."""

    times: int
    """Number by which the counts of `problems.py` are multiplied."""
    base_batch: int
    sft_batch: int
    sft_steps: int
    policy_steps: int
    samples: int
    """Number of samples of each problem of RL and ratio."""
    rl_steps: int
    prompts: int
    """Number of problems in an RL step."""
    rollouts: int
    """Number of rollouts of each."""
    decoded: int
    """Number of completions that are generated together."""
    gsm8k: bool = False
    """Whether the base model and CHRPO's are evaluated on GSM8K too."""


CPU = Size(1, 8, 16, 60, 16, 2, 12, 8, 6, 100)
GPU = Size(8, 32, 64, 240, 60, 4, 40, 32, 8, 1024, gsm8k=True)

SMOLLM2 = Model(30, 576, 1536, 9, 3, 64, 49_152)
PROMPT, THINKING, ANSWER = 75, 155, 15
"""Mean tokens of a prompt with its chat template, of the verbose thinking, and of the answer after it."""


def estimate(size: Size) -> list[Line]:
    """The stages that need a GPU, each as (stage, GiB, GPU-hours)."""
    gpu, share = Gpu(), sum(RATIOS) / len(RATIOS)
    short = int(share * THINKING) + ANSWER

    def decode(name: str, completions: int, length: int) -> Line:
        hours = decoding_hours(SMOLLM2, gpu, completions * length, size.decoded, PROMPT + length)
        return name, decoding_bytes(SMOLLM2, size.decoded, PROMPT + length) / GIB, hours

    def train(name: str, rows: int, batch: int, length: int) -> Line:
        memory = training_bytes(SMOLLM2, batch * (PROMPT + length), 1) / GIB
        return name, memory, training_hours(SMOLLM2, gpu, rows * (PROMPT + length))

    rollouts = size.rl_steps * size.prompts * size.rollouts
    rows = 1 + len(L1_WEIGHTS)
    _, _, writing = decode("", rollouts, short)
    _, memory, learning = train("", rollouts, size.prompts * size.rollouts, short)
    return [
        train("base model", 1240 * size.times, size.base_batch, THINKING + ANSWER),
        decode("base model answers", 400 * size.times, THINKING + ANSWER),
        train("SFT", (size.sft_steps + size.policy_steps) * size.sft_batch, size.sft_batch, short),
        decode("answers at every ratio", 120 * size.times * len(RATIOS) * size.samples, short),
        (f"RL, {rows} rows", memory, rows * (writing + learning)),
        decode("evaluation", 200 * size.times * (len(WAYS) + len(RATIOS) + rows + 2), THINKING + ANSWER),
    ]


@click.command()
def main() -> None:
    """Print memory and time of every stage on one H100, for the size of `smollm2.py --gpu`."""
    lines = estimate(GPU)
    lines.append(("all", max(memory for _, memory, _ in lines), sum(hours for _, _, hours in lines)))
    click.echo("| stage | GiB | seconds, at least |\n|---|---:|---:|")
    for name, memory, hours in lines:
        click.echo(f"| {name} | {memory:.0f} | {3600 * hours:.0f} |")


if __name__ == "__main__":
    main()
