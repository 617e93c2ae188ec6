"""A checkpoint folder without its weights in memory: safety check, end tokens, context length, and its prompts.

Both engines, `hf` and `vllm`, build on it. It needs transformers.

    checkpoint = Checkpoint("checkpoints/sft")
    checkpoint.ends   # [2]
"""

from pathlib import Path
from typing import Any

from math_eval._shared.checkpoint_files import check_checkpoint
from math_eval._shared.checkpoint_loader import end_tokens, load_config
from math_eval.errors import DataError

from .prompts import Prompts


class Checkpoint(Prompts):
    """Prompts, end tokens and context length of a checkpoint folder.

    Args:
        folder: A model folder with safetensors weights and a tokenizer.
        tokenizer: Its tokenizer, if it is loaded.

    Raises:
        DataError: The folder cannot be loaded safely, has no tokenizer, or names no end token.
    """

    def __init__(self, folder: str | Path, *, tokenizer: Any = None) -> None:
        check_checkpoint(folder)
        super().__init__(folder, tokenizer=tokenizer)
        config = load_config(folder).get_text_config()
        self.ends = end_tokens(folder, self._tokenizer)
        self._context: int | None = getattr(config, "max_position_embeddings", None)

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
