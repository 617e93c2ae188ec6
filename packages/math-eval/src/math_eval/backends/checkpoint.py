"""A checkpoint folder without its weights: safety check, tokenizer, chat template, end tokens, context length.

Both engines, `hf` and `vllm`, build on it, so they get the same prompts token for token. It needs transformers.

    checkpoint = Checkpoint("checkpoints/sft")
    checkpoint.encode(checkpoint.render(["Add 2 and 3."])[0])   # (1, 4, 52, …)
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from math_eval._shared import bounded
from math_eval._shared.checkpoint_files import check_checkpoint
from math_eval._shared.checkpoint_loader import end_tokens, load_config, load_tokenizer
from math_eval._shared.tokenizer_file import check_decoded, check_rendered, tokenizing
from math_eval.errors import DataError

from . import Completion

_SECONDS_A_TURN, _BYTES_A_CHARACTER = 0.01, 64


class Checkpoint:
    """Tokenizer, chat template, end tokens and context length of a checkpoint folder.

    Args:
        folder: A model folder with safetensors weights and a tokenizer.
        tokenizer: Its tokenizer, if it is loaded.

    Raises:
        DataError: The folder cannot be loaded safely, has no tokenizer, or names no end token.
    """

    def __init__(self, folder: str | Path, *, tokenizer: Any = None) -> None:
        self.path = check_checkpoint(folder)
        self._tokenizer: Any = load_tokenizer(folder) if tokenizer is None else tokenizer
        config = load_config(folder).get_text_config()
        self.ends = end_tokens(folder, self._tokenizer)
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self.encode = lru_cache(maxsize=65536)(self._encode)

    def render(self, user_turns: Sequence[str]) -> list[str]:
        """The prompt for each user message: the chat template, or without one the message and a new line.

        The template gets `ratio=None`, because the requested control token is already in the message. It came with the
        checkpoint, so it runs in a child process with limits, which grow with the number and length of the messages.

        Raises:
            DataError: The template fails, adds too much (`check_rendered`), or passes a limit of time or memory.
        """
        if not self._tokenizer.chat_template:
            return [f"{turn}\n" for turn in user_turns]
        more = _BYTES_A_CHARACTER * sum(map(len, user_turns))
        where = f"{self.path}: chat template"
        texts = bounded.in_child(
            lambda: [self._render(turn) for turn in user_turns],
            where,
            seconds=bounded.SECONDS + _SECONDS_A_TURN * len(user_turns),
            memory_bytes=bounded.MEMORY_BYTES + more,
            result_bytes=bounded.RESULT_BYTES + more,
        )
        check_rendered(texts, [len(turn) for turn in user_turns], where)
        return texts

    def _render(self, user_turn: str) -> str:
        messages = [{"role": "user", "content": user_turn}]
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, ratio=None)

    def _encode(self, prompt: str) -> tuple[int, ...]:
        return tuple(self._ids(prompt, add_special_tokens=not self._tokenizer.chat_template))

    def _ids(self, text: str, *, add_special_tokens: bool) -> list[int]:
        with tokenizing(self.path):
            return self._tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]

    def length(self, prompt: str) -> int:
        """Number of tokens of a rendered prompt."""
        return len(self.encode(prompt))

    def count(self, text: str) -> int:
        """Number of tokens of a text, without added special tokens."""
        return len(self._ids(text, add_special_tokens=False)) if text else 0

    def has_token(self, text: str) -> bool:
        """Whether a text is a single token of the vocabulary."""
        with tokenizing(self.path):
            return self._tokenizer.tokenize(text) == [text]

    def prepare(self, longest_prompt: int, max_tokens: int) -> None:
        """Refuse requests that are longer than the model's context.

        Raises:
            DataError: The longest prompt and the new tokens together do not fit.
        """
        context = self._context
        if context and longest_prompt + max_tokens > context:
            raise DataError(
                f"the longest prompt has {longest_prompt} tokens, and with --max-tokens {max_tokens} it exceeds the "
                f"model's context of {context}; lower --max-tokens to {max(context - longest_prompt, 0)} or less"
            )

    def close(self) -> None:
        """Free what `prepare` took; by default nothing."""

    def completion(self, ids: list[int], ended: bool) -> Completion:
        """The completion with these generated tokens.

        Args:
            ids: Token ids, `[tokens]`.
            ended: Whether the last one is the end token.

        Raises:
            DataError: Their text has more than 1,000,000 characters and 200 for each token: readers of it tokenise it.
        """
        kept = ids[:-1] if ended else ids
        with tokenizing(self.path):
            text = self._tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        check_decoded(text, len(ids), str(self.path))
        return Completion(text, len(ids), "stop" if ended else "length")
