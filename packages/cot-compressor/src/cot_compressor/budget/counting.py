"""Counts tokens with the target model's tokenizer.

A budget is meant for the model that reads or writes the shortened text, so that model's tokenizer counts, and not the
encoder's of a scorer. Only the tokenizer files of a model folder are read, and nothing is downloaded. Where there
is no tokenizer, words, numbers and signs are counted instead.

>>> WordCounter().count("12 + 15 = 27")
5
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from tokenizers import AddedToken, Tokenizer

from cot_compressor._shared import checkpoint_loader
from cot_compressor._shared.tokenizer_file import read_tokenizer, tokenizing
from cot_compressor.errors import DataError, needs_extra
from cot_compressor.text.segment import Unit

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_WHITE_SPACE_AND_WORD = re.compile(r"\s*\S+")
_WORD = re.compile(r"\w+|[^\w\s]")
_MEMO_CHARS = 48
_MEMO_SIZE = 200_000
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_TOKEN_FIELDS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")


def clean(text: str) -> str:
    r"""Replace each lone surrogate, which no tokenizer accepts, by U+FFFD; offsets stay correct.

    >>> clean("half \ud800 character") == "half \ufffd character"
    True
    """
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


class Counter(Protocol):
    """Anything that measures text against a budget."""

    name: str
    """Name of the tokenizer, which is written into results."""

    def count(self, text: str) -> int:
        """The number of tokens of `text`."""
        ...

    def estimate(self, text: str) -> int:
        """A cheaper count that may be slightly off."""
        ...

    def unit_costs(self, text: str, units: Sequence[Unit]) -> tuple[int, list[float]]:
        """The tokens of `text` without surrounding white space, and an estimate of the tokens of each unit in it."""
        ...


def count_words(text: str) -> int:
    """The number of words, numbers and signs of a text.

    >>> count_words("so 12 + 15 = 27.")
    7
    """
    # Counted in C, and no word is stored: ten megabytes take about a second.
    return _WORD.subn("", text)[1]


class WordCounter:
    """Counts words, numbers and signs: a substitute for tokens where there is no tokenizer."""

    name = "pieces"
    """The word for words, numbers and signs in recorded results."""

    def count(self, text: str) -> int:
        """See `Counter.count`."""
        return count_words(text)

    def estimate(self, text: str) -> int:
        """See `Counter.estimate`; exact here."""
        return count_words(text)

    def unit_costs(self, text: str, units: Sequence[Unit]) -> tuple[int, list[float]]:
        """See `Counter.unit_costs`."""
        return count_words(text), [float(count_words(text[unit.start : unit.end])) for unit in units]


class TokenCounter:
    """Counts with a fast tokenizer."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        """Copy a tokenizer, so that its own settings stay unchanged.

        Args:
            tokenizer: A `tokenizers.Tokenizer`, or a fast tokenizer of transformers.
            name: Name of the tokenizer, which is written into results.

        Raises:
            DataError: the tokenizer is not a fast one.
        """
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if not isinstance(backend, Tokenizer):
            raise DataError(f"tokenizer {name}: has no fast version; convert it to a tokenizer.json")
        self._backend: Any = Tokenizer.from_str(backend.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self._memo: dict[str, int] = {}
        self.name = name

    @classmethod
    def from_folder(cls, folder: str | Path) -> "TokenCounter":
        """Load the tokenizer of a model folder.

        Raises:
            DataError: there is no such folder, or it contains no usable tokenizer.
        """
        return cls(_read_tokenizer(Path(folder)), Path(folder).absolute().name)

    def digest(self) -> str:
        """SHA-256 of the tokenizer's definition, without its truncation and padding."""
        return hashlib.sha256(self._backend.to_str().encode("utf-8", "surrogatepass")).hexdigest()

    def count(self, text: str) -> int:
        """The number of tokens of `text`, without special tokens around it."""
        return self._remembered(text) if len(text) <= _MEMO_CHARS else self._encoded(text)

    def _encoded(self, text: str) -> int:
        return len(self._encode(text))

    def _encode(self, text: str) -> Any:
        with tokenizing(self.name):
            return self._backend.encode(clean(text), add_special_tokens=False)

    def _remembered(self, text: str) -> int:
        found = self._memo.get(text)
        if found is None:
            found = self._encoded(text)
            if len(text) <= _MEMO_CHARS:
                if len(self._memo) >= _MEMO_SIZE:
                    self._memo.clear()
                self._memo[text] = found
        return found

    def estimate(self, text: str) -> int:
        """The sum of the tokens of all words, each with the white space before it; merges across words are missed."""
        return sum(map(self._remembered, _WHITE_SPACE_AND_WORD.findall(text)))

    def unit_costs(self, text: str, units: Sequence[Unit]) -> tuple[int, list[float]]:
        """The tokens of `text` without surrounding white space, and the tokens that begin in each unit."""
        shift = len(text) - len(text.lstrip())
        costs = [0.0] * len(units)
        at = 0
        offsets = self._encode(text.strip()).offsets
        for start, _ in offsets:
            while at < len(units) - 1 and units[at].end <= start + shift:
                at += 1
            costs[at] += 1.0
        return len(offsets), costs


def load_counter(tokenizer: Any) -> TokenCounter:
    """The counter for a model folder, or for a loaded fast tokenizer.

    Raises:
        DataError: there is no usable tokenizer.
    """
    if isinstance(tokenizer, (str, Path)):
        return TokenCounter.from_folder(tokenizer)
    return TokenCounter(tokenizer, Path(getattr(tokenizer, "name_or_path", "") or "tokenizer").name)


def _read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder, read without transformers if there is a tokenizer.json."""
    if not (folder / "tokenizer.json").is_file():
        return load_tokenizer(folder)
    try:
        tokenizer = read_tokenizer(folder)
        _add_configured_tokens(tokenizer, folder)
    except (DataError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers raises nothing more specific, and may end in a Rust panic
        raise DataError(f"tokenizer {folder}: cannot be loaded ({error}); is it complete?") from error
    return tokenizer


def _add_configured_tokens(tokenizer: Tokenizer, folder: Path) -> None:
    """Add the special tokens that only tokenizer_config.json names, as transformers does; each is one token then."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            config |= json.loads((folder / name).read_text("utf-8"))
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    missing = [token for token in _configured_tokens(config) if token.content not in known]
    if missing:
        tokenizer.add_tokens(missing)


def _configured_tokens(config: dict[str, Any]) -> Iterator[AddedToken]:
    listed: dict[str, Any] = config.get("added_tokens_decoder") or {}
    for index in sorted(listed, key=int):
        yield _added_token(listed[index], special=False)
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    for token in [*map(config.get, _SPECIAL_TOKENS), *(extra.values() if isinstance(extra, dict) else extra)]:
        if token:
            yield _added_token(token, special=True)


def _added_token(token: str | dict[str, Any], *, special: bool) -> AddedToken:
    fields = {"content": token} if isinstance(token, str) else token
    return AddedToken(**{"special": special, **{name: fields[name] for name in _TOKEN_FIELDS if name in fields}})


def load_tokenizer(folder: str | Path) -> Any:
    """The fast tokenizer of a model folder, as transformers loads it.

    Raises:
        DataError: there is no such folder, it contains no usable tokenizer, or transformers is not installed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"tokenizer {folder}: no such folder; give a folder with tokenizer.json")
    with needs_extra("scorer", f"tokenizer {folder}: has no tokenizer.json, and other formats need transformers"):
        try:
            tokenizer = checkpoint_loader.load_tokenizer(folder)
        except DataError as error:
            raise DataError(f"tokenizer {error}; give a folder with tokenizer.json") from error
    if not getattr(tokenizer, "is_fast", False):
        raise DataError(f"tokenizer {folder}: has no fast version; convert it to a tokenizer.json")
    return tokenizer
