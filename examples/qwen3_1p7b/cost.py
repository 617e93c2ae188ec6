"""GPU memory and GPU-hours of every stage, from the settings, the model's shape and a few assumptions that are printed.

Formulas are in the functions. They leave out framework overhead, start-up, graph capture and waiting for the longest
completion; take the hours as a lower bound of the right size. None of it was measured on this recipe.

    python examples/qwen3_1p7b/cost.py --gpus 8
"""

from dataclasses import dataclass

import click
from settings import PAPER, RATIOS, Settings

GIB = 2**30
VLLM_GIB = 24.0
"""What TRL lets a colocated vLLM take: .3 of 80 GiB."""
TRAINING_FLOPS = 8
"""Per parameter and token: forward, backward, and a second forward for the activations that were not kept."""


@dataclass(frozen=True)
class Model:
    """The shape of a Qwen3 with tied embeddings."""

    layers: int = 28
    width: int = 2048
    feed_forward: int = 6144
    heads: int = 16
    key_value_heads: int = 8
    head_width: int = 128
    vocabulary: int = 151_936

    @property
    def parameters(self) -> int:
        """Of attention, feed-forward and norms of every layer, the last norm and the embedding."""
        queries, keys = self.heads * self.head_width, self.key_value_heads * self.head_width
        attention = self.width * (2 * queries + 2 * keys) + 2 * self.head_width
        layer = attention + 3 * self.width * self.feed_forward + 2 * self.width
        return self.layers * layer + self.width + self.vocabulary * self.width

    @property
    def cache_bytes(self) -> int:
        """Of keys and values, per token, in bf16."""
        return 2 * 2 * self.layers * self.key_value_heads * self.head_width


@dataclass(frozen=True)
class Gpu:
    """What a GPU does; by default an H100 SXM with the shares of its data sheet that such jobs usually reach."""

    flops: float = 989e12
    bandwidth: float = 3.35e12
    training_share: float = 0.35
    decoding_share: float = 0.5


@dataclass(frozen=True)
class Lengths:
    """Mean tokens of a prompt and a completion: near the paper's base model on GSM8K and MATH, the answer included."""

    prompt: int = 100
    completion: int = 1200


def training_bytes(model: Model, tokens: int, gpus: int) -> float:
    """Per GPU: weights, gradients and AdamW's two moments in fp32, sharded, and what one pass keeps.

    A pass keeps one layer's input per layer (bf16), one layer's inner activations (bf16; about 2 feed-forward widths
    thrice and 8 model widths), and that layer's whole weights (bf16). Logits are left out: TRL computes the loss from
    tiles of them.
    """
    states = 16 * model.parameters / gpus
    inputs = 2 * model.layers * tokens * model.width
    inner = 2 * tokens * (6 * model.feed_forward + 8 * model.width)
    gathered = 2 * model.vocabulary * model.width
    return states + inputs + inner + gathered


def decoding_bytes(model: Model, requests: int, length: int) -> float:
    """Per GPU: weights in bf16, and keys and values of all requests in flight."""
    return 2 * model.parameters + requests * length * model.cache_bytes


def training_hours(model: Model, gpu: Gpu, tokens: float) -> float:
    """GPU-hours of forward, backward and recomputation."""
    return TRAINING_FLOPS * model.parameters * tokens / (gpu.flops * gpu.training_share) / 3600


def decoding_hours(model: Model, gpu: Gpu, tokens: float, requests: int, length: int) -> float:
    """GPU-hours to write so many tokens; every step reads the weights once, and half of each request's cache."""
    step = (2 * model.parameters + requests * length / 2 * model.cache_bytes) / (gpu.bandwidth * gpu.decoding_share)
    return tokens / requests * step / 3600


Line = tuple[str, float, float]


def estimate(settings: Settings, gpus: int) -> list[Line]:
    """The stages that need GPUs, as (stage, GiB per GPU, GPU-hours of all)."""
    s, model, gpu, mean = settings, Model(), Gpu(), Lengths()
    share = sum(RATIOS) / len(RATIOS)

    def decode(name: str, completions: int, kept: float) -> Line:
        length = int(mean.prompt + kept * mean.completion)
        hours = decoding_hours(model, gpu, completions * kept * mean.completion, s.requests, length)
        return name, decoding_bytes(model, s.requests, mean.prompt + s.max_tokens) / GIB, hours

    def sft(name: str, epochs: float, policy_share: float) -> Line:
        rows = s.sft_traces * len(RATIOS) / (1 - policy_share)
        tokens = epochs * rows * (mean.prompt + share * mean.completion)
        batch = s.sft_batch * s.sft_length
        return name, training_bytes(model, batch, gpus) / GIB, training_hours(model, gpu, tokens)

    rollouts = s.rl_steps * s.rl_prompts * s.rollouts
    learning = training_hours(model, gpu, rollouts * (mean.prompt + share * mean.completion))
    rl_requests = s.rl_prompts * s.rollouts // gpus
    length = int(mean.prompt + share * mean.completion)
    writing = decoding_hours(model, gpu, rollouts * share * mean.completion, rl_requests, length)
    memory = training_bytes(model, s.rl_batch * (mean.prompt + s.max_tokens), gpus) / GIB + VLLM_GIB
    tests = 1319 + 500 + 40 + s.metamath_questions
    return [
        decode("base model answers", s.sft_questions, 1.0),
        sft("SFT, ratios", s.sft_epochs, 0.0),
        decode("answers at every ratio, questions of the mix", s.warmup_questions * s.samples * len(RATIOS), share),
        sft("SFT, policy", s.warmup_epochs, 1 / 7),
        decode("answers at every ratio, RL questions", s.rl_questions * s.samples * len(RATIOS), share),
        ("CHRPO", memory, learning + writing),
        decode("evaluation", tests * s.evaluation_seeds * (1 + len(RATIOS) + 2), share),
    ]


@click.command()
@click.option("--gpus", type=click.IntRange(min=1), default=8, show_default=True)
def main(gpus: int) -> None:
    """Print memory and time of every stage, and what they rest on."""
    lines = estimate(PAPER, gpus)
    click.echo(f"{Model()}: {Model().parameters:,} parameters\n{Gpu()}\n{Lengths()}\n")
    click.echo("| stage | GiB a GPU | GPU-hours | hours |\n|---|---:|---:|---:|")
    for name, memory, hours in [*lines, ("all", max(line[1] for line in lines), sum(line[2] for line in lines))]:
        click.echo(f"| {name} | {memory:.0f} | {hours:.1f} | {hours / gpus:.1f} |")


if __name__ == "__main__":
    main()
