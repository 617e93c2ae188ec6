"""The content of a report, before it is drawn: conditions with their numbers, the comparison, the breakdown.

Drawing is left to `chart`, `page` and `table`.

    data = collect(["base=runs/base", "sft=runs/sft"], baseline="base", by="level")
    [entry.name for entry in data.entries]    # ['base', 'sft@0.2', 'sft@policy']
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from math_eval._shared.records import Row
from math_eval.compare import Comparison, act_ratio, compare
from math_eval.errors import DataError
from math_eval.ratio import Ratio, ratio_name
from math_eval.run_folders import Condition, load_condition, load_run, read_manifest, split_name
from math_eval.summary import summarise

_MISSING = "(none)"
_AGAINST = ("act_ratio", "accuracy_difference", "mcnemar_p", "aes", "tokens_per_correct_ratio")


@dataclass(frozen=True)
class Entry:
    """One condition of a report.

    Args:
        name: Its name in the report, `LABEL` or `LABEL@RATIO`, and the run's way to think less if it has one.
        label: The label of its run.
        condition: The samples.
        values: Its numbers by name, those of the comparison included.
        comparison: The comparison with the baseline; None for the baseline itself.
        manifest: The manifest of its run.
    """

    name: str
    label: str
    condition: Condition
    values: dict[str, Any]
    comparison: Comparison | None
    manifest: dict[str, Any]

    @property
    def ratio(self) -> Ratio:
        """The requested ratio."""
        return self.condition.ratio

    @property
    def run(self) -> tuple[str, Path]:
        """The label and the folder of its run: with ways to think less, several runs may have one label."""
        return self.label, self.condition.run


@dataclass(frozen=True)
class ReportData:
    """All numbers of a report.

    Args:
        entries: The conditions, in the order of the report.
        baseline: The condition that the others are compared with.
        breakdowns: Field -> value of the field, in rising order -> name of the condition -> summary.
    """

    entries: list[Entry]
    baseline: Entry
    breakdowns: dict[str, dict[str, dict[str, dict[str, Any]]]]

    @property
    def runs(self) -> list[tuple[str, Path]]:
        """The runs; the place of a run decides its colour."""
        return list(dict.fromkeys(entry.run for entry in self.entries))

    @property
    def last(self) -> Entry:
        """The condition of the headline: the last one that is not the baseline."""
        return next((entry for entry in reversed(self.entries) if entry is not self.baseline), self.baseline)

    @property
    def comparison(self) -> Comparison | None:
        """The comparison of the last condition with the baseline; None if there is only one condition."""
        return self.last.comparison

    @property
    def problems(self) -> int:
        """Number of problems of the baseline."""
        return self.baseline.values["n"]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "n": self.problems,
            "baseline": self.baseline.name,
            "conditions": [{"name": entry.name, **entry.values} for entry in self.entries],
            "comparison": self.comparison.values if self.comparison else None,
            "by": self.breakdowns,
        }


def collect(runs: Sequence[str], *, baseline: str | None = None, by: str | None = None) -> ReportData:
    """Read runs and compute everything that a report shows.

    Args:
        runs: Run folders, each `[LABEL=]RUN` or `[LABEL=]RUN:RATIO`.
        baseline: A condition's name, or a label with one condition; None takes the first condition.
        by: Field of the problems to break the numbers down by.

    Raises:
        DataError: A run is not finished, two conditions have one name, the baseline or the field is unknown, or the
            runs share no problems.
    """
    named = [(name, label, condition) for spec in runs for name, label, condition in _named(spec)]
    names = Counter(name for name, _, _ in named)
    if twice := [name for name, count in names.items() if count > 1]:
        raise DataError(f"two conditions are called {twice[0]!r}; give the runs different labels, as in LABEL=RUN")
    base_name, _, base = _baseline(named, baseline)
    entries: list[Entry] = []
    for name, label, condition in named:
        comparison = None if condition is base else compare(base, condition)
        values = {"label": label, "ratio": condition.ratio, **condition.summary()}
        if comparison is None:
            values |= act_ratio(base, base)
        else:
            comparison.values.update(a=base_name, b=name)
            values |= {field: value for field, value in comparison.values.items() if field.startswith(_AGAINST)}
        if condition.ratio == "policy":
            values["chosen"] = _chosen(condition.rows)
        entries.append(Entry(name, label, condition, values, comparison, read_manifest(condition.run)))
    first = next(entry for entry in entries if entry.comparison is None)
    fields = ["task"] if len({row["task"] for row in base.rows}) > 1 else []
    fields += [by] if by and by not in fields else []
    return ReportData(entries, first, {field: _break_down(entries, field) for field in fields})


def _named(spec: str) -> list[tuple[str, str, Condition]]:
    label, equals, rest = spec.partition("=")
    run = rest if equals and not Path(spec).exists() else spec
    folder, ratio = split_name(run)
    label = label if run is rest else Path(folder).resolve().name
    if not label:  # it names a folder of the report
        raise DataError(f"{spec}: no label; write LABEL=RUN")
    conditions = load_run(folder) if ratio is None else [load_condition(folder, ratio)]
    return [
        (f"{label}{'' if one.ratio is None else f'@{ratio_name(one.ratio)}'}{one.thinking_suffix}", label, one)
        for one in conditions
    ]


def _baseline(named: list[tuple[str, str, Condition]], wanted: str | None) -> tuple[str, str, Condition]:
    if wanted is None:
        return named[0]
    found = [one for one in named if one[0] == wanted] or [one for one in named if one[1] == wanted]
    if len(found) != 1:
        known = ", ".join(name for name, _, _ in named)
        problem = "no condition" if not found else "several conditions"
        raise DataError(f"--baseline {wanted}: {problem} of that name; the report has {known}")
    return found[0]


def value_of(row: Row, field: str) -> str:
    """A field of a problem as text; `(none)` if the problem does not have it."""
    value = row.get(field)
    return _MISSING if value is None else str(value)


def _order(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), value
    except ValueError:
        return (2 if value == _MISSING else 1), 0.0, value


def _break_down(entries: list[Entry], field: str) -> dict[str, dict[str, dict[str, Any]]]:
    values = {value_of(row, field) for entry in entries for row in entry.condition.rows}
    if values == {_MISSING}:
        known = ", ".join(sorted(entries[0].condition.rows[0]))
        raise DataError(f"--by {field}: no sample has such a field; the first has {known}")
    if len(values) > 40:
        raise DataError(f"--by {field}: {len(values)} different values are too many to show; choose a coarser field")
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for value in sorted(values, key=_order):
        for entry in entries:
            rows = [row for row in entry.condition.rows if value_of(row, field) == value]
            if rows:
                cell = summarise(rows, entry.manifest["settings"]["max_tokens"])
                if entry.ratio == "policy":
                    cell["chosen"] = _chosen(rows)
                table.setdefault(value, {})[entry.name] = cell
    return table


def _chosen(rows: list[Row]) -> dict[str, float]:
    """The share of samples in which the model chose each ratio, in rising order; `none` counts missing ratio tokens."""
    counts = Counter(ratio_name(row["chosen_ratio"]) for row in rows)
    return {name: counts[name] / len(rows) for name in sorted(counts, key=_order)}
