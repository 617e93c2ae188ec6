"""Accuracy at a budget of completion tokens as an SVG drawing: one line for each condition, over a log scale.

Pure functions from numbers to text; colours come from the page's style sheet.

    curves([Curve("base", 0, [(256, 0.1, 0.05, 0.2), (512, 0.4, 0.3, 0.5)], banded=True)], width=900, height=380)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .escaping import html
from .frame import Frame, axes, drawing_area, ticks

_NAMES = ("budget of completion tokens, log scale", "correct within the budget")
_DASHES = ("none", "7 4", "2 3", "9 3 2 3")


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


def curves(lines: Sequence[Curve], *, width: float, height: float) -> str:
    """The chart: bands, then lines."""
    budgets = [point[0] for line in lines for point in line.points]
    highest = max(point[3] if line.banded else point[1] for line in lines for point in line.points)
    y_ticks = [value for value in ticks(0, max(highest, 0.05), 5) if value <= 1]
    frame = Frame((min(budgets), max(budgets)), (0, max(y_ticks[-1], highest)), drawing_area(width, height), log=True)
    parts = [
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        'aria-label="Accuracy at a budget of completion tokens, one line a condition">',
        *axes(frame, frame.powers(width), y_ticks, _NAMES),
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


def _band(line: Curve, frame: Frame) -> str:
    upper = [frame.place(budget, high) for budget, _, _, high in line.points]
    lower = [frame.place(budget, low) for budget, _, low, _ in line.points]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(lower)])
    return f'<polygon class="band c{line.colour % 8}" points="{corners}"/>'


def _line(line: Curve, frame: Frame) -> str:
    places = (frame.place(budget, accuracy) for budget, accuracy, *_ in line.points)
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    budget, accuracy, *_ = line.points[-1]
    words = f"{line.name}: {accuracy:.1%} within {budget:,.0f} tokens"
    drawn = f'<polyline class="line" {line.style} points="{corners}"/>'
    return f'<g class="c{line.colour % 8}"><title>{html(words)}</title>{drawn}</g>'
