"""Drawings of ratios: the distribution of the samples' own ratios, and the shares of the ratios that the model chose.

The result is SVG and HTML text; colours come from the page's style sheet.

    histogram([Spread("sft@0.2", 1, [0.2, 0.25])], baseline="base", width=900)   # '<svg …'
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from . import format as fmt
from .data import Entry, ReportData
from .escaping import html

_TOP_RATIO, _BINS = 2.0, 40
_ROW, _BAR, _LABEL, _AXIS = 62.0, 34.0, 18.0, 44.0
_LEFT, _RIGHT = 8.0, 26.0


@dataclass(frozen=True)
class Spread:
    """The samples' own ratios of one condition.

    Args:
        name: Name of the condition.
        colour: Number of its run, which decides the colour.
        ratios: Thinking tokens of each sample divided by those of its baseline sample.
    """

    name: str
    colour: int
    ratios: Sequence[float]


def shares(ratios: Sequence[float]) -> list[float]:
    """The share of samples in each of the 40 bins of width 0.05 from 0 to 2, and in a last bin above 2."""
    counts = [0] * (_BINS + 1)
    for ratio in ratios:
        counts[min(_BINS, int(ratio * _BINS / _TOP_RATIO + 1e-9))] += 1
    return [count / len(ratios) for count in counts]


def histogram(spreads: Sequence[Spread], *, baseline: str, width: float) -> str:
    """One row of bars for each condition, over a common axis; the tallest bar of each row has the row's full height."""
    step = (width - _LEFT - _RIGHT) / (_BINS + 1)
    height = _ROW * len(spreads) + _AXIS
    one = _LEFT + step * _BINS / _TOP_RATIO
    parts = [
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="Thinking tokens divided by those of {html(baseline)} on the same sample, a row a condition">',
        f'<line class="grid" x1="{one:.1f}" x2="{one:.1f}" y1="0" y2="{height - _AXIS:.1f}"/>',
    ]
    for index, spread in enumerate(spreads):
        parts += _bars(spread, _ROW * index, step)
    parts += _axis(height - _AXIS, step, baseline, width)
    return "".join([*parts, "</svg>"])


def _bars(spread: Spread, top: float, step: float) -> Iterator[str]:
    found = shares(spread.ratios)
    floor, tallest = top + _LABEL + _BAR, max(found)
    longer = sum(ratio > 1 for ratio in spread.ratios) / len(spread.ratios)
    words = f"median {median(spread.ratios):.2f}, {fmt.percent(longer)} above 1"
    yield f'<g class="c{spread.colour % 8}"><text class="label" x="{_LEFT:g}" y="{top + 13:.1f}">{html(spread.name)}'
    yield f'<tspan class="note" dx="8">{words}</tspan></text>'
    for place, share in enumerate(found):
        if share:
            high = max(1.0, _BAR * share / tallest)
            low, above = place * _TOP_RATIO / _BINS, place == _BINS
            where = f"above {_TOP_RATIO:g}" if above else f"{low:.2f} to {low + _TOP_RATIO / _BINS:.2f}"
            yield (
                f'<rect class="mark" x="{_LEFT + step * place:.1f}" y="{floor - high:.1f}" width="{step:.1f}" '
                f'height="{high:.1f}"><title>{where}: {fmt.percent(share)}</title></rect>'
            )
    yield "</g>"
    yield f'<path class="grid" d="M{_LEFT:g} {floor:.1f}h{step * (_BINS + 1):.1f}"/>'


def _axis(top: float, step: float, baseline: str, width: float) -> Iterator[str]:
    for value in (0.0, 0.5, 1.0, 1.5, 2.0):
        x = _LEFT + step * _BINS * value / _TOP_RATIO
        words = f"{value:g}" if value < _TOP_RATIO else f"{value:g} or more"
        anchor = "middle" if value < _TOP_RATIO else "end"
        x = x if value < _TOP_RATIO else width - 2
        yield f'<text class="tick" x="{x:.1f}" y="{top + 12:.1f}" text-anchor="{anchor}">{words}</text>'
    middle = (_LEFT + width - _RIGHT) / 2
    words = f"thinking tokens divided by those of {baseline} on the same sample"
    yield f'<text x="{middle:.1f}" y="{top + 34:.1f}" text-anchor="middle">{html(words)}</text>'


def chosen(data: ReportData) -> str:
    """Stacked bars of the ratios that the model chose in policy conditions, for all problems and by field."""
    policies = [entry for entry in data.entries if "chosen" in entry.values]
    if not policies:
        return ""
    ladder = sorted({ratio for entry in policies for ratio in entry.values["chosen"]} - {"none"}, key=float)
    legend = "".join(f'<span><i class="{_shade(ratio, ladder)}"></i>{html(ratio)}</span>' for ratio in ladder)
    if any("none" in entry.values["chosen"] for entry in policies):
        legend += '<span><i class="rn"></i>no ratio token</span>'
    parts = [
        "<h2>Which ratio the model chooses</h2>"
        f'<p class="legend"><span>share of samples by chosen ratio</span>{legend}</p>'
    ]
    for entry in policies:
        bars = "".join(f"<span>{html(name)}</span>{_stack(found, ladder)}" for name, found in _rows(entry, data))
        parts.append(f'<h3>{html(entry.name)}</h3><div class="bars">{bars}</div>')
    return "".join(parts)


def _rows(entry: Entry, data: ReportData) -> Iterator[tuple[str, dict[str, float]]]:
    yield "all", entry.values["chosen"]
    for field, cells in data.breakdowns.items():
        for value, by in cells.items():
            if entry.name in by:
                yield f"{field} {value}", by[entry.name]["chosen"]


def _shade(ratio: str, ladder: list[str]) -> str:
    """A darker shade for a larger ratio."""
    if ratio == "none":
        return "rn"
    return f"r{round(5 * ladder.index(ratio) / max(len(ladder) - 1, 1))}"


def _stack(found: dict[str, float], ladder: list[str]) -> str:
    spans = "".join(
        f'<span class="{_shade(ratio, ladder)}" style="width:{100 * share:.2f}%" '
        f'title="{html(ratio)}: {fmt.percent(share)}">{f"{100 * share:.0f} %" if share >= 0.09 else ""}</span>'
        for ratio, share in found.items()
    )
    return f'<div class="stack">{spans}</div>'
