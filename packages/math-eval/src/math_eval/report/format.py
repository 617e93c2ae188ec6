"""Numbers of a report as text: shares, points, tokens, intervals.

A value that was not measured becomes a dash.

>>> percent(0.954), points(-0.002), interval(0.932, 0.97)
('95.4 %', '−0.2', '93.2 – 97.0')
"""

from typing import Any

from . import text

_DASH = "–"


def percent(fraction: float | None) -> str:
    """`0.954` -> `95.4 %`."""
    return _DASH if fraction is None else f"{100 * fraction:.1f} %"


def points(fraction: float) -> str:
    """A difference of fractions in points, with its sign: `-0.002` -> `−0.2`."""
    return text.points(fraction).replace("-", "−")


def number(value: float | None) -> str:
    """A number of tokens, with one decimal below a thousand."""
    return _DASH if value is None else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def signed(value: float | None) -> str:
    """A score with its sign and two decimals."""
    return _DASH if value is None else f"{value:+.2f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """`0.932, 0.97` -> `93.2 – 97.0`."""
    return f"{100 * low:.1f} – {100 * high:.1f}"


def fraction(value: float | None, decimals: int = 2) -> str:
    """A ratio."""
    return _DASH if value is None else f"{value:.{decimals}f}"


def rate(value: float | None) -> str:
    """Seconds, or samples a second, with three significant digits."""
    return _DASH if value is None else f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:,.0f}"


def problems(values: dict[str, Any]) -> str:
    """The number of problems, `500`, or `40 × 8` if each has eight samples."""
    return f"{values['n']:,}" if values["samples"] == 1 else f"{values['n']:,} × {values['samples']}"


def over_seeds(values: dict[str, Any]) -> str:
    """The standard deviation of accuracy over seeds; a dash for a single seed."""
    if "accuracy_seed_sd" not in values:
        return _DASH
    return f"± {100 * values['accuracy_seed_sd']:.1f} ({len(values['accuracy_by_seed'])} seeds)"
