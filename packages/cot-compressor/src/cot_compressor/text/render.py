r"""Puts kept units together again: text and spans of the source.

Neighbours keep the white space between them. A gap becomes one line break if it contained one, or if without one two
formulas or two sentences would run together; nothing after a mark of Chinese or Japanese; otherwise one space. So the
text can be rebuilt from the source and the spans alone.

>>> render("a b\nc d", [(0, 1), (6, 7)])
'a\nd'
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

from .segment import Unit

Span = tuple[int, int]
_WIDE_MARKS = frozenset("。！？；，、：")
_MARKS = frozenset(".,;:!?…")
_WIDE = "\u3040"
_RELATION = re.compile(r"[=<>≤≥≠≈≡→⇒]|->|\\(?:leq?|geq?|neq?|approx|equiv|to)(?![a-z])")
_PROSE = re.compile(r"[^\W\d_]{2,}(?!\()")
_REACH = 40


def merge_spans(units: Sequence[Sequence[object]] | Mapping[int, Sequence[object]], kept: Iterable[int]) -> list[Span]:
    """Spans of the kept units, where neighbours are joined with the white space between them.

    >>> merge_spans([(0, 2), (3, 5), (6, 8)], [0, 1])
    [(0, 5)]

    Args:
        units: `(start, end, …)` of each unit, by index.
        kept: Indices of the kept units, rising.
    """
    spans: list[Span] = []
    last = -2
    for at in kept:
        start, end = units[at][0], units[at][1]
        if at == last + 1:
            spans[-1] = (spans[-1][0], end)  # type: ignore[assignment]
        else:
            spans.append((start, end))  # type: ignore[arg-type]
        last = at
    return spans


def kept_units(units: Sequence[Unit], spans: Sequence[Sequence[int]]) -> list[bool]:
    """True for each unit that overlaps a span, if only in part: formulas are kept whole.

    Args:
        units: The units of a text, in order.
        spans: `[start, end)` of what is kept, sorted and disjoint.
    """
    ends = [end for _, end in spans]
    kept: list[bool] = []
    for unit in units:
        at = bisect_right(ends, unit.start)
        kept.append(at < len(spans) and spans[at][0] < unit.end)
    return kept


def line_breaks(text: str) -> list[int]:
    """Offsets of the line breaks in `text`."""
    return [match.start() for match in re.finditer("\n", text)]


def render(text: str, spans: Sequence[Span], breaks: Sequence[int] | None = None) -> str:
    """The parts of `text` that `spans` contain, joined.

    Args:
        text: The source.
        spans: `[start, end)` of the parts, sorted and disjoint.
        breaks: Offsets of all line breaks of `text`; with them no gap is searched, so a wide gap costs no more time.
    """
    parts: list[str] = []
    first = previous = -1
    for start, end in spans:
        if previous >= 0:
            parts.append("\n" if _broken(text, previous, start, breaks) else _joint(text, first, previous, start))
        parts.append(text[start:end])
        first, previous = start, end
    return "".join(parts)


def _joint(text: str, start: int, end: int, following: int) -> str:
    """What separates the part `text[start:end]` from one that begins at `following` on its line."""
    last, first = text[end - 1], text[following]
    if last in _WIDE_MARKS:
        return ""
    if last in _MARKS:
        return " "
    formula = _RELATION.search(text, max(start, end - _REACH), end) is not None
    return "\n" if first.isupper() or (formula and not _PROSE.match(text, following)) or last >= _WIDE else " "


def _broken(text: str, start: int, end: int, breaks: Sequence[int] | None) -> bool:
    if breaks is None:
        return text.find("\n", start, end) >= 0
    at = bisect_left(breaks, start)
    return at < len(breaks) and breaks[at] < end
