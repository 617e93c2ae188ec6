"""Count tokens with the target model's tokenizer.

Budgets are meant for the model that will read or write the shortened text, so its tokenizer counts, whatever encoder
scores the units. Only the tokenizer files of a model folder are read; nothing is downloaded. Where no tokenizer is at
hand, words, numbers and signs are counted instead.

    counter = TokenCounter.from_folder("models/base")
    counter.count("12 + 15 = 27")
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from .errors import DataError
from .segment import Unit

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_WORD = re.compile(r"\s*\S+")
_PIECE = re.compile(r"\w+|[^\w\s]")
_MEMO_CHARS = 48
_MEMO_SIZE = 200_000


def clean(text: str) -> str:
    """Lone surrogates as U+FFFD, one for one: no tokenizer takes them, and offsets stay right."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


class Counter(Protocol):
    """Anything that measures text against a budget."""

    name: str
    """Written into results."""

    def count(self, text: str) -> int:
        """Tokens of `text`."""
        ...

    def rough(self, text: str) -> int:
        """About the same, cheaper."""
        ...

    def measure(self, text: str, units: Sequence[Unit]) -> tuple[int, list[float]]:
        """Tokens of `text` without white space around it, and about how many of them each unit takes."""
        ...


def count_pieces(text: str) -> int:
    """Words, numbers and signs of a text."""
    # Counted in C, and no piece is stored: ten megabytes take about a second.
    return _PIECE.subn("", text)[1]


class PieceCounter:
    """Counts words, numbers and signs: a stand-in for tokens where no tokenizer is at hand."""

    name = "pieces"

    def count(self, text: str) -> int:
        """See `Counter.count`."""
        return count_pieces(text)

    def rough(self, text: str) -> int:
        """See `Counter.rough`."""
        return count_pieces(text)

    def measure(self, text: str, units: Sequence[Unit]) -> tuple[int, list[float]]:
        """See `Counter.measure`."""
        return count_pieces(text), [float(count_pieces(text[unit.start : unit.end])) for unit in units]


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
        return cls(load_tokenizer(folder), Path(folder).absolute().name)

    def digest(self) -> str:
        """SHA-256 of what counts, for telling tokenizers apart."""
        return hashlib.sha256(self._backend.to_str().encode("utf-8", "surrogatepass")).hexdigest()

    def count(self, text: str) -> int:
        """Tokens of `text`, without special tokens around it."""
        return self._remembered(text) if len(text) <= _MEMO_CHARS else self._encoded(text)

    def _encoded(self, text: str) -> int:
        return len(self._backend.encode(clean(text), add_special_tokens=False))

    def _remembered(self, text: str) -> int:
        found = self._memo.get(text)
        if found is None:
            found = self._encoded(text)
            if len(text) <= _MEMO_CHARS:
                if len(self._memo) >= _MEMO_SIZE:
                    self._memo.clear()
                self._memo[text] = found
        return found

    def rough(self, text: str) -> int:
        """Sum of the tokens of the words, each with the white space before it: right but for merges across words."""
        return sum(map(self._remembered, _WORD.findall(text)))

    def measure(self, text: str, units: Sequence[Unit]) -> tuple[int, list[float]]:
        """Tokens of `text` without white space around it, and of each unit where it stands."""
        shift = len(text) - len(text.lstrip())
        costs = [0.0] * len(units)
        at = 0
        offsets = self._backend.encode(clean(text.strip()), add_special_tokens=False).offsets
        for start, _ in offsets:
            while at < len(units) - 1 and units[at].end <= start + shift:
                at += 1
            costs[at] += 1.0
        return len(offsets), costs


def load_counter(tokenizer: Any) -> TokenCounter:
    """What counts with a model folder, or with a loaded fast tokenizer.

    Raises:
        DataError: no usable tokenizer.
    """
    if isinstance(tokenizer, (str, Path)):
        return TokenCounter.from_folder(tokenizer)
    return TokenCounter(tokenizer, Path(getattr(tokenizer, "name_or_path", "") or "tokenizer").name)


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
        raise DataError(
            f"tokenizer {folder}: cannot be loaded ({error}); is tokenizer.json there and whole?"
        ) from error
    # Without its files, transformers would hand out an empty tokenizer of the model's type.
    if not any((folder / name).is_file() for name in ("tokenizer.json", *tokenizer.vocab_files_names.values())):
        raise DataError(f"tokenizer {folder}: no tokenizer in it; give a folder with tokenizer.json")
    if not getattr(tokenizer, "is_fast", False):
        raise DataError(f"tokenizer {folder}: has no fast version; convert it to a tokenizer.json")
    return tokenizer
