"""Reports: one self-contained HTML page, with the numbers as JSON and a Markdown table beside it.

The page opens offline, runs no text of a model, and stays under 2 MB for ten thousand samples.

    print(write_report(["base=runs/base", "sft=runs/sft"], "report.html", by="level"))
"""

from collections.abc import Sequence
from pathlib import Path

from math_eval.records import open_atomic, write_json

from . import table
from .data import collect
from .page import headline, page
from .samples import printable

__all__ = ["write_report"]


def write_report(
    runs: Sequence[str],
    output: str | Path,
    *,
    baseline: str | None = None,
    by: str | None = None,
    title: str = "Accuracy against thinking tokens",
    notes: Sequence[str] = (),
) -> str:
    """Write `FILE.html`, `FILE.json` and `FILE.md`; returns the table and the headline for a terminal.

    Args:
        runs: `[LABEL=]RUN` or `[LABEL=]RUN:RATIO`, in the order of the report.
        output: the page.
        baseline: the condition to compare with; the first one by default.
        by: a field of the problems to break the numbers down by.
        title: heading of the page.
        notes: sentences for the page.

    Raises:
        DataError: see `data.collect`.
    """
    output = Path(output)
    title, notes = printable(title), [printable(note) for note in notes]
    data = collect(runs, baseline=baseline, by=by)
    html = page(data, title=title, notes=notes)
    lines = table.rows(data)
    markdown = "\n\n".join([f"# {title}", *headline(data), *notes, table.as_markdown(lines)]) + "\n"
    write_json(output.with_suffix(".json"), {"title": title, **data.as_json()})
    with open_atomic(output.with_suffix(".md")) as out:
        out.write(markdown)
    with open_atomic(output) as out:
        out.write(html)
    return "\n".join([table.as_text(lines), "", *headline(data)])
