"""The tables of a report, one row for each condition: as text for a terminal, as Markdown, and in full as CSV.

lines = rows(data)        # the headings first
print(as_text(lines))
"""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from math_eval._shared.terminal import terminal_line
from math_eval.errors import DataError

from . import format as fmt
from .data import Entry, ReportData
from .escaping import csv_cell, markdown_text

Line = tuple[str, ...]
_MOST_COLUMNS = 1000
"""Our choice: a run of this program has fewer than a hundred measures."""
_OF_MODES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "closed_rate": ("closed by run", fmt.percent),
    "over_budget": ("over budget", str),
    "trial_tokens": ("trial tokens", fmt.number),
}
"""Measures of ways to think less: heading and form of each."""


def many_samples(data: ReportData) -> list[str]:
    """The names of the k-sample scores that any condition has, without avg@k, which equals the accuracy."""
    found = {
        f"{name}@{entry.values['samples']}": None for entry in data.entries for name in ("pass", "maj", "shortest")
    }
    return [name for name in found if any(name in entry.values for entry in data.entries)]


def several_seeds(data: ReportData) -> bool:
    """Whether any condition was sampled with more than one seed."""
    return any("accuracy_seed_sd" in entry.values for entry in data.entries)


def of_modes(data: ReportData) -> dict[str, Callable[[dict[str, Any]], str]]:
    """The columns about ways to think less, those in which any condition has more than 0."""

    def cell(name: str, form: Callable[[Any], str]) -> Callable[[dict[str, Any]], str]:
        return lambda values: form(values.get(name, 0))

    return {
        heading: cell(name, form)
        for name, (heading, form) in _OF_MODES.items()
        if any(name in entry.values for entry in data.entries)
    }


def rows(data: ReportData) -> list[Line]:
    """The headings, then a row for every condition."""

    def score(name: str) -> Callable[[dict[str, Any]], str]:
        return lambda values: fmt.percent(values[name]) if name in values else "–"

    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "accuracy": lambda values: fmt.percent(values["accuracy"]),
        "95 % interval": lambda values: fmt.interval(values["accuracy_low"], values["accuracy_high"]),
        **({"over seeds": fmt.over_seeds} if several_seeds(data) else {}),
        **{name: score(name) for name in many_samples(data)},
        "thinking tokens": lambda values: fmt.number(values["thinking_tokens"]),
        "all tokens": lambda values: fmt.number(values["completion_tokens"]),
        "ActRatio": lambda values: fmt.fraction(values["act_ratio"]),
        "truncated": lambda values: fmt.percent(values["truncated_rate"]),
        "no answer": lambda values: fmt.percent(values["no_answer_rate"]),
        **of_modes(data),
        "latency s": lambda values: fmt.rate(values["latency_s"]),
        "samples/s": lambda values: fmt.rate(values["samples_per_s"]),
        "problems": fmt.problems,
    }
    return [
        ("condition", *columns),
        *((entry.name, *(cell(entry.values) for cell in columns.values())) for entry in data.entries),
    ]


def efficiency_rows(data: ReportData) -> list[Line]:
    """The headings of the measures of thinking, then a row for every condition."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "tokens per correct": lambda values: fmt.number(values["tokens_per_correct"]),
        **({"AES": lambda values: fmt.signed(values.get("aes"))} if data.comparison else {}),
        "budget area": lambda values: fmt.fraction(values["budget_area"], 3),
        "overthinking score": lambda values: fmt.fraction(values["overthinking_score"]),
        "tokens if correct": lambda values: fmt.number(values["completion_tokens_correct"]),
        "if not": lambda values: fmt.number(values["completion_tokens_incorrect"]),
        "hard / easy": lambda values: fmt.fraction(values["hard_easy_ratio"]),
        "after answer": lambda values: fmt.percent(values["after_first_correct"]),
        "accuracy uncut": lambda values: fmt.percent(values["accuracy_untruncated"]),
    }
    return [
        ("condition", *columns),
        *((entry.name, *(cell(entry.values) for cell in columns.values())) for entry in data.entries),
    ]


def as_text(lines: Sequence[Line]) -> str:
    """Aligned columns for a terminal."""
    lines = [tuple(map(terminal_line, line)) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)


def as_markdown(lines: Sequence[Line]) -> str:
    """A Markdown table."""

    def dump(cells: Line) -> str:
        return "| " + " | ".join(map(markdown_text, cells)) + " |"

    rule = "|---|" + "---:|" * (len(lines[0]) - 1)
    return "\n".join([dump(lines[0]), rule, *map(dump, lines[1:])])


def as_csv(data: ReportData) -> str:
    """Every number: a line for each condition, then a line for each condition and value of a field."""
    found: list[dict[str, Any]] = [_flat(entry, "", "", entry.values) for entry in data.entries]
    for field, cells in data.breakdowns.items():
        for value, by_name in cells.items():
            found += [
                _flat(entry, field, value, by_name[entry.name]) for entry in data.entries if entry.name in by_name
            ]
    return dump_csv(found)


def dump_csv(lines: Sequence[dict[str, Any]]) -> str:
    """Lines as CSV, with a column for each name in any of them; text that a spreadsheet would run is quoted.

    Raises:
        DataError: The lines have more than 1,000 different names, which only a stranger's results have.
    """
    names = list(dict.fromkeys(name for line in lines for name in line))
    if len(names) > _MOST_COLUMNS:
        raise DataError(
            f"the results have {len(names):,} different measures, and a table has at most {_MOST_COLUMNS:,}; remove "
            "the runs that math-eval did not make"
        )
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writerow({name: csv_cell(name) for name in names})
    for line in lines:
        writer.writerow({name: csv_cell(cell) if isinstance(cell, str) else cell for name, cell in line.items()})
    return out.getvalue()


def _flat(entry: Entry, field: str, value: str, values: dict[str, Any]) -> dict[str, Any]:
    about = {
        "condition": entry.name,
        "ratio": "" if entry.ratio is None else entry.ratio,
        "field": field,
        "value": value,
    }
    numbers = {name: number for name, number in values.items() if isinstance(number, int | float)}
    for point in values["budget_curve"]:
        for name in ("accuracy", "low", "high"):
            numbers[f"accuracy_at_{point['tokens']}{'' if name == 'accuracy' else f'_{name}'}"] = point[name]
    verdicts = {f"verdict_{name}": count for name, count in values["verdicts"].items()}
    return about | {name: number for name, number in (numbers | verdicts).items() if name not in about}
