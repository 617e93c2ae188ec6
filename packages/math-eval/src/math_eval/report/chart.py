"""Accuracy against thinking tokens as an SVG drawing whose labels do not overlap.

Pure functions from numbers to text. Colours come from the page's style sheet: `c0`, `c1`, …, one for each run.

    scatter([Point("base", 873, (850, 896), 0.868, (0.85, 0.885), 0, "none")], width=720, height=420)   # '<svg …'
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from .escaping import html
from .frame import Box, Frame, axes, drawing_area, ticks

_CHAR_WIDTH = 6.9
_LABEL_HEIGHT = 15.0
_MARK = 6.0
_MOST_LABELS = 40
"""Our choice: more names than this cannot be read in one drawing, and the search for room takes long."""
_MOST_PLACES = 16
"""Number of free places from which one that is clear of the lines is chosen."""


@dataclass(frozen=True)
class Point:
    """One condition in the chart.

    Args:
        name: Label of the mark.
        tokens: Mean thinking tokens.
        tokens_interval: Interval of `tokens`.
        accuracy: Accuracy, in [0, 1].
        accuracy_interval: Interval of `accuracy`.
        colour: Number of its run, which decides the colour.
        kind: Shape of the mark: `none`, `ratio` or `policy`. A line joins the points of kind `ratio` of one run.
    """

    name: str
    tokens: float
    tokens_interval: tuple[float, float]
    accuracy: float
    accuracy_interval: tuple[float, float]
    colour: int
    kind: str


def labelled(count: int) -> list[int]:
    """The numbers of those of `count` points that get a label: all, or 40 at equal distances with both ends.

    >>> labelled(3), labelled(79)[:3], labelled(79)[-1]
    ([0, 1, 2], [0, 2, 4], 78)
    """
    if count <= _MOST_LABELS:
        return list(range(count))
    return [place * (count - 1) // (_MOST_LABELS - 1) for place in range(_MOST_LABELS)]


def unlabelled_note(count: int) -> str:
    """The sentence about points without a label for the caption of a drawing of `count`; empty if there are none."""
    return f" {_MOST_LABELS} of {count:,} names are shown; the table has all." if count > _MOST_LABELS else ""


def place_labels(
    texts: Sequence[str], anchors: Sequence[tuple[float, float]], lines: Sequence[Box], area: Box
) -> list[Box]:
    """A box for each label near its mark, clear of all marks and other labels, and of the lines where possible.

    Args:
        texts: The labels.
        anchors: Centres of their marks.
        lines: The lines between the marks and their intervals, as thin boxes.
        area: The area in which labels may be placed. It grows downwards if there is no room.
    """
    marks = [Box(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in anchors]
    placed: list[Box] = []
    for text, anchor in zip(texts, anchors, strict=True):
        free = (
            box
            for box in _candidates(anchor, _CHAR_WIDTH * len(text) + 4, area)
            if not any(box.overlaps(other) for other in (*marks, *placed))
        )
        fits = list(islice(free, _MOST_PLACES))
        if not fits:
            area = Box(area.left, area.top, area.right, area.bottom + _LABEL_HEIGHT)
            fits = [Box(area.left, area.bottom - _LABEL_HEIGHT, area.left + _CHAR_WIDTH * len(text) + 4, area.bottom)]
        placed.append(next((box for box in fits if not any(box.overlaps(line) for line in lines)), fits[0]))
    return placed


def _candidates(anchor: tuple[float, float], width: float, area: Box) -> Iterator[Box]:
    """Boxes around a mark, the nearest first; at each distance right, left, above and below precede the diagonals."""
    x, y = anchor
    for distance in (9.0, 16.0, 25.0, 36.0, 50.0, 66.0, 84.0, 104.0, 130.0, 160.0, 200.0, 250.0, 300.0, 360.0, 420.0):
        for degrees in (0, 180, 270, 90, 315, 225, 45, 135, 338, 202, 22, 158, 292, 248, 68, 112):
            along, down = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            cx = x + along * (distance + width / 2)
            cy = y + down * (distance + _LABEL_HEIGHT / 2)
            box = Box(cx - width / 2, cy - _LABEL_HEIGHT / 2, cx + width / 2, cy + _LABEL_HEIGHT / 2)
            if box.inside(area):
                yield box


def scatter(points: Sequence[Point], *, width: float, height: float) -> str:
    """The chart: a mark and two intervals for each point, a line through the fixed ratios of each run, and labels."""
    area = drawing_area(width, height)
    x_ticks = ticks(0, max(max(point.tokens_interval[1], point.tokens) for point in points) * 1.04 or 1, width / 110)
    low = min(point.accuracy_interval[0] for point in points)
    high = max(point.accuracy_interval[1] for point in points)
    y_ticks = ticks(max(0.0, low - 0.01), min(1.0, max(high + 0.01, low + 0.06)), 5)
    frame = Frame((x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1]), area)
    anchors = [frame.place(point.tokens, point.accuracy) for point in points]
    bars = [bar for point in points for bar in _bars(point, frame)]
    paths = _paths(points, anchors)
    lines = [*bars, *(dot for path in paths.values() for dot in _dots(path))]
    named = labelled(len(points))
    boxes = place_labels([points[one].name for one in named], [anchors[one] for one in named], lines, area)
    total = max([height, *(box.bottom + 4 for box in boxes)])
    parts = [
        f'<svg class="chart" viewBox="0 0 {width:g} {total:g}" role="img" '
        'aria-label="Accuracy against mean thinking tokens, one mark a condition">',
        *axes(frame, x_ticks, y_ticks, ("mean thinking tokens", "accuracy")),
        *_lines(paths),
    ]
    for point, anchor in zip(points, anchors, strict=True):
        parts.append(_mark(point, anchor, frame))
    for one, box in zip(named, boxes, strict=True):
        parts.append(_label(points[one], anchors[one], box))
    return "".join([*parts, "</svg>"])


def _bars(point: Point, frame: Frame) -> list[Box]:
    x1, y1 = frame.place(point.tokens_interval[0], point.accuracy)
    x2, _ = frame.place(point.tokens_interval[1], point.accuracy)
    x, y2 = frame.place(point.tokens, point.accuracy_interval[0])
    _, y3 = frame.place(point.tokens, point.accuracy_interval[1])
    return [Box(x1, y1 - 1, x2, y1 + 1), Box(x - 1, y3, x + 1, y2)]


_Path = list[tuple[float, float]]


def _paths(points: Sequence[Point], anchors: Sequence[tuple[float, float]]) -> dict[int, _Path]:
    """The line through the fixed ratios of each run, by colour."""
    paths: dict[int, _Path] = {}
    for point, anchor in zip(points, anchors, strict=True):
        if point.kind == "ratio":
            paths.setdefault(point.colour, []).append(anchor)
    return paths


def _dots(path: _Path) -> Iterator[Box]:
    """A line as small boxes, which labels avoid."""
    for (x1, y1), (x2, y2) in pairwise(path):
        steps = max(1, round(math.dist((x1, y1), (x2, y2)) / 5))
        for step in range(steps + 1):
            x, y = x1 + (x2 - x1) * step / steps, y1 + (y2 - y1) * step / steps
            yield Box(x - 1, y - 1, x + 1, y + 1)


def _lines(paths: dict[int, _Path]) -> Iterator[str]:
    for colour, path in paths.items():
        if len(path) > 1:
            corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
            yield f'<polyline class="path c{colour % 8}" points="{corners}"/>'


def _mark(point: Point, anchor: tuple[float, float], frame: Frame) -> str:
    x, y = anchor
    across, up = _bars(point, frame)
    bars = f'<path class="bar" d="M{across.left:.1f} {y:.1f}H{across.right:.1f}M{x:.1f} {up.top:.1f}V{up.bottom:.1f}"/>'
    shapes = {
        "none": f'<rect class="mark" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>',
        "ratio": f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
        "policy": f'<path class="mark" d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z"/>',
    }
    words = f"{point.name}: {point.accuracy:.1%}, {point.tokens:,.1f} thinking tokens"
    return f'<g class="c{point.colour % 8}"><title>{html(words)}</title>{bars}{shapes[point.kind]}</g>'


def _label(point: Point, anchor: tuple[float, float], box: Box) -> str:
    x, y = anchor
    cx, cy = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    near = (min(max(x, box.left), box.right), min(max(y, box.top), box.bottom))
    leader = ""
    if math.dist(anchor, near) > 20:
        leader = f'<line class="leader" x1="{x:.1f}" y1="{y:.1f}" x2="{near[0]:.1f}" y2="{near[1]:.1f}"/>'
    text = f'<text class="label c{point.colour % 8}" x="{cx:.1f}" y="{cy + 4:.1f}" text-anchor="middle">'
    return f"{leader}{text}{html(point.name)}</text>"
