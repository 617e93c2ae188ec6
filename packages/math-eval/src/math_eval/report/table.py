"""The conditions of a report as rows of text: for the terminal, for Markdown, and every number as CSV.

lines = rows(data)        # the headings first
print(as_text(lines))
"""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from math_eval import wording

from .data import Entry, ReportData

Line = tuple[str, ...]


def percent(fraction: float) -> str:
    """`0.954` -> `95.4 %`."""
    return f"{100 * fraction:.1f} %"


def points(fraction: float) -> str:
    """A difference of fractions in points, with its sign: `-0.002` -> `−0.2`."""
    return wording.points(fraction).replace("-", "−")


def number(value: float) -> str:
    """Tokens, with one decimal below a thousand."""
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def interval(low: float, high: float) -> str:
    """`0.932, 0.97` -> `93.2 – 97.0`."""
    return f"{100 * low:.1f} – {100 * high:.1f}"


def fraction(value: float | None) -> str:
    """A ratio with two decimals, or a dash."""
    return "–" if value is None else f"{value:.2f}"


def rate(value: float | None) -> str:
    """Seconds or samples a second, with three digits; a dash if it was not measured."""
    return "–" if value is None else f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:,.0f}"


def problems(values: dict[str, Any]) -> str:
    """`500`, or `40 × 8` for eight samples of each."""
    return f"{values['n']:,}" if values["samples"] == 1 else f"{values['n']:,} × {values['samples']}"


def over_seeds(values: dict[str, Any]) -> str:
    """The standard deviation of accuracy over seeds; a dash for a single seed."""
    if "accuracy_seed_sd" not in values:
        return "–"
    return f"± {100 * values['accuracy_seed_sd']:.1f} ({len(values['accuracy_by_seed'])} seeds)"


def many_samples(data: ReportData) -> list[str]:
    """The names of the scores of all k samples that any condition has; avg@k is the accuracy and left out."""
    found = {f"{name}@{entry.values['samples']}": None for entry in data.entries for name in ("pass", "maj")}
    return [name for name in found if any(name in entry.values for entry in data.entries)]


def several_seeds(data: ReportData) -> bool:
    """Whether any condition was sampled with more than one seed."""
    return any("accuracy_seed_sd" in entry.values for entry in data.entries)


def rows(data: ReportData) -> list[Line]:
    """The headings, then every condition."""

    def score(name: str) -> Callable[[dict[str, Any]], str]:
        return lambda values: percent(values[name]) if name in values else "–"

    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "accuracy": lambda values: percent(values["accuracy"]),
        "95 % interval": lambda values: interval(values["accuracy_low"], values["accuracy_high"]),
        **({"over seeds": over_seeds} if several_seeds(data) else {}),
        **{name: score(name) for name in many_samples(data)},
        "thinking tokens": lambda values: number(values["thinking_tokens"]),
        "all tokens": lambda values: number(values["completion_tokens"]),
        "ActRatio": lambda values: fraction(values["act_ratio"]),
        "truncated": lambda values: percent(values["truncated_rate"]),
        "no answer": lambda values: percent(values["no_answer_rate"]),
        "latency s": lambda values: rate(values["latency_s"]),
        "samples/s": lambda values: rate(values["samples_per_s"]),
        "problems": problems,
    }
    return [
        ("condition", *columns),
        *((entry.name, *(cell(entry.values) for cell in columns.values())) for entry in data.entries),
    ]


def as_text(lines: Sequence[Line]) -> str:
    """Aligned columns for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)


def as_markdown(lines: Sequence[Line]) -> str:
    """A Markdown table."""

    def dump(cells: Line) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|---|" + "---:|" * (len(lines[0]) - 1)
    return "\n".join([dump(lines[0]), rule, *map(dump, lines[1:])])


def as_csv(data: ReportData) -> str:
    """Every single number, a line for each condition and, below, for each of its values of each field."""
    found: list[dict[str, Any]] = [_flat(entry, "", "", entry.values) for entry in data.entries]
    for field, cells in data.breakdowns.items():
        for value, by_name in cells.items():
            found += [
                _flat(entry, field, value, by_name[entry.name]) for entry in data.entries if entry.name in by_name
            ]
    names = list(dict.fromkeys(name for line in found for name in line))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()


def _flat(entry: Entry, field: str, value: str, values: dict[str, Any]) -> dict[str, Any]:
    about = {
        "condition": entry.name,
        "ratio": "" if entry.ratio is None else entry.ratio,
        "field": field,
        "value": value,
    }
    numbers = {name: number for name, number in values.items() if isinstance(number, int | float)}
    verdicts = {f"verdict_{name}": count for name, count in values["verdicts"].items()}
    return {name: _inert(text) if isinstance(text, str) else text for name, text in about.items()} | {
        name: number for name, number in (numbers | verdicts).items() if name not in about
    }


def _inert(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
