"""Questions and chains of thought as windows of token ids for an encoder, and unit labels as token labels.

Each window is `[CLS] question [SEP] part of the cot [SEP]`, as far as the tokenizer has such tokens. Parts are cut at
unit borders and overlap, so every token of every unit is in some window. Training and scoring read text this way.

    encoder_input = WindowMaker(tokenizer, max_length=512)
    for window in encoder_input.windows(question, cot, units): ...
"""

import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .counting import clean
from .errors import DataError
from .render import Span
from .segment import Unit

IGNORED = -100
_OVERLAP_SHARE = 16
_MIN_PART_TOKENS = 8


@dataclass(frozen=True)
class Window:
    """One input of the encoder."""

    ids: list[int]
    """Token ids, special tokens included."""
    question_tokens: int
    """Tokens before the cot part, special tokens included."""
    cot_start: int
    """Index, among the tokens of the whole cot, of the first one in this window."""
    cot_tokens: int
    """Tokens of the cot part."""


@dataclass(frozen=True)
class Encoded:
    """The tokens of one cot and the windows over them."""

    windows: list[Window]
    offsets: list[Span]
    """Characters of each cot token."""
    unit_tokens: list[Span]
    """`[start, end)` of each unit's tokens; two units may share one."""


class WindowMaker:
    """Turns text into windows for one tokenizer and window length."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
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

    def windows(self, question: str, cot: str, units: Sequence[Unit]) -> Encoded:
        """Windows over all of `cot`. A question beyond half a window loses its head, with a warning."""
        encoding = self._backend.encode(clean(cot), add_special_tokens=False)
        asked = self._backend.encode(clean(question), add_special_tokens=False).ids
        if len(asked) > self.max_length // 2:
            if not self._warned:
                warnings.warn(
                    f"a question of {len(asked)} tokens takes more than half of {self.max_length}; "
                    "the scorer sees only its end",
                    stacklevel=2,
                )
                self._warned = True
            asked = asked[-(self.max_length // 2) :]
        head = [*self._before, *asked, *self._after]
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
    """The tokens that overlap each unit; empty for a unit the tokenizer drops."""
    starts = [start for start, _ in offsets]
    ends = [end for _, end in offsets]
    spans: list[Span] = []
    for unit in units:
        low, high = bisect_right(ends, unit.start), bisect_left(starts, unit.end)
        spans.append((low, max(low, high)))
    return spans


def _parts(tokens: int, unit_tokens: Sequence[Span], room: int) -> list[Span]:
    """Overlapping runs of at most `room` tokens that cover all, cut at unit borders where a unit is not longer."""
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


def token_labels(encoded: Encoded, window: Window, kept: Sequence[bool]) -> list[int]:
    """1 keep, 0 drop for the cot part, by unit; `IGNORED` for question, special tokens and tokens of no unit."""
    labels = [IGNORED] * len(window.ids)
    stop = window.cot_start + window.cot_tokens
    for (low, high), keep in zip(encoded.unit_tokens, kept, strict=True):
        for token in range(max(low, window.cot_start), min(high, stop)):
            at = window.question_tokens + token - window.cot_start
            labels[at] = max(labels[at], int(keep))
    return labels


def kept_units(units: Sequence[Unit], spans: Sequence[Sequence[int]]) -> list[bool]:
    """True for each unit that lies in a span; one that a span only touches counts as kept, for formulas are whole."""
    ends = [end for _, end in spans]
    kept: list[bool] = []
    for unit in units:
        at = bisect_right(ends, unit.start)
        kept.append(at < len(spans) and spans[at][0] < unit.end)
    return kept
