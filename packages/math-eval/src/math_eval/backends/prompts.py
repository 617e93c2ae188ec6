"""Prompts of a model folder: its tokenizer and its chat template, without weights.

Both engines and the client that continues a server's text build on it, so they get the same prompts token for token.
It needs transformers.

    prompts = Prompts("checkpoints/sft")
    prompts.encode(prompts.render(["Add 2 and 3."])[0])   # (1, 4, 52, …)
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from math_eval._shared import bounded
from math_eval._shared.checkpoint_loader import load_tokenizer
from math_eval._shared.thinking import ThinkingFormat
from math_eval._shared.tokenizer_file import check_decoded, check_rendered, tokenizing

from . import Completion, gap

_SECONDS_A_TURN, _BYTES_A_CHARACTER = 0.01, 64
_NO_THINKING = {"enable_thinking": False, "thinking": False}
"""Variables by which chat templates turn thinking off: of Qwen3, GLM and SmolLM3, and of DeepSeek-V3.1 and Granite."""


class Prompts:
    """Tokenizer and chat template of a model folder.

    Args:
        folder: A model folder with a tokenizer.
        tokenizer: Its tokenizer, if it is loaded.

    Raises:
        DataError: The folder cannot be loaded safely, or has no tokenizer.
    """

    def __init__(self, folder: str | Path, *, tokenizer: Any = None) -> None:
        self.path = Path(folder)
        self._tokenizer: Any = load_tokenizer(folder) if tokenizer is None else tokenizer
        self.encode = lru_cache(maxsize=65536)(self._encode)

    def render(self, user_turns: Sequence[str], empty: ThinkingFormat | None = None) -> list[str]:
        """The prompt for each user message: the chat template, or without one the message and a new line.

        The template gets `ratio=None`, because the requested control token is already in the message. It came with the
        checkpoint, so it runs in a child process with limits, which grow with the number and length of the messages.

        Args:
            user_turns: The messages.
            empty: Format of a model that is not to think. A template has a switch of its own if its prompt changes with
                it. Without one, or if the block is open all the same, the prompt ends in an empty block.

        Raises:
            DataError: The template fails, adds too much (`check_rendered`), or passes a limit of time or memory.
        """
        if not self._tokenizer.chat_template:
            texts, switched = [f"{turn}\n" for turn in user_turns], False
        else:
            texts, switched = self._rendered(user_turns, _NO_THINKING if empty else {})
        if empty is None:
            return texts
        return [text if switched and not empty.after(text).opened else _closed(text, empty) for text in texts]

    def _rendered(self, user_turns: Sequence[str], switch: dict[str, bool]) -> tuple[list[str], bool]:
        """The rendered prompts, and whether the switch changes the first one."""
        more = _BYTES_A_CHARACTER * sum(map(len, user_turns))
        where = f"{self.path}: chat template"

        def work() -> tuple[list[str], bool]:
            texts = [self._render(turn, switch) for turn in user_turns]
            return texts, bool(switch) and texts[0] != self._render(user_turns[0], {})

        texts, switched = bounded.in_child(
            work,
            where,
            seconds=bounded.SECONDS + _SECONDS_A_TURN * len(user_turns),
            memory_bytes=bounded.MEMORY_BYTES + more,
            result_bytes=bounded.RESULT_BYTES + more,
        )
        check_rendered(texts, [len(turn) for turn in user_turns], where)
        return texts, switched

    def _render(self, user_turn: str, switch: dict[str, bool]) -> str:
        options = {"tokenize": False, "add_generation_prompt": True, "ratio": None, **switch}
        return self._tokenizer.apply_chat_template([{"role": "user", "content": user_turn}], **options)

    def _encode(self, prompt: str) -> tuple[int, ...]:
        return tuple(self._ids(prompt, add_special_tokens=not self._tokenizer.chat_template))

    def _ids(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        with tokenizing(self.path):
            return self._tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]

    def length(self, prompt: str) -> int:
        """Number of tokens of a rendered prompt."""
        return len(self.encode(prompt))

    def ids(self, text: str) -> list[int]:
        """Token ids of a text that continues another one, without added special tokens."""
        return self._ids(text) if text else []

    def writes(self, text: str) -> bool:
        """Whether the vocabulary has tokens for all of a text; small ones know only the words of their problems."""
        return self._tokenizer.unk_token_id not in self.ids(text)

    def count(self, text: str) -> int:
        """Number of tokens of a text, without added special tokens."""
        return len(self.ids(text))

    def has_token(self, text: str) -> bool:
        """Whether a text is a single token of the vocabulary."""
        with tokenizing(self.path):
            return self._tokenizer.tokenize(text) == [text]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, with its special tokens.

        Raises:
            DataError: It has more than 1,000,000 characters and 200 for each token: readers of it tokenise it.
        """
        with tokenizing(self.path):
            text = self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return check_decoded(text, len(ids), str(self.path))

    def completion(self, ids: Sequence[int], ended: bool) -> Completion:
        """The completion with these generated tokens.

        Args:
            ids: Token ids without the end token, `[tokens]`.
            ended: Whether the end token followed.
        """
        return Completion(self.decode(ids), len(ids) + ended, "stop" if ended else "length")


def _closed(prompt: str, empty: ThinkingFormat) -> str:
    """A prompt and an empty block, of which a prompt that opens one has the first half."""
    space = gap(empty)
    return f"{prompt}{empty.after(prompt).join(space, space)}"
