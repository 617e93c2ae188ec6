"""The table of a leaderboard: one row for each condition, as sortable HTML, as text for a terminal and as numbers.

entry = Entry("base", results["conditions"][0], manifest["settings"])
print(as_text("gsm8k", [entry], front=[0]))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from math_eval._shared.terminal import terminal_line

from . import format as fmt
from .escaping import html

_ON_FRONT = "●"
MEANING = (
    "Tokens per correct: completion tokens of all samples divided by the number of correct ones. Area: that under the "
    "curve of accuracy at a budget from 256 to 32,768 tokens, on a log scale. Truncated: cut off at the token limit."
)


@dataclass(frozen=True)
class Entry:
    """One condition.

    Args:
        name: Name of its run, with the ratio and the way to think less if it has them.
        values: Its summary in results.json.
        settings: Settings of its run.
    """

    name: str
    values: dict[str, Any]
    settings: dict[str, Any]


@dataclass(frozen=True)
class _Column:
    """A measure in the table.

    Args:
        head: Heading.
        field: Name of the value, in the summary or in the settings.
        form: Function that writes the value.
        high: Whether higher is better.
        interval: Whether the interval is shown.
    """

    head: str
    field: str
    form: Callable[[Any], str]
    high: bool = False
    interval: bool = False


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:,g}" if abs(value) < 1 else f"{value:,.10g}"


_COLUMNS = (
    _Column("accuracy", "accuracy", fmt.percent, high=True, interval=True),
    _Column("all tokens", "completion_tokens", fmt.number),
    _Column("thinking tokens", "thinking_tokens", fmt.number),
    _Column("tokens per correct", "tokens_per_correct", fmt.number, interval=True),
    _Column("area", "budget_area", lambda value: fmt.fraction(value, 3), high=True),
    _Column("truncated", "truncated_rate", fmt.percent),
    _Column("no answer", "no_answer_rate", fmt.percent),
    _Column("problems", "n", _plain, high=True),
    _Column("samples", "samples", _plain, high=True),
    _Column("temperature", "temperature", _plain),
    _Column("token limit", "max_tokens", _plain),
)


def as_html(entries: Sequence[Entry], front: Sequence[int]) -> str:
    """The table; its headings become buttons that sort it where scripts run."""
    heads = "".join(
        f'<th scope=col data-best="{"high" if column.high else "low"}">{column.head}</th>' for column in _COLUMNS
    )
    body: list[str] = []
    best = set(front)
    for place, entry in enumerate(entries):
        name = f"<th scope=row>{html(entry.name)}</th>"
        on_front = place in best
        cells = "".join(_cell(entry, column) for column in _COLUMNS)
        mark = f'<td data-value="{int(on_front)}">{_ON_FRONT if on_front else ""}</td>'
        body.append(f"<tr>{name}{mark}{cells}</tr>")
    return (
        '<div class="scroll"><table class="sortable"><thead><tr><th scope=col>condition</th>'
        f'<th scope=col data-best="high">front</th>{heads}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _cell(entry: Entry, column: _Column) -> str:
    value = _value(entry, column)
    small = ""
    if column.interval and value is not None and (low := entry.values.get(f"{column.field}_low")) is not None:
        small = f" <small>{column.form(low)} to {column.form(entry.values[f'{column.field}_high'])}</small>"
    return f'<td data-value="{"" if value is None else value}">{column.form(value)}{small}</td>'


def _value(entry: Entry, column: _Column) -> float | None:
    """The value; None if the run has none, as older ones have not of every measure."""
    value = entry.values.get(column.field, entry.settings.get(column.field))
    return value if isinstance(value, int | float) else None


def as_text(heading: str, entries: Sequence[Entry], front: Sequence[int]) -> str:
    """The table with its heading, in aligned columns for a terminal."""
    lines = [("condition", "front", *(column.head for column in _COLUMNS))]
    best = set(front)
    for place, entry in enumerate(entries):
        cells = (column.form(_value(entry, column)) for column in _COLUMNS)
        lines.append((terminal_line(entry.name), "*" if place in best else "", *cells))
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    rows = ("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)
    return "\n".join([f"{terminal_line(heading)}:", *rows])


def numbers(entry: Entry) -> dict[str, Any]:
    """Every number of the condition and the settings of the table, by name."""
    settings = {name: entry.settings.get(name) for name in ("temperature", "top_p", "max_tokens")}
    return settings | {name: value for name, value in entry.values.items() if isinstance(value, int | float)}
