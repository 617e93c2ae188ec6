"""`chrpo plot`: the metrics of a run as one self-contained HTML file with SVG charts and no script.

Measuring is left to `score`.

    write_plot("training.html", [{"step": 1, "policy/accuracy": 0.8}])       # the lines of metrics.jsonl
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ._shared.records import open_atomic
from ._shared.runs import check_apart
from ._shared.terminal import printable
from .errors import DataError
from .metrics import Metrics

_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 14, 40, 34
_LETTER, _LINE = 7, 14
_MAX_NAMES = 2000
_TIERS = {"reward/format_failure": "format failure", "reward/right": "correct", "reward/wrong": "incorrect"}
_COLOURS = (
    *("#1f6f8b", "#c8553d", "#588157", "#7b5ea7", "#b8860b", "#444444"),
    *("#d16ba5", "#0f9b8e", "#8c510a", "#9aa500"),
)


def check_page(path: Path, read: Path) -> None:
    """Refuse a page before the work for it begins.

    Args:
        path: Path of the page.
        read: File that the page is made from.

    Raises:
        DataError: the page is named like another kind of file, or would replace what is read.
    """
    if path.suffix.lower() != ".html":
        raise DataError(f"{path}: the page is HTML; choose a name that ends in .html")
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file")
    check_apart([path], [read])


def write_plot(path: str | Path, metrics: Sequence[Metrics]) -> None:
    """Write the charts of a run.

    Args:
        path: Path of the HTML file.
        metrics: Metrics of each step, each with `step`; a series may be missing at some steps.

    Raises:
        DataError: The metrics have more names than a page can show.
    """
    names = {name for line in metrics for name in line}
    if len(names) > _MAX_NAMES:
        raise DataError(
            f"the metrics have {len(names):,} names, and no run has more than {_MAX_NAMES:,}; was the file edited?"
        )
    groups = sorted(name.removeprefix("floor/") for name in names if name.startswith("floor/"))
    shares = [name for name in names if name.startswith("policy/share/")]
    shares.sort(key=lambda name: _number(name.split("/")[-1]))
    chosen = [group for group in groups if group.split("/")[0] == "policy"]
    floors = {f"floor {group}": f"floor/{group}" for group in chosen or groups}
    accuracy = {"measured": "policy/accuracy" if chosen else "accuracy", **floors}
    charts = [
        ("Accuracy", accuracy),
        ("Price of accuracy (lambda)", {group: f"lambda/{group}" for group in groups}),
        ("Violation: floor minus running accuracy", {group: f"violation/{group}" for group in groups}),
        ("Probability of each ratio", {name.split("/")[-1]: name for name in shares}),
        ("Entropy of the choice of ratio, in nats", {"entropy": "policy/entropy"}),
        ("Accuracy at each ratio", _by_ratio(names, "accuracy")),
        ("Thinking tokens", {**_by_ratio(names, "thinking_tokens"), "policy": "policy/thinking_tokens"}),
        ("Distance of realised from chosen ratio", {"mean": "calibration_error"}),
        ("Reward of each tier", {tier: name for name, tier in _TIERS.items() if name in names}),
        (
            "Share of rollouts",
            {"no signal": "dead_groups", "format failure": "format_failures", "truncated": "truncated"},
        ),
        ("Budget: cost below which savings earn nothing", {"budget": "budget"}),
        ("Price of tokens beyond the budget", {"price": "length_price"}),
    ]
    series = _series(metrics, {key for _, chart in charts for key in chart.values()})
    drawn = [(title, {label: series[key] for label, key in chart.items()}) for title, chart in charts]
    note = "Accuracy and tokens are those of the model's own choice of ratio, estimated from the rollouts of each step."
    write_page(path, "CHRPO training", note, drawn, metrics[-1] if metrics else {})


def write_page(
    path: str | Path,
    title: str,
    note: str,
    charts: Sequence[tuple[str, Mapping[str, Sequence[tuple[float, float]]]]],
    last: Metrics,
    heading: str = "Last step",
) -> None:
    """Write one page of line charts and a table of final numbers.

    Args:
        path: Path of the HTML file.
        title: Title of the page.
        note: Sentence below the title.
        charts: Title and lines of each chart; a line is label -> points (step, value), and is dashed if its label
            begins with "floor" or "optimum".
        last: Numbers of the table, by name.
        heading: Heading of the table.
    """
    drawn = "".join(_chart(name, series) for name, series in charts)
    rows = "".join(f"<tr><td>{_text(name)}</td><td>{value:.4g}</td></tr>" for name, value in last.items())
    with open_atomic(path) as out:
        out.write(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title><style>'
            "body{font:15px system-ui,sans-serif;margin:2rem auto;max-width:980px;color:#222}"
            "svg{margin:.3rem}td{padding:.1rem 1rem .1rem 0;border-bottom:1px solid #eee}"
            f"td:last-child{{text-align:right}}</style></head><body><h1>{_text(title)}</h1>"
            f"<p>{_text(note)}</p>{drawn}<h2>{_text(heading)}</h2><table>{rows}</table></body></html>\n"
        )


def _by_ratio(names: set[str], what: str) -> dict[str, str]:
    found = [name for name in names if name.startswith("ratio/") and name.endswith(f"/{what}")]
    return {name.split("/")[1]: name for name in sorted(found, key=lambda name: _number(name.split("/")[1]))}


def _number(text: str) -> float:
    """The ratio in a name; infinity if the name, of a stranger's file, has none."""
    try:
        return float(text)
    except ValueError:
        return math.inf


def _series(metrics: Sequence[Metrics], names: set[str]) -> dict[str, list[tuple[float, float]]]:
    """The finite points of each name, from one pass over what each line contains."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for line in metrics:
        for name, value in line.items():
            if name in found and math.isfinite(value):
                found[name].append((line["step"], value))
    return found


def _text(text: str) -> str:
    """Text for HTML and SVG; control characters are shown as escapes."""
    return html.escape(printable(text))


def _chart(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    right = max(x for x, _ in points)
    left = min(min(x for x, _ in points), right - 1)
    low, high = min(y for _, y in points), max(y for _, y in points)
    low, high = min(low, 0.0) if low < 0.5 * high else low, high if high > low else low + max(1, abs(low) / 1000)
    legend = _legend(series)
    top = legend[-1][1] + 10

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)
        up = _HEIGHT - _BOTTOM - (y - low) / (high - low) * (_HEIGHT - top - _BOTTOM)
        return round(across, 1), round(up, 1)

    parts = [f'<text x="{_LEFT}" y="16" font-weight="600">{_text(title)}</text>']
    # Enough digits to make the ticks differ.
    digits = 3 + max(0, math.floor(math.log10(max(abs(low), abs(high)) / (high - low))))
    for tick in (low, (low + high) / 2, high):
        y = place(left, tick)[1]
        parts.append(f'<path d="M{_LEFT} {y}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end" fill="#666">{tick:.{digits}g}</text>')
    for x, anchor in ((left, "start"), (right, "end")):
        parts.append(
            f'<text x="{place(x, low)[0]}" y="{_HEIGHT - 14}" text-anchor="{anchor}" fill="#666">step {x:g}</text>'
        )
    for number, (label, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        dash = ' stroke-dasharray="5 4"' if label.startswith(("floor", "optimum")) else ""
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>')
        across, down = legend[number]
        parts.append(f'<text x="{across}" y="{down}" fill="{colour}">{_text(label)}</text>')
    body = "".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" font-size="12">{body}</svg>'


def _legend(labels: Iterable[str]) -> list[tuple[int, int]]:
    """Start of each label; a label that does not fit starts a new line."""
    places: list[tuple[int, int]] = []
    across, down = _LEFT, _TOP - 10
    for label in labels:
        width = _LETTER * len(label)
        if places and across + width > _WIDTH - _RIGHT:
            across, down = _LEFT, down + _LINE
        places.append((across, down))
        across += width + 2 * _LETTER
    return places
