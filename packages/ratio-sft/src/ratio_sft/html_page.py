"""Self-contained HTML pages: a frame, tables, bar charts and line charts as inline SVG, and escaped text.

The content of a page is left to `data.card` and `evaluation.report`.

    write("following.html", "Ratio following", chart("Realised ratio", "asked ratio", [(0.2, 0.21, 0.19, 0.23)]))
"""

import html
from collections.abc import Sequence
from pathlib import Path

from ._shared.records import open_atomic
from ._shared.terminal import printable

__all__ = ["bars", "chart", "escape", "table", "write"]

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;"
    "text-align:right}td:first-child,th:first-child{text-align:left}pre{background:#f6f6f6;padding:.8rem;"
    "white-space:pre-wrap;overflow-wrap:anywhere}svg{max-width:100%;font-size:12px}"
)
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 420, 300, 45, 30, 15, 40


def escape(text: str) -> str:
    r"""Text of strangers as HTML; control characters and marks that reorder text are shown as escapes.

    >>> escape("<b>\x1b")
    '&lt;b&gt;\\x1b'
    """
    return html.escape(printable(text))


def write(path: str | Path, title: str, body: str) -> None:
    """Write one page atomically.

    Args:
        path: Path of the page.
        title: Title and heading, as plain text.
        body: Content below the heading, as HTML.
    """
    with open_atomic(path) as out:
        out.write(
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
        )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""An HTML table; the cells are plain text.

    >>> table(["ratio"], [["0.2"]])
    '<table><tr><th>ratio</th></tr>\n<tr><td>0.2</td></tr></table>'
    """
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table><tr>{head}</tr>\n" + "\n".join(lines) + "</table>"


def bars(title: str, counts: Sequence[tuple[str, float]]) -> str:
    """An SVG of horizontal bars, each with its name and value."""
    longest = max((value for _, value in counts), default=0) or 1
    lines = [
        f'<text x="120" y="{44 + 22 * line}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="128" y="{32 + 22 * line}" width="{220 * value / longest:.1f}" height="16" fill="#4878a8"/>'
        f'<text x="{134 + 220 * value / longest:.1f}" y="{44 + 22 * line}">{value:g}</text>'
        for line, (name, value) in enumerate(counts)
    ]
    return _svg(title, 40 + 22 * len(counts), lines)


def chart(
    title: str,
    label: str,
    points: Sequence[tuple[float, float, float, float]],
    *,
    diagonal: bool = False,
    level: float | None = None,
) -> str:
    """An SVG of a line with an interval at each point.

    Args:
        title: Quantity on the y axis.
        label: Quantity on the x axis.
        points: (x, y, lower bound, upper bound) of each point, x in [0, 1].
        diagonal: Draw the line y = x, on which a model that follows exactly would be.
        level: Height of an additional horizontal line.
    """
    top = max(1.0, *(high for *_, high in points))

    def place(x: float, y: float) -> tuple[float, float]:
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + x * width, _TOP + (1 - y / top) * height

    def line(start: tuple[float, float], end: tuple[float, float], style: str) -> str:
        (x1, y1), (x2, y2) = place(*start), place(*end)
        return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'

    grey, dashed = 'stroke="#bbb"', 'stroke="#888" stroke-dasharray="4 4"'
    parts = [line((0, 0), (1, 0), grey), line((0, 0), (0, top), grey)]
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1.0):
        (x, zero), (left, y) = place(tick, 0), place(0, tick)
        parts.append(f'<text x="{x:.1f}" y="{zero + 16:.1f}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(label)}</text>')
    if diagonal:
        parts.append(line((0, 0), (1, 1), dashed))
    if level is not None:
        parts.append(line((0, level), (1, level), dashed))
    path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y, *_ in points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="#4878a8" stroke-width="2"/>')
    for x, y, low, high in points:
        centre = place(x, y)
        parts.append(line((x, low), (x, high), 'stroke="#4878a8"'))
        parts.append(f'<circle cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="4" fill="#4878a8"/>')
    return _svg(title, _HEIGHT, parts)


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {_WIDTH} {height:g}"><text x="10" y="18" font-weight="bold">{escape(title)}</text>\n'
        + "\n".join(parts)
        + "</svg>"
    )
