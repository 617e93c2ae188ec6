r"""What a run needs from a model, whoever runs it: render a prompt, count tokens, complete prompts.

`hf` runs a Hugging Face checkpoint with transformers, in batches; `vllm` runs it with vLLM's engine and `openai` asks a
server, both request by request. Nothing here imports torch.

    backend.complete(["What is 1 + 1?\n"], Sampling(max_tokens=64), seed=0)[0].finish_reason   # 'stop'
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from math_eval.errors import DataError


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token.

    Args:
        max_tokens: new tokens at most, the end token included.
        temperature: 0 is greedy.
        top_p: smallest set of likeliest tokens with this mass; 1 keeps all.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise DataError(f"max-tokens must be at least 1; got {self.max_tokens}")
        if not 0 <= self.temperature < 100:
            raise DataError(f"temperature must be 0 (greedy) or a small positive number; got {self.temperature:g}")
        if not 0 < self.top_p <= 1:
            raise DataError(f"top-p must be in (0, 1]; got {self.top_p:g}")


@dataclass(frozen=True)
class Completion:
    """One completion: `text` with special tokens kept and the end token left out, `tokens` with it counted.

    `thinking_tokens` is None if the runner is to count them with the backend's tokenizer.
    """

    text: str
    tokens: int
    finish_reason: str
    thinking_tokens: int | None = None


Arrival = tuple[int, Completion, float]
"""Index of the prompt, its completion, seconds the request took."""


class Backend(Protocol):
    """A loaded model."""

    @property
    def environment(self) -> dict[str, str]:
        """Versions, device and number format: what changes outputs without being asked for."""
        ...

    def render(self, user_turn: str) -> str:
        """The prompt for one user message."""
        ...

    def length(self, prompt: str) -> int:
        """Tokens of a rendered prompt."""
        ...

    def count(self, text: str) -> int:
        """Tokens of a text, special tokens not added."""
        ...

    def has_token(self, text: str) -> bool:
        """Whether a text is a single token of the vocabulary."""
        ...

    def prepare(self, longest_prompt: int, max_tokens: int) -> None:
        """Make ready for requests up to this size; raise a DataError if such a request does not fit the model."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@runtime_checkable
class BatchBackend(Backend, Protocol):
    """A model in this process."""

    def complete(self, prompts: list[str], sampling: Sampling, seed: int) -> list[Completion]:
        """Complete a batch; equal arguments give equal results."""
        ...


@runtime_checkable
class StreamBackend(Backend, Protocol):
    """A model that takes requests one by one."""

    def stream(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> Generator[Arrival, None, None]:
        """Complete prompts concurrently; each has its own seed and is yielded when it arrives."""
        ...
