"""Turns a question and a chain of thought into windows of token ids for an encoder.

Each window is `[CLS] question [SEP] part of the cot [SEP]`, as far as the tokenizer has such tokens. Parts are cut at
unit borders and overlap, so every token of every unit is in some window. Training and scoring read text this way;
what a token's label or score means is left to them.

    maker = WindowMaker(tokenizer, max_length=512)
    for window in maker.encode(question, cot, segment(cot)).windows:
        print(window.ids)
"""

import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cot_compressor._shared.tokenizer_file import tokenizing
from cot_compressor.budget.counting import clean
from cot_compressor.errors import DataError
from cot_compressor.text.render import Span
from cot_compressor.text.segment import Unit

_OVERLAP_SHARE = 16
_MIN_PART_TOKENS = 8


@dataclass(frozen=True)
class Window:
    """One input of the encoder."""

    ids: list[int]
    """Token ids, special tokens included."""
    question_tokens: int
    """Number of tokens before the cot part, special tokens included."""
    cot_start: int
    """Index of the window's first cot token among the tokens of the whole cot."""
    cot_tokens: int
    """Number of tokens of the cot part."""


@dataclass(frozen=True)
class Encoded:
    """The tokens of one cot and the windows over them."""

    windows: list[Window]
    offsets: list[Span]
    """`[start, end)` characters of each cot token."""
    unit_tokens: list[Span]
    """`[start, end)` of each unit's tokens; two units may share one."""


class WindowMaker:
    """Turns text into windows for one tokenizer and window length."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        """Copy the tokenizer.

        Args:
            tokenizer: A fast tokenizer of transformers.
            max_length: Largest number of tokens in a window.

        Raises:
            DataError: `max_length` leaves no room for question and text.
        """
        self._name = str(tokenizer.name_or_path)
        self._backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
        last = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        self._before = [] if first is None else [first]
        self._after = [] if last is None else [last]
        self.max_length = max_length
        self._warned = False
        if max_length < 3 * _MIN_PART_TOKENS:
            raise DataError(
                f"max length {max_length} is too short for question and text; use {3 * _MIN_PART_TOKENS} or more"
            )

    def encode(self, question: str, cot: str, units: Sequence[Unit]) -> Encoded:
        """Cut question and `cot` into windows; a question longer than half a window loses its start, with a warning."""
        with tokenizing(self._name):
            encoding = self._backend.encode(clean(cot), add_special_tokens=False)
            question_ids = self._backend.encode(clean(question), add_special_tokens=False).ids
        if len(question_ids) > self.max_length // 2:
            if not self._warned:
                warnings.warn(
                    f"a question of {len(question_ids)} tokens takes more than half of {self.max_length}; "
                    "the scorer sees only its end",
                    stacklevel=2,
                )
                self._warned = True
            question_ids = question_ids[-(self.max_length // 2) :]
        head = [*self._before, *question_ids, *self._after]
        ids: list[int] = encoding.ids
        offsets: list[Span] = encoding.offsets
        spans = _unit_tokens(offsets, units)
        room = self.max_length - len(head) - len(self._after)
        windows = [
            Window([*head, *ids[start:end], *self._after], len(head), start, end - start)
            for start, end in _parts(len(ids), spans, room)
        ]
        return Encoded(windows, offsets, spans)


def _unit_tokens(offsets: Sequence[Span], units: Sequence[Unit]) -> list[Span]:
    """`[start, end)` of the tokens that overlap each unit; empty for a unit that the tokenizer drops."""
    starts = [start for start, _ in offsets]
    ends = [end for _, end in offsets]
    spans: list[Span] = []
    for unit in units:
        low, high = bisect_right(ends, unit.start), bisect_left(starts, unit.end)
        spans.append((low, max(low, high)))
    return spans


def _parts(tokens: int, unit_tokens: Sequence[Span], room: int) -> list[Span]:
    """Overlapping runs of at most `room` tokens that cover all tokens, cut at unit borders unless a unit is longer."""
    if tokens <= room:
        return [(0, tokens)]
    borders = sorted({start for start, _ in unit_tokens} | {0, tokens})
    parts: list[Span] = []
    start = 0
    while True:
        end = start + room
        if end >= tokens:
            parts.append((start, tokens))
            return parts
        border = borders[bisect_right(borders, end) - 1]
        end = border if border > start + room // 2 else end
        parts.append((start, end))
        wanted = end - room // _OVERLAP_SHARE
        border = borders[bisect_right(borders, wanted) - 1]
        start = border if border > start else wanted
