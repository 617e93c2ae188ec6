"""Reports: one self-contained HTML page; beside it the numbers as JSON, CSV, Markdown and files of lm-eval's shape.

The page opens offline, runs no text of a model, and stays under 2 MB for ten thousand samples.

    print(write_report(["base=runs/base", "sft=runs/sft"], "report.html", by="level"))
"""

from collections.abc import Sequence
from pathlib import Path

from math_eval._shared.records import open_atomic, write_json
from math_eval.conditions import run_files
from math_eval.manifest import check_apart

from . import table
from .data import collect
from .headline import headline
from .lm_eval import file_name, results_file
from .page import page
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
    """Write `FILE.html`, `.json`, `.csv`, `.md` and the folder `FILE.lm-eval`; returns the table and the headline.

    Args:
        runs: `[LABEL=]RUN` or `[LABEL=]RUN:RATIO`, in the order of the report.
        output: the page.
        baseline: the condition to compare with; the first one by default.
        by: a field of the problems to break the numbers down by.
        title: heading of the page.
        notes: sentences for the page.

    Raises:
        DataError: see `data.collect`; or a file to be written is one of a run.
    """
    output = Path(output)
    title, notes = printable(title), [printable(note) for note in notes]
    data = collect(runs, baseline=baseline, by=by)
    inputs = [file for run in {entry.condition.run for entry in data.entries} for file in run_files(run)]
    check_apart(map(output.with_suffix, (".json", ".csv", ".md", ".html")), inputs)
    html = page(data, title=title, notes=notes)
    lines = table.rows(data)
    markdown = "\n\n".join([f"# {title}", *headline(data), *notes, table.as_markdown(lines)]) + "\n"
    write_json(output.with_suffix(".json"), {"title": title, **data.as_json()})
    for entry in data.entries:
        write_json(output.with_suffix(".lm-eval") / file_name(entry), results_file(entry))
    for suffix, text in ((".md", markdown), (".csv", table.as_csv(data)), (".html", html)):
        with open_atomic(output.with_suffix(suffix)) as out:
            out.write(text)
    return "\n".join([table.as_text(lines), "", *headline(data)])
