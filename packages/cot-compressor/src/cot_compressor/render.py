r"""Put kept units back together: text and source spans.

Neighbours keep the white space they had; where something was dropped, one space stands, or one line break if the gap
held one. So no two words are ever glued, and the text can be rebuilt from the source and the spans alone.

>>> render("a b\nc d", [(0, 1), (6, 7)])
'a\nd'
"""

from collections.abc import Iterable, Sequence

Span = tuple[int, int]


def merge_spans(units: Sequence[Sequence[object]], kept: Iterable[int]) -> list[Span]:
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


def render(text: str, spans: Sequence[Span]) -> str:
    """The pieces of `text` under `spans` (sorted, disjoint), joined."""
    pieces: list[str] = []
    previous = -1
    for start, end in spans:
        if previous >= 0:
            pieces.append("\n" if text.find("\n", previous, start) >= 0 else " ")
        pieces.append(text[start:end])
        previous = end
    return "".join(pieces)
