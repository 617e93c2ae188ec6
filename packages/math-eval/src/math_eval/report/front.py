"""The Pareto front of accuracy against tokens, and its drawing: a mark for each run, names on the front only.

front = pareto_front([(512, 0.6), (900, 0.5), (2048, 0.8)])        # [0, 2]
drawing([Mark("base", 2048, 0.8)], front=[0], width=900, height=430)    # '<svg …'
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .chart import labelled, place_labels
from .escaping import html
from .frame import Box, Frame, axes, drawing_area, ticks

_NAMES = ("mean completion tokens, log scale", "accuracy")
_MOST_LETTERS = 32


@dataclass(frozen=True)
class Mark:
    """One condition in the drawing.

    Args:
        name: Its name.
        tokens: Mean completion tokens.
        accuracy: Accuracy, in [0, 1].
    """

    name: str
    tokens: float
    accuracy: float


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The points (tokens, accuracy) that no other one beats, in rising order of tokens.

    One point beats another if it is at least as good in both, and better in one. Equal points are all on the front.
    """
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda one: (points[one][0], -points[one][1])):
        if not front or points[place][1] > points[front[-1]][1] or points[place] == points[front[-1]]:
            front.append(place)
    return front


def drawing(marks: Sequence[Mark], front: Sequence[int], *, width: float, height: float) -> str:
    """The drawing: a small mark for each condition, and a line through the front with the names on it.

    Args:
        marks: The conditions.
        front: Numbers of those on the front, in rising order of tokens.
        width: Width in drawing units.
        height: Height in drawing units; it grows if the names need more room.
    """
    at = [max(1.0, mark.tokens) for mark in marks]
    low, high = math.floor(math.log2(min(at))), math.ceil(math.log2(max(at)))
    scores = [mark.accuracy for mark in marks]
    y_ticks = ticks(max(0.0, min(scores) - 0.02), min(1.0, max(scores) + 0.02), 5)
    x_axis = (2.0**low, 2.0 ** max(high, low + 1))
    frame = Frame(x_axis, (y_ticks[0], y_ticks[-1]), drawing_area(width, height), log=True)
    places = [frame.place(tokens, mark.accuracy) for tokens, mark in zip(at, marks, strict=True)]
    line = [places[one] for one in front]
    named = labelled(len(front))
    names = [_short(marks[front[one]].name) for one in named]
    boxes = place_labels(
        names, [line[one] for one in named], [Box(x - 4, y - 4, x + 4, y + 4) for x, y in places], frame.area
    )
    total = max([height, *(box.bottom + 4 for box in boxes)])
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
    return "".join(
        [
            f'<svg class="chart" viewBox="0 0 {width:g} {total:g}" role="img" '
            'aria-label="Accuracy against mean completion tokens, one mark a condition">',
            *axes(frame, frame.powers(width), y_ticks, _NAMES),
            f'<polyline class="path c1" points="{corners}"/>',
            *(_circle(mark, place, "c0 rest") for mark, place in zip(marks, places, strict=True)),
            *(_circle(marks[one], places[one], "c1") for one in front),
            *(_label(name, box) for name, box in zip(names, boxes, strict=True)),
            "</svg>",
        ]
    )


def _short(name: str) -> str:
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"


def _circle(mark: Mark, place: tuple[float, float], style: str) -> str:
    words = f"{mark.name}: {mark.accuracy:.1%}, {mark.tokens:,.0f} completion tokens"
    circle = f'<circle class="mark" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="4"/>'
    return f'<g class="{style}"><title>{html(words)}</title>{circle}</g>'


def _label(name: str, box: Box) -> str:
    cx, cy = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    return f'<text class="label c1" x="{cx:.1f}" y="{cy + 4:.1f}" text-anchor="middle">{html(name)}</text>'
