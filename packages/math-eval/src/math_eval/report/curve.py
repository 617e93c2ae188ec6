"""Accuracy at a budget of completion tokens as an SVG drawing: one line for each condition, over a log scale.

Pure functions from numbers to text; colours come from the page's style sheet.

    curves([Curve("base", 0, [(256, 0.1, 0.05, 0.2), (512, 0.4, 0.3, 0.5)], banded=True)], width=900, height=380)
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .chart import Box, ticks
from .escaping import html

_MARGIN = (34.0, 16.0, 46.0, 54.0)  # top, right, bottom, left
_DASHES = ("none", "7 4", "2 3", "9 3 2 3")
_NARROW = 500


@dataclass(frozen=True)
class Curve:
    """The line of one condition.

    Args:
        name: Its label.
        colour: Number of its run, which decides the colour.
        points: Budget in tokens, accuracy, and both ends of its interval, in rising order of the budget.
        banded: Whether the interval is drawn.
        dash: Number of the condition among those of its run, which decides the dashes.
    """

    name: str
    colour: int
    points: Sequence[tuple[float, float, float, float]]
    banded: bool
    dash: int = 0

    @property
    def style(self) -> str:
        """The dashes, as an attribute."""
        return f'stroke-dasharray="{_DASHES[(self.dash + self.colour // 8) % len(_DASHES)]}"'


@dataclass(frozen=True)
class _Frame:
    """Maps budgets, on a log scale, and accuracies to drawing units."""

    x: tuple[float, float]
    y: tuple[float, float]
    area: Box

    def place(self, budget: float, accuracy: float) -> tuple[float, float]:
        across = math.log2(budget / self.x[0]) / math.log2(self.x[1] / self.x[0])
        up = (accuracy - self.y[0]) / (self.y[1] - self.y[0])
        return (
            self.area.left + across * (self.area.right - self.area.left),
            self.area.bottom - up * (self.area.bottom - self.area.top),
        )


def curves(lines: Sequence[Curve], *, width: float, height: float) -> str:
    """The chart: bands, then lines."""
    top, right, bottom, left = _MARGIN
    budgets = [point[0] for line in lines for point in line.points]
    highest = max(point[3] if line.banded else point[1] for line in lines for point in line.points)
    y_ticks = [value for value in ticks(0, max(highest, 0.05), 5) if value <= 1]
    area = Box(left, top, width - right, height - bottom)
    frame = _Frame((min(budgets), max(budgets)), (0, max(y_ticks[-1], highest)), area)
    parts = [
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        'aria-label="Accuracy at a budget of completion tokens, one line a condition">',
        *_axes(frame, y_ticks, narrow=width < _NARROW),
        *(_band(line, frame) for line in lines if line.banded),
        *(_line(line, frame) for line in lines),
    ]
    return "".join([*parts, "</svg>"])


def legend(lines: Sequence[Curve]) -> str:
    """The name of each line with a piece of it."""
    pieces = (
        f'<span><svg class="c{line.colour % 8}" width="30" height="8"><path class="line" {line.style} d="M0 4h30"/>'
        f"</svg> {html(line.name)}</span>"
        for line in lines
    )
    return f'<p class="legend">{"".join(pieces)}</p>'


def _axes(frame: _Frame, y_ticks: Sequence[float], *, narrow: bool) -> Iterator[str]:
    area = frame.area
    for value in y_ticks:
        _, y = frame.place(frame.x[0], value)
        yield f'<line class="grid" x1="{area.left:.1f}" x2="{area.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{area.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{100 * value:.4g} %</text>'
    first, last = round(math.log2(frame.x[0])), round(math.log2(frame.x[1]))
    step = max(1, math.ceil((last - first) / (4 if narrow else 9)))
    for power in range(first, last + 1, step):
        x, _ = frame.place(2**power, 0)
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{area.bottom:.1f}" y2="{area.bottom + 4:.1f}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{area.bottom + 18:.1f}" text-anchor="middle">{2**power:,}</text>'
    yield f'<path class="axis" d="M{area.left:.1f} {area.bottom:.1f}H{area.right:.1f}"/>'
    middle = (area.left + area.right) / 2
    words = "budget of completion tokens, log scale"
    yield f'<text x="{middle:.1f}" y="{area.bottom + 38:.1f}" text-anchor="middle">{words}</text>'
    yield f'<text x="{area.left - 48:.1f}" y="{area.top - 18:.1f}">correct within the budget</text>'


def _band(line: Curve, frame: _Frame) -> str:
    upper = [frame.place(budget, high) for budget, _, _, high in line.points]
    lower = [frame.place(budget, low) for budget, _, low, _ in line.points]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(lower)])
    return f'<polygon class="band c{line.colour % 8}" points="{corners}"/>'


def _line(line: Curve, frame: _Frame) -> str:
    places = (frame.place(budget, accuracy) for budget, accuracy, *_ in line.points)
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    budget, accuracy, *_ = line.points[-1]
    words = f"{line.name}: {accuracy:.1%} within {budget:,.0f} tokens"
    drawn = f'<polyline class="line" {line.style} points="{corners}"/>'
    return f'<g class="c{line.colour % 8}"><title>{html(words)}</title>{drawn}</g>'
