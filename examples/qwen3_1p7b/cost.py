"""GPU memory and GPU-hours of every stage, from the settings, the model's shape and a few assumptions that are printed.

The functions contain the formulas. They ignore framework overhead, start-up, graph capture and waiting for the longest
completion, so the hours are a lower bound. Nothing was measured on this recipe.

    python examples/qwen3_1p7b/cost.py --gpus 8
"""

from dataclasses import dataclass

import click
from settings import PAPER, RATIOS, Settings

GIB = 2**30
VLLM_GIB = 24.0
"""Memory that TRL gives to a colocated vLLM: .3 of 80 GiB."""
TRAINING_FLOPS = 8
"""Operations for each parameter and token: forward, backward, and a second forward to recompute activations."""


@dataclass(frozen=True)
class Model:
    """The shape of a Qwen3, or of a model much like it."""

    layers: int = 28
    width: int = 2048
    feed_forward: int = 6144
    heads: int = 16
    key_value_heads: int = 8
    head_width: int = 128
    vocabulary: int = 151_936
    embeddings: int = 1
    """Number of matrices of tokens: 2 if the head is not tied to the embedding."""

    @property
    def parameters(self) -> int:
        """Number of parameters of all layers (attention, feed-forward, norms), the last norm and the embedding."""
        queries, keys = self.heads * self.head_width, self.key_value_heads * self.head_width
        attention = self.width * (2 * queries + 2 * keys) + 2 * self.head_width
        layer = attention + 3 * self.width * self.feed_forward + 2 * self.width
        return self.layers * layer + self.width + self.embeddings * self.vocabulary * self.width

    @property
    def cache_bytes(self) -> int:
        """Bytes of the keys and values of one token in all layers, in bf16."""
        return 2 * 2 * self.layers * self.key_value_heads * self.head_width


@dataclass(frozen=True)
class Gpu:
    """Speed of a GPU: by default an H100 SXM, with the share of its peak values that such jobs usually reach."""

    flops: float = 989e12
    bandwidth: float = 3.35e12
    training_share: float = 0.35
    decoding_share: float = 0.5


@dataclass(frozen=True)
class Lengths:
    """Mean tokens of a prompt and of a completion with its answer, near the paper's base model on GSM8K and MATH."""

    prompt: int = 100
    completion: int = 1200


def training_bytes(model: Model, tokens: int, gpus: int) -> float:
    """Bytes on each GPU: sharded weights, gradients and AdamW's two moments in fp32, and the data of one pass.

    A pass keeps the input of every layer (bf16), the inner activations of one layer (bf16; about 6 feed-forward widths
    and 8 model widths for each token), and the gathered embedding (bf16). Logits are left out, because TRL computes the
    loss from tiles of them.
    """
    states = 16 * model.parameters / gpus
    inputs = 2 * model.layers * tokens * model.width
    inner = 2 * tokens * (6 * model.feed_forward + 8 * model.width)
    gathered = 2 * model.vocabulary * model.width
    return states + inputs + inner + gathered


def decoding_bytes(model: Model, requests: int, length: int) -> float:
    """Bytes on each GPU: weights in bf16, and keys and values of all current requests."""
    return 2 * model.parameters + requests * length * model.cache_bytes


def training_hours(model: Model, gpu: Gpu, tokens: float) -> float:
    """GPU-hours of forward pass, backward pass and recomputation."""
    return TRAINING_FLOPS * model.parameters * tokens / (gpu.flops * gpu.training_share) / 3600


def decoding_hours(model: Model, gpu: Gpu, tokens: float, requests: int, length: int) -> float:
    """GPU-hours to generate `tokens` tokens; each step reads the weights, and half of each request's full cache."""
    step = (2 * model.parameters + requests * length / 2 * model.cache_bytes) / (gpu.bandwidth * gpu.decoding_share)
    return tokens / requests * step / 3600


Line = tuple[str, float, float]


def estimate(settings: Settings, gpus: int) -> list[Line]:
    """The stages that need GPUs, each as (stage, GiB on each GPU, GPU-hours of all GPUs)."""
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
        decode("answers at every ratio, questions of the mixture", s.warmup_questions * s.samples * len(RATIOS), share),
        sft("SFT, policy", s.warmup_epochs, 1 / 7),
        decode("answers at every ratio, RL questions", s.rl_questions * s.samples * len(RATIOS), share),
        ("CHRPO", memory, learning + writing),
        decode("evaluation", tests * s.evaluation_seeds * (1 + len(RATIOS) + 2), share),
    ]


def table(lines: list[Line], gpus: int) -> str:
    """The stages and their sum as Markdown."""
    total = ("all", max(line[1] for line in lines), sum(line[2] for line in lines))
    rows = [f"| {name} | {memory:.0f} | {hours:.1f} | {hours / gpus:.1f} |" for name, memory, hours in [*lines, total]]
    return "\n".join(["| stage | GiB on each GPU | GPU-hours | hours |", "|---|---:|---:|---:|", *rows])


@click.command()
@click.option("--gpus", type=click.IntRange(min=1), default=8, show_default=True, help="Number of GPUs.")
def main(gpus: int) -> None:
    """Print memory and time of every stage, and the assumptions."""
    click.echo(f"{Model()}: {Model().parameters:,} parameters\n{Gpu()}\n{Lengths()}\n")
    click.echo(table(estimate(PAPER, gpus), gpus))


if __name__ == "__main__":
    main()
