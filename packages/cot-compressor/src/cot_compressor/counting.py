"""Count tokens with the target model's tokenizer.

Budgets are meant for the model that will read or write the shortened text, so its tokenizer counts, whatever encoder
scores the units. Only the tokenizer files of a model folder are read; nothing is downloaded.

    counter = TokenCounter.from_folder("models/base")
    counter.count("12 + 15 = 27")
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import DataError
from .segment import Unit

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MEMO_CHARS = 48
_MEMO_SIZE = 200_000


def clean(text: str) -> str:
    """Lone surrogates as U+FFFD, one for one: no tokenizer takes them, and offsets stay right."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


class TokenCounter:
    """A fast tokenizer that only counts."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        """Take a `PreTrainedTokenizerFast`; it is copied, so its settings stay as they are.

        Raises:
            DataError: the tokenizer is not a fast one.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise DataError(f"tokenizer {name}: has no fast version; convert it to a tokenizer.json")
        self._backend = type(backend).from_str(backend.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self._memo: dict[str, int] = {}
        self.name = name

    @classmethod
    def from_folder(cls, folder: str | Path) -> "TokenCounter":
        """Load the tokenizer of a model folder.

        Raises:
            DataError: no such folder, or no tokenizer in it.
        """
        return cls(load_tokenizer(folder), Path(folder).resolve().name)

    def count(self, text: str) -> int:
        """Tokens of `text`, without special tokens around it."""
        if len(text) > _MEMO_CHARS:
            return len(self._backend.encode(clean(text), add_special_tokens=False))
        found = self._memo.get(text)
        if found is None:
            if len(self._memo) >= _MEMO_SIZE:
                self._memo.clear()
            found = self._memo[text] = len(self._backend.encode(clean(text), add_special_tokens=False))
        return found

    def unit_costs(self, text: str, units: Sequence[Unit]) -> list[float]:
        """Tokens of each unit where it stands in `text`, its leading white space included."""
        costs = [0.0] * len(units)
        at = 0
        for start, _ in self._backend.encode(clean(text), add_special_tokens=False).offsets:
            while at < len(units) - 1 and units[at].end <= start:
                at += 1
            costs[at] += 1.0
        return costs


def load_tokenizer(folder: str | Path) -> Any:
    """The fast tokenizer of a model folder.

    Raises:
        DataError: no such folder, or no usable tokenizer in it.
    """
    from transformers import AutoTokenizer

    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"tokenizer {folder}: no such folder; give a folder with tokenizer.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, json.JSONDecodeError, ImportError) as error:
        raise DataError(f"tokenizer {folder}: cannot be loaded ({error}); is tokenizer.json there and whole?") from error
    if not getattr(tokenizer, "is_fast", False):
        raise DataError(f"tokenizer {folder}: has no fast version; convert it to a tokenizer.json")
    return tokenizer
