r"""The interface of a run to a model: render a prompt, count tokens, complete prompts.

`hf` runs a Hugging Face checkpoint with transformers, in batches. `vllm` runs a checkpoint with vLLM's engine, and
`openai` and `raw_server` ask a server, all request by request. `loading` chooses among them. This module imports no
torch.

    backend.complete(backend.render(["What is 1 + 1?"]), Sampling(max_tokens=64), seed=0)[0].finish_reason   # 'stop'
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from math_eval._shared.thinking import ThinkingFormat
from math_eval.errors import DataError


def gap(thinking_format: ThinkingFormat) -> str:
    """White space in an empty block and after a closing tag; none where the tag is the header of a message."""
    return "" if thinking_format.between else "\n\n"


@dataclass(frozen=True)
class ThinkingStop:
    """Where thinking is stopped, and the texts for it.

    Args:
        thinking_format: Tags around the thinking.
        pause: Number of thinking tokens at which it stops, or, with a confidence, between two trial answers.
        closing: Sentence before the closing tag; left out if the tokenizer has no tokens for it.
        trial: Sentence before the box that a trial answer fills; left out likewise.
        confidence: Confidence of a trial answer that stops the thinking; None stops it at the first pause.
    """

    thinking_format: ThinkingFormat
    pause: int
    closing: str
    trial: str
    confidence: float | None = None


@dataclass(frozen=True)
class Sampling:
    """The rule that chooses the next token.

    Args:
        max_tokens: Maximum number of new tokens, the end token included.
        temperature: Sampling temperature; 0 is greedy decoding.
        top_p: Probability mass of the smallest set of tokens that are sampled from; 1 keeps all tokens.
        stop: Where thinking is stopped; None leaves that to the model.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: ThinkingStop | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise DataError(f"max-tokens must be at least 1; got {self.max_tokens}")
        if not 0 <= self.temperature < 100:
            raise DataError(f"temperature must be 0 (greedy) or a small positive number; got {self.temperature:g}")
        if not 0 < self.top_p <= 1:
            raise DataError(f"top-p must be in (0, 1]; got {self.top_p:g}")


@dataclass(frozen=True)
class Completion:
    """One completion.

    Args:
        text: The generated text, with special tokens but without the end token.
        tokens: Number of tokens, the end token and the tokens of `closing_text` included.
        finish_reason: `stop`, or `length` if the token limit was reached.
        thinking_tokens: Number of thinking tokens; None leaves the counting to `Backend.count`.
        refused: The server's words if it refused this request; then there is no text.
        closing_text: The part of the text that closed the thinking and is not the model's; None if there is none.
        trial_tokens: Number of tokens of trial answers, which are not in the text; None without a `ThinkingStop` that
            has a confidence.
        limit_ignored: Whether the server wrote more tokens than it was asked for; the surplus is not in the text.
        server: Address of the server that wrote it, or the end of it; None without a server.
    """

    text: str
    tokens: int
    finish_reason: str
    thinking_tokens: int | None = None
    refused: str | None = None
    closing_text: str | None = None
    trial_tokens: int | None = None
    limit_ignored: bool = False
    server: str | None = None


Arrival = tuple[int, Completion, float]
"""Index of the prompt, its completion, and the seconds that the request took."""


class Backend(Protocol):
    """A loaded model."""

    @property
    def environment(self) -> dict[str, str]:
        """Versions, device and number format, which change outputs although no setting names them."""
        ...

    def render(self, user_turns: Sequence[str], empty: ThinkingFormat | None = None) -> list[str]:
        """The prompt for each of some user messages; a model folder's template runs with limits.

        With `empty`, the model is not to think: the template's own switch is used, or the prompt ends in an empty block
        of this format.
        """
        ...

    def length(self, prompt: str) -> int:
        """Number of tokens of a rendered prompt."""
        ...

    def count(self, text: str) -> int:
        """Number of tokens of a text, without added special tokens."""
        ...

    def has_token(self, text: str) -> bool:
        """Whether a text is a single token of the vocabulary."""
        ...

    def prepare(self, longest_prompt: int, max_tokens: int) -> None:
        """Get ready for requests up to this size; raise a DataError if such a request does not fit the model."""
        ...

    def close(self) -> None:
        """Free memory, processes and connections."""
        ...


@runtime_checkable
class BatchBackend(Backend, Protocol):
    """A model in this process."""

    def complete(self, prompts: list[str], sampling: Sampling, seed: int) -> list[Completion]:
        """Complete a batch of rendered prompts; equal arguments give equal results."""
        ...


@runtime_checkable
class StreamBackend(Backend, Protocol):
    """A model that takes requests one by one."""

    def stream(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> Generator[Arrival, None, None]:
        """Complete prompts concurrently, each with its own seed; a completion is yielded as soon as it arrives."""
        ...
