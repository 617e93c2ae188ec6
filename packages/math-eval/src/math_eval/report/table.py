"""The conditions of a report as rows of text, for the terminal and for Markdown.

print(as_text(rows(data)))
"""

from collections.abc import Sequence

from .data import Entry, ReportData

HEADINGS = (
    "condition",
    "accuracy",
    "95 % interval",
    "thinking tokens",
    "all tokens",
    "ActRatio",
    "truncated",
    "no answer",
    "n",
)


def percent(fraction: float) -> str:
    """`0.954` -> `95.4 %`."""
    return f"{100 * fraction:.1f} %"


def points(fraction: float) -> str:
    """A difference of fractions in points, with its sign: `-0.002` -> `−0.2`."""
    return f"{100 * fraction:+.1f}".replace("-", "−")


def number(value: float) -> str:
    """Tokens, with one decimal below a thousand."""
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def interval(low: float, high: float) -> str:
    """`0.932, 0.97` -> `93.2 – 97.0`."""
    return f"{100 * low:.1f} – {100 * high:.1f}"


def fraction(value: float | None) -> str:
    """A ratio with two decimals, or a dash."""
    return "–" if value is None else f"{value:.2f}"


def row(entry: Entry) -> tuple[str, ...]:
    """One condition under `HEADINGS`."""
    values = entry.values
    count = f"{values['n']}" if values["samples"] == 1 else f"{values['n']} × {values['samples']}"
    return (
        entry.name,
        percent(values["accuracy"]),
        interval(values["accuracy_low"], values["accuracy_high"]),
        number(values["thinking_tokens"]),
        number(values["completion_tokens"]),
        fraction(values["act_ratio"]),
        percent(values["truncated_rate"]),
        percent(values["no_answer_rate"]),
        count,
    )


def rows(data: ReportData) -> list[tuple[str, ...]]:
    """Every condition."""
    return [row(entry) for entry in data.entries]


def as_text(lines: Sequence[tuple[str, ...]]) -> str:
    """Aligned columns for a terminal."""
    widths = [max(len(line[column]) for line in (HEADINGS, *lines)) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in (HEADINGS, *lines))
    )


def as_markdown(lines: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""

    def dump(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|---|" + "---:|" * (len(HEADINGS) - 1)
    return "\n".join([dump(HEADINGS), rule, *map(dump, lines)])
