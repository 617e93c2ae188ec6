"""A checkpoint folder before any engine runs it: is it safe to load, what is a prompt, which tokens end a turn.

Both engines, `hf` and `vllm`, start from it, so that they see the same prompts token for token. Needs transformers.

    checkpoint = Checkpoint("checkpoints/sft")
    checkpoint.encode(checkpoint.render("Add 2 and 3."))   # (1, 4, 52, …)
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from math_eval.errors import DataError

from . import Completion


def check_folder(folder: str | Path) -> Path:
    """`folder` as a path, if it is a checkpoint that is safe to load.

    Raises:
        DataError: no such folder, no config.json, or no safetensors weights.
    """
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{folder}: no such model folder; check --model")
    if not (path / "config.json").is_file():
        raise DataError(f"{folder}: no config.json, so this is not a model folder; check --model")
    if not any(path.glob("*.safetensors")):
        pickled = next((file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in path.glob(pattern)), None)
        found = f"only pickle weights ({pickled}), which can run code" if pickled else "no weights"
        raise DataError(f"{folder}: {found}; save the model as safetensors, as save_pretrained does")
    return path


def cannot_load(folder: str | Path, error: Exception) -> DataError:
    """The error for a folder that a library refuses."""
    return DataError(f"{folder}: cannot be loaded ({' '.join(str(error).split())[:300]})")


class Checkpoint:
    """Tokenizer, chat template, end tokens and context length of a checkpoint folder.

    Args:
        folder: a model folder with safetensors weights and a tokenizer.

    Raises:
        DataError: the folder cannot be loaded safely, has no tokenizer, or names no end token.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = check_folder(folder)
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(self.path, **local)
            config = AutoConfig.from_pretrained(self.path, **local).get_text_config()
            if (self.path / "generation_config.json").is_file():
                ends = GenerationConfig.from_pretrained(self.path, local_files_only=True).eos_token_id
            else:
                ends = config.eos_token_id
        except (OSError, ValueError, KeyError) as error:
            raise cannot_load(folder, error) from error
        # Without its files, transformers makes an empty tokenizer of the model's type.
        files = ("tokenizer.json", *self._tokenizer.vocab_files_names.values())
        if not any((self.path / name).is_file() for name in files):
            raise DataError(f"{folder}: no tokenizer in it; save the model's tokenizer there, as save_pretrained does")
        named = {*(ends if isinstance(ends, list) else [ends]), self._tokenizer.eos_token_id} - {None}
        if not named:
            raise DataError("the model names no end token; set eos_token in its tokenizer or generation_config.json")
        self.ends = sorted(named)
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self.encode = lru_cache(maxsize=65536)(self._encode)

    def render(self, user_turn: str) -> str:
        """The chat template around one user message; without a template, the message and a new line.

        The template is told `ratio=None`: a control token that is wanted is in the message already.
        """
        if not self._tokenizer.chat_template:
            return user_turn + "\n"
        messages = [{"role": "user", "content": user_turn}]
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, ratio=None)

    def _encode(self, prompt: str) -> tuple[int, ...]:
        plain = not self._tokenizer.chat_template
        return tuple(self._tokenizer(prompt, add_special_tokens=plain)["input_ids"])

    def length(self, prompt: str) -> int:
        """Tokens of a rendered prompt."""
        return len(self.encode(prompt))

    def count(self, text: str) -> int:
        """Tokens of a text, special tokens not added."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0

    def has_token(self, text: str) -> bool:
        """Whether a text is a single token of the vocabulary."""
        return self._tokenizer.tokenize(text) == [text]

    def prepare(self, longest_prompt: int, max_tokens: int) -> None:
        """Refuse what would run past the model's context.

        Raises:
            DataError: prompt and new tokens together do not fit.
        """
        context = self._context
        if context and longest_prompt + max_tokens > context:
            raise DataError(
                f"the longest prompt has {longest_prompt} tokens, and with --max-tokens {max_tokens} it passes the "
                f"model's context of {context}; lower --max-tokens to {max(context - longest_prompt, 0)} or less"
            )

    def close(self) -> None:
        """Free what `prepare` took: nothing here."""

    def completion(self, ids: list[int], ended: bool) -> Completion:
        """Generated tokens as a completion; if it `ended`, the last one is the end token."""
        kept = ids[:-1] if ended else ids
        text = self._tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return Completion(text, len(ids), "stop" if ended else "length")
