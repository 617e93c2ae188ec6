"""The tables of a combined result as Markdown.

print(tables(combine(read_seeds(Path("examples/paper_tables/seeds.jsonl")))))
"""

from typing import Any

from collect import Row

_HEAD = (
    "| row | accuracy | thinking | all | ActRatio | fewer thinking tokens | accuracy - base | x minimal | s |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def tables(results: Row) -> str:
    """Three tables: all rows; each row against its rival; accuracy by difficulty."""
    rows = results["rows"]
    seeds = ", ".join(map(str, results["seeds"]))
    return "\n\n".join(
        [
            f"Seeds {seeds}; mean over seeds with 95 % t interval, 1000 test problems a seed, greedy.",
            "\n".join([_HEAD, *map(_line, rows)]),
            "Against the row named (accuracy: the difference in points, paired by seed; tokens: the ratio):",
            "\n".join(
                [
                    "| row | against | accuracy | thinking tokens |\n|---|---|---|---|",
                    *(_rival_line(row) for row in rows if "rival" in row),
                ]
            ),
            "Accuracy by difficulty, and on problems with more steps than any training problem:",
            _levels(rows),
        ]
    )


def _line(row: Row) -> str:
    cells = [
        row["name"],
        _percent(row, "accuracy"),
        f"{row['thinking_tokens']:.1f}",
        f"{row['completion_tokens']:.1f}",
        f"{row['act_ratio']:.3f}",
        _percent(row, "token_reduction"),
        _percent(row, "accuracy_difference", sign="+"),
        f"{row['minimal_length_ratio']:.2f}",
        f"{row['latency_s']:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def _rival_line(row: Row) -> str:
    tokens = _spread(row, "rival_act_ratio", lambda value: f"{value:.3f}")
    return f"| {row['name']} | {row['rival']} | {_percent(row, 'rival_accuracy_difference', sign='+')} | {tokens} |"


def _levels(rows: list[Row]) -> str:
    names = [(field, name) for field in ("levels", "longer") for name in rows[0][field]]
    head = f"| row | {' | '.join(name for _, name in names)} |\n|---|{'---|' * len(names)}"
    body = [[row["name"], *(f"{row[field][name]['accuracy']:.1%}" for field, name in names)] for row in rows]
    return "\n".join([head, *(f"| {' | '.join(cells)} |" for cells in body)])


def _percent(row: Row, name: str, sign: str = "") -> str:
    return _spread(row, name, lambda value: f"{100 * value:{sign}.1f}")


def _spread(row: Row, name: str, form: Any) -> str:
    if row[f"{name}_low"] is None:
        return form(row[name])
    return f"{form(row[name])} ({form(row[f'{name}_low'])} to {form(row[f'{name}_high'])})"
