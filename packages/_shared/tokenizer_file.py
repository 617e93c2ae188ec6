"""Reads a stranger's tokenizer.json: first in a child process with limits, then here, without padding and truncation.

The steps of a tokenizer (normalizers, pre-tokenizers, post-processors, decoders) form chains, and each may write more
than it reads: twelve that make ten letters of one fill any memory with one word. So a tokenizer is refused by what its
steps could make of one character. Which other files belong to it is left to the callers.

    tokenizer = read_tokenizer("checkpoints/base")
    with tokenizing("checkpoints/base"):
        tokenizer.encode("1 + 1 = 2").ids
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from .bounded import MEMORY_BYTES, SECONDS, in_child
from .checkpoint_files import check_inside
from .records import MAX_FILE_BYTES, check_size

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_Json = dict[str, Any]
_MOST_GROWTH = 4_000
_MOST_CHARS = 10_000
_MOST_STEPS = 100
_MOST_ADDED = 100
_MOST_WORD_CHARS = 1_000
_MOST_TEMPLATE_CHARS, _MOST_MEAN_TEMPLATE_CHARS = 100_000, 5_000
_MOST_COMPLETION_CHARS, _MOST_CHARS_A_TOKEN = 1_000_000, 200
_MEMORY_A_BYTE, _SECONDS_A_MIB = 64, 1.0
_CHAINS = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
_SAME = {"Strip", "StripAccents", "Nmt", "BertPreTokenizer", "CharDelimiterSplit", "Whitespace", "WhitespaceSplit"}
_SAME |= {"Split", "Punctuation", "Digits", "UnicodeScripts", "FixedLength", "RobertaProcessing", "BertProcessing"}
_SAME |= {"Fuse", "ByteFallback"}
# The most characters that a step makes of one, over all of Unicode, and of those before and after it.
_GROWTH = {"NFC": 3, "NFD": 4, "NFKC": 18, "NFKD": 18, "Lowercase": 2, "BertNormalizer": 3}
_GROWTH |= {"Metaspace": 2, "WordPiece": 2, "BPEDecoder": 2, "CTC": 3}
_OTHER_GROWTH = 8


def read_tokenizer(folder: str | Path) -> "Tokenizer":
    """The tokenizer of a model folder that has a tokenizer.json; it neither pads nor cuts.

    Raises:
        DataError: the file is missing, corrupted or passes a limit, or a file of the folder is a link to elsewhere.
    """
    file = Path(folder, "tokenizer.json")
    if not file.is_file():
        raise DataError(f"{file}: no such file; name the model's folder")
    check_inside(Path(folder))
    check_size(file)

    def check() -> None:
        check_growth(_read(file), str(file))

    first_loading(check, str(file), [file])
    tokenizer = _read(file)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def first_loading(check: Any, where: str, files: list[Path]) -> None:
    """Run a function that loads a tokenizer in a child process, with limits that grow with its files, up to 256 MiB.

    Args:
        check: The function, whose result is dropped.
        where: Description that opens every error message.
        files: Files of the tokenizer; those that do not exist count as empty.

    Raises:
        DataError: the function failed, or passed a limit.
    """
    size = min(sum(file.stat().st_size for file in files if file.is_file()), MAX_FILE_BYTES)
    seconds, memory = SECONDS + _SECONDS_A_MIB * size / 2**20, MEMORY_BYTES + _MEMORY_A_BYTE * size
    in_child(check, where, seconds=seconds, memory_bytes=memory)


def _read(file: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    with one_error(f"{file}: cannot be loaded", "copy the model's tokenizer again"):
        return Tokenizer.from_file(str(file))


@contextmanager
def tokenizing(folder: str | Path) -> Iterator[None]:
    """Turn whatever a tokenizer raises into one error that names its folder.

    Raises:
        DataError: the tokenizer failed.
    """
    with one_error(f"{folder}: the tokenizer fails", "mend its tokenizer.json, or use another model's"):
        yield


@contextmanager
def one_error(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises into one error: what failed, why, and the remedy.

    Raises:
        DataError: something was raised that is not an error of this toolkit, an interrupt, or a lack of memory.
    """
    try:
        yield
    except (DataError, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # tokenizers, written in Rust, may end in a PanicException
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(f"{what} ({reason}); {remedy}") from error


def check_rendered(texts: Sequence[str], written: Sequence[int], where: str) -> None:
    """Refuse prompts that are empty, or much longer than their messages: tokenising them has no limits.

    Args:
        texts: Rendered prompts.
        written: Number of characters in the messages of each prompt.
        where: Place that an error names.

    Raises:
        DataError: a prompt is empty, one gained over 100,000 characters, or n prompts over 100,000 + 5,000 n (our
            choice: the system prompts of real templates have a few thousand).
    """
    if not all(map(str.strip, texts)):
        raise DataError(f"{where}: renders an empty prompt; mend it")
    gains = [max(len(text) - count, 0) for text, count in zip(texts, written, strict=True)]
    most = _MOST_TEMPLATE_CHARS + _MOST_MEAN_TEMPLATE_CHARS * len(texts)
    if (gain := max(gains, default=0)) > _MOST_TEMPLATE_CHARS:
        raise DataError(f"{where}: adds {gain} characters to a prompt, more than {_MOST_TEMPLATE_CHARS}; mend it")
    if (gain := sum(gains)) > most:
        raise DataError(f"{where}: adds {gain} characters to {len(texts)} prompts, more than {most}; mend it")


def check_decoded(text: str, tokens: int, where: str) -> str:
    """The text of a completion, if it is not much longer than its tokens: readers tokenise it, or search it for tags.

    Args:
        text: Text of the completion.
        tokens: Number of its tokens.
        where: Place that an error names.

    Raises:
        DataError: it has more than 1,000,000 characters and 200 for each token.
    """
    most = _MOST_COMPLETION_CHARS + _MOST_CHARS_A_TOKEN * tokens
    if len(text) > most:
        raise DataError(
            f"{where}: a completion of {tokens} tokens has {len(text)} characters, more than {most}; its tokenizer has "
            "tokens that are too long: use another model's"
        )
    return text


def check_growth(tokenizer: "Tokenizer", where: str) -> None:
    """Refuse a tokenizer that could make very much of little text, in time or memory.

    Args:
        tokenizer: The tokenizer, which has met no text yet.
        where: Place that an error names.

    Raises:
        DataError: the steps of the tokenizer multiply text, or a token or word is longer than in any real one.
    """
    for part in _CHAINS:
        if (count := len(_steps(tokenizer, part))) > _MOST_STEPS:
            raise DataError(f"{where}: {part} has {count} steps; no tokenizer has more than {_MOST_STEPS}")
    longest = check_tokens(_texts(tokenizer), where)
    word = getattr(tokenizer.model, "max_input_chars_per_word", 0)
    if word > _MOST_WORD_CHARS:
        raise DataError(f"{where}: max_input_chars_per_word is {word}; no tokenizer has more than {_MOST_WORD_CHARS}")
    added = sum(_added_tokens(step) for step in _steps(tokenizer, "post_processor"))
    if (added := added * growth(tokenizer, "post_processor")) > _MOST_ADDED:
        raise DataError(
            f"{where}: adds {added:.0f} special tokens to every text; no tokenizer adds more than {_MOST_ADDED}"
        )
    encoded = growth(tokenizer, "normalizer", "pre_tokenizer", "post_processor")
    decoded = max(longest, 1) * growth(tokenizer, "decoder")
    for what, made, most in (("a character", encoded, _MOST_GROWTH), ("a token", decoded, _MOST_CHARS)):
        if made > most:
            number = f"{min(made, 10**15):.0f}"
            raise DataError(f"{where}: its steps can make {number} characters of {what}; no tokenizer makes {most}")


def check_tokens(tokens: Iterable[str], where: str) -> int:
    """The length of the longest token in characters.

    Raises:
        DataError: it is longer than in any real tokenizer.
    """
    longest = max(map(len, tokens), default=0)
    if longest > _MOST_CHARS:
        raise DataError(f"{where}: a token of {longest} characters; no tokenizer has one above {_MOST_CHARS}")
    return longest


def growth(tokenizer: "Tokenizer", *parts: str) -> float:
    """The most characters that the steps of parts of a tokenizer can make of one.

    Args:
        tokenizer: The tokenizer.
        parts: Names of its parts, such as "normalizer".
    """
    return prod(_growth(step, part) for part in parts for step in _steps(tokenizer, part))


def _steps(tokenizer: "Tokenizer", name: str) -> list[_Json]:
    """The steps of one part of a tokenizer, as the library writes them into a tokenizer.json."""
    part: Any = getattr(tokenizer, name)
    left: list[_Json] = [] if part is None else [json.loads(part.__getstate__())]
    found: list[_Json] = []
    while left:
        step = left.pop(0)
        if step["type"] == "Sequence":
            left = step[_CHAINS[name]] + left
        else:
            found.append(step)
    return found


def _texts(tokenizer: "Tokenizer") -> Iterator[str]:
    """Every token, and what is put before or behind the parts of a word."""
    yield from tokenizer.get_vocab(with_added_tokens=True)
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        yield getattr(tokenizer.model, name, None) or ""


def _growth(step: _Json, part: str) -> float:
    """The most characters, or tokens, that a step can make of one."""
    kind = step["type"]
    if kind in _SAME or (kind == "ByteLevel" and part in ("post_processor", "decoder")):
        return 1
    if kind == "Replace":
        # A regular expression may match nothing, and is then replaced between all characters.
        length = len(step["pattern"].get("String", ""))
        return max(1, len(step["content"]) / length) if length else 1 + len(step["content"])
    if kind == "Prepend":
        return 1 + len(step["prepend"])
    if kind == "Precompiled":
        return _longest_precompiled(step["precompiled_charsmap"])
    if kind == "TemplateProcessing":
        return max(_repeats(step["single"]), _repeats(step["pair"]))
    return _GROWTH.get(kind, _OTHER_GROWTH)


def _longest_precompiled(charsmap: str) -> int:
    """The longest replacement of a SentencePiece map: the size of its trie, the trie, replacements that end in NUL."""
    content = base64.b64decode(charsmap)
    start = 4 + int.from_bytes(content[:4], "little")
    return max(1, *(len(each.decode("utf-8", "replace")) for each in content[start:].split(b"\0")))


def _repeats(pieces: list[_Json]) -> int:
    """How often a template repeats a text."""
    texts = [piece["Sequence"]["id"] for piece in pieces if "Sequence" in piece]
    return max(texts.count("A"), texts.count("B"), 1)


def _added_tokens(step: _Json) -> int:
    """Number of special tokens that a step of a post-processor adds to a text, or to a pair of texts."""
    if step["type"] != "TemplateProcessing":
        return 0
    ids = {name: len(token["ids"]) for name, token in step["special_tokens"].items()}
    return max(
        sum(ids[piece["SpecialToken"]["id"]] for piece in step[kind] if "SpecialToken" in piece)
        for kind in ("single", "pair")
    )
