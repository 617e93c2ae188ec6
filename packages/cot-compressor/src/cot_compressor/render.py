r"""Put kept units back together: text and source spans.

Neighbours keep the white space they had; where something was dropped, one space stands, or one line break if the gap
held one. So no two words are ever glued, and the text can be rebuilt from the source and the spans alone.

>>> render("a b\nc d", [(0, 1), (6, 7)])
'a\nd'
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

Span = tuple[int, int]


def merge_spans(units: Sequence[Sequence[object]] | Mapping[int, Sequence[object]], kept: Iterable[int]) -> list[Span]:
    """Spans of the kept units (`kept` rising indices), neighbours joined with the white space between them."""
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


def line_breaks(text: str) -> list[int]:
    """Offsets of the line breaks in `text`."""
    return [match.start() for match in re.finditer("\n", text)]


def render(text: str, spans: Sequence[Span], breaks: Sequence[int] | None = None) -> str:
    """The pieces of `text` under `spans` (sorted, disjoint), joined.

    With `breaks`, the offsets of all its line breaks, no gap is searched: pieces far apart cost no more than near ones.
    """
    pieces: list[str] = []
    previous = -1
    for start, end in spans:
        if previous >= 0:
            pieces.append("\n" if _broken(text, previous, start, breaks) else " ")
        pieces.append(text[start:end])
        previous = end
    return "".join(pieces)


def _broken(text: str, start: int, end: int, breaks: Sequence[int] | None) -> bool:
    if breaks is None:
        return text.find("\n", start, end) >= 0
    at = bisect_left(breaks, start)
    return at < len(breaks) and breaks[at] < end
