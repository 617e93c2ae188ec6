"""What the charts share: boxes in drawing units, round ticks, the map from data to the drawing, and the axes.

>>> Frame((256, 4096), (0, 1), Box(0, 0, 100, 50), log=True).place(1024, 0.5)
(50.0, 25.0)
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_MARGIN = (34.0, 16.0, 46.0, 54.0)  # top, right, bottom, left
_POWER_WIDTH = 95.0
"""Width of a label of a power of two, with its distance from the next."""


@dataclass(frozen=True)
class Box:
    """A rectangle in drawing units; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        """Whether the two share area."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def inside(self, other: "Box") -> bool:
        """Whether all of it is within `other`."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


def ticks(low: float, high: float, about: float) -> list[float]:
    """Round numbers at equal distances that cover `low` to `high`, in about `about` steps."""
    raw = max(high - low, 1e-9) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * index for index in range(start, end + 1)]


def drawing_area(width: float, height: float) -> Box:
    """The part of a drawing between its axes and its edges."""
    top, right, bottom, left = _MARGIN
    return Box(left, top, width - right, height - bottom)


@dataclass(frozen=True)
class Frame:
    """Maps data to drawing units.

    Args:
        x: Ends of the horizontal axis, positive if it is logarithmic.
        y: Ends of the vertical axis.
        area: The place between them.
        log: Whether the horizontal axis is logarithmic.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    area: Box
    log: bool = False

    def place(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point."""
        left, right, at = map(math.log2, (*self.x, x)) if self.log else (*self.x, x)
        across = (at - left) / (right - left)
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            self.area.left + across * (self.area.right - self.area.left),
            self.area.bottom - up * (self.area.bottom - self.area.top),
        )

    def powers(self, width: float) -> list[int]:
        """Powers of two on the horizontal axis at equal distances, as many as a drawing of this width has room for."""
        first, last = (round(math.log2(end)) for end in self.x)
        step = max(1, math.ceil((last - first) / (width // _POWER_WIDTH)))
        return [2**power for power in range(first, last + 1, step)]


def axes(frame: Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], names: tuple[str, str]) -> Iterator[str]:
    """Both axes with their ticks and names; the vertical one is a share, written in percent."""
    area = frame.area
    for value in y_ticks:
        _, y = frame.place(frame.x[0], value)
        yield f'<line class="grid" x1="{area.left:.1f}" x2="{area.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{area.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{100 * value:.4g} %</text>'
    for value in x_ticks:
        x, _ = frame.place(value, frame.y[0])
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{area.bottom:.1f}" y2="{area.bottom + 4:.1f}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{area.bottom + 18:.1f}" text-anchor="middle">{value:,.9g}</text>'
    yield f'<path class="axis" d="M{area.left:.1f} {area.bottom:.1f}H{area.right:.1f}"/>'
    middle = (area.left + area.right) / 2
    yield f'<text x="{middle:.1f}" y="{area.bottom + 38:.1f}" text-anchor="middle">{names[0]}</text>'
    yield f'<text x="{area.left - 48:.1f}" y="{area.top - 18:.1f}">{names[1]}</text>'
